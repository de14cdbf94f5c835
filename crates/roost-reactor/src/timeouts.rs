//! Deadlines that are over, kept: see [`crate::connections`] for how they are found.

use roost_access::Method;
use roost_dialect::dialect::Event;
use roost_net::{CloseMode, ConnKey, Driver};
use roost_wire::CloseCode;

use crate::authentication::on_check_timeout;
use crate::closing::{cut, linger, note_end, start_close};
use crate::connections::{Idle, Opening, Partial, Phase, Slice};
use crate::core::Core;
use crate::dialogue::notify;
use crate::event_streams;
use crate::hook_asks::on_hook_timeout;
use crate::incidents::EndCause;
use crate::messages::apply_pending;
use crate::requests::on_request_timeout;
use crate::streams;

/// Looks at the next slice of the table, if it is time.
#[inline(always)] // a call in each loop iteration
pub(crate) fn keep_deadlines<D: Driver>(core: &mut Core, driver: &D) {
    if let Some(slice) = core.connections.begin_slice() {
        keep_slice(core, driver, slice);
    }
    let now = core.now();
    if core.connections.identities().due(now) <= now {
        end_expired(core, now);
    }
}

/// Ends connections whose identity has expired, some at a time.
#[cold]
fn end_expired(core: &mut Core, now: u32) {
    for slot in core.connections.identities_mut().expired(now) {
        let Some(key) = core.connections.key_at(slot) else {
            continue;
        };
        let conn = core.connections.get(key);
        if conn.is_some_and(|conn| conn.phase == Phase::Open) {
            let (credential, reason) = match is_certificates(core, key) {
                true => ("certificate", "the certificate has expired"),
                false => ("token", "the token has expired"),
            };
            core.counters.identities_expired_total.inc();
            notify(core, key, Event::Expired { credential });
            let code = CloseCode::IDENTITY_EXPIRED;
            start_close(core, key, code, reason);
            apply_pending(core);
        }
    }
}

/// Whether the client is who its certificate says; without one it is whose token or login it has shown.
pub(crate) fn is_certificates(core: &Core, key: ConnKey) -> bool {
    let identity = core.connections.identities().get(key.slot());
    identity.is_some_and(|identity| identity.method == Method::Certificate)
}

/// Apart from the check whether it is time, which each loop iteration makes.
#[inline(never)]
fn keep_slice<D: Driver>(core: &mut Core, driver: &D, mut slice: Slice) {
    while let Some(key) = core.connections.overdue().next(&mut slice) {
        on_deadline(core, driver, key);
        apply_pending(core);
    }
    core.connections.overdue().end_slice(&slice);
}

fn on_deadline<D: Driver>(core: &mut Core, driver: &D, key: ConnKey) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    let limits = &core.settings.limits;
    let handshake_timeout_ms = limits.handshake_timeout_ms;
    let close_timeout_ms = limits.close_timeout_ms.max(1);
    let phase = conn.phase;
    let (awaits_check, awaits_hook) = match core.connections.inputs().get(conn) {
        Some(Partial::PendingCheck(pending)) => (!pending.is_hook, pending.is_hook),
        Some(Partial::PendingJoin(_)) => (false, true),
        _ => (false, false),
    };
    let connections = &mut core.connections;
    match phase {
        Phase::Handshake => {
            if connections
                .overdue()
                .is_silent(driver, key, handshake_timeout_ms)
            {
                on_request_timeout(core, key);
            }
        }
        Phase::Http => check_http(core, driver, key),
        Phase::Joining if awaits_check => on_check_timeout(core, key),
        Phase::Joining if awaits_hook => on_hook_timeout(core, key),
        // Its request is whole; the channel's home, another reactor, has not answered.
        Phase::Joining => connections.set_deadline(key.slot(), handshake_timeout_ms),
        Phase::Open => check_open(core, driver, key),
        Phase::Closing | Phase::Lingering => {
            if connections
                .overdue()
                .is_silent(driver, key, close_timeout_ms)
            {
                core.counters.close_timeouts_total.inc();
                cut(core, key, CloseMode::Abort);
            }
        }
        Phase::Closed => {}
    }
}

/// A connection that speaks plain HTTP may have been sending a request for too long, or none.
fn check_http<D: Driver>(core: &mut Core, driver: &D, key: ConnKey) {
    if core
        .connections
        .exchanges()
        .get(key.slot())
        .stream
        .is_some()
    {
        return streams::check(core, driver, key);
    }
    let limits = &core.settings.limits;
    let keep_alive_ms = limits.http_keep_alive_timeout_ms;
    let handshake_timeout_ms = limits.handshake_timeout_ms;
    let connections = &mut core.connections;
    let conn = connections.get(key);
    match conn.and_then(|conn| connections.inputs().get(conn)) {
        None | Some(Partial::Pipelined(_)) => {
            if connections.overdue().is_silent(driver, key, keep_alive_ms) {
                core.counters.http_keep_alive_timeouts_total.inc();
                linger(core, key);
            }
        }
        Some(_) => {
            if connections
                .overdue()
                .is_silent(driver, key, handshake_timeout_ms)
            {
                on_request_timeout(core, key);
            }
        }
    }
}

/// Whether its dialect pings.
fn pings(core: &Core, key: ConnKey) -> bool {
    let conn = core.connections.get(key);
    conn.is_some_and(|conn| conn.dialect.pings())
}

/// Whether the client of an open connection still has to open its session.
fn awaits_opening(core: &Core, key: ConnKey) -> bool {
    core.connections.get(key).is_some_and(|conn| {
        conn.dialect.is_opened_by_client()
            && core.sessions.awaits_opening(conn.dialect, conn.session)
    })
}

/// An open connection may have been quiet for too long.
fn check_open<D: Driver>(core: &mut Core, driver: &D, key: ConnKey) {
    if core.connections.is_open_event_stream(key) && !pings(core, key) {
        return event_streams::check(core, driver, key);
    }
    if awaits_opening(core, key) {
        match core.connections.overdue().judge_opening(driver, key) {
            Opening::HasTime => {}
            Opening::LiesUnread => return,
            Opening::Missing => {
                core.counters.handshake_timeouts_total.inc();
                return notify(core, key, Event::OpeningMissing);
            }
        }
    }
    match core.connections.overdue().judge_open(driver, key) {
        Idle::No => {}
        Idle::PingDue if pings(core, key) => {
            notify(core, key, Event::PingDue);
            core.connections.note_pinged(key);
        }
        Idle::PingDue => core.connections.send_ping(key),
        Idle::PongMissing => {
            core.counters.ping_timeouts_total.inc();
            note_end(core, key, EndCause::PongMissing, "");
            if pings(core, key) {
                notify(core, key, Event::PongMissing);
            } else {
                cut(core, key, CloseMode::Abort);
            }
        }
        Idle::TooLong => {
            core.counters.idle_timeouts_total.inc();
            note_end(core, key, EndCause::Idle, "idle for too long");
            start_close(core, key, CloseCode::GOING_AWAY, "idle for too long");
        }
    }
}
