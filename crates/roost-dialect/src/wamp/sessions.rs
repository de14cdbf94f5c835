//! WAMP as a [`Dialect`]: the sessions of one reactor, and what the interface's events mean to one.

use std::borrow::Cow;
use std::sync::Arc;

use roost_access::Identity;
use roost_hub::{ChannelId, EventIds};
use roost_wire::{CloseCode, Frozen, Opcode};
use slab::Slab;

use crate::dialect::{
    self, Accept, Command, Context, Dialect, Event, Input, Member, Next, Offer, Refusal, Terms,
};
use crate::serial::push_number;
use crate::wamp::dict::Sparse;
use crate::wamp::message::{Request, WampMessage};
use crate::wamp::options::EventDetails;
use crate::wamp::session::{Session, SessionState};
use crate::wamp::settings::Settings;
use crate::wamp::uri;
use crate::wamp::wire::{Wire, WireError};
use crate::{Form, Publication, Receivers};

/// The sessions here.
pub struct Wamp {
    settings: Arc<Settings>,
    sessions: Slab<Session>,
}

impl Dialect for Wamp {
    const NAME: &'static str = "wamp";
    const FORMS: &'static [&'static str] = &Wire::FORMS;
    const OPENED_BY_CLIENT: bool = true;
    type Settings = Settings;
    type State = SessionState;

    fn new(settings: Arc<Settings>) -> Wamp {
        Wamp {
            settings,
            sessions: Slab::new(),
        }
    }

    /// WAMP clients are configured with any URL: the subprotocol is enough, on each path that is
    /// no other dialect's.
    fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        if !settings.enabled {
            return Accept::NotMine;
        }
        // "WebSocket Transport": the client lists them in the order of its preference.
        let mut offered = offer.subprotocols.iter().copied();
        if let Some(first) = offered.find(|name| Wire::of_subprotocol(name).is_some()) {
            return Accept::Open {
                subprotocol: Some(first),
                join: None,
                terms: Terms::default(),
            };
        }
        match offer.path {
            // RFC 6455 §4.2.2: no subprotocol in common is no reason to refuse; the path's need
            // for one is, and a close code can say so where a failed handshake cannot.
            "/wamp" => Accept::OpenAndClose(CloseCode::PROTOCOL_ERROR, SUBPROTOCOL_REQUIRED),
            _ => Accept::NotMine,
        }
    }

    fn open(
        &mut self,
        subprotocol: Option<&str>,
        _: Terms,
        joined: Option<ChannelId>,
    ) -> dialect::Session {
        debug_assert_eq!(joined, None, "a WAMP connection joins no channel");
        let wire = subprotocol.and_then(Wire::of_subprotocol);
        let session = Session::new(wire.unwrap_or_default());
        dialect::Session::at(self.sessions.insert(session))
    }

    fn next<'a>(
        &mut self,
        session: dialect::Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        let (session, new_id) = (&mut self.sessions[session.index()], &mut *cx.new_id);
        let (wire, settings) = (session.wire(), &*self.settings);
        cx.replies.message(wire.opcode(), |out| {
            // The answers to the messages of a batch up to the next command are a batch.
            loop {
                let command = match wire.take(input) {
                    Ok(message) => session.handle(message, out, new_id, settings),
                    Err(WireError(reason)) => session.violate(reason, out),
                };
                if command.is_some() || input.is_empty() {
                    return command;
                }
            }
        })
    }

    fn on(&mut self, session: dialect::Session, event: Event<'_>, cx: &mut Context<'_>) -> Next {
        let Some(session) = self.sessions.get_mut(session.index()) else {
            return Next::Continue;
        };
        let (new_id, settings) = (&mut *cx.new_id, &*self.settings);
        let opcode = session.wire().opcode();
        let tell = |out: &mut Vec<u8>| on_event(session, event, new_id, settings, out);
        let ends = cx.replies.message(opcode, tell);
        match ends {
            Some(Command::Close { code, reason }) => Next::Close { code, reason },
            _ => Next::Continue,
        }
    }

    fn pop_subscription(&mut self, session: &mut dialect::Session) -> Option<(ChannelId, Form)> {
        // The session stays, to answer what still comes.
        let session = self.sessions.get_mut(session.index())?;
        let channel = session.pop_subscription()?;
        Some((channel, session.form()))
    }

    fn awaits_opening(&self, session: dialect::Session) -> bool {
        let session = self.sessions.get(session.index());
        session.is_some_and(Session::awaits_hello)
    }

    fn is_subscribed(&self, session: dialect::Session, channel: ChannelId) -> bool {
        let session = self.sessions.get(session.index());
        session.is_some_and(|session| session.is_subscribed(channel))
    }

    fn is_confirmed(&self, session: dialect::Session, channel: ChannelId) -> bool {
        let session = self.sessions.get(session.index());
        session.is_some_and(|session| session.is_confirmed(channel))
    }

    fn realm(&self, session: dialect::Session) -> Option<u16> {
        let session = self.sessions.get(session.index());
        Some(session.map_or(0, Session::realm))
    }

    fn member(&self, session: dialect::Session) -> Option<Member> {
        let session = self.sessions.get(session.index())?;
        Some(Member {
            session: session.id()?,
            realm: session.realm(),
        })
    }

    fn leave(&mut self, session: dialect::Session) -> Option<Member> {
        self.sessions.get_mut(session.index())?.leave()
    }

    fn end_subscription(
        &mut self,
        session: dialect::Session,
        (channel, _): (ChannelId, &str),
        cx: &mut Context<'_>,
    ) -> Option<Form> {
        let session = self.sessions.get_mut(session.index())?;
        let opcode = session.wire().opcode();
        let ended = |out: &mut Vec<u8>| session.end_subscription(channel, out);
        cx.replies.message(opcode, ended).then(|| session.form())
    }

    fn each_subscription(&self, session: dialect::Session, visit: &mut dyn FnMut(ChannelId)) {
        if let Some(session) = self.sessions.get(session.index()) {
            session.subscriptions().for_each(visit);
        }
    }

    fn is_receiver(
        &self,
        session: dialect::Session,
        identity: Option<&Identity>,
        receivers: &Receivers,
    ) -> bool {
        let session = self.sessions.get(session.index());
        receivers.admits(session.and_then(|session| session.as_receiver(identity)))
    }

    fn close(&mut self, session: dialect::Session) {
        self.sessions.try_remove(session.index());
        self.shrink_if_empty();
    }

    fn export(&mut self, session: dialect::Session) -> SessionState {
        let session = self.sessions.try_remove(session.index());
        self.shrink_if_empty();
        session.unwrap_or_default().into_state()
    }

    fn import(&mut self, state: SessionState) -> dialect::Session {
        dialect::Session::at(self.sessions.insert(Session::from_state(state)))
    }

    fn encode(form: u8, publication: &Publication, ids: EventIds, _: &str) -> Frozen {
        let (_, wire) = Wire::ALL[usize::from(form)];
        if wire == Wire::default() {
            return encode_json(publication, ids);
        }
        encode_event(wire, publication, ids, disclosed(publication))
    }

    /// The same, with `Details.topic` ("Pattern-based Subscriptions").
    fn encode_matched(form: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen {
        let (_, wire) = Wire::ALL[usize::from(form)];
        let details = EventDetails {
            publisher: publication.disclosed(),
            topic: Some(Cow::Borrowed(channel)),
            ..EventDetails::default()
        };
        encode_event(wire, publication, ids, Sparse::of(details))
    }

    /// The same, with `Details.retained` ("Event Retention").
    fn encode_retained(
        form: u8,
        publication: &Publication,
        ids: EventIds,
        _: &str,
        _: u64,
    ) -> Frozen {
        let (_, wire) = Wire::ALL[usize::from(form)];
        let details = EventDetails {
            publisher: publication.disclosed(),
            retained: Some(true),
            ..EventDetails::default()
        };
        encode_event(wire, publication, ids, Sparse::of(details))
    }

    fn memory_bytes(&self) -> usize {
        let sessions = self.sessions.iter();
        let listed: usize = sessions
            .map(|(_, session)| session.memory_bytes() - size_of::<Session>())
            .sum();
        self.sessions.capacity() * size_of::<Session>() + listed
    }

    fn shrink(&mut self) -> usize {
        let before = self.sessions.capacity();
        if before > SESSIONS_KEPT && before / 4 > self.sessions.len() {
            self.sessions.shrink_to_fit(); // as far as the last session
        }
        (before - self.sessions.capacity()) * size_of::<Session>()
    }
}

