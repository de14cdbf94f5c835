//! What takes more than one loop iteration to answer, or the driver: each goes on by a slice in an
//! iteration.

use std::collections::VecDeque;
use std::sync::Arc;

use roost_hub::Name;

use super::described::{ConnectionFilter, ConnectionRecord, Describe};
use super::messages::{LISTINGS_MAX, Token};

/// Requests that are being answered.
#[derive(Default)]
pub(crate) struct Listings {
    under_way: VecDeque<Listing>,
}

/// One of them.
pub(super) enum Listing {
    Connections(ConnectionListing),
    Channels(ChannelListing),
    /// One connection, in full: its socket is looked at.
    Description(Token, Box<Describe>),
}

/// A listing of connections.
pub(super) struct ConnectionListing {
    pub(super) token: Token,
    pub(super) next_slot: u32,
    /// Those that were described and not sent.
    pub(super) records: Vec<ConnectionRecord>,
    /// Records that may follow.
    pub(super) left: u32,
    pub(super) filter: Option<Arc<ConnectionFilter>>,
    /// With a filter: slots that may still be looked at.
    pub(super) slots_left: u32,
}

/// A listing of channels whose home is here.
pub(super) struct ChannelListing {
    pub(super) token: Token,
    pub(super) next: u32,
    /// Records that may follow.
    pub(super) left: u32,
    pub(super) prefix: Name,
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
