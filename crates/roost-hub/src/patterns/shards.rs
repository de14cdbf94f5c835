//! A hash table cut into shards that grow one by one, so that no insertion moves all of it.

use hashbrown::HashTable;

use crate::names::NameHash;

/// Entries found by a keyed hash, which the entries or the caller know.
#[derive(Debug)]
pub(crate) struct Shards<T>(Box<[HashTable<T>; SHARDS]>);

const SHARDS: usize = 256;

impl<T> Shards<T> {
    pub(crate) fn new() -> Self {
        Shards(Box::new([const { HashTable::new() }; SHARDS]))
    }

    pub(crate) fn find(&self, hash: NameHash, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.0[hash.even_shard()].find(hash.bucket(), is_it)
    }

    /// Adds an entry that is not there yet.
    pub(crate) fn insert(&mut self, hash: NameHash, entry: T, rehash: impl Fn(&T) -> NameHash) {
        let shard = &mut self.0[hash.even_shard()];
        shard.insert_unique(hash.bucket(), entry, |one| rehash(one).bucket());
    }

    pub(crate) fn remove(
        &mut self,
        hash: NameHash,
        is_it: impl FnMut(&T) -> bool,
        rehash: impl Fn(&T) -> NameHash,
    ) -> Option<T> {
        let shard = &mut self.0[hash.even_shard()];
        let (entry, _) = shard.find_entry(hash.bucket(), is_it).ok()?.remove();
        // As an index of names does.
        let sparse = shard.capacity() > 16 && shard.len() < shard.capacity() / 4;
        if sparse || shard.is_empty() {
            shard.shrink_to(shard.len() * 2, |one| rehash(one).bucket());
        }
        Some(entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(HashTable::iter)
    }

    /// Heap bytes, without what the entries own.
    pub(crate) fn memory_bytes(&self) -> usize {
        let shards = self.0.iter().map(HashTable::allocation_size);
        size_of_val(&*self.0) + shards.sum::<usize>()
    }
}
