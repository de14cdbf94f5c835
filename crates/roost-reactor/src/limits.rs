//! Connections closed because all together hold too much.

use roost_net::{CloseMode, ConnKey, Driver};
use roost_wire::CloseCode;

use crate::closing::{close_dropping, cut, fail, linger};
use crate::connections::{Flags, Partial, Phase, held_by};
use crate::core::Core;
use crate::governor::BudgetVerdict;
use crate::responses::refuse;

/// Looks at what all hold together, and closes the connections that the governor names. Returns whether there
/// were any.
#[inline(always)] // a call in each loop iteration
pub(crate) fn keep_budget<D: Driver>(core: &mut Core, driver: &D) -> bool {
    let verdict = core.governor.look_at_budget(&core.connections, driver);
    match verdict {
        None => false,
        Some(verdict) => close_holders(core, driver, verdict),
    }
}

#[cold]
fn close_holders<D: Driver>(core: &mut Core, driver: &D, verdict: BudgetVerdict) -> bool {
    if verdict.wake_others {
        core.channels.links().wake_others();
    }
    let (mut held, mut listed) = (verdict.held_bytes, verdict.listed_bytes);
    let mut close_threshold = verdict.close_threshold;
    let mut holders = verdict.holders.into_iter().peekable();
    let mut has_closed = false;
    // What waits for several is freed with the last of them: if closing so many has not freed
    // enough, twice as many are next.
    let mut wanted = held.saturating_sub(verdict.goal_bytes);
    while held > verdict.goal_bytes {
        let mut given = 0;
        while given < wanted
            && let Some((bytes, key)) = holders.next_if(|(bytes, _)| *bytes >= close_threshold)
        {
            given += bytes;
            core.counters.closed_memory_limit_total.inc();
            core.connections.note_closed_holding(key, bytes);
            close_holder(core, driver, key);
            listed = listed - bytes + held_by(&core.connections, driver, key);
        }
        if given == 0 {
            break;
        }
        has_closed = true;
        let governor = &mut core.governor;
        (held, close_threshold) = governor.report_closed(&core.connections, driver, listed);
        wanted = wanted.saturating_mul(2);
    }
    has_closed
}

/// Ends a connection so that what it holds is freed at once.
fn close_holder<D: Driver>(core: &mut Core, driver: &D, key: ConnKey) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    // A close frame would wait behind the batch in flight, and that is what must go.
    let much_in_flight =
        conn.flags.has(Flags::IN_FLIGHT) && driver.pinned_bytes(key) > IN_FLIGHT_LEFT_MAX;
    // Nor is there a place in an HTTP response that is half sent.
    let is_being_answered = conn.phase == Phase::Http
        && (core.connections.has_outbox(key) || conn.flags.has(Flags::IN_FLIGHT));
    if much_in_flight || conn.phase > Phase::Open || is_being_answered {
        return cut(core, key, CloseMode::Abort);
    }
    if conn.phase < Phase::Open {
        return refuse(core, key, 503, REASON);
    }
    let has_input = conn.flags.has(Flags::HAS_REST)
        || core
            .connections
            .inputs()
            .get(conn)
            .is_some_and(Partial::is_message);
    if core.connections.has_outbox(key) {
        close_dropping(core, key, REASON);
        if has_input {
            linger(core, key);
        }
    } else {
        fail(core, key, CloseCode::TRY_AGAIN_LATER, REASON);
    }
}

/// A batch in flight up to this size is left to go out, with a close frame behind it.
const IN_FLIGHT_LEFT_MAX: usize = 16 << 10;
const REASON: &str = "server memory limit";
