//! `[limits]`: what one client, or all together, may cost.

use crate::row::{DAY, HOUR, SECOND, WEEK, time, time_or_zero};
use crate::row::{section, words};
use crate::units::{GIB, KIB, MIB};
use crate::value::{Count, SharedSize, Size};

section! {
    /// What one client, or all together, may cost.
    "limits" Limits
    /// Connections in the opening handshake, per reactor. Above it accepting pauses; new
    /// connections wait in the backlog.
    handshakes_in_flight_max: u32 = 1024, Count(1..=1_000_000), Live, "4096";
    /// From accept, not from the first byte, to the end of the request's head. Then the connection is
    /// closed and counted in `handshake_timeouts_total`. A body has as long again, and so has each
    /// further request of a connection, from its first byte. A WAMP client has as long again for its
    /// HELLO, and for its AUTHENTICATE.
    handshake_timeout_ms: u32 = 10_000, time(100..=HOUR), NewConnections, r#""5s""#;
    /// The request's head. Above it the answer is 431.
    handshake_bytes_max: usize = 8 * KIB, Size(256..=MIB), NewConnections, r#""16KiB""#;
    /// Header lines in that head, repeated names counted each time. Above it the answer is 431.
    handshake_headers_max: u32 = 64, Count(8..=1024), NewConnections, "100";
    /// How long a connection is kept for the next plain HTTP request, which may also ask for a
    /// WebSocket; then it is closed and counted in `http_keep_alive_timeouts_total`. Let it be longer
    /// than a proxy in front keeps its connections (nginx and the cloud's balancers: one minute), or
    /// the proxy may send a request on one that is just being closed. `"0s"`: each response ends its
    /// connection.
    http_keep_alive_timeout_ms: u32 = 75_000, time_or_zero(SECOND..=HOUR), Live, r#""5s""#;
    /// Plain HTTP requests answered on one connection; behind the last the connection is closed, so
    /// that clients are spread anew over reactors and servers now and then. 1: each response ends its
    /// connection.
    http_requests_per_connection_max: u32 = 1000, Count(1..=1_000_000_000), Live, "100";
    /// Connections from one IP address, per reactor; 0 is no limit. A new connection above it is
    /// reset, or answered 429 where a header of its request names the client, and counted in
    /// `refused_per_address_total`. Behind a proxy every client has the proxy's address, unless that says
    /// whose it is (`listener.forwarded`, `listener.proxy_protocol`): leave it 0 there, and let the proxy
    /// count.
    connections_per_address_max: u32 = 0, Count(0..=100_000_000), Restart, "100";
    /// Connections that one IP address may begin in a second, counted over all reactors; of IPv6 each
    /// /64 counts as one. `client_burst` says how many may come at once. 0 is no limit. A connection
    /// above it is answered 429 with `Retry-After`, or reset where TLS would come first, and counted in
    /// `refused_connect_rate_total`. Behind a proxy: as `connections_per_address_max`.
    connects_per_address_per_second_max: u32 = 0, Count(0..=1_000_000), Live, "20";
    /// Messages that one client may send in a second, pings among them; 0 is no limit. A client costs
    /// memory for it only while it sends faster than this. Above it the client is treated as
    /// `client_rate_policy` says.
    client_messages_per_second_max: u32 = 0, Count(0..=10_000_000), NewConnections, "100";
    /// The same in bytes of messages, inflated.
    client_bytes_per_second_max: u64 = 0, SharedSize(0..=1024 * GIB), NewConnections, r#""1MiB""#;
    /// Subscriptions that one client may ask for in a second; 0 is no limit. It keeps a client from
    /// trying names of channels one after the other.
    client_subscribes_per_second_max: u32 = 0, Count(0..=1_000_000), Live, "20";
    /// Publications, subscriptions, calls and registrations of one client that may be refused in a
    /// second; above it the client is closed, whatever `client_rate_policy` says. 0 is no limit.
    client_refusals_per_second_max: u32 = 0, Count(0..=1_000_000), Live, "1";
    /// How much a client may do at once: as much as its rates allow in this time.
    client_burst_ms: u32 = 10_000, time(100..=HOUR), Live, r#""5s""#;
    /// What becomes of a client that does more than its rates allow. `"pause"`: it is not read until it
    /// is within them again, and nothing is lost. `"close"`: with 1008 and the reason, or the dialect's
    /// own word for it. Counted in `client_rate_limited_total` and `client_rate_closes_total`.
    client_rate_policy: ClientRatePolicy =
        ClientRatePolicy::Pause, ClientRatePolicy::WORDS, Live, r#""close""#;
    /// A message from a client, all its frames together. Above it close code 1009, before the bytes
    /// are stored. Also the body of a plain HTTP request, which is answered with 413 above it.
    message_bytes_max: usize = MIB, Size(125..=GIB), Live, r#""256KiB""#;
    /// One frame's payload; it cannot be more than `message_bytes_max`. Above it close code 1009, as
    /// soon as the frame's header is read.
    frame_bytes_max: usize = MIB, Size(125..=GIB), Live, r#""64KiB""#,
        follows message_bytes_max = |limits| limits.message_bytes_max;
    /// Longer messages are sent in fragments of this size, for clients that limit frames. `"0B"`:
    /// never.
    fragment_bytes: usize = 0, Size(0..=GIB), Restart, r#""16KiB""#;
    /// Bytes that wait for one connection's socket, of all its channels and answers together; it
    /// cannot be less than `message_bytes_max`. Above it, what `slow_consumer` lets drop is dropped,
    /// from the namespace that holds most; when that is not enough the connection is closed with
    /// 1013 and counted in `slow_consumers_total`. A slow client costs itself, not the others.
    outbox_bytes_max: usize = MIB, Size(125..=GIB), Live, r#""4MiB""#,
        follows message_bytes_max = |limits| limits.message_bytes_max.max(MIB);
    /// Bytes that all connections of the daemon hold together: unfinished input, output that waits,
    /// and output the kernel has not taken; a message that waits for many counts once. It cannot be
    /// less than `outbox_bytes_max`. At seven eighths of it every reactor closes those of its
    /// connections that hold most, largest first and in proportion to what the reactor holds, until
    /// three quarters are left: with 1013, or with a reset where more than 16 KiB of it are in a
    /// batch that the kernel has not taken; unfinished handshakes with 503. Counted in
    /// `closed_memory_limit_total`. The daemon says at its start what this and the other limits add up
    /// to.
    buffered_bytes_max: u64 = GIB as u64, SharedSize(MIB..=1024 * GIB), Live, r#""4GiB""#;
    /// Bytes that all channels' histories hold together: messages, 56 bytes for each, and 256 for each
    /// channel that is remembered. Each reactor has an equal share; beyond it the channels go first to
    /// which nothing was published for the longest time, counted in `histories_evicted_total`.
    history_bytes_max: u64 = 128 * MIB as u64, SharedSize(MIB..=1024 * GIB), Restart, r#""1GiB""#;
    /// Bytes that all channels' members take together, where presence is kept: 72 for each and what stands
    /// beside it, and 256 for each channel that has some. Each reactor has an equal share; beyond it
    /// members are counted and not listed, `presence_unlisted`.
    presence_bytes_max: u64 = 128 * MIB as u64, SharedSize(MIB..=1024 * GIB), Restart, r#""1GiB""#;
    /// A connection over which no message went in either direction for this long is closed and
    /// counted in `idle_timeouts_total`. Pings and pongs are no messages. `"0s"`: never; a quiet
    /// connection costs little.
    idle_timeout_ms: u32 = 0, time_or_zero(SECOND..=WEEK), NewConnections, r#""1h""#;
    /// A client that sent nothing for this long is sent a ping, so that proxies and routers keep the
    /// connection and dead ones are found. Each connection has a moment of its own in this interval
    /// at which it is pinged if it is quiet, so that clients that came together are not pinged
    /// together: one that sends now and then may get its ping sooner, after a quarter of this at the
    /// earliest. `"0s"`: no pings.
    ping_interval_ms: u32 = 25_000, time_or_zero(SECOND..=DAY), NewConnections, r#""1m""#;
    /// A client that sent nothing for this long after a ping is cut off and counted in
    /// `ping_timeouts_total`. While output waits for it, which the ping stands behind, the time
    /// begins anew whenever it takes some.
    ping_timeout_ms: u32 = 20_000, time(SECOND..=HOUR), Live, r#""30s""#;
    /// A client that has not answered a close frame by then is cut off and counted in
    /// `close_timeouts_total`.
    close_timeout_ms: u32 = 5_000, time(100..=HOUR), Live, r#""2s""#;
    /// A channel's name in bytes of UTF-8. A longer one is refused in the words of the dialect.
    channel_name_bytes_max: usize = 255, Size(1..=64 * KIB), Live, r#""64B""#;
    /// Channels that exist at once, per reactor: those it is home to and those its connections are
    /// subscribed to. Above it a subscription to a new channel is refused.
    channels_max: u32 = 1_000_000, Count(1..=100_000_000), Live, "10000";
    /// Patterns that are subscribed to at once, in the whole server, each counted once for each
    /// reactor with a subscriber. Above it a subscription to a new pattern is refused; 0 refuses
    /// all. Each is held by every reactor.
    patterns_max: u32 = 100_000, Count(0..=10_000_000), Live, "1000";
    /// Channels and patterns of one connection. Above it a further subscription is refused.
    subscriptions_per_connection_max: u32 = 128, Count(1..=1_000_000), Live, "1000";
    /// Procedures that one connection has registered. Above it a further registration is refused.
    registrations_per_connection_max: u32 = 128, Count(1..=1_000_000), Live, "1000";
    /// Calls of one connection that are not answered yet. Above it a further call is answered with
    /// an error.
    calls_per_connection_max: u32 = 128, Count(1..=1_000_000), Live, "1000";
    /// Calls that one connection has been given to answer and has not answered. A call to one that
    /// has so many is answered with an error.
    invocations_per_connection_max: u32 = 1024, Count(1..=1_000_000), Live, "10000";
}

words! {
    /// `limits.client_rate_policy`.
    ClientRatePolicy
    /// It is not read for a while.
    Pause = "pause",
    /// It is closed.
    Close = "close",
}
