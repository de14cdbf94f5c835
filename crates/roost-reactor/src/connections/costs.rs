//! The accounts of all connections, for tests: what each has sent, and what that costs.

use roost_net::{ConnKey, Driver};

use super::conn::Phase;
use super::state::Connections;

/// What one connection has sent, and what it costs.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct ConnCost {
    /// Whose it is.
    pub key: ConnKey,
    /// Bytes that the driver has delivered.
    pub received_bytes: u64,
    /// Those of them that came since nothing of the connection's input was kept.
    pub unfinished_bytes: u64,
    /// Work done for them: bytes touched, and one for each piece that is handled. Work for the
    /// receivers of what was published is not in it.
    pub steps: u64,
    /// Memory that unfinished input takes, in bytes.
    pub input_bytes: u64,
    /// Memory that what waits for the socket takes, with the driver or behind it, in bytes.
    pub output_bytes: u64,
    /// All that waits answers what the connection itself has sent.
    pub hears_itself_only: bool,
}

/// The accounts of all connections that are not being closed. In debug builds only they say what was
/// received and done.
pub(crate) fn conn_costs<D: Driver>(
    connections: &Connections,
    driver: &D,
) -> impl Iterator<Item = ConnCost> {
    let keys = connections.keys();
    keys.filter_map(move |key| conn_cost_of(connections, driver, key))
}

/// The slots of connections closed because all together held too much, and what each held; in debug
/// builds only.
pub(crate) fn closed_holding(connections: &Connections) -> impl Iterator<Item = (u32, u64)> {
    connections.cost_probe.closed_holding()
}

fn conn_cost_of<D: Driver>(
    connections: &Connections,
    driver: &D,
    key: ConnKey,
) -> Option<ConnCost> {
    let conn = connections.get(key)?;
    if conn.phase == Phase::Closed {
        return None;
    }
    let entry = connections.cost_probe.entry(key.slot());
    let outbox = connections.outboxes.held_by(conn).cost;
    let is_answered =
        conn.phase == Phase::Http && connections.exchanges.get(key.slot()).stream.is_none();
    Some(ConnCost {
        key,
        received_bytes: entry.received_bytes,
        unfinished_bytes: entry.unfinished_bytes,
        steps: entry.steps,
        input_bytes: connections.inputs.bytes_of(key.slot(), conn) as u64,
        output_bytes: outbox + driver.unsent_bytes(key) as u64,
        hears_itself_only: conn.dialect.sends_back() || is_answered,
    })
}
