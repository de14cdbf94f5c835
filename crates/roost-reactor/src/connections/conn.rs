//! One connection's record: a small plain value.
//!
//! Everything a quiet connection needs is in here, and nothing in here points anywhere: the rest
//! is found by index in tables that hold only what is in use now.

use roost_dialect::DialectKind;
use roost_dialect::dialect::Session;

use super::encoding::Framing;
use crate::clock::NEVER;

/// The record of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Conn {
    /// Tick at which it is looked at; [`NEVER`] for none.
    pub(crate) deadline: u32,
    /// Tick of the last byte received.
    pub(crate) last_seen: u32,
    /// Tick of the last message in either direction.
    pub(crate) last_message: u32,
    /// Unfinished input, if any: index into the partials.
    pub(crate) partial: Index,
    /// Output the kernel did not take yet, if any: index into the outboxes.
    pub(crate) outbox: Index,
    /// What it gets in this loop iteration: a state of the palette; 0 for nothing.
    pub(crate) pending: u32,
    /// What its dialect keeps of it.
    pub(crate) session: Session,
    pub(crate) arrival: Arrival,
    /// The other half of its key.
    pub(crate) generation: u16,
    pub(crate) flags: Flags,
    pub(crate) dialect: DialectKind,
    pub(crate) framing: Framing,
    pub(crate) phase: Phase,
}

// The promise of the house: a million quiet connections cost little more than the kernel's share.
const _: () = assert!(size_of::<Conn>() <= 48);

/// Where a connection is in its life. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The first request's head is awaited.
    Handshake,
    /// A plain HTTP request has come: it is being answered, or the next one is awaited, which may ask
    /// for a WebSocket. What more is kept of it stands in [`super::exchanges`].
    Http,
    /// The head was good; its token is being checked, or the channel's home is asked, before the 101
    /// goes out.
    Joining,
    /// The WebSocket is open.
    Open,
    /// We sent a close frame and await the peer's.
    Closing,
    /// Nothing more will be written after what is queued; then FIN, then the peer's FIN.
    Lingering,
    /// The driver was asked to close; the slot waits for its `Closed`.
    Closed,
}

/// An index into one of the tables beside, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Index(u32);

impl Index {
    pub(crate) const NONE: Index = Index(u32::MAX);

    pub(crate) fn new(index: usize) -> Index {
        let index = u32::try_from(index).expect("tables hold fewer than 2^32 entries");
        Index(index)
    }

    pub(crate) fn get(self) -> Option<usize> {
        (self != Index::NONE).then_some(self.0 as usize)
    }

    pub(crate) fn take(&mut self) -> Option<usize> {
        std::mem::replace(self, Index::NONE).get()
    }
}

/// How a connection came in: its listener, by number, and its entry in the table of peer addresses,
/// if those are limited. Packed, for the record has no byte to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival(u32);

impl Arrival {
    /// Most entries of that table; a fourth byte has the listener.
    pub(crate) const ADDRESSES_MAX: usize = (1 << 24) - 3;

    pub(crate) fn new(listener: u8, address: Index) -> Arrival {
        let entry = match address.get() {
            Some(entry) => u32::try_from(entry).expect("at most ADDRESSES_MAX entries"),
            None => Arrival::NO_ADDRESS,
        };
        Arrival::pack(listener, entry)
    }

    /// Of a proxy's connection, whose requests say which client's they are.
    pub(crate) fn of_proxy(listener: u8) -> Arrival {
        Arrival::pack(listener, Arrival::AWAITS_CLIENT)
    }

    fn pack(listener: u8, entry: u32) -> Arrival {
        debug_assert!(entry <= Arrival::NO_ADDRESS);
        Arrival(entry << 8 | u32::from(listener))
    }

    /// The same connection, since it is that of a proxy's client: by its entry, if it has one.
    pub(crate) fn of_client(self, address: Index) -> Arrival {
        match address {
            Index::NONE => Arrival::pack(self.listener(), Arrival::PROXYS_CLIENT),
            address => Arrival::new(self.listener(), address),
        }
    }

    /// Whether it is a proxy's, and not of one of its clients yet.
    pub(crate) fn awaits_client(self) -> bool {
        self.0 >> 8 == Arrival::AWAITS_CLIENT
    }

    /// Whether the socket's address is a proxy's, and that of its client is not counted.
    pub(crate) fn is_proxys(self) -> bool {
        self.awaits_client() || self.0 >> 8 == Arrival::PROXYS_CLIENT
    }

