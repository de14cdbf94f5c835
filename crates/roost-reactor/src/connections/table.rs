//! The connection table: slots with generations.

use roost_net::ConnKey;
use roost_net::memory::HighWater;
use slab::Slab;

use super::conn::Conn;

/// All connections of one reactor. A key finds its connection only while its generation is the
/// slot's.
///
/// The slab is one allocation that grows by remapping its pages (glibc's `realloc` of a large
/// block is `mremap`): no copy of the table, no pause.
pub(crate) struct Table {
    conns: Slab<Conn>,
    water: HighWater,
    /// The last generation of every slot there is.
    generations: Vec<u16>,
    /// The last generation of slots there are not: none of them had a later one.
    fresh: u16,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            conns: Slab::new(),
            water: HighWater::default(),
            generations: Vec::new(),
            fresh: 0,
        }
    }

    /// Takes a slot for `conn` and gives its key.
    pub(crate) fn insert(&mut self, mut conn: Conn) -> ConnKey {
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        if slot == self.generations.len() {
            self.generations.push(self.fresh);
        }
        let generation = self.generations[slot].wrapping_add(1);
        self.generations[slot] = generation;
        conn.generation = generation;
        entry.insert(conn);
        self.water.note(self.conns.len());
        ConnKey::new(
            u32::try_from(slot).expect("fewer than 2^32 connections"),
            generation,
        )
    }

    /// Frees the slot of `key`, which is live.
    pub(crate) fn remove(&mut self, key: ConnKey) -> Conn {
        debug_assert!(self.get(key).is_some(), "only a live connection is removed");
        self.conns.remove(key.slot() as usize)
    }

    /// Frees what was not needed since the last call, as far as the last connection's slot;
    /// in bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let before = self.memory_bytes();
        self.water.note(self.conns.len());
        if self
            .water
            .settle(self.conns.capacity(), CAPACITY_FLOOR)
            .is_some()
        {
            self.conns.shrink_to_fit();
            self.forget_generations(self.conns.capacity());
        }
        before - self.memory_bytes()
    }

    /// Forgets the slots from `slots` on. No key of theirs comes again before 2^15 others: when
    /// they are taken again, they go on behind the furthest of them.
    fn forget_generations(&mut self, slots: usize) {
        let fresh = self.fresh;
        let forgotten = self.generations.iter().skip(slots);
        let ahead = |generation: &u16| generation.wrapping_sub(fresh).cast_signed();
        let furthest = forgotten.map(ahead).max().unwrap_or(0).max(0);
        self.fresh = fresh.wrapping_add(furthest.cast_unsigned());
        self.generations.truncate(slots);
        self.generations.shrink_to_fit();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.conns.capacity() * size_of::<Conn>() + self.generations.capacity() * size_of::<u16>()
    }

    #[inline]
    pub(crate) fn get(&self, key: ConnKey) -> Option<&Conn> {
        let conn = self.conns.get(key.slot() as usize)?;
        (conn.generation == key.generation()).then_some(conn)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(key.slot() as usize)?;
        (conn.generation == key.generation()).then_some(conn)
    }

    /// The connection that has `slot` now.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Conn> {
        self.conns.get_mut(slot as usize)
    }

    /// The key of the connection that has `slot` now.
    #[inline]
    pub(crate) fn key_at(&self, slot: u32) -> Option<ConnKey> {
        let conn = self.conns.get(slot as usize)?;
        Some(ConnKey::new(slot, conn.generation))
    }

    /// Connections in the table.
    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }

    /// One more than the highest slot there is.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.generations.len()).expect("fewer than 2^32 connections")
    }
}

/// Room for this many is not worth giving back.
const CAPACITY_FLOOR: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_stale_key_finds_no_connection() {
        let mut table = Table::new();
        let first = table.insert(Conn::new(0));
        table.remove(first);
        let second = table.insert(Conn::new(0));
        assert_eq!(first.slot(), second.slot());
        assert!(table.get(first).is_none());
        assert!(table.get_mut(first).is_none());
        assert!(table.get(second).is_some());
        assert_eq!(table.key_at(second.slot()), Some(second));
    }

    #[test]
    fn no_key_comes_twice_after_the_table_shrinks() {
        let mut table = Table::new();
        let mut given = HashSet::new();
        let mut keep = None;
        for count in [2000, 3000, 100, 2500, 2500] {
            let last = table.insert(Conn::new(0));
            assert!(given.insert(last), "{last:?} was given twice");
            let keys: Vec<_> = (0..count).map(|_| table.insert(Conn::new(0))).collect();
            for &key in &keys {
                assert!(given.insert(key), "{key:?} was given twice");
            }
            let full = table.memory_bytes();
            for &key in &keys {
                table.remove(key);
            }
            assert_eq!(table.shrink(), 0, "it was needed until now");
            assert!(table.shrink() > full * 3 / 4, "all but a few have gone");
            if let Some(key) = keep.replace(last) {
                table.remove(key);
            }
        }
        assert_eq!(table.len(), 1);
        assert_eq!(table.slots() as usize, table.generations.len());
    }
}
