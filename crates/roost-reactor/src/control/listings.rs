//! Listings under way: each goes on by a slice in a loop iteration.

use std::collections::VecDeque;

use super::messages::{LISTINGS_MAX, Token};

/// Requests that take more than one loop iteration to answer.
#[derive(Default)]
pub(crate) struct Listings {
    under_way: VecDeque<Listing>,
}

/// One of them.
pub(super) struct Listing {
    pub(super) token: Token,
    pub(super) next_slot: u32,
    /// Records that may follow.
    pub(super) left: u32,
}

impl Listings {
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether there are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= LISTINGS_MAX
    }

    pub(super) fn push(&mut self, listing: Listing) {
        self.under_way.push_back(listing);
    }

    /// The listing to go on with.
    pub(super) fn pop(&mut self) -> Option<Listing> {
        self.under_way.pop_front()
    }
}
