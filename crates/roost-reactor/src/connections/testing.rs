//! For tests of other parts: connections that no driver serves.

use roost_metrics::Registry;
use roost_net::ConnKey;

use super::conn::{Arrival, Index};
use super::state::Connections;
use crate::clock::Clock;
use crate::settings::Settings;

/// None yet, of a server with one reactor.
pub(crate) fn connections() -> Connections {
    let registry = Registry::with_namespaces(1, vec![String::new()]);
    let settings = std::sync::Arc::new(Settings::for_tests());
    Connections::new(
        &settings,
        registry.reactor(0),
        &registry.namespaces(0),
        (0, 1),
        0,
    )
}

/// One more, that has sent nothing yet.
pub(crate) fn insert(connections: &mut Connections) -> ConnKey {
    connections.insert(Arrival::new(0, Index::NONE))
}

/// The TLS connection in `slot` goes on with these keys.
pub(crate) fn set_keys(connections: &mut Connections, slot: u32, rest: &mut roost_tls::Rest) {
    connections.transports.release(slot);
    connections.transports.establish(slot, rest);
}

/// Lets time pass, and input be known until then.
pub(crate) fn advance(connections: &mut Connections, ticks: u32) {
    let now = connections.clock().now + ticks;
    connections.set_clock(Clock {
        now,
        input_until: now,
        resumed_at: 0,
    });
}

/// What the connection in `slot` is to be sent, frame by frame; it is forgotten.
pub(crate) fn take_pending(connections: &mut Connections, slot: u32) -> Vec<Vec<u8>> {
    let conn = connections.table.at_mut(slot).expect("it is there");
    let state = std::mem::take(&mut conn.pending);
    let output = &connections.output;
    let mut frames = Vec::new();
    output.palette.frames(state, &mut frames);
    let bytes = frames.iter().map(|&frame| output.bytes_of(frame).to_vec());
    bytes.collect()
}

/// Ends a flush in which nothing is written.
pub(crate) fn forget_pending(connections: &mut Connections) {
    let dirty = connections.begin_flush();
    for &slot in &dirty {
        if let Some(conn) = connections.table.at_mut(slot) {
            connections.output.discard(conn);
        }
    }
    connections.end_flush(dirty);
}

/// Bytes that are kept for the next loop iteration, or for more connections.
pub(crate) fn held_bytes(connections: &Connections) -> usize {
    connections.table.memory_bytes()
        + connections.output.memory_bytes()
        + connections.inputs.capacity()
}
