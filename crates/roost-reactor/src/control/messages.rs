//! What the control thread asks reactors, and what they answer.

use std::sync::Arc;

use roost_access::{Revoked, UserName};
use roost_dialect::Publication;
use roost_hub::{Loss, Name, Placement, Position, PresenceView, ReactorId};
use roost_net::ConnKey;
use roost_wire::CloseCode;

use super::described::{ChannelRecord, ConnectionFilter, ConnectionRecord, Describe, Described};
use super::repeats::RepeatKey;
use crate::connections::Phase;

/// What a reactor is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To answer: its loop runs.
    Ping,
    /// For its connections.
    Connections {
        /// Slots from this one on.
        from_slot: u32,
        /// Records in the answer, at most [`CONNECTIONS_MAX`].
        limit: u32,
        /// Which; `None` is all. Then the answer may end before the limit and the table's end, once it
        /// has looked at [`FILTERED_SLOTS_MAX`] slots.
        filter: Option<Arc<ConnectionFilter>>,
    },
    /// For all that is known of a connection.
    Describe(Box<Describe>),
    /// For channels whose home it is.
    Channels {
        /// Places from this one on.
        from: u32,
        /// Records in the answer, at most [`CHANNELS_MAX`].
        limit: u32,
        /// How their names begin.
        prefix: Name,
    },
    /// For the channel of this name, whose home it would be.
    Channel(Name),
    /// How many subscribe there to each of these channels, [`COUNTED_MAX`] at most.
    CountSubscribers(Box<[Name]>),
    /// To begin a connection's closing handshake.
    Disconnect(Box<Disconnect>),
    /// The same with all connections of a user.
    DisconnectUser(Box<DisconnectUser>),
    /// To end subscriptions to a channel.
    Unsubscribe(Box<Unsubscribe>),
    /// To subscribe connections to a channel, where their dialect has words for it.
    Subscribe(Box<Subscribe>),
    /// To let identities end at another time.
    Refresh(Box<Refresh>),
    /// To take tokens no longer, and to close connections that came by them.
    Revoke(Box<Revocation>),
    /// For what a channel keeps whose home it is.
    History(Box<HistoryQuery>),
    /// To forget what a channel keeps whose home it is.
    RemoveHistory(Name),
    /// For who is in a channel whose home it is.
    Presence {
        /// The channel.
        channel: Name,
        /// Whether only how many there are is asked for.
        counts_only: bool,
    },
}

/// Whose connections are closed, and what their clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectUser {
    /// Whose; not empty.
    pub user: UserName,
    /// Connections that stay.
    pub except: Box<[ConnKey]>,
    /// Close code.
    pub code: CloseCode,
    /// Close reason.
    pub reason: CloseReason,
}

/// Whose connections a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// All of a user.
    User(UserName),
    /// One connection.
    Connection {
        /// Its slot and generation.
        key: ConnKey,
        /// Whose it has to be; empty for anyone's.
        user: UserName,
    },
}

/// Which subscriptions are ended. A connection that is for its subscription alone is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// To this channel.
    pub channel: Name,
    /// Of these.
    pub whose: Whose,
}

/// Which connections are subscribed to a channel, whatever their clients may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// To this channel.
    pub channel: Name,
    /// These.
    pub whose: Whose,
}

/// When identities end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// Those of these connections.
    pub whose: Whose,
    /// In so many milliseconds; `None` with the connection.
    pub ends_in_ms: Option<u64>,
}

/// Tokens that are not taken any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub revoked: Revoked,
    /// In how many milliseconds that ends.
    pub ends_in_ms: u64,
}

/// Which publications of a channel are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The channel.
    pub channel: Name,
    /// Behind this position, or before it if the newest come first; `None`: from the first, or the last.
    pub since: Option<Position>,
    /// At most so many, and at most [`HISTORY_PUBLICATIONS_MAX`].
    pub limit: u32,
    /// The newest come first.
    pub is_reverse: bool,
}

pub use roost_dialect::dialect::HistoryPage;

/// Which connection is closed, and what its client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Its slot and generation.
    pub key: ConnKey,
    /// Whose it has to be; empty for anyone's.
    pub user: UserName,
    /// Close code.
    pub code: CloseCode,
    /// Close reason.
    pub reason: CloseReason,
}

/// A reason that fits a close frame (RFC 6455 §5.5: 125 bytes with the code).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReason(Box<str>);

/// One publication of the control thread, for the home of its channel. The caller has checked the
/// length of the name and of the payload against the settings' limits.
#[derive(Debug, Clone)]
pub struct ControlPublication {
    /// The channel.
    pub channel: Name,
    /// What is published.
    pub payload: Publication,
    /// Whether the rates of the channel's namespace hold for it.
    pub is_limited: bool,
    /// If one with the same key was published before, this one is not; it has the first one's place.
    pub repeat_key: Option<RepeatKey>,
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
    /// To [`Request::Channels`]: some of the records. More parts follow unless it is the last.
    Channels(Vec<ChannelRecord>),
    /// The last part of the answer to [`Request::Channels`], or all of that to [`Request::Channel`].
    ChannelsEnd {
        /// The last records.
        records: Vec<ChannelRecord>,
        /// Where to go on; `None` behind the last.
        next: Option<u32>,
    },
    /// To [`Request::CountSubscribers`], in the same order.
    Subscribers(Box<[u32]>),
    /// To [`Request::Describe`].
    Described(Box<Described>),
    /// To publications: what has become of each, in their order.
    Published(Box<[Result<Placement, Refusal>]>),
    /// To [`Request::Disconnect`].
    Disconnected {
        /// A WebSocket was open there.
        was_open: bool,
    },
    /// To [`Request::DisconnectUser`], [`Request::Revoke`], [`Request::Subscribe`], [`Request::Unsubscribe`] and
    /// [`Request::Refresh`].
    Done {
        /// Connections that it was done to: whose closing handshake has begun, or whose opening handshake
        /// was refused, or whose subscription has begun or was ended.
        connections: u32,
    },
    /// To [`Request::History`]; an error if something is missing behind the position that was named.
    History(Box<Result<HistoryPage, Loss>>),
    /// To [`Request::RemoveHistory`].
    HistoryRemoved,
    /// To [`Request::Presence`].
    Presence(Box<PresenceView>),
    /// The reactor does not do it now.
    Refused(Refusal),
}

