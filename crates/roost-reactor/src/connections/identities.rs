//! What connections are known as, beside their records: an entry only for those that are not anonymous,
//! or are so in a role.

use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashTable;
use roost_access::Identity;
use slab::Slab;

use super::user_counts::UserCounts;
use crate::clock::{NEVER, TICK_MS};

/// All of them, for one reactor's connections.
pub(crate) struct Identities {
    known: Slab<Known>,
    /// Entries of `known`, by slot.
    by_slot: HashTable<u32>,
    expiry: Expiry,
    /// Connections of each user, if they are limited.
    users: Option<Arc<UserCounts>>,
}

/// A user has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// How far the entries were looked through for those that have expired.
struct Expiry {
    /// No identity ends before this tick.
    earliest: u32,
    /// The same, as the pass under way finds it.
    earliest_found: u32,
    /// The next entry to look at; 0 when no pass is under way.
    cursor: usize,
}

#[derive(Debug)]
struct Known {
    slot: u32,
    identity: Identity,
}

// With 5 bytes in the index, of which at most four sevenths are empty, an authenticated connection costs
// at most 68 bytes beside its record, and what its user's name has beyond 15 bytes.
const _: () = assert!(size_of::<Known>() <= 56);

impl Default for Identities {
    fn default() -> Identities {
        Identities {
            known: Slab::new(),
            by_slot: HashTable::new(),
            expiry: Expiry {
                earliest: NEVER,
                earliest_found: NEVER,
                cursor: 0,
            },
            users: None,
        }
    }
}

impl Identities {
    /// Of the connection in `slot`; `None` is an anonymous one.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Identity> {
        if self.known.is_empty() {
            return None;
        }
        let known = &self.known;
        let entry = self
            .by_slot
            .find(hash(slot), |&entry| known[entry as usize].slot == slot)?;
        Some(&known[*entry as usize].identity)
    }

    /// Those of the entries from `begin` on, at most `count` of them, that are in use: their places,
    /// slots and identities. An identity keeps its place.
    pub(crate) fn some_from(
        &self,
        begin: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, u32, &Identity)> {
        let end = self.entries().min(begin.saturating_add(count));
        let entries = (begin..end).filter_map(|at| Some((at, self.known.get(at)?)));
        entries.map(|(at, known)| (at, known.slot, &known.identity))
    }

    /// One more than the last entry's place, at least.
    pub(crate) fn entries(&self) -> usize {
        self.known.capacity()
    }

    /// None yet, with these counts.
    pub(super) fn new(users: Option<Arc<UserCounts>>) -> Identities {
        Identities {
            users,
            ..Identities::default()
        }
    }

    /// The connection in `slot` has this one from now on, if its user has not too many. The one before
    /// is gone.
    pub(super) fn try_insert(&mut self, slot: u32, identity: Identity) -> Result<(), TooMany> {
        self.take(slot);
        self.enter(&identity, true)?;
        self.put(slot, identity);
        Ok(())
    }

    /// The same, however many its user has.
    pub(super) fn insert(&mut self, slot: u32, identity: Identity) {
        self.take(slot);
        let entered = self.enter(&identity, false);
        debug_assert!(entered.is_ok(), "it is not limited");
        self.put(slot, identity);
    }

    fn enter(&self, identity: &Identity, is_limited: bool) -> Result<(), TooMany> {
        match &self.users {
            Some(users) if !identity.user.is_empty() => {
                let has_entered = users.enter(&identity.user, is_limited);
                has_entered.then_some(()).ok_or(TooMany)
            }
            _ => Ok(()),
        }
    }

    fn put(&mut self, slot: u32, identity: Identity) {
        if let Some(expires) = identity.expires {
            self.expiry.note(expires.get());
        }
        let entry = self.known.insert(Known { slot, identity });
        let entry = u32::try_from(entry).expect("fewer entries than connections");
        let known = &self.known;
        let hasher = |&entry: &u32| hash(known[entry as usize].slot);
        self.by_slot.insert_unique(hash(slot), entry, hasher);
    }

    /// That of the connection in `slot` ends at another tick; false if there is none.
    pub(super) fn set_expiry(&mut self, slot: u32, ends: Option<NonZeroU32>) -> bool {
        let known = &self.known;
        let found = self
            .by_slot
            .find(hash(slot), |&entry| known[entry as usize].slot == slot);
        let Some(&entry) = found else {
            return false;
        };
        self.known[entry as usize].identity.expires = ends;
        if let Some(ends) = ends {
            self.expiry.note(ends.get());
        }
        true
    }

    /// Takes that of the connection in `slot`.
    pub(super) fn take(&mut self, slot: u32) -> Option<Identity> {
        if self.known.is_empty() {
            return None;
        }
        let known = &self.known;
        let found = self
            .by_slot
            .find_entry(hash(slot), |&entry| known[entry as usize].slot == slot);
        let (entry, _) = found.ok()?.remove();
        let identity = self.known.remove(entry as usize).identity;
        if let Some(users) = &self.users
            && !identity.user.is_empty()
        {
            users.leave(&identity.user);
        }
        if self.known.is_empty() && self.known.capacity() > KEPT {
            *self = Identities::new(self.users.take());
        }
        Some(identity)
    }

    /// The tick at which [`Identities::expired`] has something to do.
    #[inline]
    pub(crate) fn due(&self, now: u32) -> u32 {
        match self.expiry.cursor {
            0 => self.expiry.earliest,
            _ => now,
        }
    }

    /// Slots of connections whose identity has expired, looked for in a part of the table. One that is
    /// not ended is found again a second later.
    pub(crate) fn expired(&mut self, now: u32) -> Vec<u32> {
        let mut expired = Vec::new();
        let begin = self.expiry.cursor;
        if begin == 0 && now < self.expiry.earliest {
            return expired;
        }
        let entries = self.known.capacity();
        let end = entries.min(begin + SLICE);
        let mut next = begin;
        while next < end && expired.len() < EXPIRED_MAX {
            let known = self.known.get(next);
            if let Some(expires) = known.and_then(|known| known.identity.expires) {
                let is_over = expires.get() <= now;
                if is_over {
                    expired.extend(known.map(|known| known.slot));
                }
                let found = if is_over { now + AGAIN } else { expires.get() };
                self.expiry.earliest_found = self.expiry.earliest_found.min(found);
            }
            next += 1;
        }
        self.expiry.cursor = next;
        if next >= entries {
            self.expiry = Expiry {
                earliest: self.expiry.earliest_found,
                earliest_found: NEVER,
                cursor: 0,
            };
        }
        expired
    }

    /// Cuts the tables down to what is needed; returns the bytes that were freed, about.
    pub(super) fn shrink(&mut self) -> usize {
        let before = self.known.capacity();
        if before > KEPT && before / 4 > self.known.len() {
            self.known.shrink_to_fit(); // as far as the last entry
            let known = &self.known;
            self.by_slot
                .shrink_to_fit(|&entry| hash(known[entry as usize].slot));
        }
        (before - self.known.capacity()) * size_of::<Known>()
    }
}

