//! Questions to the application: who asks waits and is not read meanwhile, and no other client is
//! concerned. What follows the answer is in [`crate::hook_answers`].

use roost_access::{Denial, Operation, Secret};
use roost_net::ConnKey;
use roost_wire::handshake::Request as HttpRequest;

use crate::clock::ticks;
use crate::connections::{Partial, PendingCheck, PendingJoin, Phase};
use crate::core::Core;
use crate::hook_calls::{HookAsked, HookCall, Request, Waiting, bytes_of_rpc};
use crate::peer_message::PeerMessage;
use crate::responses::refuse_naming;

/// Asks whether a client without a token may connect. Its handshake is kept as it came.
pub(crate) fn ask_connect(
    core: &mut Core,
    key: ConnKey,
    request: &HttpRequest<'_>,
    dialect: &'static str,
    (head, rest): (&[u8], &[u8]),
) {
    if !has_room_for_handshake(core) {
        return refuse_busy(core, key, "Too many clients log in at once; try again.");
    }
    let named = core.settings.hooks.headers.iter();
    let headers = named.flat_map(|name| {
        let values = request.values(name);
        values.map(|value| (name.as_str().into(), Secret::from(value.to_vec())))
    });
    let asked = HookAsked::Connect {
        headers: headers.collect(),
    };
    let bytes = [head, rest].concat();
    core.connections.work(key.slot(), bytes.len() as u64);
    let pending = PendingCheck {
        bytes,
        head_len: head.len(),
        is_hook: true,
    };
    wait_in_handshake(core, key, Partial::PendingCheck(Box::new(pending)));
    push(core, key, 0, dialect, asked);
}

/// Asks whether a client may subscribe to the channel that its handshake names.
pub(crate) fn ask_join(core: &mut Core, key: ConnKey, join: PendingJoin) {
    if !has_room_for_handshake(core) {
        return refuse_busy(core, key, "Too many clients log in at once; try again.");
    }
    let dialect = join.pending.dialect.name();
    let channel = join.channel.clone();
    wait_in_handshake(core, key, Partial::PendingJoin(Box::new(join)));
    push(core, key, 0, dialect, HookAsked::Subscribe { channel });
}

/// Asks whether an open connection may do something.
///
/// # Errors
/// It cannot be asked: so many wait already.
pub(crate) fn ask_open(core: &mut Core, key: ConnKey, request: Request) -> Result<(), Denial> {
    let (operation, bytes, asked) = match &request {
        Request::Subscribe { channel, .. } => {
            let channel = channel.clone();
            (
                Operation::Subscribe,
                channel.len(),
                HookAsked::Subscribe { channel },
            )
        }
        Request::Publish {
            channel, payload, ..
        } => {
            let (channel, payload) = (channel.clone(), payload.clone());
            let bytes = channel.len() + payload.bytes();
            (
                Operation::Publish,
                bytes,
                HookAsked::Publish { channel, payload },
            )
        }
        Request::Rpc { method, data, .. } => {
            let (method, data) = (method.clone(), data.clone());
            let bytes = bytes_of_rpc(&method, data.as_deref());
            (Operation::Call, bytes, HookAsked::Rpc { method, data })
        }
    };
    let Some(conn) = core.connections.get(key) else {
        return Ok(());
    };
    let dialect = conn.dialect.name();
    if !core.hook_calls.has_room(bytes) {
        core.counters.hooks_unavailable_total.inc();
        return Err(Denial::hook_unavailable(operation));
    }
    let number = core.hook_calls.next_number();
    // The tick that runs does not count.
    let due = core.now() + ticks(core.settings.hooks.wait_ms) + 1;
    let waiting = Waiting {
        number,
        request,
        rest: None,
    };
    core.hook_calls.wait(key, waiting, due);
    core.connections.pause(key);
    push(core, key, number, dialect, asked);
    Ok(())
}

/// Sends the questions of this loop iteration in one message; those for which the ring has no room stay
/// for the next.
#[inline(never)]
pub(crate) fn send_calls(core: &mut Core) {
    let Core {
        hook_calls,
        connections,
        channels,
        ..
    } = core;
    // Nobody waits for those that were given up, or whose connection has ended: while the control thread
    // hangs, clients ask again, and they would be ever more.
    let mut calls = hook_calls.take();
    calls.retain(|call| match connections.get(call.key) {
        Some(conn) if call.number == 0 => conn.phase == Phase::Joining,
        Some(_) => hook_calls.waits_for(call.key.slot(), call.number),
        None => false,
    });
    if calls.is_empty() {
        return;
    }
    let sent = channels.send_to_control(PeerMessage::HookCalls(calls));
    if let Err(PeerMessage::HookCalls(calls)) = sent {
        hook_calls.put_back(calls);
    }
}

/// A handshake has waited for too long: the control thread does not run.
pub(crate) fn on_hook_timeout(core: &mut Core, key: ConnKey) {
    refuse_busy(
        core,
        key,
        "The application could not be asked in time; try again.",
    );
}

/// A handshake is refused for now.
pub(crate) fn refuse_busy(core: &mut Core, key: ConnKey, reason: &str) {
    core.counters.hooks_unavailable_total.inc();
    refuse_naming(core, key, 503, reason, &[("Retry-After", "1")]);
}

fn has_room_for_handshake(core: &Core) -> bool {
    core.connections.inputs().checks() < core.settings.auth.checks_max as usize
}

fn wait_in_handshake(core: &mut Core, key: ConnKey, partial: Partial) {
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    conn.phase = Phase::Joining;
    core.connections.keep_partial(key.slot(), partial);
    core.connections.pause(key);
    let wait_ms = core.settings.hooks.wait_ms;
    core.connections.set_deadline(key.slot(), wait_ms);
}

fn push(core: &mut Core, key: ConnKey, number: u32, dialect: &'static str, asked: HookAsked) {
    let identity = core.connections.identities().get(key.slot());
    let call = HookCall {
        key,
        number,
        client: core.id(key).to_string().into(),
        user: identity
            .map(|identity| identity.user.clone())
            .unwrap_or_default(),
        dialect,
        asked,
    };
    core.hook_calls.push(call);
    core.has_for_control = true;
}
