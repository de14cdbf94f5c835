//! Carries out what dialects command of procedures and calls.

use roost_dealer::{Answer, Call, Notice, Register};
use roost_dialect::CallBody;
use roost_dialect::dialect::Event;
use roost_net::ConnKey;

use crate::calls::client;
use crate::clock::TICK_MS;
use crate::connections::Phase;
use crate::core::Core;
use crate::dialogue::notify;

/// Offers a procedure.
pub(crate) fn register(core: &mut Core, key: ConnKey, register: Register<'_>) {
    let token = register.token;
    let now = core.now();
    if let Err(error) = core.calls.register(register, now) {
        let notice = Notice::RegisterRefused { token, error };
        notify(core, key, Event::Dealer(&notice));
    }
}

/// Offers a procedure no longer.
pub(crate) fn unregister(core: &mut Core, key: ConnKey, registration: u64, token: u64) {
    let existed = core.calls.unregister(client(key), registration);
    notify(core, key, Event::Unregistered { token, existed });
}

/// Calls a procedure.
pub(crate) fn call(core: &mut Core, key: ConnKey, call: Call<'_, CallBody>) {
    let (now, request) = (core.now(), call.request);
    match core.calls.call(call, now) {
        Ok(()) => pause_if_needed(core, key),
        Err(error) => notify(core, key, Event::CallRefused { request, error }),
    }
}

/// Answers an invocation.
pub(crate) fn answer(core: &mut Core, key: ConnKey, invocation: u64, answer: Answer<CallBody>) {
    let now = core.now();
    match core.calls.answer(client(key), invocation, answer, now) {
        Ok(()) => pause_if_needed(core, key),
        Err(error) => notify(core, key, Event::NeverInvoked(error)),
    }
}

/// A call's limit in ticks. The tick that runs does not count: a call is never given up early.
pub(crate) fn ticks_of_call(timeout_ms: u64) -> u32 {
    match timeout_ms {
        0 => 0,
        ms => u32::try_from(ms.div_ceil(u64::from(TICK_MS)) + 1).unwrap_or(u32::MAX),
    }
}

/// Stops reading from a client as long as other reactors do not take what clients here say.
pub(crate) fn pause_if_needed(core: &mut Core, key: ConnKey) {
    if core.channels.has_room_for_calls() {
        return;
    }
    let conn = core.connections.get(key);
    let is_open = conn.is_some_and(|conn| conn.phase == Phase::Open);
    if is_open && core.connections.pause(key) {
        core.counters.publishers_paused_total.inc();
        core.channels.wait_for_room(key);
    }
}
