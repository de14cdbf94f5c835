//! What takes more than one loop iteration to answer, or the driver: each goes on by a slice, and after a slice
//! there is none for several times as long as that took. A message waits for one slice at most, and few do;
//! a list that takes seconds takes an eighth of the reactor's time meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roost_hub::Name;

use super::described::{ConnectionFilter, ConnectionRecord, Describe};
use super::messages::{LISTINGS_MAX, Token};

/// Requests that are being answered.
#[derive(Default)]
pub(crate) struct Listings {
    under_way: VecDeque<Listing>,
    /// When the next slice is due, in nanoseconds of the driver's clock.
    due_ns: u64,
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

    /// The listing to go on with, if one is due.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<Listing> {
        match now_ns < self.due_ns {
            true => None,
            false => self.under_way.pop_front(),
        }
    }

    /// A slice has begun at `begun_ns` and ended now.
    pub(super) fn rest(&mut self, begun_ns: u64, now_ns: u64) {
        let rest_ns = now_ns.saturating_sub(begun_ns).saturating_mul(REST);
        self.due_ns = now_ns + rest_ns.clamp(REST_NS_MIN, REST_NS_MAX);
    }

    /// How long there is no slice to do, of listings that there are.
    pub(crate) fn due_in(&self, now_ns: u64) -> Duration {
        Duration::from_nanos(self.due_ns.saturating_sub(now_ns))
    }
}

/// So many times as long as a slice has taken there is none.
const REST: u64 = 7;
/// And for so long at least, and at most: the time that a slice takes may be that of another process.
const REST_NS_MIN: u64 = 20_000;
const REST_NS_MAX: u64 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_followed_by_a_rest() {
        let mut listings = Listings::default();
        let describe = || {
            let describe = Describe {
                key: roost_net::ConnKey::new(1, 1),
                channel: None,
            };
            Listing::Description(Token::new(1), Box::new(describe))
        };
        let mut now = 1_000_000;
        for (took, rest) in [(10_000, 70_000), (0, 20_000), (9_000_000, 500_000)] {
            listings.push(describe());
            listings.push(describe());
            assert_eq!(listings.due_in(now), Duration::ZERO);
            assert!(listings.pop(now).is_some());
            listings.rest(now, now + took);
            now += took;
            assert_eq!(listings.due_in(now), Duration::from_nanos(rest));
            assert!(listings.pop(now + rest - 1).is_none());
            now += rest;
            assert!(listings.pop(now).is_some());
            assert!(listings.is_empty());
        }
    }
}