/// Why a reactor does not do what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It answers as many listings as it does at once, [`LISTINGS_MAX`], or sweeps, [`SWEEPS_MAX`].
    Busy,
    /// It keeps as many revocations as it may.
    RevocationsFull,
    /// The channel is published to faster than it is delivered; its other publishers wait.
    Congested,
    /// As much is published in the channel's namespace as may be.
    RateLimited {
        /// Until then.
        wait_ms: u32,
    },
}

impl Token {
    #[doc(hidden)]
    pub fn new(number: u64) -> Token {
        Token(number)
    }
}

impl ControlPublication {
    /// Memory that it keeps.
    pub fn bytes(&self) -> usize {
        size_of::<ControlPublication>() + self.channel.len() + self.payload.bytes()
    }
}

impl Request {
    /// Memory that it keeps beside itself.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Request::CountSubscribers(names) => {
                let lengths = names.iter().map(|name| name.len());
                size_of_val(&names[..]) + lengths.sum::<usize>()
            }
            Request::Channels { prefix: name, .. }
            | Request::Channel(name)
            | Request::Presence { channel: name, .. }
            | Request::RemoveHistory(name) => name.len(),
            Request::History(query) => size_of_val(&**query) + query.channel.len(),
            Request::DisconnectUser(request) => {
                REQUEST_BYTES_BESIDE + request.user.len() + size_of_val(&request.except[..])
            }
            Request::Unsubscribe(request) => REQUEST_BYTES_BESIDE + request.channel.len(),
            Request::Subscribe(request) => REQUEST_BYTES_BESIDE + request.channel.len(),
            Request::Ping
            | Request::Connections { .. }
            | Request::Describe(_)
            | Request::Refresh(_)
            | Request::Revoke(_)
            | Request::Disconnect(_) => REQUEST_BYTES_BESIDE,
        }
    }
}

impl CloseReason {
    /// `None` if it is too long.
    pub fn new(reason: &str) -> Option<CloseReason> {
        (reason.len() <= CLOSE_REASON_BYTES_MAX).then(|| CloseReason(reason.into()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Answer {
    /// Memory that it keeps.
    pub(crate) fn bytes(&self) -> usize {
        let beside = match &self.part {
            Part::Connections(records) | Part::ConnectionsEnd { records, .. } => {
                let users = records.iter().map(|record| record.user.len());
                size_of_val(&records[..]) + users.sum::<usize>()
            }
            Part::Published(outcomes) => size_of_val(&outcomes[..]),
            Part::Channels(records) | Part::ChannelsEnd { records, .. } => {
                let names = records.iter().map(|record| record.name.len());
                size_of_val(&records[..]) + names.sum::<usize>()
            }
            Part::Subscribers(counts) => size_of_val(&counts[..]),
            Part::Described(described) => described.bytes(),
            Part::History(page) => {
                let publications = page.iter().flat_map(|page| &page.publications);
                let bytes = publications.map(|(_, one)| size_of_val(one) + one.bytes());
                size_of_val(&**page) + bytes.sum::<usize>()
            }
            Part::Presence(view) => size_of_val(&**view) + view.bytes(),
            Part::Pong
            | Part::HistoryRemoved
            | Part::Disconnected { .. }
            | Part::Done { .. }
            | Part::Refused(_) => 0,
        };
        size_of::<Answer>() + beside
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

const CLOSE_REASON_BYTES_MAX: usize = 123;
/// Reactors of a server, at most: their numbers and that of the control thread are one byte.
pub const REACTORS_MAX: usize = 255;
/// Records in the answer to one request.
pub const CONNECTIONS_MAX: u32 = 4096;
/// What a request about a connection keeps beside itself, at most: its name, a code and a reason, or a
/// filter's names.
const REQUEST_BYTES_BESIDE: usize = 1024;
/// Channels in the answer to one request.
pub const CHANNELS_MAX: u32 = 4096;
/// Channels of which one request has the subscribers counted, in one loop iteration.
pub const COUNTED_MAX: usize = 256;
/// Slots that one request with a filter looks at.
pub const FILTERED_SLOTS_MAX: u32 = 1 << 18;
/// Publications in one batch to a reactor, which handles all of it in one loop iteration.
pub const PUBLICATIONS_MAX: usize = 256;
/// Bytes in such a batch, after which no further publication is added to it.
pub const PUBLICATIONS_BYTES_MAX: usize = 256 << 10;
/// Publications of a channel's history in one answer.
pub const HISTORY_PUBLICATIONS_MAX: u32 = 1_000;
/// Bytes of them, after which no further one is added.
pub(super) const HISTORY_BYTES_MAX: usize = 256 << 10;
/// Listings that a reactor answers at once.
pub const LISTINGS_MAX: usize = 4;
/// Requests that a reactor looks through its identities for at once: all of them in one pass, those that
/// come meanwhile in the next.
pub const SWEEPS_MAX: usize = 256;
/// Connections that a [`DisconnectUser`] may name as staying.
pub const EXCEPT_MAX: usize = 64;
