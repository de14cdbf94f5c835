//! Records found by name: a table, and an index over it that holds numbers only.
//!
//! Names come from the network, so they are hashed with a keyed hash (SipHash-1-3). The index is
//! cut into shards of unequal size, each from the next by the factor 2^(1/256): a shard doubles
//! alone, so growth is spread out (at a million names the largest rehash is of 5,400 names), and the
//! load of the whole stays about the same at every size.

use std::mem;

use ecow::EcoString;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use crate::error::StateError;
use crate::ids::ReactorId;
use crate::table::Table;

/// A channel's name: one of up to 15 bytes stands in its 16 bytes itself, a longer one is shared by
/// all who have it.
pub type Name = EcoString;

/// The keyed hash of names. All reactors of a process use the same key: it chooses the home.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameHasher(SipHasher13);

/// A name's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameHash(u64);

/// What a record needs to be found.
pub(crate) trait Named {
    fn name(&self) -> &Name;
}

/// A table of records and the index of their names.
#[derive(Debug)]
pub(crate) struct Names<T> {
    hasher: NameHasher,
    shards: Box<[HashTable<u32>; SHARDS]>,
    records: Table<T>,
}

const SHARDS: usize = 256;

/// Which shard a hash belongs to, by twelve of its bits.
static SHARD_OF: [u8; 4096] = shard_sizes();

impl NameHasher {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        NameHasher(SipHasher13::new_with_key(key))
    }

    pub(crate) fn hash(&self, name: &str) -> NameHash {
        NameHash(self.0.hash(name.as_bytes()))
    }

    /// The epoch of a home: as unknown to peers beforehand as the key, and the same to all who have
    /// the key. No name is like what is hashed: names are UTF-8.
    pub(crate) fn epoch(&self, home: ReactorId) -> u64 {
        self.0.hash(&[0xff, home.0])
    }

    /// Secret numbers for hashes of patterns. No name and no epoch is hashed to them.
    pub(crate) fn pattern_secret(&self, number: u8) -> u64 {
        self.0.hash(&[0xfe, number])
    }
}

impl NameHash {
    /// The home among `reactors`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are 256 reactors at most, with the control thread"
    )]
    pub(crate) fn home(self, reactors: u16) -> u8 {
        (self.0 % u64::from(reactors)) as u8
    }

    /// The names of one home agree in the low bits of their hash when the reactors are a power of
    /// two. hashbrown looks at the low bits and the top seven: give it others there.
    pub(crate) fn bucket(self) -> u64 {
        self.0.rotate_right(32)
    }

    /// One of 256, all of the same size.
    #[expect(clippy::cast_possible_truncation, reason = "eight bits")]
    pub(crate) fn even_shard(self) -> usize {
        usize::from((self.0 >> 10) as u8)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The hash of this name under a number.
    pub(crate) fn beside(self, number: u32) -> NameHash {
        NameHash::of_bits(self.0 ^ u64::from(number))
    }

    /// A hash of bits that are hard to guess, but not as even as those of a hash.
    pub(crate) fn of_bits(bits: u64) -> NameHash {
        NameHash(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(20))
    }

    /// By bits that neither the home nor a bucket is chosen by.
    fn shard(self) -> usize {
        usize::from(SHARD_OF[(self.0 >> 10) as usize % SHARD_OF.len()])
    }
}

/// Finds the home of a channel for a peer that has no hub.
#[derive(Debug, Clone, Copy)]
pub struct Homes {
    hasher: NameHasher,
    reactors: u16,
}

impl Homes {
    /// As all hubs of the process were set up: their key and their number.
    pub fn new(hash_key: &[u8; 16], reactors: u16) -> Homes {
        let hasher = NameHasher::new(hash_key);
        Homes { hasher, reactors }
    }

    /// The reactor that orders the channel of this name.
    pub fn home_of(&self, name: &str) -> ReactorId {
        ReactorId(self.hasher.hash(name).home(self.reactors))
    }

    /// Within which the offsets of that reactor's channels count: see [`crate::Position::epoch`].
    pub fn epoch_of(&self, home: ReactorId) -> u64 {
        self.hasher.epoch(home)
    }
}

impl<T: Named> Names<T> {
    pub(crate) fn new(hasher: NameHasher) -> Self {
        Names {
            hasher,
            shards: Box::new([const { HashTable::new() }; SHARDS]),
            records: Table::new(),
        }
    }

    pub(crate) fn find(&self, hash: NameHash, name: &str) -> Option<u32> {
        self.shards[hash.shard()]
            .find(hash.bucket(), |&number| {
                self.records
                    .get(number)
                    .is_some_and(|record| record.name() == name)
            })
            .copied()
    }

    /// Stores a record whose name is not there yet.
    pub(crate) fn insert(&mut self, hash: NameHash, record: T) -> u32 {
        debug_assert!(
            self.find(hash, record.name()).is_none(),
            "a name is stored once"
        );
        let number = self.records.insert(record);
        let rehash = rehash(&self.hasher, &self.records);
        self.shards[hash.shard()].insert_unique(hash.bucket(), number, rehash);
        number
    }

    /// Stores a record under the number it had in another table, behind all that are here.
    pub(crate) fn insert_at(&mut self, number: u32, record: T) -> Result<(), StateError> {
        let hash = self.hasher.hash(record.name());
        if self.find(hash, record.name()).is_some() {
            return Err(StateError::Name(record.name().as_str().to_owned()));
        }
        if !self.records.insert_at(number, record) {
            return Err(StateError::Number(number));
        }
        let rehash = rehash(&self.hasher, &self.records);
        self.shards[hash.shard()].insert_unique(hash.bucket(), number, rehash);
        Ok(())
    }

