//! Event streams of several channels: each event's id says where its client stands in all of them.

use roost_net::ConnKey;

use super::encoding::Framing;
use super::state::Connections;

/// A connection has just become such a stream: ids are written from its first event on.
pub(crate) fn begin_stamps(connections: &mut Connections, key: ConnKey) {
    let framing = connections.get(key).map(|conn| conn.framing);
    debug_assert_eq!(framing, Some(Framing::Stamped), "it is open as one");
    connections.contexts.begin_positions(key.slot());
}
