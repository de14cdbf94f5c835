//! What crosses from reactor to reactor.

use std::sync::Arc;

use roost_dealer::Item as CallItem;
use roost_dialect::dialect::SessionQuery;
use roost_dialect::{CallBody, Publication};
use roost_hub::{Item, Name, ReactorId};
use roost_net::ConnKey;

use crate::channels::{Lane, LinkMessage, TappedItem};
use crate::control::{Answer, ControlPublication, Request, Token};
use crate::emulation_names::{Outcome, Relayed};
use crate::entry_queries::{EntriesFound, EntryQuestion};
use crate::events::EventBatch;
use crate::history_asks::{HistoryAnswer, HistoryAsk};
use crate::hook_calls::{HookAnswer, HookCall};
use crate::image::Image;
use crate::session_queries::Found;
use crate::token_checks::{TokenCheck, Verdict};

/// One message in a ring.
pub(crate) enum PeerMessage {
    /// From hub to hub.
    Hub(Item<Publication, Image>),
    /// From dealer to dealer. Boxed: it is larger than all others.
    Call(Box<CallItem<CallBody>>),
    /// Publishers of the channel should wait: from its subscribers to its home, and from there to
    /// publishers. Where a pattern is behind, the one whose publication it was is named: on new
    /// channels each time it would never come to one that it knows to wait for.
    Congested {
        name: Name,
        publisher: Option<(ReactorId, ConnKey)>,
    },
    /// They need no longer: the same way.
    Relieved { name: Name },
    /// To a channel's home: what it keeps.
    HistoryAsk(Box<HistoryAsk>),
    /// From there.
    HistoryAnswer(Box<HistoryAnswer>),
    /// What a client without a WebSocket says, to the reactor of its session.
    Relay(Box<Relayed>),
    /// From there.
    RelayAnswer { asker: ConnKey, outcome: Outcome },
    /// A question about sessions, by its asker's number.
    SessionQuery(Box<(u32, Arc<SessionQuery>)>),
    /// What a reactor has found of it.
    SessionsFound(Box<(u32, Found)>),
    /// A question about registrations or subscriptions, by its asker's number.
    EntryQuery(Box<(u32, EntryQuestion)>),
    /// What a reactor has found of it.
    EntriesFound(Box<(u32, EntriesFound)>),
    /// From the control thread. See [`crate::control`].
    Request(Box<(Token, Request)>),
    /// From the control thread, to the home of their channels.
    Publications(Box<(Token, Vec<ControlPublication>)>),
    /// To the control thread.
    Answer(Box<Answer>),
    /// To the control thread: what it hears as a subscriber.
    Tapped(Vec<TappedItem>),
    /// To the control thread: tokens of handshakes that wait.
    TokenChecks(Vec<TokenCheck>),
    /// From the control thread.
    Verdicts(Vec<Verdict>),
    /// To the control thread: questions to the application.
    HookCalls(Vec<HookCall>),
    /// From the control thread.
    HookAnswers(Vec<HookAnswer>),
    /// To the control thread: what has happened. In a ring of its own, for there may be many.
    Events(Box<EventBatch>),
}

impl LinkMessage for PeerMessage {
    fn lane(&self) -> Lane {
        match self {
            PeerMessage::Hub(Item::Publish { .. })
            | PeerMessage::Publications(_)
            | PeerMessage::Relay(_)
            | PeerMessage::Events(_) => Lane::Publish,
            PeerMessage::Call(item) if matches!(**item, CallItem::Call { .. }) => Lane::Publish,
            PeerMessage::Congested { .. }
            | PeerMessage::Relieved { .. }
            | PeerMessage::Call(_)
            | PeerMessage::HistoryAsk(_)
            | PeerMessage::HistoryAnswer(_)
            | PeerMessage::RelayAnswer { .. }
            | PeerMessage::SessionQuery(_)
            | PeerMessage::SessionsFound(_)
            | PeerMessage::EntryQuery(_)
            | PeerMessage::EntriesFound(_)
            | PeerMessage::Request(_)
            | PeerMessage::Answer(_)
            | PeerMessage::Tapped(_)
            | PeerMessage::TokenChecks(_)
            | PeerMessage::Verdicts(_)
            | PeerMessage::HookCalls(_)
            | PeerMessage::HookAnswers(_)
            | PeerMessage::Hub(
                Item::Interest { .. }
                | Item::InterestAck { .. }
                | Item::Recover(_)
                | Item::Recovered(_)
                | Item::Uninterest { .. }
                | Item::Join(_)
                | Item::Leave { .. }
                | Item::AskPresence(_)
                | Item::Presence(_)
                | Item::InterestRefused { .. }
                | Item::PatternInterest { .. }
                | Item::PatternAck { .. }
                | Item::PatternUninterest { .. }
                | Item::Published { .. }
                | Item::Deliver { .. }
                | Item::DeliverMatched { .. },
            ) => Lane::Plain,
        }
    }

