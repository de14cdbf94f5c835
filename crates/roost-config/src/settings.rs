//! The settings as meant: plain values with their unit in the field's name, and the built-in
//! defaults. What the keys are called, and which values they take, stands in `keys.rs`.

use std::net::{Ipv4Addr, SocketAddr};

/// Everything the configuration decides, resolved. `Default` gives the production defaults, which
/// `config/roost.toml` repeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `[server]`: the process.
    pub server: Server,
    /// `[epoll]`: that driver.
    pub epoll: Epoll,
    /// `[io_uring]`: that driver.
    pub io_uring: IoUring,
    /// `[listener]`: where clients connect, and what they find.
    pub listener: Listener,
    /// `[limits]`: what one client, or all together, may cost.
    pub limits: Limits,
    /// `[channels]`: who may do what in channels without a namespace of their own.
    pub channels: ChannelPolicy,
    /// `[[namespace]]`: the same for channels named `name:rest`, in the order written. No two
    /// have the same name.
    pub namespaces: Vec<Namespace>,
    /// `[raw]`: the dialect without a subprotocol.
    pub raw: Raw,
    /// `[echo]`: the echo dialect.
    pub echo: Echo,
    /// `[deflate]`: permessage-deflate.
    pub deflate: Deflate,
    /// `[wamp]`: the WAMP v2 dialect.
    pub wamp: Wamp,
    /// `[log]`: what is logged, and how.
    pub log: Log,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Reactors, one thread each, 1 to 256. `None` ("auto"): as many as cores, at most 256.
    pub reactors: Option<u32>,
    /// Which driver moves the bytes.
    pub driver: Driver,
    /// How long a shutdown waits for clients to answer the close frame 1001. 0: not at all.
    pub drain_timeout_ms: u32,
    /// Connections held at once by the process. `None` ("auto"): as many as the limit on open
    /// files allows.
    pub connections_max: Option<u32>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            reactors: None,
            driver: Driver::Auto,
            drain_timeout_ms: 10_000,
            connections_max: None,
        }
    }
}

/// `server.driver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where it runs, else epoll; the daemon says which and why.
    Auto,
    /// epoll, or an error at start.
    Epoll,
    /// io_uring, or an error at start.
    IoUring,
}

/// `[epoll]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoll {
    /// The one read buffer of a reactor, in bytes.
    pub read_buffer_bytes: usize,
}

impl Default for Epoll {
    fn default() -> Epoll {
        Epoll {
            read_buffer_bytes: 64 * KIB,
        }
    }
}

/// `[io_uring]`. All counts are per reactor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoUring {
    /// Entries of the submission queue, a power of two.
    pub entries: u32,
    /// Receive buffers lent to the kernel, a power of two, at most 32,768.
    pub buffers: u32,
    /// Size of one receive buffer in bytes.
    pub buffer_bytes: usize,
    /// Whether sockets are direct descriptors (a table of the ring's own) instead of files of the
    /// process.
    pub direct_descriptors: bool,
    /// Slots of that table. `None` ("auto"): as many as the limit on open files allows a ring.
    pub direct_slots: Option<u32>,
}

impl Default for IoUring {
    fn default() -> IoUring {
        IoUring {
            entries: 1024,
            buffers: 512,
            buffer_bytes: 16 * KIB,
            direct_descriptors: false,
            direct_slots: None,
        }
    }
}

/// `[listener]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address to bind; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Connections that may wait to be accepted, per reactor.
    pub backlog: u32,
    /// Whether clients of the drafts before RFC 6455 (hixie-75 and -76) are served too.
    pub early_framings: bool,
    /// Whether `GET /` answers with the demonstration page.
    pub page: bool,
    /// Whether `GET /stats` answers with the counters, as JSON, to anybody who asks.
    pub stats: bool,
    /// The path where balancers ask whether new connections are served. Empty: there is none.
    pub health_path: String,
    /// Browser origins that may connect, as browsers send them: lower case, without a default
    /// port, or `null`. The single entry `*` stands for any. Empty: no browser may.
    pub allowed_origins: Vec<String>,
}

impl Default for Listener {
    fn default() -> Listener {
        Listener {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            backlog: 4096,
            early_framings: false,
            page: false,
            stats: false,
            health_path: "/health".to_owned(),
            allowed_origins: vec!["*".to_owned()],
        }
    }
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in the opening handshake at once, per reactor.
    pub handshakes_in_flight_max: u32,
    /// From accept to the last byte of the request's head.
    pub handshake_timeout_ms: u32,
    /// The request's head in bytes.
    pub handshake_bytes_max: usize,
    /// Header lines in that head.
    pub handshake_headers_max: u32,
    /// Connections of one peer address at once, per reactor. 0: no limit.
    pub connections_per_address_max: u32,
    /// A message received, all its fragments together, in bytes.
    pub message_bytes_max: usize,
    /// The payload of one frame received, in bytes; at most `message_bytes_max`.
    pub frame_bytes_max: usize,
    /// Longer messages are sent in fragments of this size. 0: never.
    pub fragment_bytes: usize,
    /// Bytes that wait for one connection's socket; at least `message_bytes_max`.
    pub outbox_bytes_max: usize,
    /// Bytes that all connections may hold together, in unfinished input and in output that the
    /// kernel has not taken; at least `outbox_bytes_max`.
    pub buffered_bytes_max: usize,
    /// A connection without a message in either direction for this long is closed. 0: never.
    pub idle_timeout_ms: u32,
    /// A connection that sent nothing for this long is pinged. 0: never.
    pub ping_interval_ms: u32,
    /// How long the answer to a ping may take.
    pub ping_timeout_ms: u32,
    /// How long the answer to a close frame may take.
    pub close_timeout_ms: u32,
    /// A channel's name, in bytes of UTF-8.
    pub channel_name_bytes_max: usize,
    /// Channels that exist at once, per reactor (a channel counts at its home reactor).
    pub channels_max: u32,
    /// Channels one connection is subscribed to at once.
    pub subscriptions_per_connection_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handshakes_in_flight_max: 1024,
            handshake_timeout_ms: 10_000,
            handshake_bytes_max: 8 * KIB,
            handshake_headers_max: 64,
            connections_per_address_max: 0,
            message_bytes_max: MIB,
            frame_bytes_max: MIB,
            fragment_bytes: 0,
            outbox_bytes_max: MIB,
            buffered_bytes_max: GIB,
            idle_timeout_ms: 0,
            ping_interval_ms: 25_000,
            ping_timeout_ms: 20_000,
            close_timeout_ms: 5_000,
            channel_name_bytes_max: 255,
            channels_max: 1_000_000,
            subscriptions_per_connection_max: 128,
        }
    }
}

