//! What people are shown of connections: plain values.

use std::net::IpAddr;

use roost_access::UserName;
use roost_config::Network;
use roost_hub::{Name, PresenceCounts};
use roost_net::{ConnKey, TcpInfo};

use crate::client_limits::ClientLimit;
use crate::connections::Compression;
use crate::incidents::Incident;

/// One connection as its reactor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Its reactor.
    pub reactor: u8,
    /// Its slot and generation.
    pub key: ConnKey,
    /// `handshake`, `joining`, `open`, `closing`, `lingering` or `closed`.
    pub phase: &'static str,
    /// `raw`, `echo` or `wamp.2.json`; `raw` before the handshake's end.
    pub dialect: &'static str,
    /// As whom it has been authenticated; empty if it has not.
    pub user: UserName,
    /// The number of its listener.
    pub listener: u8,
    /// The address of its client, if that is known: of one behind a proxy where connections are counted by
    /// address.
    pub address: Option<IpAddr>,
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

/// What connections must be to be listed: all that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Known as this user; an empty name is that of all that have none.
    pub user: Option<UserName>,
    /// Subscribed to this channel, or about to be.
    pub channel: Option<Name>,
    /// Of a client with such an address. One whose address is not known is none.
    pub address: Option<Network>,
    /// Of the dialect of this name.
    pub dialect: Option<Box<str>>,
    /// Something waits for their sockets.
    pub is_waiting: bool,
}

impl ConnectionFilter {
    /// Whether the kernel is asked about a connection before it is known to be one.
    pub(super) fn asks_kernel(&self) -> bool {
        self.address.is_some()
    }
}

/// A channel as its home sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRecord {
    /// Its name.
    pub name: Name,
    /// The number of its namespace; 0 is none.
    pub namespace: u16,
    /// The offset of its last publication; 0 is none since there are subscribers, on a server that has
    /// published nothing else.
    pub offset: u64,
    /// How many publications it keeps.
    pub kept: u32,
    /// How many are in it, if its namespace keeps presence.
    pub presence: PresenceCounts,
}

/// Which connection is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Describe {
    /// Its slot and generation.
    pub key: ConnKey,
    /// A channel that is asked about.
    pub channel: Option<Name>,
}

/// All that is known of a connection.
#[derive(Debug)]
pub struct Described {
    /// What it is now; `None`: there is no such connection.
    pub details: Option<ConnectionDetails>,
    /// What went wrong with it lately, the oldest first.
    pub incidents: Vec<Incident>,
}

/// One connection as its reactor sees it, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionDetails {
    /// As in a list.
    pub record: ConnectionRecord,
    /// What it is known as beside its user's name, unless it is anonymous.
    pub identity: Option<IdentityRecord>,
    /// What was agreed.
    pub compression: Compression,
    /// All its subscriptions.
    pub subscriptions: usize,
    /// The first of them, [`CHANNELS_SHOWN`] at most.
    pub channels: Vec<SubscribedChannel>,
    /// What waits in its outbox, for each namespace.
    pub lanes: Vec<LaneRecord>,
    /// Messages dropped for it since it has last taken all that waited.
    pub dropped: u64,
    /// Milliseconds since the last message in either direction.
    pub quiet_ms: u64,
    /// Milliseconds since a byte was received.
    pub silent_ms: u64,
    /// A ping is unanswered.
    pub is_pinged: bool,
    /// Milliseconds until something is done about it if nothing comes.
    pub deadline_ms: Option<u64>,
    /// Why it is not read, if it is not.
    pub paused_for: Option<PausedFor>,
    /// Both have sent close frames, or its client has.
    pub has_client_closed: bool,
    /// What the kernel knows.
    pub tcp: Option<TcpInfo>,
    /// What it has to do with the channel that was asked about.
    pub asked: Option<AskedChannel>,
}

/// What a connection is known as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRecord {
    /// Its role.
    pub role: Box<str>,
    /// How it was found out.
    pub method: &'static str,
    /// It has ended.
    pub is_expired: bool,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribedChannel {
    /// The channel's name, or the pattern's text.
    pub name: Box<str>,
    /// It is a pattern's.
    pub is_pattern: bool,
    /// The offset of the last publication that has come here; 0 is none since there were subscribers.
    pub offset: u64,
}

/// What waits in one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneRecord {
    /// Its number; `None` is what belongs to no channel.
    pub namespace: Option<u16>,
    /// Bytes that wait.
    pub bytes: usize,
    /// The messages of them.
    pub messages: usize,
}

/// A connection and a channel that was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedChannel {
    /// Its name.
    pub name: Name,
    /// Whether it is subscribed to it.
    pub is_subscribed: bool,
    /// Whether it may subscribe, and the rule that says so.
    pub subscribe: (bool, String),
    /// Whether it may publish, and the rule that says so.
    pub publish: (bool, String),
    /// Whether it may call a procedure of this name, and the rule.
    pub call: (bool, String),
    /// Whether it may register one.
    pub register: (bool, String),
    /// Whether it may ask who is in it.
    pub read_presence: (bool, String),
}

/// Why a connection is not read for the time being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PausedFor {
    /// It publishes on this channel, to which more is published than can be delivered.
    Congestion(Name),
    /// The namespace on which it publishes has had as much as it may.
    Rate {
        /// Until it is read again, in milliseconds.
        wait_ms: u32,
    },
    /// It has done more than one of its own rates allows.
    OwnRate {
        /// Of which.
        limit: ClientLimit,
        /// Until it is read again, in milliseconds.
        wait_ms: u32,
    },
    /// What it publishes or calls has no room on its way.
    Room,
    /// Nothing of that: its request, its login or its TLS handshake waits for an answer.
    Other,
}

impl Described {
    /// Memory that it keeps, about: texts are short, and a few of them.
    pub(super) fn bytes(&self) -> usize {
        let details = self.details.as_ref();
        let channels = details.map_or(0, |details| {
            let names = details.channels.iter().map(|channel| channel.name.len());
            names.sum::<usize>() + size_of_val(&details.channels[..])
        });
        size_of::<Described>() + channels + size_of_val(&self.incidents[..])
    }
}

/// Subscriptions that are named.
pub const CHANNELS_SHOWN: usize = 16;
