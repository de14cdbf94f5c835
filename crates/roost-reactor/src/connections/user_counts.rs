//! How many connections each user has, in the whole process: kept only while there is a limit.
//!
//! The reactors share it, for a user's connections are spread over them. It is touched where a connection
//! becomes a user's and where it ends, never by a message; a lock is held for one look into a table of some
//! thousand entries.
#![expect(
    clippy::disallowed_types,
    reason = "for one look into a small table, where a client is let in or ends"
)]

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

/// Connections by user.
#[derive(Debug)]
pub(crate) struct UserCounts {
    /// Of one user.
    max: u32,
    hasher: RandomState,
    /// By a hash of the user: of its 64 bits some choose the shard.
    shards: Box<[Mutex<HashMap<u64, u32>>]>,
}

impl UserCounts {
    /// `None` without a limit.
    pub(crate) fn new(max: u32) -> Option<UserCounts> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        (max > 0).then(|| UserCounts {
            max,
            hasher: RandomState::new(),
            shards,
        })
    }

    /// One more connection of a user; false if it has as many as it may have. What is not limited is
    /// counted all the same.
    #[must_use]
    pub(super) fn enter(&self, user: &str, is_limited: bool) -> bool {
        let hash = self.hasher.hash_one(user);
        let mut counts = self
            .shard(hash)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(hash).or_default();
        if is_limited && *count >= self.max {
            return false; // the entry is there: it has some
        }
        *count += 1;
        true
    }

    /// One less.
    pub(super) fn leave(&self, user: &str) {
        let hash = self.hasher.hash_one(user);
        let mut counts = self
            .shard(hash)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(&hash) else {
            debug_assert!(false, "who leaves has entered");
            return;
        };
        *count -= 1;
        if *count == 0 {
            counts.remove(&hash);
            if counts.capacity() > KEPT && counts.capacity() / 4 > counts.len() {
                counts.shrink_to_fit();
            }
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<HashMap<u64, u32>> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

/// Tables of counts. A growing one is rehashed alone.
const SHARDS: usize = 64;
/// Room for so many is kept in each.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_as_many_as_it_may_have() {
        assert!(UserCounts::new(0).is_none());
        let counts = UserCounts::new(2).expect("a limit");
        assert!(counts.enter("a", true) && counts.enter("a", true));
        assert!(!counts.enter("a", true));
        assert!(counts.enter("b", true), "another");
        assert!(counts.enter("a", false), "it was there before");
        counts.leave("a");
        assert!(!counts.enter("a", true));
        counts.leave("a");
        assert!(counts.enter("a", true));
        for user in ["a", "a", "b"] {
            counts.leave(user);
        }
        for n in 0..10_000 {
            assert!(counts.enter(&n.to_string(), true));
        }
        (0..10_000).for_each(|n| counts.leave(&n.to_string()));
        for shard in &counts.shards {
            let shard = shard.lock().expect("nothing panicked with it");
            assert!(shard.is_empty() && shard.capacity() <= 4 * KEPT);
        }
    }
}