impl Wamp {
    /// Keeps no room for the many sessions there once were.
    fn shrink_if_empty(&mut self) {
        if self.sessions.is_empty() && self.sessions.capacity() > SESSIONS_KEPT {
            self.sessions = Slab::new();
        }
    }
}

/// Tells a session what has happened, and gives the command that ends the connection, if it ends.
fn on_event(
    session: &mut Session,
    event: Event<'_>,
    new_id: &mut dyn FnMut() -> u64,
    settings: &Settings,
    out: &mut Vec<u8>,
) -> Option<Command<'static>> {
    match event {
        Event::Subscribing {
            token: _,
            channel,
            form: _,
        } => session.on_subscribing(channel),
        Event::Subscribed {
            token,
            channel,
            topic,
            snapshot: _, // SUBSCRIBED has no place for it
            recovers: _,
            recovery: _, // none is asked for
        } => session.on_subscribed(token, channel, topic, out),
        Event::Unsubscribed { token } => session.on_unsubscribed(token, out),
        Event::TokenChecked(outcome) => return session.on_token_checked(outcome, out),
        Event::UnsubscribedFrom { .. }
        | Event::RpcAnswered { .. }
        | Event::Missed { .. }
        | Event::SubscriptionsAwaited
        | Event::WaitEnded { .. }
        | Event::Emulated { .. }
        | Event::History { .. }
        | Event::GrantExpired { .. }
        | Event::GrantRefreshed { .. }
        | Event::Presence { .. }
        | Event::PingDue
        | Event::Greeting
        | Event::PongMissing => {} // it asks for none of these
        Event::Published { token, publication } => {
            session.on_published(token, publication, out);
        }
        refused @ (Event::Refused { .. } | Event::SubscriptionRefused { .. }) => {
            tell_refused(session, refused, out);
        }
        Event::Dealer(notice) => session.on_notice(notice, out, settings),
        Event::Unregistered { token, existed } => {
            session.on_unregistered(token, existed, out);
        }
        Event::CallRefused { request, error } => {
            return session.on_call_refused(request, error, out);
        }
        Event::NeverInvoked(_) => return session.violate(NEVER_INVOKED, out),
        Event::AuthenticationOver(message) => {
            return session.give_up_authentication(message, out);
        }
        Event::OpeningMissing => return session.give_up_hello(out),
        Event::Dropped { messages } => session.on_dropped(messages, new_id, out),
        ending @ (Event::SlowConsumer { .. }
        | Event::Expired { .. }
        | Event::Revoked { .. }
        | Event::Disconnected { .. }
        | Event::OverLimit { .. }
        | Event::Killed { .. }
        | Event::Draining) => say_goodbye(session, ending, out),
    }
    None
}

