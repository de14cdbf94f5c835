//! Messages of other reactors and of the control thread.

use roost_hub::ReactorId;
use roost_net::ConnKey;

use crate::authentication::handle_verdict;
use crate::channels::is_canary;
use crate::client_tokens;
use crate::commands::handle_rest;
use crate::control::{handle_publications, handle_request};
use crate::core::Core;
use crate::hook_answers::handle_hook_answer;
use crate::messages::apply_pending;
use crate::peer_message::PeerMessage;
use crate::requests::handle_checked;
use crate::token_checks::{EndedCheck, Verdict};
use crate::{emulation, entry_scans, history_answers, history_reads, session_scans};

/// A token of an open connection was checked: what it has sent behind it is handled, and it is read again.
fn handle_client_verdict(core: &mut Core, key: ConnKey, verdict: Verdict, ended: EndedCheck) {
    client_tokens::handle_verdict(core, verdict, ended.is_subscription);
    handle_rest(core, key, ended.rest);
    if !core.token_checks.awaits(key.slot()) {
        core.channels.unpark(key);
    }
}

/// Whether a batch is the control thread's question whether this reactor delivers, and nothing else: no reason
/// to look through memory.
#[inline]
pub(crate) fn is_probe(core: &Core, from: ReactorId, batch: &[PeerMessage]) -> bool {
    from == core.channels.control()
        && matches!(batch, [PeerMessage::Publications(batch)]
            if matches!(&*batch.1, [one] if is_canary(&one.channel)))
}

/// Handles a batch from another reactor.
pub(crate) fn handle_peer_messages(core: &mut Core, from: ReactorId, mut batch: Vec<PeerMessage>) {
    for message in batch.drain(..) {
        handle_peer_message(core, from, message);
    }
    core.channels.links_mut().recycle(batch);
}

#[inline]
fn handle_peer_message(core: &mut Core, from: ReactorId, message: PeerMessage) {
    match message {
        PeerMessage::Hub(item) => {
            let now = core.now();
            let codec = core.connections.codec();
            core.channels.receive(from, item, codec, now);
            apply_pending(core);
        }
        PeerMessage::Call(item) => {
            let now = core.now();
            core.calls.receive(from, *item, now);
            apply_pending(core);
        }
        PeerMessage::Congested { name, publisher } => {
            let connections = &mut core.connections;
            core.channels
                .begin_congestion(from, name, publisher, connections);
        }
        PeerMessage::Relieved { name } => core.channels.end_congestion(from, &name),
        PeerMessage::HistoryAsk(ask) => history_reads::answer(core, from, *ask),
        PeerMessage::HistoryAnswer(answer) => history_answers::handle_answer(core, *answer),
        PeerMessage::Relay(relayed) => emulation::handle_relayed(core, from, &relayed),
        PeerMessage::RelayAnswer { asker, outcome } => {
            emulation::handle_answer(core, asker, outcome);
            apply_pending(core);
        }
        PeerMessage::SessionQuery(asked) => {
            let (number, query) = *asked;
            session_scans::look_into(core, from, number, query);
        }
        PeerMessage::SessionsFound(found) => {
            session_scans::handle_found(core, found.0, found.1);
            apply_pending(core);
        }
        PeerMessage::EntryQuery(asked) => {
            let (number, question) = *asked;
            entry_scans::look_into(core, from, number, question);
        }
        PeerMessage::EntriesFound(found) => {
            entry_scans::handle_found(core, found.0, found.1);
            apply_pending(core);
        }
        PeerMessage::Request(request) => {
            let (token, request) = *request;
            handle_request(core, token, request);
        }
        PeerMessage::Publications(batch) => handle_publications(core, batch.0, batch.1),
        PeerMessage::Verdicts(verdicts) => handle_verdicts(core, verdicts),
        PeerMessage::HookAnswers(answers) => {
            for answer in answers {
                handle_hook_answer(core, answer);
                apply_pending(core);
            }
        }
        PeerMessage::Answer(_)
        | PeerMessage::Tapped(_)
        | PeerMessage::TokenChecks(_)
        | PeerMessage::HookCalls(_)
        | PeerMessage::Events(_) => debug_assert!(false, "reactors do not ask each other"),
    }
}

/// Tokens were checked: of requests that wait for it, and of open connections.
fn handle_verdicts(core: &mut Core, verdicts: Vec<Verdict>) {
    for verdict in verdicts {
        let key = verdict.key;
        if let Some(ended) = core.token_checks.end_open(key) {
            handle_client_verdict(core, key, verdict, ended);
        } else if let Some(pending) = handle_verdict(core, verdict) {
            handle_checked(core, key, *pending);
        }
        apply_pending(core);
    }
}
