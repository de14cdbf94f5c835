//! Admission: limits that hold before a connection costs anything.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use slab::Slab;

use crate::connections::{Arrival, Index};

/// Counts connections of the process, and of each peer address on this reactor.
pub(crate) struct Admission {
    connections_max: u32,
    per_address_max: u32,
    /// Connections of the whole process. Touched at a connection's edges only.
    process: Arc<AtomicU32>,
    addresses: Slab<(IpAddr, u32)>,
    /// In shards, so that growth never rehashes all addresses at once: a map of 458,752 addresses
    /// takes tens of milliseconds.
    by_address: Box<[HashMap<IpAddr, u32>]>,
    /// Chooses the shard.
    hasher: RandomState,
}

/// Why a new connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    ConnectionsMax,
    PerAddressMax,
    /// Its address begins too many.
    ConnectRate,
    /// It may not say whose connection it forwards, and has to.
    NotAProxy,
    /// The server is going down.
    Draining,
}

impl Admission {
    pub(crate) fn new(connections_max: u32, per_address_max: u32, process: Arc<AtomicU32>) -> Self {
        Admission {
            connections_max,
            per_address_max,
            process,
            addresses: Slab::new(),
            by_address: (0..SHARDS).map(|_| HashMap::new()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Admits a new connection; what it returns belongs to the connection until [`Admission::leave`].
    pub(crate) fn enter(&mut self, peer: Option<IpAddr>) -> Result<Index, Refused> {
        if self.process.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            self.process.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::ConnectionsMax);
        }
        let entered = peer.map_or(Ok(Index::NONE), |peer| self.enter_address(peer));
        if entered.is_err() {
            self.process.fetch_sub(1, Ordering::Relaxed);
        }
        entered
    }

    /// Counts a connection that was admitted without an address to that of its client.
    pub(crate) fn enter_address(&mut self, peer: IpAddr) -> Result<Index, Refused> {
        if self.per_address_max == 0 {
            return Ok(Index::NONE);
        }
        let shard = self.shard_of(&peer);
        let addresses = &mut self.addresses;
        if addresses.len() >= Arrival::ADDRESSES_MAX && !self.by_address[shard].contains_key(&peer)
        {
            return Err(Refused::PerAddressMax); // not to be counted: 16 million others are
        }
        let slot = *self.by_address[shard].entry(peer).or_insert_with(|| {
            let entry = addresses.insert((peer, 0));
            u32::try_from(entry).expect("fewer addresses than connections")
        });
        let (_, count) = &mut self.addresses[slot as usize];
        if *count >= self.per_address_max {
            return Err(Refused::PerAddressMax);
        }
        *count += 1;
        Ok(Index::new(slot as usize))
    }

    /// What [`Admission::enter`] counted a connection by.
    pub(crate) fn address_of(&self, address: Index) -> Option<IpAddr> {
        let (peer, _) = self.addresses.get(address.get()?)?;
        Some(*peer)
    }

    /// A connection has gone.
    pub(crate) fn leave(&mut self, address: Index) {
        self.process.fetch_sub(1, Ordering::Relaxed);
        let Some(slot) = address.get() else { return };
        let (peer, count) = &mut self.addresses[slot];
        *count -= 1;
        if *count == 0 {
            let peer = *peer;
            let shard = self.shard_of(&peer);
            self.by_address[shard].remove(&peer);
            self.addresses.remove(slot);
        }
    }

    fn shard_of(&self, peer: &IpAddr) -> usize {
        let shard = self.hasher.hash_one(peer) % SHARDS as u64;
        usize::try_from(shard).expect("less than SHARDS")
    }

    /// Cuts the tables of addresses down if they are mostly empty; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let mut entries = 0;
        for shard in &mut self.by_address {
            let before = shard.capacity();
            if before > 8 && before / 4 > shard.len() {
                shard.shrink_to_fit();
            }
            entries += before - shard.capacity();
        }
        if self.addresses.capacity() > 64 && self.addresses.capacity() / 4 > self.addresses.len() {
            let before = self.addresses.capacity();
            self.addresses.shrink_to_fit();
            entries += before - self.addresses.capacity();
        }
        entries * size_of::<(IpAddr, u32)>()
    }
}

/// Maps of addresses. A growing one is rehashed alone.
const SHARDS: usize = 64;

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

    #[test]
    fn many_addresses_are_spread_and_leave_nothing() {
        let mut admission = Admission::new(100_000, 1, Arc::default());
        let peer = |n: u32| Some(IpAddr::from(n.to_be_bytes()));
        let entered: Vec<Index> = (0..20_000)
            .map(|n| admission.enter(peer(n)).expect("one of each"))
            .collect();
        assert_eq!(admission.enter(peer(7)), Err(Refused::PerAddressMax));
        let largest = admission.by_address.iter().map(HashMap::len).max();
        assert!(largest < Some(2 * 20_000 / SHARDS), "{largest:?} in one");
        entered.into_iter().for_each(|index| admission.leave(index));
        assert!(admission.shrink() > 0);
        assert!(
            admission
                .by_address
                .iter()
                .all(|shard| shard.capacity() == 0)
        );
        assert_eq!(admission.addresses.capacity(), 0);
        assert_eq!(admission.shrink(), 0);
    }
}