    fn bytes(&self) -> usize {
        let beside = match self {
            PeerMessage::Hub(Item::Publish { payload, .. }) => payload.bytes(),
            PeerMessage::Hub(
                Item::Deliver { frames, .. } | Item::DeliverMatched { frames, .. },
            ) => frames.iter().map(|(_, image)| image.len()).sum(),
            PeerMessage::Hub(Item::Recover(recover)) => size_of_val(&**recover),
            // What others share is counted with the answer that it was encoded for.
            PeerMessage::Hub(Item::Recovered(answer)) => size_of_val(&**answer) + answer.1.bytes,
            PeerMessage::Hub(Item::Join(joined)) => {
                size_of_val(&**joined) + joined.1.bytes_beside()
            }
            PeerMessage::Hub(Item::AskPresence(query)) => size_of_val(&**query) + query.name.len(),
            PeerMessage::Hub(Item::Presence(answer)) => {
                size_of_val(&**answer) + answer.view.bytes()
            }
            PeerMessage::Call(item) => {
                size_of_val(&**item) + item.payload().map_or(0, CallBody::bytes)
            }
            PeerMessage::Relay(relayed) => size_of_val(&**relayed) + relayed.said.len(),
            PeerMessage::HistoryAsk(ask) => size_of_val(&**ask),
            PeerMessage::HistoryAnswer(answer) => answer.bytes(),
            // What it asks is shared by all that are asked.
            PeerMessage::SessionQuery(query) => size_of_val(&**query),
            PeerMessage::SessionsFound(found) => size_of_val(&**found) + found.1.bytes_beside(),
            PeerMessage::EntryQuery(question) => size_of_val(&**question),
            PeerMessage::EntriesFound(found) => size_of_val(&**found) + found.1.bytes_beside(),
            PeerMessage::Request(request) => size_of_val(&**request) + request.1.bytes(),
            PeerMessage::Publications(batch) => batch.1.iter().map(ControlPublication::bytes).sum(),
            PeerMessage::Answer(answer) => answer.bytes(),
            PeerMessage::Tapped(items) => items.iter().map(TappedItem::bytes).sum(),
            PeerMessage::TokenChecks(checks) => {
                let beside = |one: &TokenCheck| {
                    one.token.expose().len() + one.channel.as_ref().map_or(0, |name| name.len())
                };
                let tokens: usize = checks.iter().map(beside).sum();
                size_of_val(checks.as_slice()) + tokens
            }
            PeerMessage::Verdicts(verdicts) => size_of_val(verdicts.as_slice()),
            PeerMessage::HookCalls(calls) => {
                let beside: usize = calls.iter().map(HookCall::bytes_beside).sum();
                size_of_val(calls.as_slice()) + beside
            }
            PeerMessage::HookAnswers(answers) => size_of_val(answers.as_slice()),
            PeerMessage::Events(batch) => batch.bytes(),
            PeerMessage::Congested { .. }
            | PeerMessage::Relieved { .. }
            | PeerMessage::RelayAnswer { .. }
            | PeerMessage::Hub(
                Item::Interest { .. }
                | Item::InterestAck { .. }
                | Item::Uninterest { .. }
                | Item::Leave { .. }
                | Item::InterestRefused { .. }
                | Item::PatternInterest { .. }
                | Item::PatternAck { .. }
                | Item::PatternUninterest { .. }
                | Item::Published { .. },
            ) => 0,
        };
        size_of::<PeerMessage>() + beside
    }
}
