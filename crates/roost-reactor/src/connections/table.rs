//! The connection table: slots with generations.

use std::mem;

use roost_net::ConnKey;
use roost_net::memory::{HighWater, PagedVec};

use super::conn::{Conn, Index};

/// All connections of one reactor. A key finds its connection only while its generation is the
/// slot's.
///
/// The slots stand in a mapping of their own, which grows by moving its pages: no copy of the table,
/// no pause, and no memory beside the slots in use but the rest of a page.
pub(crate) struct Table {
    slots: PagedVec<Slot>,
    /// The slot that was freed last.
    vacant: Index,
    /// Slots that are occupied.
    len: usize,
    water: HighWater,
    /// The last generation of slots there are not: none of them had a later one.
    fresh: u16,
}

/// A place in the table.
enum Slot {
    Occupied(Conn),
    Vacant {
        /// The slot that was freed before this one and is still vacant.
        next: Index,
        /// Of its last connection.
        generation: u16,
    },
}

// What a vacant slot keeps fits into the record's spare values.
const _: () = assert!(size_of::<Slot>() == 40);

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            slots: PagedVec::new(),
            vacant: Index::NONE,
            len: 0,
            water: HighWater::default(),
            fresh: 0,
        }
    }

    /// Takes a slot for `conn` and gives its key.
    pub(crate) fn insert(&mut self, mut conn: Conn) -> ConnKey {
        let slot = match self.vacant.get() {
            Some(slot) => {
                let Slot::Vacant { next, generation } = self.slots[slot] else {
                    unreachable!("the list of vacant slots leads to vacant slots");
                };
                conn.generation = generation.wrapping_add(1);
                self.vacant = next;
                slot
            }
            None => {
                conn.generation = self.fresh.wrapping_add(1);
                self.slots.len()
            }
        };
        let number = u32::try_from(slot).expect("fewer than 2^32 connections");
        let key = ConnKey::new(number, conn.generation);
        let occupied = Slot::Occupied(conn);
        match self.slots.get_mut(slot) {
            Some(place) => *place = occupied,
            None => self.slots.push(occupied),
        }
        self.len += 1;
        self.water.note(self.len);
        key
    }

    /// Frees the slot of `key`, which is live.
    pub(crate) fn remove(&mut self, key: ConnKey) -> Conn {
        debug_assert!(self.get(key).is_some(), "only a live connection is removed");
        let slot = key.slot() as usize;
        let vacant = Slot::Vacant {
            next: self.vacant,
            generation: key.generation(),
        };
        let Slot::Occupied(conn) = mem::replace(&mut self.slots[slot], vacant) else {
            unreachable!("a live connection's slot is occupied");
        };
        self.vacant = Index::new(slot);
        self.len -= 1;
        conn
    }

    /// Frees what was not needed since the last call, as far as the last connection's slot;
    /// in bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let before = self.memory_bytes();
        self.water.note(self.len);
        let room = before / size_of::<Slot>();
        if self.water.shrink_target(room, CAPACITY_FLOOR).is_some() {
            self.forget_vacant_at_the_end();
            self.slots.release_free();
        }
        before - self.memory_bytes()
    }

    /// Forgets the vacant slots behind the last occupied one. No key of theirs comes again before
    /// 2^15 others: when they are taken again, they go on behind the furthest of them.
    fn forget_vacant_at_the_end(&mut self) {
        let fresh = self.fresh;
        let mut furthest = 0;
        let is_vacant = |slot: &mut Slot| matches!(slot, Slot::Vacant { .. });
        while let Some(slot) = self.slots.pop_if(is_vacant) {
            if let Slot::Vacant { generation, .. } = slot {
                let ahead = generation.wrapping_sub(fresh).cast_signed();
                furthest = furthest.max(ahead);
            }
        }
        self.fresh = fresh.wrapping_add(furthest.cast_unsigned());
        self.vacant = Index::NONE;
        for (number, slot) in self.slots.iter_mut().enumerate().rev() {
            if let Slot::Vacant { next, .. } = slot {
                *next = mem::replace(&mut self.vacant, Index::new(number));
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots.memory_bytes()
    }

    #[inline]
    pub(crate) fn get(&self, key: ConnKey) -> Option<&Conn> {
        match self.slots.get(key.slot() as usize)? {
            Slot::Occupied(conn) if conn.generation == key.generation() => Some(conn),
            Slot::Occupied(_) | Slot::Vacant { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Conn> {
        match self.slots.get_mut(key.slot() as usize)? {
            Slot::Occupied(conn) if conn.generation == key.generation() => Some(conn),
            Slot::Occupied(_) | Slot::Vacant { .. } => None,
        }
    }

    /// The connection that has `slot` now.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Conn> {
        match self.slots.get_mut(slot as usize)? {
            Slot::Occupied(conn) => Some(conn),
            Slot::Vacant { .. } => None,
        }
    }

    /// The key of the connection that has `slot` now.
    #[inline]
    pub(crate) fn key_at(&self, slot: u32) -> Option<ConnKey> {
        match self.slots.get(slot as usize)? {
            Slot::Occupied(conn) => Some(ConnKey::new(slot, conn.generation)),
            Slot::Vacant { .. } => None,
        }
    }

    /// Connections in the table.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One more than the highest slot there is.
    #[inline]
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("fewer than 2^32 connections")
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
        for count in [2000, 3000, 600, 2500, 2500] {
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
    }
}
