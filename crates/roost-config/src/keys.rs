//! The keys: which exist, in which section, what they take and which field of [`Settings`] they
//! set. Everything that reads, writes or lists keys walks along here. The patterns name every
//! field, so that a field without a key does not compile.

use std::ops::RangeInclusive;

use crate::kind::{
    Address, Auto, Choice, Count, Duration, Flag, Kind, PowerOfTwo, Size, Word, Words,
};
use crate::settings::{
    ChannelPolicy, Deflate, Driver, Echo, Epoll, GIB, IoUring, KIB, Limits, Listener, Log,
    LogFormat, LogLevel, MIB, Namespace, Publish, Raw, Server, Settings, SlowReceivers, Subscribe,
    Wamp,
};

/// Sees every key in turn.
pub(crate) trait Visitor {
    /// A section begins.
    fn open(&mut self, section: &'static str);
    /// A key of the section that is open.
    fn key<K: Kind>(&mut self, name: &'static str, kind: K, field: &mut K::Value);
    /// The section ends.
    fn close(&mut self);
}

/// Walks along every section but the namespaces, which [`visit_namespace`] does one by one.
pub(crate) fn visit(settings: &mut Settings, visitor: &mut impl Visitor) {
    let Settings {
        server,
        epoll,
        io_uring,
        listener,
        limits,
        channels,
        namespaces: _,
        raw,
        echo,
        deflate,
        wamp,
        log,
    } = settings;
    visit_server(server, visitor);
    visit_listener(listener, visitor);
    visit_limits(limits, visitor);
    visit_drivers(epoll, io_uring, visitor);
    visit_dialects(raw, echo, wamp, visitor);
    visit_deflate(deflate, visitor);
    visit_log(log, visitor);
    visitor.open("channels");
    visit_policy(channels, visitor);
    visitor.close();
}

/// Walks along the keys of one namespace; the caller opens and closes it.
pub(crate) fn visit_namespace(namespace: &mut Namespace, visitor: &mut impl Visitor) {
    let Namespace { name, policy } = namespace;
    visitor.key("name", NAMESPACE_NAME, name);
    visit_policy(policy, visitor);
}

/// What a section of the array of namespaces is called.
pub(crate) const NAMESPACE: &str = "namespace";

fn visit_server(server: &mut Server, visitor: &mut impl Visitor) {
    let Server {
        reactors,
        driver,
        drain_timeout_ms,
        connections_max,
    } = server;
    visitor.open("server");
    visitor.key("reactors", Auto(Count(1..=256)), reactors);
    visitor.key("driver", DRIVER, driver);
    visitor.key("drain_timeout", or_zero(100..=HOUR), drain_timeout_ms);
    visitor.key(
        "connections_max",
        Auto(Count(1..=100_000_000)),
        connections_max,
    );
    visitor.close();
}

fn visit_listener(listener: &mut Listener, visitor: &mut impl Visitor) {
    let Listener {
        address,
        backlog,
        early_framings,
        page,
        stats,
        health_path,
        allowed_origins,
    } = listener;
    visitor.open("listener");
    visitor.key("address", Address, address);
    visitor.key("backlog", Count(1..=65_535), backlog);
    visitor.key("early_framings", Flag, early_framings);
    visitor.key("page", Flag, page);
    visitor.key("stats", Flag, stats);
    visitor.key("health_path", PATH, health_path);
    visitor.key("allowed_origins", Words(ORIGIN), allowed_origins);
    visitor.close();
}

fn visit_limits(limits: &mut Limits, visitor: &mut impl Visitor) {
    let Limits {
        handshakes_in_flight_max,
        handshake_timeout_ms,
        handshake_bytes_max,
        handshake_headers_max,
        connections_per_address_max,
        message_bytes_max,
        frame_bytes_max,
        fragment_bytes,
        outbox_bytes_max,
        buffered_bytes_max,
        idle_timeout_ms,
        ping_interval_ms,
        ping_timeout_ms,
        close_timeout_ms,
        channel_name_bytes_max,
        channels_max,
        subscriptions_per_connection_max,
    } = limits;
    visitor.open("limits");
    visitor.key(
        "handshakes_in_flight_max",
        Count(1..=1_000_000),
        handshakes_in_flight_max,
    );
    visitor.key("handshake_timeout", time(100..=HOUR), handshake_timeout_ms);
    visitor.key("handshake_size_max", Size(256..=MIB), handshake_bytes_max);
    visitor.key(
        "handshake_headers_max",
        Count(8..=1024),
        handshake_headers_max,
    );
    visitor.key(
        "connections_per_address_max",
        Count(0..=100_000_000),
        connections_per_address_max,
    );
    visitor.key("message_size_max", Size(125..=GIB), message_bytes_max);
    visitor.key("frame_size_max", Size(125..=GIB), frame_bytes_max);
    visitor.key("fragment_size", Size(0..=GIB), fragment_bytes);
    visitor.key("outbox_size_max", Size(125..=GIB), outbox_bytes_max);
    visitor.key(
        "buffered_size_max",
        Size(MIB..=1024 * GIB),
        buffered_bytes_max,
    );
    visitor.key("idle_timeout", or_zero(SECOND..=WEEK), idle_timeout_ms);
    visitor.key("ping_interval", or_zero(SECOND..=DAY), ping_interval_ms);
    visitor.key("ping_timeout", time(SECOND..=HOUR), ping_timeout_ms);
    visitor.key("close_timeout", time(100..=HOUR), close_timeout_ms);
    visitor.key(
        "channel_name_size_max",
        Size(1..=64 * KIB),
        channel_name_bytes_max,
    );
    visitor.key("channels_max", Count(1..=100_000_000), channels_max);
    visitor.key(
        "subscriptions_per_connection_max",
        Count(1..=1_000_000),
        subscriptions_per_connection_max,
    );
    visitor.close();
}

fn visit_policy(policy: &mut ChannelPolicy, visitor: &mut impl Visitor) {
    let ChannelPolicy {
        publish,
        subscribe,
        hear_own,
        slow_receivers,
        outbox_bytes_max,
        outbox_messages_max,
        publish_messages_max,
        publish_bytes_max,
    } = policy;
    visitor.key("publish", PUBLISH, publish);
    visitor.key("subscribe", SUBSCRIBE, subscribe);
    visitor.key("hear_own", Flag, hear_own);
    visitor.key("slow_receivers", SLOW_RECEIVERS, slow_receivers);
    visitor.key("outbox_size_max", Size(125..=GIB), outbox_bytes_max);
    visitor.key(
        "outbox_messages_max",
        Count(0..=100_000_000),
        outbox_messages_max,
    );
    visitor.key(
        "publish_messages_max",
        Count(0..=100_000_000),
        publish_messages_max,
    );
    visitor.key("publish_size_max", Size(0..=1024 * GIB), publish_bytes_max);
}

fn visit_drivers(epoll: &mut Epoll, io_uring: &mut IoUring, visitor: &mut impl Visitor) {
    let Epoll { read_buffer_bytes } = epoll;
    visitor.open("epoll");
    visitor.key("read_buffer", Size(4 * KIB..=16 * MIB), read_buffer_bytes);
    visitor.close();

    let IoUring {
        entries,
        buffers,
        buffer_bytes,
        direct_descriptors,
        direct_slots,
    } = io_uring;
    visitor.open("io_uring");
    visitor.key("entries", PowerOfTwo(8..=32_768), entries);
    visitor.key("buffers", PowerOfTwo(8..=32_768), buffers);
    visitor.key("buffer_size", Size(512..=MIB), buffer_bytes);
    visitor.key("direct_descriptors", Flag, direct_descriptors);
    visitor.key("direct_slots", Auto(Count(1..=100_000_000)), direct_slots);
    visitor.close();
}

fn visit_dialects(raw: &mut Raw, echo: &mut Echo, wamp: &mut Wamp, visitor: &mut impl Visitor) {
    let Raw {
        enabled,
        subprotocols,
    } = raw;
    visitor.open("raw");
    visitor.key("enabled", Flag, enabled);
    visitor.key("subprotocols", Words(SUBPROTOCOL), subprotocols);
    visitor.close();

    let Echo { enabled } = echo;
    visitor.open("echo");
    visitor.key("enabled", Flag, enabled);
    visitor.close();

    let Wamp { enabled, realms } = wamp;
    visitor.open("wamp");
    visitor.key("enabled", Flag, enabled);
    visitor.key("realms", Words(REALM), realms);
    visitor.close();
}

fn visit_deflate(deflate: &mut Deflate, visitor: &mut impl Visitor) {
    let Deflate {
        enabled,
        threshold_bytes,
        level,
        context_memory_bytes_max,
    } = deflate;
    visitor.open("deflate");
    visitor.key("enabled", Flag, enabled);
    visitor.key("threshold", Size(0..=GIB), threshold_bytes);
    visitor.key("level", Count(1..=9), level);
    visitor.key(
        "context_memory_max",
        Size(0..=1024 * GIB),
        context_memory_bytes_max,
    );
    visitor.close();
}

fn visit_log(log: &mut Log, visitor: &mut impl Visitor) {
    let Log { level, format } = log;
    visitor.open("log");
    visitor.key("level", LOG_LEVEL, level);
    visitor.key("format", LOG_FORMAT, format);
    visitor.close();
}

fn time(range: RangeInclusive<u32>) -> Duration {
    Duration { zero: false, range }
}

fn or_zero(range: RangeInclusive<u32>) -> Duration {
    Duration { zero: true, range }
}

const SECOND: u32 = 1_000;
const HOUR: u32 = 3_600_000;
const DAY: u32 = 24 * HOUR;
const WEEK: u32 = 7 * DAY;

const DRIVER: Choice<Driver> = Choice(&[
    ("auto", Driver::Auto),
    ("epoll", Driver::Epoll),
    ("io_uring", Driver::IoUring),
]);

const PUBLISH: Choice<Publish> = Choice(&[
    ("anyone", Publish::Anyone),
    ("subscribers", Publish::Subscribers),
    ("nobody", Publish::Nobody),
]);

const SUBSCRIBE: Choice<Subscribe> =
    Choice(&[("anyone", Subscribe::Anyone), ("nobody", Subscribe::Nobody)]);

const SLOW_RECEIVERS: Choice<SlowReceivers> = Choice(&[
    ("close", SlowReceivers::Close),
    ("drop_oldest", SlowReceivers::DropOldest),
    ("drop_newest", SlowReceivers::DropNewest),
    ("latest", SlowReceivers::Latest),
]);

const LOG_LEVEL: Choice<LogLevel> = Choice(&[
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
]);

const LOG_FORMAT: Choice<LogFormat> =
    Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);

const ORIGIN: Word = Word {
    expected: "an origin such as \"https://example.org\"",
    check: crate::word::check_origin,
};

const PATH: Word = Word {
    expected: "a path such as \"/health\", or \"\" for none",
    check: crate::word::check_path,
};

const SUBPROTOCOL: Word = Word {
    expected: "a subprotocol such as \"chat.v1\"",
    check: crate::word::check_subprotocol,
};

const REALM: Word = Word {
    expected: "a realm such as \"realm1\"",
    check: crate::word::check_realm,
};

const NAMESPACE_NAME: Word = Word {
    expected: "a name of 1 to 64 letters, digits, '-', '_' or '.'",
    check: crate::word::check_namespace,
};
