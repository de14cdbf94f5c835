//! The connection table: slots with generations.

use roost_net::ConnKey;
use slab::Slab;

use crate::conn::Conn;

/// All connections of one reactor. A key finds its connection only while its generation is the
/// slot's.
///
/// The slab is one allocation that grows by remapping its pages (glibc's `realloc` of a large
/// block is `mremap`): no copy of the table, no pause.
pub(crate) struct Table {
    conns: Slab<Conn>,
    /// The last generation of every slot that was ever used.
    generations: Vec<u16>,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            conns: Slab::new(),
            generations: Vec::new(),
        }
    }

    /// Takes a slot for `conn` and gives its key.
    pub(crate) fn insert(&mut self, mut conn: Conn) -> ConnKey {
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        if slot == self.generations.len() {
            self.generations.push(0);
        }
        let generation = self.generations[slot].wrapping_add(1);
        self.generations[slot] = generation;
        conn.generation = generation;
        entry.insert(conn);
        ConnKey::new(
            u32::try_from(slot).expect("fewer than 2^32 connections"),
            generation,
        )
    }

    /// Frees the slot of `key`, which is live.
    pub(crate) fn remove(&mut self, key: ConnKey) -> Conn {
        debug_assert!(self.get(key).is_some(), "only a live connection is removed");
        let conn = self.conns.remove(key.slot() as usize);
        if self.conns.is_empty() && self.conns.capacity() > EMPTY_CAPACITY_MAX {
            self.conns = Slab::new(); // give a great crowd's memory back when all have gone
        }
        conn
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

    /// One more than the highest slot ever used.
    pub(crate) fn slots(&self) -> u32 {
        self.generations.len() as u32
    }
}

/// An empty table keeps room for this many.
const EMPTY_CAPACITY_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nobody() {
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
    fn generations_outlive_the_crowd() {
        let mut table = Table::new();
        let keys: Vec<_> = (0..2000).map(|_| table.insert(Conn::new(0))).collect();
        for &key in &keys {
            table.remove(key);
        }
        assert_eq!(table.len(), 0);
        let again = table.insert(Conn::new(0));
        assert!(
            keys.iter().all(|&key| key != again),
            "a key was given twice"
        );
    }
}