impl Expiry {
    fn note(&mut self, expires: u32) {
        self.earliest = self.earliest.min(expires);
        self.earliest_found = self.earliest_found.min(expires);
    }
}

/// Slots are numbers from 0 on: nothing a client chooses.
fn hash(slot: u32) -> u64 {
    u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15) // the golden ratio, odd
}

/// Room for so many is kept when the last has gone.
const KEPT: usize = 64;
/// Entries looked at in one loop iteration: about 100 µs.
const SLICE: usize = 16 << 10;
/// Connections ended in one loop iteration, so that the rest waits for a millisecond at most.
const EXPIRED_MAX: usize = 256;
/// Ticks until an identity that has expired is looked at again.
const AGAIN: u32 = 1000 / TICK_MS;

#[cfg(test)]
mod tests {

    use roost_access::{Method, PermissionSet, Provider, TokenMark};

    use super::*;

    fn user(name: &str) -> Identity {
        Identity {
            user: name.into(),
            permissions: Arc::new(PermissionSet::of_role("r", Vec::new())),
            expires: None,
            method: Method::Ticket,
            provider: Provider::Static,
            token: TokenMark::default(),
        }
    }

    #[test]
    fn each_identity_that_expires_is_found_and_no_other() {
        let mut identities = Identities::default();
        assert_eq!(
            (identities.due(0), identities.expired(1_000)),
            (NEVER, vec![])
        );
        let count = 40_000;
        for slot in 0..count {
            let expires = (slot % 4 != 0)
                .then_some(100 + slot % 1_000)
                .and_then(NonZeroU32::new);
            let identity = Identity {
                expires,
                ..user("u")
            };
            identities.insert(slot, identity);
        }
        let mut found = vec![0; count as usize];
        for now in 0..2_000 {
            if now < identities.due(now) {
                continue;
            }
            let expired = identities.expired(now);
            assert!(expired.len() <= EXPIRED_MAX);
            for slot in expired {
                assert!(100 + slot % 1_000 <= now, "{slot} at {now}");
                found[slot as usize] += 1;
                // Every other one is ended; the rest is found again.
                if slot % 2 == 1 {
                    identities.take(slot);
                }
            }
        }
        for slot in 0..count {
            let times = found[slot as usize];
            match slot % 4 {
                0 => assert_eq!(times, 0, "{slot} never expires"),
                2 => assert!(times >= 2, "{slot} was found {times} times"),
                _ => assert_eq!(times, 1, "{slot}"),
            }
        }
    }

    #[test]
    fn an_identity_is_its_connections_until_that_ends() {
        let mut identities = Identities::default();
        assert!(identities.get(7).is_none() && identities.take(7).is_none());
        for slot in 0..1_000 {
            identities.insert(slot, user(&slot.to_string()));
        }
        identities.insert(7, user("another"));
        assert_eq!(identities.get(7).expect("it is there").user, "another");
        assert_eq!(identities.get(999).expect("it is there").user, "999");
        assert!(identities.get(1_000).is_none());
        for slot in 10..1_000 {
            let identity = identities.take(slot).expect("it was there");
            assert_eq!(identity.user, slot.to_string());
        }
        assert!(identities.get(10).is_none());
        assert!(identities.shrink() > 900 * size_of::<Known>());
        assert_eq!(identities.get(9).expect("it is there").user, "9");
        for slot in 0..10 {
            identities.take(slot).expect("it was there");
        }
        assert!(identities.known.is_empty() && identities.by_slot.is_empty());
        assert!(identities.known.capacity() <= KEPT, "no more is kept");
    }
}
