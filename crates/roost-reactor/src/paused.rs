//! Connections that are not read for a while, mostly publishers, because what they publish has
//! nowhere to go: TCP then holds up the peer, and nothing is dropped.
//!
//! A publisher is paused behind the message that was one too many, not behind the buffer it came
//! in, which may hold ten thousand more. The bytes behind it are kept ([`Unread`]), and handled
//! first when the publisher has its turn again. Who waits for the same thing has turns in order,
//! and each gets at least one message through.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use roost_hub::PublishTo;
use roost_net::ConnKey;
use roost_wire::{Inbound, Role, hixie};

use crate::conn::{Flags, Index, NEVER, Phase};
use crate::core::{Core, DriverOp};
use crate::encoding::Framing;
use crate::inputs::Partial;
use crate::links::Lane;

/// Who is not read, beside those who wait for a channel (see [`crate::congestion`]).
#[derive(Default)]
pub(crate) struct Paused {
    /// As soon as there is room.
    next: VecDeque<ConnKey>,
    /// Not before a tick.
    later: BinaryHeap<Reverse<(u32, u64)>>,
}

impl Paused {
    /// It is read again when its turn comes.
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

    /// The tick at which the first of them is due.
    pub(crate) fn due(&self) -> u32 {
        self.later.peek().map_or(NEVER, |Reverse((due, _))| *due)
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

/// What a paused publisher has sent and its decoder has not seen.
pub(crate) struct Unread {
    decoder: Decoder,
    bytes: Vec<u8>,
    /// Of which so many have been handled.
    start: usize,
}

/// The decoder of a connection's framing, with what it holds.
pub(crate) enum Decoder {
    Frames(Inbound),
    EarlyFrames(hixie::Inbound),
}

impl Decoder {
    /// That of a connection between two messages.
    pub(crate) fn new(framing: Framing) -> Decoder {
        match framing {
            Framing::Early => Decoder::EarlyFrames(hixie::Inbound::new()),
            Framing::Rfc6455 | Framing::Deflate(_) => Decoder::Frames(Inbound::new(Role::Server)),
        }
    }
}

impl Unread {
    pub(crate) fn new(decoder: Decoder, bytes: &[u8]) -> Unread {
        Unread {
            decoder,
            bytes: bytes.to_vec(),
            start: 0,
        }
    }

    /// Bytes that were on their way when the driver was told to pause.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn pinned_bytes(&self) -> usize {
        let decoder = match &self.decoder {
            Decoder::Frames(inbound) => inbound.pinned_bytes(),
            Decoder::EarlyFrames(inbound) => inbound.pinned_bytes(),
        };
        size_of::<Unread>() + self.bytes.capacity() + decoder
    }
}

impl Core {
    /// Stops reading from a connection.
    pub(crate) fn pause(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && !conn.flags.has(Flags::PAUSED)
        {
            conn.flags.set(Flags::PAUSED);
            self.driver_ops.push(DriverOp::Pause(key));
        }
    }

    /// Reads again.
    pub(crate) fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && conn.flags.clear(Flags::PAUSED)
        {
            self.driver_ops.push(DriverOp::Resume(key));
        }
    }

    /// Counts a publication of so many bytes, and stops reading from its publisher while the channel
    /// is congested, its namespace gets more than it may, another reactor's ring is full, or too
    /// much is on its way to subscribers here.
    pub(crate) fn after_publish(&mut self, key: ConnKey, to: PublishTo<'_>, bytes: usize) {
        self.counters.publishes_total.inc();
        let has_limits = self.inflow.has_limits();
        let name = match to {
            _ if self.congestion.is_empty() => None,
            PublishTo::Name(name) => Some(name),
            PublishTo::Channel(channel) => self.hub.channel_name(channel),
        };
        let mut resume_at = self.now;
        if has_limits {
            let namespace = self.namespace_of(to);
            resume_at = self.inflow.take(namespace, bytes, self.now);
            if resume_at > self.now {
                let namespace = &self.namespaces[usize::from(namespace)];
                namespace.publish_rate_limited_total.inc();
            }
        }
        let congested = name.filter(|name| self.congestion.has(name));
        if congested.is_none() && resume_at <= self.now && self.has_room() {
            return;
        }
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if conn.phase != Phase::Open || conn.flags.has(Flags::PAUSED) {
            return;
        }
        conn.flags.set(Flags::PAUSED);
        self.driver_ops.push(DriverOp::Pause(key));
        self.counters.publishers_paused_total.inc();
        match congested {
            Some(name) => self.congestion.park(name, key),
            None if resume_at > self.now => self.paused.push_later(resume_at, key),
            None => self.paused.push(key),
        }
    }

    /// Whether there is room for what paused publishers have to say.
    fn has_room(&self) -> bool {
        self.links.spilled() == 0
            && !self.links.at_batch_limit(Lane::Publish)
            && !self.fanout.is_full()
    }

    /// Whether paused publishers can be read now.
    pub(crate) fn has_paused_to_read(&self) -> bool {
        (!self.paused.next.is_empty() || self.paused.due() <= self.now) && self.has_room()
    }

    /// Reads those again that can be.
    pub(crate) fn read_paused(&mut self) {
        while self.paused.due() <= self.now {
            if let Some(Reverse((_, key))) = self.paused.later.pop() {
                self.paused.next.push_back(ConnKey::from_bits(key));
            }
        }
        // Who is paused anew has had its turn.
        for _ in 0..self.paused.next.len() {
            if !self.has_room() || self.has_done_enough() {
                return;
            }
            if let Some(key) = self.paused.next.pop_front() {
                self.read_again(key);
            }
        }
    }

    /// Handles what a paused publisher has sent, and reads from it, unless that pauses it again.
    fn read_again(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if !conn.flags.clear(Flags::PAUSED) {
            return;
        }
        match self.take_partial(key.slot()) {
            Some(Partial::Unread(unread)) => self.go_on(key, *unread),
            Some(other) => self.keep_partial(key.slot(), other),
            None => {}
        }
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if conn.partial == Index::NONE {
            self.cost_probe.finish(key.slot());
        }
        if !conn.flags.has(Flags::PAUSED) {
            self.driver_ops.push(DriverOp::Resume(key));
        }
    }

    /// Handles what was kept of a publisher's input, until it is paused again.
    fn go_on(&mut self, key: ConnKey, unread: Unread) {
        let Unread {
            decoder,
            mut bytes,
            start,
        } = unread;
        match self.decode(key, decoder, &mut bytes[start..]) {
            None => {}
            Some((decoder, 0)) => self.keep_input(key, decoder, &[]),
            Some((decoder, rest)) => {
                let start = bytes.len() - rest;
                let unread = Unread {
                    decoder,
                    bytes,
                    start,
                };
                self.keep_partial(key.slot(), Partial::Unread(Box::new(unread)));
            }
        }
        self.apply_pending();
    }

    /// A connection that is closing is read to its end, whatever its messages had to wait for.
    pub(crate) fn end_pause(&mut self, key: ConnKey) {
        let conn = self.table.get(key);
        if conn.is_some_and(|conn| conn.flags.has(Flags::PAUSED)) {
            self.paused.push(key);
        }
    }
}
