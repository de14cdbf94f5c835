//! Everything there is: the kernel, and the drivers' halves.

use roost_random::{SplitMix64, mix};

use super::address::hash_bytes;
use super::kernel::Kernel;
use super::link::Owner;
use super::port::{Port, Queued};
use crate::ConnKey;

/// Names a driver of a [`SimNet`](super::SimNet), in the order of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SimDriverId(pub u32);

/// What the net still holds. At the end of a simulation, when all is closed and
/// [`SimNet::run_to_end`](super::SimNet::run_to_end) has run, there must be nothing ([`SimLeaks::is_none`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SimLeaks {
    /// Connections in drivers' tables.
    pub connections: usize,
    /// Sockets accepted or released not adopted, refused or dropped.
    pub sockets: usize,
    /// Connections in accept queues.
    pub backlog: usize,
    /// Closed sockets that the kernel still keeps for their last bytes.
    pub orphans: usize,
    /// Listening sockets.
    pub listeners: usize,
    /// Bytes sent and not yet received.
    pub wire_bytes: usize,
    /// Batches that drivers hold.
    pub batches: usize,
    /// Bytes of them that the kernel has not taken.
    pub batch_bytes: usize,
}

impl SimLeaks {
    /// Nothing is left.
    pub fn is_none(&self) -> bool {
        *self == SimLeaks::default()
    }
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    /// For the runner and its scripts, apart from the network's own choices.
    pub(super) chooser: SplitMix64,
    pub(super) kernel: Kernel,
    /// By [`SimDriverId`]; `None` when dropped.
    pub(super) ports: Vec<Option<Port>>,
    pub(super) trace: u64,
}

impl World {
    pub(super) fn is_due(&self, id: SimDriverId) -> bool {
        let port = self.ports[id.0 as usize].as_ref();
        port.is_some_and(|port| port.is_due(&self.kernel))
    }

    pub(super) fn due(&self) -> impl Iterator<Item = SimDriverId> {
        (0..self.ports.len() as u32)
            .map(SimDriverId)
            .filter(|id| self.is_due(*id))
    }

    pub(super) fn any_due(&self) -> bool {
        self.due().next().is_some()
    }

    pub(super) fn next_due(&mut self) -> Option<u64> {
        let network = self.kernel.next_due();
        let ports = self.ports.iter().flatten();
        let drivers = ports.filter_map(|port| port.next_due(&self.kernel));
        drivers.chain(network).min()
    }

    /// Writes an event that a caller takes into the trace.
    pub(super) fn trace(&mut self, id: SimDriverId, event: &Queued) {
        let (kind, detail) = match event {
            Queued::Accepted(listener, ..) => (1, u64::from(listener.0)),
            Queued::Connected(_) => (2, 0),
            Queued::Bytes(key, _, n) if self.has_random_bytes(id, *key) => (3, *n as u64),
            Queued::Bytes(_, buffer, n) => (3, hash_bytes(&buffer[..*n])),
            Queued::ReadClosed(_) => (4, 0),
            Queued::Sent(_) => (5, 0),
            Queued::Closed(_, cause) => (6, hash_bytes(format!("{cause:?}").as_bytes())),
            Queued::Released(..) => (7, 0),
            Queued::Woken => (8, 0),
        };
        let key = event.key().map_or(u64::MAX, ConnKey::to_bits);
        for word in [self.kernel.now, u64::from(id.0), kind, key, detail] {
            self.trace = mix(self.trace.wrapping_add(1) ^ word);
        }
    }

    fn has_random_bytes(&self, id: SimDriverId, key: ConnKey) -> bool {
        let port = self.ports[id.0 as usize].as_ref();
        let sock = port.and_then(|port| port.sock_of(key));
        sock.is_some_and(|sock| self.kernel.has_random_bytes(sock))
    }

    pub(super) fn leaks(&self) -> SimLeaks {
        let mut leaks = SimLeaks {
            listeners: self.kernel.listeners().count(),
            ..SimLeaks::default()
        };
        for link in self.kernel.links() {
            for end in &link.ends {
                match end.owner {
                    Owner::Conn(..) => leaks.connections += 1,
                    Owner::Handle(_) => leaks.sockets += 1,
                    Owner::Backlog(_) => leaks.backlog += 1,
                    Owner::Unowned => leaks.orphans += usize::from(!end.dead),
                }
            }
            leaks.wire_bytes += link.pipes.iter().map(|pipe| pipe.held()).sum::<usize>();
        }
        for port in self.ports.iter().flatten() {
            let (batches, bytes) = port.batches();
            leaks.batches += batches;
            leaks.batch_bytes += bytes;
        }
        leaks
    }
}
