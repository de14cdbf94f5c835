//! A table of records with stable numbers that grows by a chunk at a time, so that no growth
//! moves what is there. The first chunk alone doubles until it is full size, and moves half a chunk at
//! most. The lowest chunk with room is filled first, and a chunk without records gives its memory back.

use std::collections::BTreeSet;
use std::mem;

/// Records in a chunk: 12 KiB of local channels.
const CHUNK_RECORDS: usize = 256;

/// Records that the first chunk has room for at first. It doubles, so that few channels cost little on
/// each of 256 reactors.
const FIRST_RECORDS: usize = 4;

/// Room for so many chunks is not worth giving back.
const CHUNKS_FLOOR: usize = 16;

/// End of a chunk's list of free slots.
const NONE: u16 = u16::MAX;

#[derive(Debug)]
pub(crate) struct Table<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks that have room, by number.
    with_room: BTreeSet<u32>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// With room for `CHUNK_RECORDS`, or of the first chunk for up to so many; without allocation when the
    /// chunk is empty.
    slots: Vec<Slot<T>>,
    first_free: u16,
    live: u16,
}

#[derive(Debug)]
enum Slot<T> {
    Live(T),
    Free { next: u16 },
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Table {
            chunks: Vec::new(),
            with_room: BTreeSet::new(),
            len: 0,
        }
    }

    /// Stores a record and returns its number.
    ///
    /// # Panics
    /// When 2^32 records are stored.
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        let number = match self.with_room.first() {
            Some(&number) => number,
            None => {
                let number = u32::try_from(self.chunks.len()).expect("chunks are numbered in u32");
                self.chunks.push(Chunk::new());
                self.with_room.insert(number);
                number
            }
        };
        let chunk = &mut self.chunks[number as usize];
        let slot = chunk.insert(record, number == 0);
        if usize::from(chunk.live) == CHUNK_RECORDS {
            self.with_room.remove(&number);
        }
        self.len += 1;
        number
            .checked_mul(narrow(CHUNK_RECORDS))
            .and_then(|first| first.checked_add(u32::from(slot)))
            .expect("a table has fewer than 2^32 records")
    }

    /// Stores a record under a number that is behind all others; false if it is not. What lies
    /// between is free.
    pub(crate) fn insert_at(&mut self, number: u32, record: T) -> bool {
        let (chunk_number, slot) = split(number);
        if chunk_number + 1 < self.chunks.len() {
            return false;
        }
        while self.chunks.len() <= chunk_number {
            self.with_room.insert(narrow(self.chunks.len()));
            self.chunks.push(Chunk::new());
        }
        let chunk = &mut self.chunks[chunk_number];
        if !chunk.insert_at(slot, record, chunk_number == 0) {
            return false;
        }
        if usize::from(chunk.live) == CHUNK_RECORDS {
            self.with_room.remove(&(narrow(chunk_number)));
        }
        self.len += 1;
        true
    }

    /// All records with their numbers, ascending.
    pub(crate) fn into_records(self) -> impl Iterator<Item = (u32, T)> {
        let chunks = self.chunks.into_iter().enumerate();
        chunks.flat_map(|(number, chunk)| {
            let first = narrow(number * CHUNK_RECORDS);
            let slots = chunk.slots.into_iter().zip(first..);
            slots.filter_map(|(slot, number)| match slot {
                Slot::Live(record) => Some((number, record)),
                Slot::Free { .. } => None,
            })
        })
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (chunk_number, slot) = split(number);
        let chunk = self.chunks.get_mut(chunk_number)?;
        let record = chunk.remove(slot)?;
        self.with_room.insert(narrow(chunk_number));
        self.len -= 1;
        while self.chunks.pop_if(|chunk| chunk.live == 0).is_some() {
            self.with_room.remove(&(narrow(self.chunks.len())));
        }
        if self.chunks.capacity() > CHUNKS_FLOOR && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        Some(record)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, slot) = split(number);
        match self.chunks.get(chunk)?.slots.get(slot)? {
            Slot::Live(record) => Some(record),
            Slot::Free { .. } => None,
        }
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (chunk, slot) = split(number);
        match self.chunks.get_mut(chunk)?.slots.get_mut(slot)? {
            Slot::Live(record) => Some(record),
            Slot::Free { .. } => None,
        }
    }

    /// Above all numbers that are used.
    pub(crate) fn end(&self) -> u32 {
        narrow(self.chunks.len()).saturating_mul(narrow(CHUNK_RECORDS))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All records with their numbers, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().enumerate().flat_map(|(number, chunk)| {
            let first = narrow(number * CHUNK_RECORDS);
            chunk
                .slots
                .iter()
                .zip(first..)
                .filter_map(|(slot, number)| match slot {
                    Slot::Live(record) => Some((number, record)),
                    Slot::Free { .. } => None,
                })
        })
    }

    /// Heap bytes of the table itself, without what the records own.
    pub(crate) fn memory_bytes(&self) -> usize {
        let records: usize = self.chunks.iter().map(|chunk| chunk.slots.capacity()).sum();
        records * mem::size_of::<Slot<T>>() + self.chunks.capacity() * mem::size_of::<Chunk<T>>()
    }
}