    pub(crate) fn listener(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    pub(crate) fn address(self) -> Index {
        match self.0 >> 8 {
            Arrival::AWAITS_CLIENT.. => Index::NONE,
            entry => Index(entry),
        }
    }

    const NO_ADDRESS: u32 = (1 << 24) - 1;
    const PROXYS_CLIENT: u32 = (1 << 24) - 2;
    const AWAITS_CLIENT: u32 = (1 << 24) - 3;
}

/// A set of facts about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Flags = Flags(0);
    /// A batch is with the driver; what comes now goes to the outbox.
    pub(crate) const IN_FLIGHT: Flags = Flags(1);
    /// A ping was sent and no byte has come since. Of a response stream: some of it waits, and its
    /// client is to take some.
    pub(crate) const PING_SENT: Flags = Flags(1 << 1);
    /// The driver was asked to stop reading.
    pub(crate) const PAUSED: Flags = Flags(1 << 2);
    /// Something follows when all that is queued has gone: in [`Phase::Http`] the next request is
    /// handled, later FIN is sent.
    pub(crate) const FLUSH_AWAITED: Flags = Flags(1 << 3);
    /// FIN was asked for.
    pub(crate) const FIN_SENT: Flags = Flags(1 << 4);
    /// The peer's FIN has come.
    pub(crate) const PEER_FIN: Flags = Flags(1 << 5);
    /// It may publish to the channel that it joined when it was accepted.
    pub(crate) const MAY_PUBLISH: Flags = Flags(1 << 6);
    /// It receives what it publishes there.
    pub(crate) const RECEIVES_OWN: Flags = Flags(1 << 7);
    /// It counts as a handshake in flight.
    pub(crate) const HANDSHAKE: Flags = Flags(1 << 8);
    /// It counts as an open WebSocket.
    pub(crate) const WEBSOCKET: Flags = Flags(1 << 9);
    /// The peer sent a close frame.
    pub(crate) const PEER_CLOSED: Flags = Flags(1 << 10);
    /// Its dialect wants bytes of the last message before those of the next.
    pub(crate) const HAS_REST: Flags = Flags(1 << 11);
    /// The last record of its transport is not whole.
    pub(crate) const HAS_RECORD: Flags = Flags(1 << 13);
    /// Its bytes pass through a transport that is not plain ([`super::transport`]).
    pub(crate) const HAS_TRANSPORT: Flags = Flags(1 << 14);
    /// Its deadline was put off once, because the driver had input of it that was not read yet.
    pub(crate) const OVERDUE: Flags = Flags(1 << 12);

    /// Of a WebSocket: its messages are counted, for its rates have limits. Of another: it counts as an
    /// open event stream.
    const SHARED: Flags = Flags(1 << 15);
    /// It is paused; or its messages are counted, if it is a WebSocket.
    pub(crate) const PAUSED_OR_COUNTED: Flags = Flags(Flags::PAUSED.0 | Flags::SHARED.0);

    /// Those that another process is told of: the others are about the driver, deadlines and tables
    /// of this one, or are set again with what they stand for.
    pub(crate) fn carried(self) -> Flags {
        let own = [
            Flags::IN_FLIGHT,
            Flags::HAS_REST,
            Flags::HAS_RECORD,
            Flags::OVERDUE,
        ];
        Flags(own.iter().fold(self.0, |flags, own| flags & !own.0))
    }

    /// An open WebSocket, whose messages are counted or not.
    pub(crate) fn set_websocket(&mut self, counts_messages: bool) {
        self.set(Flags::WEBSOCKET);
        if counts_messages {
            self.set(Flags::SHARED);
        }
    }

    /// An open event stream.
    pub(crate) fn set_event_stream(&mut self) {
        self.set(Flags::SHARED);
    }

    /// It is open no more; which of the two it was.
    pub(crate) fn clear_open(&mut self) -> (bool, bool) {
        let was_websocket = self.clear(Flags::WEBSOCKET);
        let was_shared = self.clear(Flags::SHARED);
        (was_websocket, was_shared && !was_websocket)
    }

    /// Whether it is a WebSocket whose messages are counted.
    #[inline]
    pub(crate) fn counts_messages(self) -> bool {
        self.has(Flags::WEBSOCKET) && self.has(Flags::SHARED)
    }

    #[inline]
    pub(crate) fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }

    /// Takes the flag away; true if it was there.
    #[inline]
    pub(crate) fn clear(&mut self, flag: Flags) -> bool {
        let had = self.has(flag);
        self.0 &= !flag.0;
        had
    }
}

impl Conn {
    /// A connection just accepted.
    pub(crate) fn new(now: u32) -> Conn {
        Conn {
            deadline: NEVER,
            last_seen: now,
            last_message: now,
            partial: Index::NONE,
            outbox: Index::NONE,
            pending: 0,
            session: Session::NONE,
            arrival: Arrival::new(0, Index::NONE),
            generation: 0,
            flags: Flags::NONE,
            dialect: DialectKind::Raw,
            framing: Framing::Rfc6455,
            phase: Phase::Handshake,
        }
    }

    /// Whether frames are still read and understood.
    #[inline]
    pub(crate) fn reads_frames(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing)
    }

    /// Whether something that it has sent is kept because it is not whole, or must wait.
    pub(crate) fn has_kept_input(&self) -> bool {
        let beside = [Flags::HAS_REST, Flags::HAS_RECORD];
        self.partial != Index::NONE || beside.into_iter().any(|flag| self.flags.has(flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_keeps_listener_and_address_apart() {
        for listener in [0, 1, u8::MAX] {
            for entry in [None, Some(0), Some(1), Some(Arrival::ADDRESSES_MAX - 1)] {
                let address = entry.map_or(Index::NONE, Index::new);
                let arrival = Arrival::new(listener, address);
                assert_eq!(arrival.listener(), listener, "{entry:?}");
                assert_eq!(arrival.address(), address, "{listener}");
                assert!(!arrival.is_proxys() && !arrival.awaits_client());
                let proxys = Arrival::of_proxy(listener);
                assert!(proxys.awaits_client() && proxys.is_proxys());
                assert_eq!(proxys.address(), Index::NONE);
                let clients = proxys.of_client(address);
                assert_eq!(clients.listener(), listener);
                assert_eq!(clients.address(), address);
                assert!(!clients.awaits_client());
                assert_eq!(clients.is_proxys(), entry.is_none());
            }
        }
    }
}
