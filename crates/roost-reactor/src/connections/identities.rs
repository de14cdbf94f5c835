//! What connections are known as, beside their records: an entry only for those that are not anonymous,
//! or are so in a role.

use hashbrown::HashTable;
use roost_access::Identity;
use slab::Slab;

/// All of them, for one reactor's connections.
#[derive(Default)]
pub(crate) struct Identities {
    known: Slab<Known>,
    /// Entries of `known`, by slot.
    by_slot: HashTable<u32>,
}

#[derive(Debug)]
struct Known {
    slot: u32,
    identity: Identity,
}

// With 5 bytes in the index, of which at most four sevenths are empty, an authenticated connection costs
// at most 52 bytes beside its record, and what its user's name has beyond 15 bytes.
const _: () = assert!(size_of::<Known>() <= 40);

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

    /// The connection in `slot` has this one from now on.
    pub(crate) fn insert(&mut self, slot: u32, identity: Identity) {
        self.take(slot);
        let entry = self.known.insert(Known { slot, identity });
        let entry = u32::try_from(entry).expect("fewer entries than connections");
        let known = &self.known;
        let hasher = |&entry: &u32| hash(known[entry as usize].slot);
        self.by_slot.insert_unique(hash(slot), entry, hasher);
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
        if self.known.is_empty() && self.known.capacity() > KEPT {
            *self = Identities::default();
        }
        Some(identity)
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

/// Slots are numbers from 0 on: nothing a client chooses.
fn hash(slot: u32) -> u64 {
    u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15) // the golden ratio, odd
}

/// Room for so many is kept when the last has gone.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roost_access::{Method, PermissionSet, Provider};

    use super::*;

    fn user(name: &str) -> Identity {
        Identity {
            user: name.into(),
            permissions: Arc::new(PermissionSet::of_role("r", Vec::new())),
            expires: None,
            method: Method::Ticket,
            provider: Provider::Static,
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