impl<T> Chunk<T> {
    fn new() -> Self {
        Chunk {
            slots: Vec::new(),
            first_free: NONE,
            live: 0,
        }
    }

    /// Sees to it that there is memory for so many slots.
    fn reserve(&mut self, len: usize, is_first: bool) {
        if len > self.slots.capacity() {
            let room = match is_first {
                true => len.next_power_of_two().clamp(FIRST_RECORDS, CHUNK_RECORDS),
                false => CHUNK_RECORDS,
            };
            self.slots.reserve_exact(room - self.slots.len());
        }
    }

    /// The chunk has room.
    fn insert(&mut self, record: T, is_first: bool) -> u16 {
        self.live += 1;
        let slot = self.first_free;
        if slot == NONE {
            self.reserve(self.slots.len() + 1, is_first);
            debug_assert!(self.slots.len() < CHUNK_RECORDS, "the chunk has room");
            self.slots.push(Slot::Live(record));
            return slot_number(self.slots.len() - 1);
        }
        match mem::replace(&mut self.slots[usize::from(slot)], Slot::Live(record)) {
            Slot::Free { next } => self.first_free = next,
            Slot::Live(_) => unreachable!("the free list holds free slots"),
        }
        slot
    }

    /// Stores a record behind all others of the chunk; false if it is not behind them.
    fn insert_at(&mut self, slot: usize, record: T, is_first: bool) -> bool {
        if slot < self.slots.len() {
            return false;
        }
        self.reserve(slot + 1, is_first);
        while self.slots.len() < slot {
            let next = self.first_free;
            self.first_free = slot_number(self.slots.len());
            self.slots.push(Slot::Free { next });
        }
        self.slots.push(Slot::Live(record));
        self.live += 1;
        true
    }

