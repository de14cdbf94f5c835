//! The application's answers, carried out: handshakes go on, and open connections do what they asked for
//! and are read again, in their order.

use roost_access::{Denial, Method, Operation};
use roost_dialect::dialect::{Event, Refusal, Request as Asked, RpcAnswer};
use roost_net::ConnKey;
use tracing::debug;

use crate::authentication::{TOO_MANY, identity_of};
use crate::closing::start_close;
use crate::commands::{go_on, publish_allowed};
use crate::connections::{Flags, Partial, Phase, TooMany};
use crate::core::Core;
use crate::dialogue::notify;
use crate::handshake::join_allowed;
use crate::hook_asks::refuse_busy;
use crate::hook_calls::{HookAnswer, HookOutcome, Request, Waiting};
use crate::input::read_again;
use crate::messages::apply_pending;
use crate::requests::handle_checked;
use crate::responses::refuse;
use crate::subscribe_commands::subscribe_allowed;

/// The application has answered, or it is known that it does not.
pub(crate) fn handle_hook_answer(core: &mut Core, answer: HookAnswer) {
    let HookAnswer {
        key,
        number,
        outcome,
    } = answer;
    match core.connections.get(key).map(|conn| conn.phase) {
        Some(Phase::Joining) if number == 0 => handle_in_handshake(core, key, outcome),
        Some(Phase::Open) => {
            if let Some(waiting) = core.hook_calls.take_waiting(key.slot(), number) {
                handle_open(core, key, waiting, outcome);
            }
        }
        _ => {} // its client has gone, or was told that it took too long
    }
}

/// Gives up questions that are due: the control thread, which answers each in time, does not run.
pub(crate) fn keep_hook_deadlines(core: &mut Core) {
    let until = core.connections.clock().input_until;
    while let Some((key, number)) = core.hook_calls.pop_due(until) {
        let is_same = core.connections.get(key).is_some();
        let waiting = is_same.then(|| core.hook_calls.take_waiting(key.slot(), number));
        if let Some(waiting) = waiting.flatten() {
            debug!(connection = %core.id(key), "no hook has answered in time");
            let outcome = HookOutcome::Unavailable("".into());
            handle_open(core, key, waiting, outcome);
            apply_pending(core);
        }
    }
}

fn handle_in_handshake(core: &mut Core, key: ConnKey, outcome: HookOutcome) {
    let Some(partial) = core.connections.take_partial(key.slot()) else {
        debug_assert!(false, "a joining connection keeps its handshake");
        return;
    };
    let refusal = match (partial, outcome) {
        (Partial::PendingCheck(pending), HookOutcome::Login(login)) if pending.is_hook => {
            core.counters.hooks_allowed_total.inc();
            let identity = identity_of(core.now(), *login, Method::Hook, 0);
            if let Err(TooMany) = core.connections.identify(key, identity) {
                return refuse(core, key, 429, TOO_MANY);
            }
            core.connections.resume(key);
            return handle_checked(core, key, *pending);
        }
        (Partial::PendingJoin(join), HookOutcome::Allowed(_)) => {
            core.counters.hooks_allowed_total.inc();
            return join_allowed(core, key, *join);
        }
        (Partial::PendingCheck(pending), outcome) if pending.is_hook => outcome,
        (Partial::PendingJoin(_), outcome) => {
            core.counters.subscriptions_refused_total.inc();
            outcome
        }
        (other, _) => {
            return core.connections.keep_partial(key.slot(), other); // of another time
        }
    };
    match refusal {
        HookOutcome::Refused(reason) => refuse_for_good(core, key, &reason),
        HookOutcome::Disconnect { code, reason } => match code.get() {
            ..4500 => refuse_busy(core, key, words_of(reason.as_str())),
            _ => refuse_for_good(core, key, reason.as_str()),
        },
        HookOutcome::Unavailable(reason) => refuse_busy(core, key, words_of(&reason)),
        HookOutcome::Login(_) | HookOutcome::Allowed(_) | HookOutcome::Rpc(_) => {
            debug_assert!(false, "an answer to another question");
            refuse_busy(core, key, "");
        }
    }
}

