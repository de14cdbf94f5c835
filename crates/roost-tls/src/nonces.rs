//! Finds a number that is used twice under one key, the mistake that a stream cipher does not forgive:
//! a connection in two places, restored from an old copy, or whose sealing went wrong half-way.
//!
//! In builds with debug assertions each record that is sealed is noted while a [`Watch`] of the thread
//! exists; tests and the simulator hold one. Other builds note nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::marker::PhantomData;

use crate::keys::Keys;

thread_local! {
    /// By key and IV, the number that comes next: numbers rise under a key.
    static NEXT: RefCell<Option<HashMap<[u8; 44], u64>>> = const { RefCell::new(None) };
}

/// While it exists, sealing a record twice under one key and number panics, on this thread.
#[must_use]
pub struct Watch(PhantomData<*const ()>); // of this thread

/// Begins to watch this thread.
pub fn watch() -> Watch {
    NEXT.with_borrow_mut(|next| *next = Some(HashMap::new()));
    Watch(PhantomData)
}

impl Watch {
    /// Keys that have sealed something so far. 0 in builds that note nothing.
    pub fn keys(&self) -> usize {
        NEXT.with_borrow(|next| next.as_ref().map_or(0, HashMap::len))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        NEXT.with_borrow_mut(|next| *next = None);
    }
}

/// A record is about to be sealed.
#[inline]
pub(crate) fn note(keys: &Keys) {
    if cfg!(debug_assertions) {
        NEXT.with_borrow_mut(|next| {
            if let Some(next) = next {
                check(next, keys);
            }
        });
    }
}

fn check(next: &mut HashMap<[u8; 44], u64>, keys: &Keys) {
    match next.entry(keys.identity()) {
        Entry::Vacant(entry) => {
            entry.insert(keys.seq() + 1);
        }
        Entry::Occupied(mut entry) => {
            let (next, seq) = (entry.get_mut(), keys.seq());
            assert!(
                seq >= *next,
                "record {seq} sealed twice under one key: the next was to be {next}"
            );
            *next = seq + 1;
        }
    }
}