    fn remove(&mut self, slot: usize) -> Option<T> {
        let entry = self.slots.get_mut(slot)?;
        if matches!(entry, Slot::Free { .. }) {
            return None;
        }
        let free = Slot::Free {
            next: self.first_free,
        };
        let Slot::Live(record) = mem::replace(entry, free) else {
            unreachable!("checked above");
        };
        self.first_free = slot_number(slot);
        self.live -= 1;
        if self.live == 0 {
            *self = Chunk::new();
        }
        Some(record)
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("a table has fewer than 2^32 records")
}

fn slot_number(slot: usize) -> u16 {
    u16::try_from(slot).expect("a chunk has fewer than 2^16 records")
}

fn split(number: u32) -> (usize, usize) {
    let number = number as usize;
    (number / CHUNK_RECORDS, number % CHUNK_RECORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_used_again() {
        let mut table = Table::new();
        let numbers: Vec<u32> = (0..1000).map(|n| table.insert(n)).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<u32>>());
        assert_eq!(table.remove(700), Some(700));
        assert_eq!(table.remove(3), Some(3));
        assert_eq!(table.remove(3), None);
        assert_eq!(table.get(3), None);
        assert_eq!(table.remove(9), Some(9));
        // In the lowest chunk that has room, the last one freed.
        assert_eq!(table.insert(-1), 9);
        assert_eq!(table.insert(-2), 3);
        assert_eq!(table.insert(-3), 700);
        assert_eq!(table.get(700), Some(&-3));
        assert_eq!(table.get(3), Some(&-2));
        assert_eq!(table.get(999), Some(&999));
        assert_eq!(table.get(1000), None);
        assert_eq!(table.len(), 1000);
        assert_eq!(table.insert(-4), 1000);
        assert_eq!(table.iter().count(), 1001);
    }

    #[test]
    fn a_table_is_built_again_with_the_same_numbers() {
        let mut table = Table::new();
        for n in 0..1000 {
            table.insert(n);
        }
        let is_kept = |n: u32| n % 7 == 3 && !(256..512).contains(&n);
        for number in (0..1000).filter(|&n| !is_kept(n)) {
            table.remove(number);
        }
        let kept: Vec<(u32, u32)> = table.into_records().collect();
        assert!(kept.iter().all(|&(number, record)| number == record));
        let mut again = Table::new();
        assert!(
            kept.iter()
                .all(|&(number, record)| again.insert_at(number, record))
        );
        assert_eq!(again.len(), kept.len());
        for number in [997, 3, 400] {
            assert!(
                !again.insert_at(number, 0),
                "{number} is not behind the last"
            );
        }
        // All that is free is used before the table grows.
        let free = 1000 - 3 - kept.len(); // the last record has number 996
        let mut used: Vec<u32> = (0..free).map(|_| again.insert(0)).collect();
        used.sort_unstable();
        assert!(used.iter().all(|&number| number < 1024 && !is_kept(number)));
        used.dedup();
        assert_eq!(used.len(), free);
        assert_eq!(again.into_records().count(), 997);
    }

    #[test]
    fn few_records_cost_little_and_no_chunk_has_room_for_more() {
        let chunk = CHUNK_RECORDS * mem::size_of::<Slot<u64>>();
        let bytes = |table: &Table<u64>| table.memory_bytes() / mem::size_of::<Slot<u64>>();
        let chunks = 4 * mem::size_of::<Chunk<u64>>() / mem::size_of::<Slot<u64>>();
        let mut table = Table::new();
        for n in 0..1_000 {
            assert_eq!(table.insert(n), n as u32);
            let records = n as usize + 1;
            let most = match records {
                ..256 => 2 * records.max(FIRST_RECORDS / 2),
                _ => records.next_multiple_of(CHUNK_RECORDS),
            };
            assert!(bytes(&table) <= most + chunks, "{records} records");
        }
        assert!(table.memory_bytes() >= 4 * chunk);
        assert!((0..1_000).all(|n| table.get(n) == Some(&u64::from(n))));
        // Built again in order, it grows the same way.
        let mut again = Table::new();
        assert!(again.insert_at(2, 2));
        assert!(bytes(&again) <= FIRST_RECORDS + chunks);
        assert!(again.insert_at(299, 299));
        assert!(bytes(&again) <= FIRST_RECORDS + CHUNK_RECORDS + chunks);
    }

    #[test]
    fn an_emptied_table_gives_its_chunks_back() {
        let mut table = Table::new();
        for n in 0..10_000u64 {
            table.insert(n);
        }
        let full = table.memory_bytes();
        assert!(full >= 10_000 * mem::size_of::<u64>());
        for n in 0..10_000 {
            assert_eq!(table.remove(n), Some(u64::from(n)));
        }
        assert_eq!(table.len(), 0);
        assert!(table.memory_bytes() <= CHUNKS_FLOOR * mem::size_of::<Chunk<u64>>());
        assert_eq!(table.insert(7), 0, "and starts again from the first");
    }
}
