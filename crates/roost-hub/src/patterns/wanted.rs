//! The reactors that want a pattern, as a home knows them.

use std::slice;

use crate::encoding::EncodingSet;
use crate::ids::{HomeIndex, ReactorId};
use crate::item::LocalRef;

/// A reactor that wants a pattern, and where it wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PatternInterest {
    pub(crate) local: LocalRef,
    /// The pattern's number in the register. Reactors that join while others leave may have got
    /// different ones.
    pub(crate) number: HomeIndex,
    pub(crate) reactor: ReactorId,
    pub(crate) encodings: EncodingSet,
}

const _: () = assert!(size_of::<PatternInterest>() <= 24);

/// The reactors that want a pattern, ascending, one entry each.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a bare Vec would make every record 8 bytes larger"
)]
pub(crate) enum Wanted {
    /// Nearly always.
    One(PatternInterest),
    /// None, or two and more.
    Several(Box<Vec<PatternInterest>>),
}

const _: () = assert!(size_of::<Wanted>() <= 32);

impl Wanted {
    /// Adds or replaces the interest of a reactor. False if it was there.
    pub(crate) fn set(&mut self, interest: PatternInterest) -> bool {
        let mut list = self.interests().to_vec();
        let found = list.binary_search_by_key(&interest.reactor, |one| one.reactor);
        match found {
            Ok(at) => list[at] = interest,
            Err(at) => list.insert(at, interest),
        }
        *self = Wanted::of(list);
        found.is_err()
    }

    /// Takes a reactor out, if its interest is the one meant.
    pub(crate) fn remove(&mut self, reactor: ReactorId, local: LocalRef) -> bool {
        let mut list = self.interests().to_vec();
        let before = list.len();
        list.retain(|one| (one.reactor, one.local) != (reactor, local));
        let removed = list.len() < before;
        *self = Wanted::of(list);
        removed
    }

    /// In the smallest form.
    pub(crate) fn of(list: Vec<PatternInterest>) -> Wanted {
        match list[..] {
            [one] => Wanted::One(one),
            _ => Wanted::Several(Box::new(list)),
        }
    }

    pub(crate) fn interests(&self) -> &[PatternInterest] {
        match self {
            Wanted::One(one) => slice::from_ref(one),
            Wanted::Several(list) => list,
        }
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Wanted::One(_) => 0,
            Wanted::Several(list) => {
                size_of::<Vec<PatternInterest>>() + list.capacity() * size_of::<PatternInterest>()
            }
        }
    }

    pub(crate) fn check_invariants(&self) {
        let list = self.interests();
        assert!(!list.is_empty(), "a pattern lives while it is wanted");
        assert!(list.is_sorted_by(|a, b| a.reactor < b.reactor));
        assert!(list.iter().all(|one| !one.encodings.is_empty()));
    }
}