    /// Calls `change` for the records whose numbers are in `from..until`, which keep their names. Whether
    /// there are more behind.
    pub(crate) fn change_some(
        &mut self,
        from: u32,
        until: u32,
        mut change: impl FnMut(&mut T),
    ) -> bool {
        let end = self.records.end();
        for number in from..until.min(end) {
            if let Some(record) = self.records.get_mut(number) {
                change(record);
            }
        }
        until < end
    }

    /// All records with their numbers, ascending.
    pub(crate) fn into_records(self) -> impl Iterator<Item = (u32, T)> {
        self.records.into_records()
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let hash = self.hasher.hash(self.records.get(number)?.name());
        let shard = &mut self.shards[hash.shard()];
        shard
            .find_entry(hash.bucket(), |&other| other == number)
            .expect("every record is in the index")
            .remove();
        // A shard shrinks at a quarter of its capacity to twice what it holds, so that the work
        // stays in proportion to the removals; an empty one keeps nothing.
        let sparse = shard.capacity() > 16 && shard.len() < shard.capacity() / 4;
        if sparse || shard.is_empty() {
            let rehash = rehash(&self.hasher, &self.records);
            shard.shrink_to(shard.len() * 2, rehash);
        }
        self.records.remove(number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.records.get(number)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.records.get_mut(number)
    }

    /// Above all numbers that are used.
    pub(crate) fn end(&self) -> u32 {
        self.records.end()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.records.iter()
    }

    /// Heap bytes of table and index, without what the records own.
    pub(crate) fn memory_bytes(&self) -> usize {
        let index: usize = self
            .shards
            .iter()
            .map(|shard| shard.allocation_size())
            .sum();
        index + mem::size_of_val(&*self.shards) + self.records.memory_bytes()
    }

    /// Every record is found by its name, and the index holds nothing else.
    pub(crate) fn check_invariants(&self) {
        let indexed: usize = self.shards.iter().map(|shard| shard.len()).sum();
        assert_eq!(indexed, self.records.len(), "one index entry a record");
        for (number, record) in self.records.iter() {
            let hash = self.hasher.hash(record.name());
            assert_eq!(
                self.find(hash, record.name()),
                Some(number),
                "a record is found by its name"
            );
        }
    }
}

/// What hashbrown asks for when a shard changes its size.
fn rehash<T: Named>(hasher: &NameHasher, records: &Table<T>) -> impl Fn(&u32) -> u64 {
    |&number| {
        let record = records
            .get(number)
            .expect("the index holds live records only");
        hasher.hash(record.name()).bucket()
    }
}

/// Cuts 1..2 at the powers of 2^(1/256), in 32-bit fixed point.
#[expect(clippy::cast_possible_truncation, reason = "there are 256 shards")]
const fn shard_sizes() -> [u8; 4096] {
    const ONE: u128 = 1 << 32;
    const STEP: u128 = 4306612134; // 2^(1/256) << 32
    let mut shards = [0; 4096];
    let (mut shard, mut end) = (0, STEP);
    let mut at = 0;
    while at < shards.len() {
        let x = ONE + ((at as u128) << 20);
        while x >= end && shard < SHARDS - 1 {
            shard += 1;
            end = (end * STEP) >> 32;
        }
        shards[at] = shard as u8;
        at += 1;
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Named for Name {
        fn name(&self) -> &Name {
            self
        }
    }

    #[test]
    fn shards_grow_from_one_to_two() {
        let count = |shard| SHARD_OF.iter().filter(|&&s| s == shard).count();
        assert_eq!(SHARD_OF[0], 0);
        assert_eq!(SHARD_OF[4095], 255);
        assert!((10..=12).contains(&count(0)), "{}", count(0));
        assert!((21..=24).contains(&count(255)), "{}", count(255));
    }

    #[test]
    fn names_are_found_until_removed_and_the_index_shrinks() {
        let hasher = NameHasher::new(&[7; 16]);
        let mut names = Names::new(hasher);
        let name = |n: usize| format!("channel:{n}");
        for n in 0..20_000 {
            let number = names.insert(hasher.hash(&name(n)), Name::from(name(n)));
            assert_eq!(number as usize, n);
        }
        names.check_invariants();
        let full = names.memory_bytes();
        for n in 0..19_990 {
            let number = names.find(hasher.hash(&name(n)), &name(n)).expect("stored");
            assert_eq!(names.remove(number).as_deref(), Some(name(n).as_str()));
            assert_eq!(names.find(hasher.hash(&name(n)), &name(n)), None);
        }
        names.check_invariants();
        assert_eq!(names.len(), 10);
        assert!(names.memory_bytes() < full / 4);
    }

    #[test]
    fn names_of_one_home_spread_over_the_buckets() {
        // With hashbrown's own choice of bits all names of one of 256 homes would share buckets.
        let hasher = NameHasher::new(&[1; 16]);
        let mut low = [0u32; 256];
        let mut homes = 0;
        for n in 0..200_000 {
            let hash = hasher.hash(&format!("n{n}"));
            if hash.home(256) == 3 {
                low[hash.bucket() as usize % 256] += 1;
                homes += 1;
            }
        }
        let longest = *low.iter().max().expect("not empty");
        assert!(homes > 600, "{homes}");
        assert!(longest < 20, "one bucket of 256 has {longest} of {homes}");
    }
}