/// Says that something is not to be, if this event says so.
fn tell_refused(session: &mut Session, event: Event<'_>, out: &mut Vec<u8>) {
    match event {
        Event::Refused {
            request,
            token: Some(token),
            refusal,
        } => {
            let (error, message) = error_of(refusal);
            session.on_refused(request.into(), token, error, message, out);
        }
        Event::SubscriptionRefused {
            token,
            channel,
            refusal,
        } => {
            session.forget(channel);
            let (error, message) = error_of(refusal);
            session.on_refused(Request::Subscribe, token, error, message, out);
        }
        _ => {}
    }
}

/// Says why the session ends, if this event ends it.
fn say_goodbye(session: &mut Session, event: Event<'_>, out: &mut Vec<u8>) {
    match event {
        Event::SlowConsumer { reason } => session.close_slow(reason, out),
        Event::Expired { credential } => {
            let message = format!("The {credential} has expired.");
            session.end(uri::EXPIRED, &message, out);
        }
        Event::Revoked { credential } => {
            let message = format!("The {credential} is revoked.");
            session.end(uri::REVOKED, &message, out);
        }
        Event::Disconnected { reason } => session.end(uri::KILLED, reason, out),
        Event::OverLimit { reason, .. } => session.end(uri::OVER_LIMIT, reason, out),
        Event::Killed { reason, message } => session.end(reason, message, out),
        Event::Draining => session.goodbye(out),
        _ => {}
    }
}

