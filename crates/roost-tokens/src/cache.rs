//! Tokens that were checked, by the hash of the whole token.
//!
//! Clients that come back with the token that they had cost a hash each, not a signature. The key is
//! all 32 bytes of the hash over all of the token: a part of either could be met by another token.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use crate::keys::KeyPrint;
use crate::outcome::Verified;
use crate::statics::TokenHash;

/// Tokens in two generations: what is not asked for during a generation is forgotten.
#[derive(Debug)]
pub(crate) struct Cache {
    young: Generation,
    old: Generation,
    /// Of one generation.
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Generation {
    entries: HashMap<TokenHash, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    verified: Arc<Verified>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache {
            young: Generation::default(),
            old: Generation::default(),
            bytes_max: bytes_max / 2,
        }
    }

    /// What was checked before, unless its time is over.
    pub(crate) fn get(&mut self, hash: &TokenHash, now: u64) -> Option<Arc<Verified>> {
        if !self.young.entries.contains_key(hash) {
            let entry = self.old.remove(hash)?;
            self.insert(*hash, entry);
        }
        let verified = self.young.entries.get(hash)?.verified.clone();
        let is_over = |at: Option<u64>| at.is_some_and(|at| now >= at);
        if is_over(verified.token_expires_at) || is_over(verified.expires_at) {
            self.young.remove(hash);
            return None;
        }
        Some(verified)
    }

    /// Keeps the outcome of a check.
    pub(crate) fn keep(&mut self, hash: TokenHash, token_bytes: usize, verified: Arc<Verified>) {
        // A channel of four bytes in the token is a permission of some sixty.
        let bytes = token_bytes + ENTRY_BYTES + verified.permissions.memory_bytes();
        let entry = Entry { verified, bytes };
        self.insert(hash, entry);
    }

    fn insert(&mut self, hash: TokenHash, entry: Entry) {
        if entry.bytes > self.bytes_max {
            return;
        }
        if self.young.bytes + entry.bytes > self.bytes_max {
            self.old = mem::take(&mut self.young);
        }
        self.young.bytes += entry.bytes;
        if let Some(before) = self.young.entries.insert(hash, entry) {
            self.young.bytes -= before.bytes;
        }
    }

    /// Forgets tokens whose key is gone.
    pub(crate) fn retain(&mut self, keys: &HashSet<KeyPrint>) {
        for generation in [&mut self.young, &mut self.old] {
            generation
                .entries
                .retain(|_, entry| entry.verified.key.is_none_or(|key| keys.contains(&key)));
            generation.bytes = generation.entries.values().map(|entry| entry.bytes).sum();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.young.entries.len() + self.old.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

impl Generation {
    fn remove(&mut self, hash: &TokenHash) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

/// What an entry costs beside its names, which are no longer than the token, and its permissions. Where
/// tokens share those, they are counted for each.
const ENTRY_BYTES: usize = 384;