fn refuse_for_good(core: &mut Core, key: ConnKey, reason: &str) {
    core.counters.hooks_refused_total.inc();
    refuse(core, key, 403, words_of(reason));
}

fn words_of(reason: &str) -> &str {
    match reason {
        "" => "The application does not let this client in.",
        reason => reason,
    }
}

fn handle_open(core: &mut Core, key: ConnKey, waiting: Waiting, outcome: HookOutcome) {
    let Waiting {
        number: _,
        request,
        rest,
    } = waiting;
    if let Some(conn) = core.connections.get_mut(key) {
        conn.flags.clear(Flags::PAUSED); // so that what follows may pause it anew
    }
    match outcome {
        HookOutcome::Allowed(replaced) => {
            core.counters.hooks_allowed_total.inc();
            carry_out(core, key, request, replaced);
        }
        HookOutcome::Disconnect { code, reason } => {
            core.counters.hooks_refused_total.inc();
            start_close(core, key, code, reason.as_str());
        }
        HookOutcome::Rpc(answer) => {
            let counter = match &answer {
                RpcAnswer::Result(_) => &core.counters.hooks_allowed_total,
                _ => &core.counters.hooks_refused_total,
            };
            counter.inc();
            answer_rpc(core, key, &request, &answer);
        }
        HookOutcome::Refused(_) => {
            core.counters.hooks_refused_total.inc();
            refuse_request(core, key, request, Denial::by_hook);
        }
        HookOutcome::Unavailable(_) | HookOutcome::Login(_) => {
            core.counters.hooks_unavailable_total.inc();
            refuse_request(core, key, request, Denial::hook_unavailable);
        }
    }
    if let Some(rest) = rest {
        go_on(core, key, &rest);
    }
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if !conn.flags.has(Flags::PAUSED) {
        conn.flags.set(Flags::PAUSED);
        read_again(core, key);
    }
}

fn carry_out(
    core: &mut Core,
    key: ConnKey,
    request: Request,
    replaced: Option<roost_dialect::Publication>,
) {
    match request {
        Request::Subscribe {
            channel,
            since,
            form,
            token,
        } => subscribe_allowed(core, key, (&channel, since), form, token),
        Request::Publish {
            channel,
            payload,
            excludes,
            ack,
        } => {
            let payload = match replaced {
                // Whom it is for is still the publisher's choice.
                Some(replaced) => replaced.with_details(payload.details().cloned()),
                None => payload,
            };
            publish_allowed(core, key, &channel, (payload, excludes, ack));
        }
        Request::Rpc { .. } => answer_rpc(core, key, &request, &RpcAnswer::Unavailable),
    }
}

/// A client is told what its method has come to.
fn answer_rpc(core: &mut Core, key: ConnKey, request: &Request, answer: &RpcAnswer) {
    let Request::Rpc { token, .. } = *request else {
        debug_assert!(false, "an answer to another question");
        return;
    };
    notify(core, key, Event::RpcAnswered { token, answer });
}

fn refuse_request(
    core: &mut Core,
    key: ConnKey,
    request: Request,
    denial: impl Fn(Operation) -> Denial,
) {
    let (request, token, operation) = match request {
        Request::Rpc { .. } => {
            return answer_rpc(core, key, &request, &RpcAnswer::Unavailable);
        }
        Request::Subscribe { token, .. } => {
            core.counters.subscriptions_refused_total.inc();
            (Asked::Subscribe, Some(token), Operation::Subscribe)
        }
        Request::Publish { ack, .. } => {
            core.counters.publishes_refused_total.inc();
            (Asked::Publish, ack, Operation::Publish)
        }
    };
    let refusal = Refusal::NotAllowed(denial(operation));
    notify(
        core,
        key,
        Event::Refused {
            request,
            token,
            refusal,
        },
    );
}