/// `[channels]`, and the same keys of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// Who may publish.
    pub publish: Publish,
    /// Who may subscribe.
    pub subscribe: Subscribe,
    /// Whether a publisher that is subscribed hears its own messages, where its dialect does not
    /// say otherwise.
    pub hear_own: bool,
    /// What happens to a subscriber for which more waits than the next two allow.
    pub slow_receivers: SlowReceivers,
    /// Bytes that may wait for one subscriber; at most `limits.outbox_bytes_max`.
    pub outbox_bytes_max: usize,
    /// Messages that may wait for one subscriber. 0: no limit.
    pub outbox_messages_max: u32,
    /// Messages a second, of all publishers together. 0: no limit.
    pub publish_messages_max: u32,
    /// Bytes of payload a second, of all publishers together. 0: no limit.
    pub publish_bytes_max: usize,
}

impl Default for ChannelPolicy {
    fn default() -> ChannelPolicy {
        ChannelPolicy {
            publish: Publish::Anyone,
            subscribe: Subscribe::Anyone,
            hear_own: false,
            slow_receivers: SlowReceivers::Close,
            outbox_bytes_max: MIB,
            outbox_messages_max: 0,
            publish_messages_max: 0,
            publish_bytes_max: 0,
        }
    }
}

/// What happens to a subscriber that reads slower than is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowReceivers {
    /// It is closed with 1013.
    Close,
    /// What has waited longest is dropped.
    DropOldest,
    /// What comes is dropped.
    DropNewest,
    /// Only the newest message of each channel waits.
    Latest,
}

/// Who may publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Every connection.
    Anyone,
    /// Connections subscribed to the channel.
    Subscribers,
    /// No connection.
    Nobody,
}

/// Who may subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribe {
    /// Every connection.
    Anyone,
    /// No connection.
    Nobody,
}

/// `[[namespace]]`: settings of the channels named `name:rest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// What stands before the colon: 1 to 64 letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// Keys not written are those of `[channels]`.
    pub policy: ChannelPolicy,
}

/// `[raw]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Whether `/raw/{channel}` is served.
    pub enabled: bool,
    /// Subprotocols selected there when a client offers them, beside `roost.raw`. The single entry
    /// `*` stands for any.
    pub subprotocols: Vec<String>,
}

impl Default for Raw {
    fn default() -> Raw {
        Raw {
            enabled: true,
            subprotocols: Vec::new(),
        }
    }
}

/// `[echo]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Echo {
    /// Whether `/echo` is served.
    pub enabled: bool,
}

/// `[deflate]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deflate {
    /// Whether permessage-deflate is agreed to with clients that offer it.
    pub enabled: bool,
    /// Shorter messages go out uncompressed.
    pub threshold_bytes: usize,
    /// 1 (fast) to 9 (small).
    pub level: u32,
    /// Memory for compression contexts of single connections, of the whole process.
    pub context_memory_bytes_max: usize,
}

impl Default for Deflate {
    fn default() -> Deflate {
        Deflate {
            enabled: false,
            threshold_bytes: 256,
            level: 1,
            context_memory_bytes_max: 0,
        }
    }
}

/// `[wamp]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wamp {
    /// Whether the subprotocol `wamp.2.json` is spoken.
    pub enabled: bool,
    /// Realms a session may join. The single entry `*` stands for any.
    pub realms: Vec<String>,
}

impl Default for Wamp {
    fn default() -> Wamp {
        Wamp {
            enabled: true,
            realms: vec!["*".to_owned()],
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            level: LogLevel::Info,
            format: LogFormat::Text,
        }
    }
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What stops the daemon or loses data.
    Error,
    /// What an operator should look at.
    Warn,
    /// Start, stop, and changes of state of the whole.
    Info,
    /// Each connection's begin and end.
    Debug,
    /// Steps in between.
    Trace,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// 2^10 bytes.
pub(crate) const KIB: usize = 1 << 10;
/// 2^20 bytes.
pub(crate) const MIB: usize = 1 << 20;
/// 2^30 bytes.
pub(crate) const GIB: usize = 1 << 30;