impl From<dialect::Request> for Request {
    fn from(request: dialect::Request) -> Request {
        match request {
            dialect::Request::Publish => Request::Publish,
            dialect::Request::Subscribe => Request::Subscribe,
            dialect::Request::Register => Request::Register,
            // It asks for no presence.
            dialect::Request::Call | dialect::Request::Presence => Request::Call,
        }
    }
}

/// `[EVENT, SUBSCRIBED.Subscription|id, PUBLISHED.Publication|id, Details|dict, …]`, the parts
/// copied once.
fn encode_json(publication: &Publication, ids: EventIds) -> Frozen {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(b"[36,");
    push_number(&mut head, ids.topic);
    head.push(b',');
    push_number(&mut head, ids.publication);
    match publication.disclosed() {
        None => head.extend_from_slice(b",{}"),
        Some(publisher) => {
            head.extend_from_slice(b",{\"publisher\":");
            push_number(&mut head, publisher);
            head.push(b'}');
        }
    }
    let tail = publication.json_tail();
    Frozen::from_parts(Opcode::Text, &[&head, &tail, b"]"])
}

/// An EVENT by any serializer.
fn encode_event(
    wire: Wire,
    publication: &Publication,
    ids: EventIds,
    details: Sparse<EventDetails<'_>>,
) -> Frozen {
    let message = publication.with_arguments(wire.serializer, |arguments| {
        let mut message = Vec::with_capacity(arguments.size() + HEAD_BYTES);
        let event = WampMessage::Event {
            subscription: ids.topic,
            publication: ids.publication,
            details,
            arguments,
        };
        wire.append(&mut message, |serializer, out| event.write(serializer, out));
        message
    });
    Frozen::message(wire.opcode(), &message)
}

/// `EVENT.Details` of a publication.
fn disclosed(publication: &Publication) -> Sparse<EventDetails<'static>> {
    let Some(publisher) = publication.disclosed() else {
        return Sparse::default();
    };
    Sparse::of(EventDetails {
        publisher: Some(publisher),
        ..EventDetails::default()
    })
}

/// The error's URI, and what it says to a person.
fn error_of(refusal: Refusal) -> (&'static str, Option<&'static str>) {
    match refusal {
        Refusal::NotAllowed(denial) => {
            let uri = match denial.is_temporary() {
                true => uri::AUTHORIZATION_FAILED,
                false => uri::NOT_AUTHORIZED,
            };
            (uri, Some(denial.message()))
        }
        Refusal::InvalidName => (uri::INVALID_URI, None),
        Refusal::NoRoom => (uri::UNAVAILABLE, None),
        Refusal::InvalidPattern => (uri::INVALID_URI, None),
        Refusal::NotKept | Refusal::TooOften => (uri::UNAVAILABLE, None), // it asks for no such thing
        Refusal::PatternShape => (uri::OPTION_NOT_ALLOWED, None),
    }
}

/// An answer to no invocation; one that has ended is another matter.
const NEVER_INVOKED: &str = "Received YIELD or ERROR for an INVOCATION that was never sent.";
/// Close reason on `/wamp` without a subprotocol that is served.
const SUBPROTOCOL_REQUIRED: &str = "This path speaks WAMP: the client must offer the subprotocol wamp.2.json, wamp.2.msgpack or wamp.2.cbor.";
/// What stands in an EVENT beside its arguments, at most: three numbers of 16 digits, the name of
/// one, and a batch's length.
const HEAD_BYTES: usize = 80;
/// Room for so many sessions is kept when the last has ended.
const SESSIONS_KEPT: usize = 64;
