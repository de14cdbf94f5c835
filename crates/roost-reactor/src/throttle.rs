//! Clients that send more than they may: they are not read for a while, or closed.

use roost_dialect::dialect::Event;
use roost_net::ConnKey;
use roost_wire::CloseCode;

use crate::client_limits::ClientLimit;
use crate::closing::{note_end, start_close};
use crate::connections::{Flags, Phase};
use crate::core::Core;
use crate::dialogue::notify;
use crate::incidents::{EndCause, IncidentKind};
use crate::settings::ClientRatePolicy;

/// A message of a client whose messages are counted was handled. Whether its next one is handled now.
#[cold]
pub(crate) fn note_message(core: &mut Core, key: ConnKey, bytes: u64) -> bool {
    take(core, key, ClientLimit::Messages, 1);
    take(core, key, ClientLimit::Bytes, bytes);
    let conn = core.connections.get(key);
    conn.is_some_and(|conn| conn.reads_frames() && !conn.flags.has(Flags::PAUSED))
}

/// A client has asked for a subscription.
pub(crate) fn note_subscribe(core: &mut Core, key: ConnKey) {
    if core.settings.limits.client_subscribes_per_second_max > 0 {
        take(core, key, ClientLimit::Subscribes, 1);
    }
}

/// A client was refused what it asked for.
pub(crate) fn note_refusal(core: &mut Core, key: ConnKey) {
    if core.settings.limits.client_refusals_per_second_max > 0 {
        take(core, key, ClientLimit::Refusals, 1);
    }
}

fn take(core: &mut Core, key: ConnKey, limit: ClientLimit, amount: u64) {
    let now = core.now();
    let limits = &core.settings.limits;
    let until = core.client_limits.take(key, (limit, amount), limits, now);
    if until <= now {
        return;
    }
    let conn = core.connections.get(key);
    if conn.is_none_or(|conn| conn.phase != Phase::Open) {
        return;
    }
    core.counters.client_rate_limited_total.inc();
    core.note_incident(key, IncidentKind::OverLimit(limit), 1);
    let closes = core.settings.limits.client_rate_policy == ClientRatePolicy::Close
        || limit == ClientLimit::Refusals; // to be read later changes nothing
    if closes {
        return close(core, key, limit);
    }
    if core.connections.pause(key) {
        core.channels.paused().push_later(until, key);
    }
}

fn close(core: &mut Core, key: ConnKey, limit: ClientLimit) {
    let reason = limit.reason();
    core.counters.client_rate_closes_total.inc();
    note_end(core, key, EndCause::RateLimited, reason);
    let is_refusals = limit == ClientLimit::Refusals;
    notify(
        core,
        key,
        Event::OverLimit {
            is_refusals,
            reason,
        },
    );
    start_close(core, key, CloseCode::POLICY_VIOLATION, reason);
}
