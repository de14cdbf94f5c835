//! Who may come in: limits that hold before a connection costs anything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use slab::Slab;

use crate::conn::Index;

/// Counts connections of the process, and of each peer address on this reactor.
pub(crate) struct Admission {
    connections_max: u32,
    per_address_max: u32,
    /// Connections of the whole process. Touched at a connection's edges only.
    process: Arc<AtomicU32>,
    addresses: Slab<(IpAddr, u32)>,
    by_address: HashMap<IpAddr, u32>,
}

/// Why a newcomer was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    ConnectionsMax,
    PerAddressMax,
}

impl Admission {
    pub(crate) fn new(connections_max: u32, per_address_max: u32, process: Arc<AtomicU32>) -> Self {
        Admission {
            connections_max,
            per_address_max,
            process,
            addresses: Slab::new(),
            by_address: HashMap::new(),
        }
    }

    /// Lets a newcomer in; what it gives back belongs to the connection until [`Admission::leave`].
    pub(crate) fn enter(&mut self, peer: Option<IpAddr>) -> Result<Index, Refused> {
        if self.process.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            self.process.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::ConnectionsMax);
        }
        let Some(peer) = peer.filter(|_| self.per_address_max > 0) else {
            return Ok(Index::NONE);
        };
        let addresses = &mut self.addresses;
        let slot = *self
            .by_address
            .entry(peer)
            .or_insert_with(|| addresses.insert((peer, 0)) as u32);
        let (_, count) = &mut self.addresses[slot as usize];
        if *count >= self.per_address_max {
            self.process.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::PerAddressMax);
        }
        *count += 1;
        Ok(Index::new(slot as usize))
    }

    /// A connection has gone.
    pub(crate) fn leave(&mut self, address: Index) {
        self.process.fetch_sub(1, Ordering::Relaxed);
        let Some(slot) = address.get() else { return };
        let (peer, count) = &mut self.addresses[slot];
        *count -= 1;
        if *count == 0 {
            self.by_address.remove(peer);
            self.addresses.remove(slot);
        }
    }

    /// Cuts the tables of addresses down if they are mostly empty; returns the bytes.
    pub(crate) fn give_back(&mut self) -> usize {
        let (before, used) = (self.by_address.capacity(), self.by_address.len());
        if before > 64 && before / 4 > used {
            self.by_address.shrink_to_fit();
            self.addresses.shrink_to_fit();
        }
        (before - self.by_address.capacity()) * 2 * size_of::<(IpAddr, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_recover() {
        let process = Arc::new(AtomicU32::new(0));
        let mut admission = Admission::new(3, 2, process.clone());
        let peer = |last| Some(IpAddr::from([127, 0, 0, last]));
        let first = admission.enter(peer(1)).expect("the first of two");
        admission.enter(peer(1)).expect("the second of two");
        assert_eq!(admission.enter(peer(1)), Err(Refused::PerAddressMax));
        admission.enter(peer(2)).expect("another address");
        assert_eq!(admission.enter(peer(3)), Err(Refused::ConnectionsMax));
        admission.leave(first);
        assert_eq!(process.load(Ordering::Relaxed), 2);
        admission.enter(peer(1)).expect("a place came free");
    }
}
