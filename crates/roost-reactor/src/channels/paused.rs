//! Connections that are not read for a while, mostly publishers, because what they publish has
//! nowhere to go: TCP then holds up the peer, and nothing is dropped.
//!
//! A publisher is paused behind the message that was one too many, not behind the buffer it came
//! in, which may hold ten thousand more. The bytes behind it are kept ([`crate::connections::Unread`]), and handled
//! first when the publisher is read again. Those that wait for the same thing are read in order,
//! and each gets at least one message through.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use roost_net::ConnKey;

use crate::clock::NEVER;

/// No connection's key.
pub(crate) const ALARM: ConnKey = ConnKey::from_bits(u64::MAX);

/// Publishers that are not read, beside those that wait for a channel (see [`super::congestion`]).
#[derive(Default)]
pub(crate) struct Paused {
    /// As soon as there is room.
    next: VecDeque<ConnKey>,
    /// Not before a tick.
    later: BinaryHeap<Reverse<(u32, u64)>>,
}

impl Paused {
    /// It is read again, in order, when there is room.
    pub(crate) fn push(&mut self, key: ConnKey) {
        self.next.push_back(key);
    }

    /// The same for several, in order.
    pub(crate) fn extend(&mut self, keys: Vec<ConnKey>) {
        self.next.extend(keys);
    }

    /// It is read again at tick `due` at the earliest.
    pub(crate) fn push_later(&mut self, due: u32, key: ConnKey) {
        self.later.push(Reverse((due, key.to_bits())));
    }

    /// At this tick [`Paused::pop`] gives [`ALARM`], which is no publisher.
    pub(crate) fn set_alarm(&mut self, due: u32) {
        self.push_later(due, ALARM);
    }

    /// The tick at which the first of them is due.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        self.later.peek().map_or(NEVER, |Reverse((due, _))| *due)
    }

    /// Whether one of them is due at tick `now`.
    #[inline]
    pub(crate) fn is_due(&self, now: u32) -> bool {
        !self.next.is_empty() || self.due() <= now
    }

    /// How many are due at tick `now`: those whose tick has come stand behind the others.
    pub(crate) fn count_due(&mut self, now: u32) -> usize {
        while self.due() <= now {
            if let Some(Reverse((_, key))) = self.later.pop() {
                self.next.push_back(ConnKey::from_bits(key));
            }
        }
        self.next.len()
    }

    /// Those that wait for a tick are read again when there is room: the limit that set the tick may hold
    /// no more.
    pub(crate) fn wake_all(&mut self) {
        while let Some(Reverse((_, key))) = self.later.pop() {
            self.next.push_back(ConnKey::from_bits(key));
        }
    }

    /// The next of them.
    pub(crate) fn pop(&mut self) -> Option<ConnKey> {
        self.next.pop_front()
    }

    /// The tick at which a connection is read again at the earliest, if it waits for one.
    pub(crate) fn due_of(&self, key: ConnKey) -> Option<u32> {
        let bits = key.to_bits();
        let own = self.later.iter().find(|Reverse((_, other))| *other == bits);
        own.map(|Reverse((due, _))| *due)
    }

    /// Whether a connection is read again as soon as there is room.
    pub(crate) fn is_next(&self, key: ConnKey) -> bool {
        self.next.contains(&key)
    }

    /// Drops memory that is only kept for the next; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let before = self.next.capacity() * size_of::<ConnKey>()
            + self.later.capacity() * size_of::<(u32, u64)>();
        if self.next.is_empty() && self.later.is_empty() {
            *self = Paused::default();
            return before;
        }
        0
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_empty() && self.later.is_empty()
    }
}
