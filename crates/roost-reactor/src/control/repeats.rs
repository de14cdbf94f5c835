//! Publications of the control thread that carry an idempotency key: one that is repeated has the
//! first one's place and is not delivered again. At the channel's home, where the order is made, no
//! two of them can be under way.
//!
//! Nothing is kept while no publication carries a key.

use std::collections::VecDeque;

use hashbrown::HashTable;
use roost_hub::Placement;

/// What a channel and an idempotency key come to: 128 bits of a keyed hash, by which neither can be
/// made to look like another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatKey(pub [u64; 2]);

/// The keys of the last [`REPEATS_MAX`] publications that had one, for [`KEPT_TICKS`] each.
#[derive(Default)]
pub(crate) struct Repeats {
    /// In order of time.
    entries: VecDeque<Entry>,
    /// Numbers of entries, counted from the first there ever was.
    by_key: HashTable<u32>,
    /// The number of the first entry in `entries`.
    first: u32,
}

struct Entry {
    key: RepeatKey,
    place: Placement,
    /// Until this tick.
    until: u32,
}

const _: () = assert!(size_of::<Entry>() <= 40);

impl Repeats {
    /// The place of the publication that had this key before.
    pub(crate) fn find(&mut self, key: RepeatKey, now: u32) -> Option<Placement> {
        while self.entries.front().is_some_and(|entry| entry.until <= now) {
            self.remove_first();
        }
        let number = *self
            .by_key
            .find(key.0[0], |&number| self.key_of(number) == key)?;
        Some(self.entries[self.place_of(number)].place)
    }

    /// A publication with this key, which was not found, has its place.
    pub(crate) fn insert(&mut self, key: RepeatKey, place: Placement, now: u32) {
        if self.entries.len() >= REPEATS_MAX {
            self.remove_first();
        }
        let number = self.first.wrapping_add(index(self.entries.len()));
        let until = now.saturating_add(KEPT_TICKS);
        self.entries.push_back(Entry { key, place, until });
        let (entries, first) = (&self.entries, self.first);
        let rehash = |&number: &u32| entries[number.wrapping_sub(first) as usize].key.0[0];
        self.by_key.insert_unique(key.0[0], number, rehash);
    }

    /// Drops memory that is not needed; returns the bytes.
    pub(crate) fn shrink(&mut self, now: u32) -> usize {
        while self.entries.front().is_some_and(|entry| entry.until <= now) {
            self.remove_first();
        }
        if !self.entries.is_empty() || self.entries.capacity() == 0 {
            return 0;
        }
        let bytes = self.entries.capacity() * size_of::<Entry>() + self.by_key.allocation_size();
        *self = Repeats::default();
        bytes
    }

    fn remove_first(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        let first = self.first;
        let found = self
            .by_key
            .find_entry(entry.key.0[0], |&number| number == first);
        debug_assert!(found.is_ok(), "each entry has its number in the table");
        if let Ok(found) = found {
            found.remove();
        }
        self.first = first.wrapping_add(1);
    }

    fn key_of(&self, number: u32) -> RepeatKey {
        self.entries[self.place_of(number)].key
    }

    fn place_of(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("at most REPEATS_MAX")
}

/// Keys kept by a reactor; of more the oldest is dropped.
pub const REPEATS_MAX: usize = 1 << 16;
/// Bytes that they take, at most: an entry each in a ring that may be half empty, and a table of their
/// numbers.
pub const REPEATS_BYTES_MAX: usize = 2 * REPEATS_MAX * (size_of::<Entry>() + 5);
/// Five minutes.
const KEPT_TICKS: u32 = 5 * 60 * 1_000 / crate::clock::TICK_MS;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> RepeatKey {
        RepeatKey([n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n])
    }

    fn place(n: u64) -> Placement {
        Placement {
            publication: n,
            offset: n,
        }
    }

    #[test]
    fn a_key_is_known_for_five_minutes() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.find(key(1), 0), None);
        repeats.insert(key(1), place(7), 0);
        repeats.insert(key(2), place(8), 1);
        assert_eq!(repeats.find(key(1), KEPT_TICKS - 1), Some(place(7)));
        assert_eq!(repeats.find(key(1), KEPT_TICKS), None);
        assert_eq!(repeats.find(key(2), KEPT_TICKS), Some(place(8)));
        // Equal in the half by which it is looked up.
        let half = RepeatKey([key(2).0[0], 3]);
        assert_eq!(repeats.find(half, KEPT_TICKS), None);
        assert_eq!(repeats.shrink(KEPT_TICKS), 0, "one is kept");
        assert!(repeats.shrink(KEPT_TICKS + 1) > 0);
        assert_eq!(repeats.entries.capacity(), 0);
        repeats.insert(key(1), place(9), KEPT_TICKS + 2);
        assert_eq!(repeats.find(key(1), KEPT_TICKS + 2), Some(place(9)));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut repeats = Repeats::default();
        let many = REPEATS_MAX as u64 + 1_000;
        for n in 0..many {
            assert_eq!(repeats.find(key(n), 0), None);
            repeats.insert(key(n), place(n), 0);
        }
        assert_eq!(repeats.entries.len(), REPEATS_MAX);
        assert_eq!(repeats.by_key.len(), REPEATS_MAX);
        for n in 0..many {
            let expected = (n >= 1_000).then(|| place(n));
            assert_eq!(repeats.find(key(n), 0), expected, "{n}");
        }
        let bytes =
            repeats.entries.capacity() * size_of::<Entry>() + repeats.by_key.allocation_size();
        assert!(bytes <= REPEATS_BYTES_MAX, "{bytes} of {REPEATS_BYTES_MAX}");
    }
}
