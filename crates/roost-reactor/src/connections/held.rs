//! What connections make a reactor hold, of one and in sum.

use roost_net::{ConnKey, Driver};

use super::conn::{Flags, Phase};
use super::state::Connections;

/// Bytes a connection makes this reactor hold.
pub(crate) fn held_by<D: Driver>(connections: &Connections, driver: &D, key: ConnKey) -> u64 {
    let Some(conn) = connections
        .table
        .get(key)
        .filter(|c| c.phase != Phase::Closed)
    else {
        return 0;
    };
    let input = connections.inputs.bytes_of(key.slot(), conn);
    let in_flight = match conn.flags.has(Flags::IN_FLIGHT) {
        true => driver.pinned_bytes(key),
        false => 0,
    };
    connections.outboxes.held_by(conn).cost + (input + in_flight) as u64
}

/// Brings connections' gauges up to date.
/// `checks`: open connections whose token is being checked.
#[inline]
pub(crate) fn publish_gauges(connections: &Connections, checks: usize) {
    let counters = &connections.counters;
    counters
        .input_buffered_bytes
        .set(connections.inputs.bytes());
    let checks = connections.inputs.checks() + checks;
    counters.token_checks_in_flight.set(checks as u64);
    let backlogged = connections.outboxes.len() as u64;
    counters.connections_backlogged.set(backlogged);
    counters.outbox_bytes.set(connections.outboxes.held().bytes);
    counters
        .tls_hellos_waiting
        .set(connections.transports.hellos() as u64);
}
