//! What the control thread asks reactors, and what they answer.

use roost_hub::ReactorId;
use roost_net::ConnKey;

use crate::connections::Phase;

/// What a reactor is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To answer: its loop runs.
    Ping,
    /// For its connections.
    Connections {
        /// Slots from this one on.
        from_slot: u32,
        /// Records in the answer, at most [`CONNECTIONS_MAX`].
        limit: u32,
    },
}

/// Which request an answer belongs to. New for each request of a [`super::ControlPeer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

/// One answer, or a part of one.
#[derive(Debug)]
pub struct Answer {
    /// As [`super::ControlPeer::ask`] or [`super::ControlPeer::publish`] gave it.
    pub token: Token,
    /// What the reactor says.
    pub part: Part,
}

/// What a reactor answers.
#[derive(Debug)]
pub enum Part {
    /// To [`Request::Ping`].
    Pong,
    /// To [`Request::Connections`]: some of the records, in order of their slots. More parts follow
    /// unless it is the last.
    Connections(Vec<ConnectionRecord>),
    /// The last part of the answer to [`Request::Connections`].
    ConnectionsEnd {
        /// The last records.
        records: Vec<ConnectionRecord>,
        /// Where to go on; `None` behind the table's end.
        next_slot: Option<u32>,
    },
    /// To a publication: it has its place in its channel's order.
    Published {
        /// Its number.
        publication: u64,
    },
    /// The reactor does not do it now.
    Refused(Refusal),
}

/// Why a reactor does not do what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It answers as many listings as it does at once, [`LISTINGS_MAX`].
    Busy,
    /// The channel is published to faster than it is delivered; its other publishers wait.
    Congested,
}

/// One connection as its reactor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Its reactor.
    pub reactor: u8,
    /// Its slot and generation.
    pub key: ConnKey,
    /// `handshake`, `joining`, `open`, `closing`, `lingering` or `closed`.
    pub phase: &'static str,
    /// `raw`, `echo` or `wamp.2.json`; `raw` before the handshake's end.
    pub dialect: &'static str,
    /// Bytes of unfinished input.
    pub input_buffered_bytes: usize,
    /// Bytes that wait for its socket.
    pub outbox_bytes: usize,
    /// The messages of them.
    pub outbox_messages: usize,
    /// Bytes of the batch with the kernel that it has not taken.
    pub in_flight_bytes: usize,
    /// Whether it is not read for the time being, as a publisher.
    pub is_paused: bool,
    /// Seconds since a byte was received.
    pub silent_seconds: u32,
}

impl Token {
    pub(super) fn new(number: u64) -> Token {
        Token(number)
    }

    /// As a publication carries it.
    pub(super) fn to_ack(self) -> u64 {
        self.0
    }

    /// Of a publication that carries it.
    pub(crate) fn from_ack(ack: u64) -> Token {
        Token(ack)
    }
}

impl Answer {
    /// Memory that it keeps.
    pub(crate) fn bytes(&self) -> usize {
        let records = match &self.part {
            Part::Connections(records) | Part::ConnectionsEnd { records, .. } => records.len(),
            Part::Pong | Part::Published { .. } | Part::Refused(_) => 0,
        };
        size_of::<Answer>() + records * size_of::<ConnectionRecord>()
    }
}

/// The control thread's number in the mesh: behind all reactors, so that none of them takes it for a
/// home.
pub(crate) fn control_id(reactors: usize) -> ReactorId {
    ReactorId(u8::try_from(reactors).expect("at most REACTORS_MAX reactors"))
}

pub(crate) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Handshake => "handshake",
        Phase::Http => "http",
        Phase::Joining => "joining",
        Phase::Open => "open",
        Phase::Closing => "closing",
        Phase::Lingering => "lingering",
        Phase::Closed => "closed",
    }
}

/// Reactors of a server, at most: their numbers and that of the control thread are one byte.
pub const REACTORS_MAX: usize = 255;
/// Records in the answer to one request.
pub const CONNECTIONS_MAX: u32 = 4096;
/// Listings that a reactor answers at once.
pub const LISTINGS_MAX: usize = 4;
