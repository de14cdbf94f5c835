//! What the limits add up to: the most memory the daemon takes, whatever its clients do.

use std::fmt;

use roost_config as config;
use roost_control::{TAIL_BYTES_MAX, TAILS_MAX};
use roost_net::uring::UringOptions;
use roost_reactor as reactor;
use roost_tls::Rest;

use crate::driver::Chosen;

/// Bytes at most, by what they are for. The kernel's sockets come on top: about 4 KiB each while
/// quiet, and up to `tcp_rmem` and `tcp_wmem` while bytes wait in them.
pub(crate) struct WorstCase {
    /// `limits.buffered_bytes_max`.
    buffered: u64,
    /// Records of connections, sessions, subscriptions, calls and registrations, keys of TLS, what clients
    /// have taken of their rates, and `deflate.takeover_bytes_max`.
    connections: u64,
    /// Names, members and homes of channels.
    channels: u64,
    /// Patterns at each home, and what is remembered of who matches.
    patterns: u64,
    /// `limits.history_bytes_max`, where a namespace keeps history.
    histories: u64,
    /// `limits.presence_bytes_max`, where a namespace keeps presence.
    presence: u64,
    /// Receive buffers, compressors, TLS handshakes and what a loop iteration gathers, of all
    /// reactors, the messages between them, the API's requests, tokens, questions to applications and about
    /// history, rates of addresses, what deltas are against, and the lines of log that wait.
    reactors: u64,
}

impl WorstCase {
    pub(crate) fn of(
        settings: &config::Settings,
        driver: &Chosen,
        reactors: u64,
        connections_max: u64,
    ) -> WorstCase {
        let limits = &settings.limits;
        let (wamp, soap, centrifugo) = dialects(settings);
        let pusher = settings.pusher.enabled;
        let subscriptions_max = u64::from(limits.subscriptions_per_connection_max);
        let subscriptions_each = match (wamp || centrifugo || pusher, settings.sse.enabled) {
            (true, _) => subscriptions_max,
            (false, true) => subscriptions_max.min(STREAM_CHANNELS_MAX),
            (false, false) => 1,
        };
        let subscriptions = connections_max.saturating_mul(subscriptions_each);
        let session = session_bytes(settings);
        let calls = calls_bytes(limits, (wamp, soap));
        let channels = subscriptions.min(u64::from(limits.channels_max).saturating_mul(reactors));
        let channel = CHANNEL_BYTES + limits.channel_name_bytes_max as u64;
        let buffers = receive_buffers_bytes(driver);
        let (deflate, contexts) = if settings.deflate.enabled {
            let contexts = settings.deflate.takeover_bytes_max;
            (DEFLATE_BYTES, contexts as u64)
        } else {
            (0, 0)
        };
        let identity = IDENTITY_BYTES * u64::from(settings.auth.is_on());
        let (client_rates, connect_rates) = rates_bytes(limits);
        let message = limits.message_bytes_max as u64;
        let pairs = reactors * reactors; // each with the others, and with the control thread
        let links = pairs.saturating_mul(roost_reactor::LINK_BYTES_MAX as u64 + 2 * message);
        let (keys, handshakes) = match settings.listeners.iter().any(|one| one.tls.is_on()) {
            true => (
                size_of::<Rest>() as u64,
                u64::from(limits.handshakes_in_flight_max).saturating_mul(HANDSHAKE_BYTES),
            ),
            false => (0, 0),
        };
        let each = buffers + deflate + REACTOR_BYTES + MESSAGES_AT_ONCE.saturating_mul(message);
        WorstCase {
            buffered: limits.buffered_bytes_max,
            connections: connections_max
                .saturating_mul(CONNECTION_BYTES + session + keys + calls + identity + client_rates)
                .saturating_add(subscriptions.saturating_mul(SUBSCRIPTION_BYTES))
                .saturating_add(contexts),
            channels: channels.saturating_mul(channel),
            patterns: patterns_bytes(limits, reactors, channels),
            histories: histories_bytes(settings, reactors, channels),
            presence: presence_bytes(settings, reactors, channels),
            reactors: reactors
                .saturating_mul(each.saturating_add(handshakes))
                .saturating_add(links)
                .saturating_add(api_bytes(&settings.api, reactors))
                .saturating_add(tokens_bytes(&settings.auth, reactors))
                .saturating_add(hooks_bytes(settings, reactors))
                .saturating_add(TAILS_MAX as u64 * (TAIL_BYTES_MAX as u64 + message))
                .saturating_add(events_bytes(settings, reactors))
                .saturating_add(connect_rates)
                .saturating_add(deltas_bytes(settings, reactors, subscriptions))
                .saturating_add(LOG_BYTES),
        }
    }

    fn total(&self) -> u64 {
        let parts = [
            self.buffered,
            self.connections,
            self.channels,
            self.patterns,
            self.histories,
            self.presence,
            self.reactors,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// Bodies of requests, connections, and keys of publications that may be repeated.
fn api_bytes(api: &config::Api, reactors: u64) -> u64 {
    match api.listen.len() as u64 {
        0 => 0,
        listeners => {
            let bodies = api.bodies_bytes_max.max(api.body_bytes_max) as u64;
            let in_flight = u64::from(api.in_flight_max);
            let connections = (in_flight + 64) * listeners;
            let connections = connections.saturating_mul(API_CONNECTION_BYTES);
            let repeats = reactors * roost_reactor::REPEATS_BYTES_MAX as u64;
            let requests = API_BODIES.saturating_mul(bodies);
            requests.saturating_add(connections).saturating_add(repeats)
        }
    }
}

/// What the greatest session of a dialect that is on takes.
fn session_bytes(settings: &config::Settings) -> u64 {
    let (wamp, soap, centrifugo) = dialects(settings);
    let sessions = [
        (wamp, SESSION_BYTES),
        (soap, SOAP_SESSION_BYTES),
        (centrifugo, CENTRIFUGO_SESSION_BYTES),
        (settings.pusher.enabled, PUSHER_SESSION_BYTES),
        (settings.sse.enabled, STREAM_SESSION_BYTES),
    ];
    let sessions = sessions.into_iter().filter(|(is_on, _)| *is_on);
    sessions.map(|(_, bytes)| bytes).max().unwrap_or(0)
}

/// The calls that one connection may have open, and what it may have registered.
fn calls_bytes(limits: &config::Limits, (wamp, soap): (bool, bool)) -> u64 {
    // Each open call has an invocation at most.
    let call = match (wamp, soap) {
        (_, true) => CALL_BYTES + SOAP_REQUEST_BYTES,
        (true, false) => CALL_BYTES,
        (false, false) => 0,
    };
    let registration = match wamp {
        true => REGISTRATION_BYTES + limits.channel_name_bytes_max as u64,
        false => 0,
    };
    u64::from(limits.calls_per_connection_max).saturating_mul(call)
        + u64::from(limits.registrations_per_connection_max).saturating_mul(registration)
}

/// What is counted of each connection, where all are ahead of a rate, and of all addresses.
fn rates_bytes(limits: &config::Limits) -> (u64, u64) {
    let counts_clients = limits.client_messages_per_second_max > 0
        || limits.client_bytes_per_second_max > 0
        || limits.client_subscribes_per_second_max > 0
        || limits.client_refusals_per_second_max > 0;
    let counts_connects = limits.connects_per_address_per_second_max > 0;
    (
        CLIENT_RATES_BYTES * u64::from(counts_clients),
        reactor::CONNECT_RATES_BYTES as u64 * u64::from(counts_connects),
    )
}

/// Whether WAMP, SOAP and Centrifugo's protocol are spoken.
fn dialects(settings: &config::Settings) -> (bool, bool, bool) {
    let config::Settings {
        wamp,
        soap,
        centrifugo,
        ..
    } = settings;
    (wamp.enabled, soap.enabled, centrifugo.enabled)
}

/// Tokens that are remembered, and those whose check is under way.
fn tokens_bytes(auth: &config::Auth, reactors: u64) -> u64 {
    match auth.is_on() {
        true => {
            let in_flight = u64::from(auth.in_flight_max);
            // With its handshake, and twice on the way to its check.
            let in_flight = in_flight.saturating_mul(3 * auth.token_bytes_max as u64);
            let revocations = u64::from(auth.revocations_max).saturating_mul(REVOCATION_BYTES);
            in_flight
                .saturating_add(auth.cache_bytes_max as u64)
                // And as they are kept for the next start, once more while they are written, and as text.
                .saturating_add(revocations.saturating_mul(reactors + 3))
        }
        false => 0,
    }
}

/// Questions that wait, with what is to be published; of those with an application also the body, which
/// base64 makes longer, and the answer; and answers that are remembered.
fn hooks_bytes(settings: &config::Settings, reactors: u64) -> u64 {
    let message = settings.limits.message_bytes_max as u64;
    let waiting = match settings.hooks.is_empty() {
        true => 0,
        false => reactors.saturating_mul(reactor::WAITING_BYTES_MAX as u64 + message),
    };
    let each = settings.hooks.iter().map(|hook| {
        let call = 2 * message + hook.answer_bytes_max as u64 + HOOK_CONNECTION_BYTES;
        let in_flight = u64::from(hook.in_flight_max).saturating_mul(call);
        let queued = u64::from(hook.in_flight_max) + u64::from(hook.queue_max);
        let queued = queued.saturating_mul(HOOK_QUESTION_BYTES);
        let cached = match hook.cache_ms > 0 || hook.cache_stale_max_ms > 0 {
            true => HOOK_CACHE_BYTES,
            false => 0,
        };
        in_flight.saturating_add(queued).saturating_add(cached)
    });
    each.fold(waiting, u64::saturating_add)
}

/// Events that wait to be taken, and channels that linger; and on the way from each reactor, beside its ring.
fn events_bytes(settings: &config::Settings, reactors: u64) -> u64 {
    let events = &settings.events;
    let apps = settings.pusher_apps.iter();
    let webhooks = apps.filter(|app| app.webhook_url.is_some()).count();
    let webhooks = (webhooks + settings.pusher_webhooks.len()) as u64;
    match u64::from(events.is_on()) + webhooks {
        0 => 0,
        destinations => {
            let queued = u64::from(events.queue_max).saturating_mul(2 * EVENT_BYTES);
            let batch = u64::from(events.batch_max).saturating_mul(2 * EVENT_BYTES);
            let each = queued.saturating_add(batch);
            // Of clients' events: what waits, and the batch that is being sent.
            let said = webhooks.saturating_mul(2 * roost_hooks::SAID_BYTES_MAX as u64);
            let reactors = reactors
                .saturating_mul((reactor::EVENTS_BYTES_MAX + reactor::LINK_BYTES_MAX) as u64);
            each.saturating_mul(destinations)
                .saturating_add(said)
                .saturating_add(reactors)
        }
    }
}

/// A pattern has a record where its subscribers are, one in the register, and an entry at each home.
fn patterns_bytes(limits: &config::Limits, reactors: u64, channels: u64) -> u64 {
    if limits.patterns_max == 0 {
        return 0;
    }
    let name = limits.channel_name_bytes_max as u64;
    let each = CHANNEL_BYTES + name + reactors * (PATTERN_BYTES + name);
    u64::from(limits.patterns_max)
        .saturating_mul(each)
        .saturating_add(reactors * MATCH_LISTS_BYTES)
        .saturating_add(channels.saturating_mul(CACHED_CHANNEL_BYTES))
}

/// Of one reactor.
fn receive_buffers_bytes(driver: &Chosen) -> u64 {
    match driver {
        Chosen::Epoll(options) => options.read_buffer_bytes as u64,
        Chosen::Uring(UringOptions {
            buffers,
            buffer_bytes,
            ..
        }) => u64::from(*buffers) * u64::from(*buffer_bytes),
    }
}

/// What is kept; members whose tables have just grown, for as long as they are moved; and channels that
/// begin when there is no room.
fn presence_bytes(settings: &config::Settings, reactors: u64, channels: u64) -> u64 {
    let own = settings.namespaces.iter().map(|space| &space.policy);
    let mut policies = std::iter::once(&settings.channels).chain(own);
    let has_apps = !settings.pusher_apps.is_empty();
    if !has_apps && policies.all(|policy| policy.presence == config::Presence::Off) {
        return 0;
    }
    (settings.limits.presence_bytes_max.saturating_mul(2))
        .saturating_add(channels.saturating_mul(PRESENCE_BYTES))
        .saturating_add(reactors.saturating_mul(PRESENCE_ANSWERS_BYTES))
}

/// What deltas are against, what one is made with, and which subscriptions get them and have what.
fn deltas_bytes(settings: &config::Settings, reactors: u64, subscriptions: u64) -> u64 {
    let own = settings.namespaces.iter().map(|space| &space.policy);
    let mut policies = std::iter::once(&settings.channels).chain(own);
    if !settings.centrifugo.enabled || policies.all(|policy| policy.delta == config::Delta::Off) {
        return 0;
    }
    let each = reactor::DELTA_BASES_BYTES_MAX as u64 + DELTA_BYTES;
    (reactors.saturating_mul(each))
        .saturating_add(subscriptions.saturating_mul(DELTA_SUBSCRIPTION_BYTES))
}

/// What is kept, a ring that has grown to twice that, what channels with subscribers have for it, and
/// answers that are remembered for a moment.
fn histories_bytes(settings: &config::Settings, reactors: u64, channels: u64) -> u64 {
    let own = settings.namespaces.iter().map(|space| &space.policy);
    let mut policies = std::iter::once(&settings.channels).chain(own);
    let has_apps = !settings.pusher_apps.is_empty();
    if !has_apps && policies.all(|policy| policy.history_messages_max == 0) {
        return 0;
    }
    let answers = HISTORY_ANSWERS.saturating_mul(settings.limits.outbox_bytes_max as u64);
    (settings.limits.history_bytes_max.saturating_mul(2))
        .saturating_add(channels.saturating_mul(HISTORY_BYTES))
        .saturating_add(reactors.saturating_mul(answers))
}

impl fmt::Display for WorstCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at most {} beside the kernel's: {} buffered, {} for connections, subscriptions and calls, \
             {} for channels, {} for patterns, {} for histories, {} for presence, {} for reactors",
            Size(self.total()),
            Size(self.buffered),
            Size(self.connections),
            Size(self.channels),
            Size(self.patterns),
            Size(self.histories),
            Size(self.presence),
            Size(self.reactors)
        )
    }
}

/// Bytes for people, rounded up: a bound must not be printed lower than it is.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)];
        let unit = UNITS.iter().find(|(_, size)| self.0 >= *size);
        let &(name, size) = unit.unwrap_or(&UNITS[2]);
        let tenths = (u128::from(self.0) * 10).div_ceil(u128::from(size));
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole} {name}"),
            (whole, tenth) => write!(f, "{whole}.{tenth} {name}"),
        }
    }
}

/// A connection's record (40) and its entry with the driver (8), in tables without slack.
const CONNECTION_BYTES: u64 = 40 + 8;
/// A TLS handshake: rustls' state, and what of the client's messages is not whole.
const HANDSHAKE_BYTES: u64 = (8 << 10) + roost_tls::handshake::BYTES_MAX as u64;
/// As whom a connection is known, in tables that may be half empty, its user's name of at most 255
/// bytes, and permissions of its own as its token may have them.
const IDENTITY_BYTES: u64 = 2 * 68 + 272 + (4 << 10);
/// A revocation at each reactor: in a table that may be half empty, with a user's name of at most 255 bytes.
const REVOCATION_BYTES: u64 = 2 * 32 + 272;
/// What is counted of a client, in a table that may be half empty.
const CLIENT_RATES_BYTES: u64 = 2 * roost_reactor::CLIENT_RATES_BYTES as u64;
/// A WAMP session's record, in a table that may be half empty.
const SESSION_BYTES: u64 = 2 * 64;
/// One subscription: in the session's list and in the channel's set of members, both of which may
/// be half empty. A connection that is kept for plain HTTP has an entry of 12 bytes instead.
const SUBSCRIPTION_BYTES: u64 = 2 * 24;
/// A channel with one subscriber without its name: its records where that is and at its home, both
/// with a place in a hash table (quiet, on channels of their own: some 190 measured, connection
/// included).
const CHANNEL_BYTES: u64 = 2 * 192;
/// A pattern at a home without its text: an entry of 32 bytes in a hash table that may be half empty, a
/// record of 40, 16 before a text that does not stand in its entry, and the reactors that want it.
const PATTERN_BYTES: u64 = 2 * 33 + 2 * 40 + 16 + 128;
/// Lists of patterns that match.
const MATCH_LISTS_BYTES: u64 = 4 << 20;
/// Which list is a channel's, in a vector that may be half empty.
const CACHED_CHANNEL_BYTES: u64 = 2 * 8;
/// A channel that keeps history, without what it keeps: its record in a table that may be half empty,
/// and 40 beside its record at home.
const HISTORY_BYTES: u64 = 2 * 72 + 40;
/// A channel that has members, without those: its record in a table that may be half empty, its name, its
/// place in the index and when it is due.
const PRESENCE_BYTES: u64 = 2 * 136 + 64;
/// Lists of members that a reactor remembers for a tick: 16 of 10,000 members at most.
const PRESENCE_ANSWERS_BYTES: u64 = 16 * 10_000 * 40;
/// Answers to clients that come back, encoded, which a reactor remembers for a tick; half of an outbox
/// each, and twice that in the dialect's form.
const HISTORY_ANSWERS: u64 = 16;
/// A reactor's compressor and inflater (zlib-rs: up to 380 and 47.5 KB), and a second compressor
/// with a small window.
const DEFLATE_BYTES: u64 = 1 << 20;
/// What a loop iteration makes and keeps for the next one, its stack, 4 MiB of publications in incremental
/// fan-outs, what went wrong lately, and clients that have asked about history.
const REACTOR_BYTES: u64 = (12 << 20)
    + roost_reactor::INCIDENTS_BYTES_MAX as u64
    + roost_reactor::HISTORY_ASKS_BYTES_MAX as u64;
/// The message in hand, at most: as it has come, inflated, encoded for each of two dialects, and
/// compressed; the one behind which an iteration or a fan-out has enough; and one behind which no more may ask
/// about history.
const MESSAGES_AT_ONCE: u64 = 7;

/// An open call, its limit and its invocation, in trees that may be half empty.
const CALL_BYTES: u64 = 320;
/// A SOAP session's record, in a table that may be half empty.
const SOAP_SESSION_BYTES: u64 = 2 * 16;
/// A Centrifugo session's record, in a table that may be half empty, and what is kept of one that has a
/// name and publishes.
const CENTRIFUGO_SESSION_BYTES: u64 = 2 * 40 + 512;
/// The same of a Pusher session that has signed in and is in a presence channel.
const PUSHER_SESSION_BYTES: u64 = 2 * 48 + 768;
/// Most channels of an event stream.
const STREAM_CHANNELS_MAX: u64 = roost_dialect::sse::STREAM_CHANNELS_MAX as u64;
/// What an event stream of several channels keeps of them: of each an entry of 24 bytes in its session, and one in
/// its positions, in lists that may be half empty.
const STREAM_SESSION_BYTES: u64 = 2 * 40 + STREAM_CHANNELS_MAX * 2 * (24 + 24);
/// What SOAP keeps of an open request: a record, in a list that may be half empty, and the MessageID.
const SOAP_REQUEST_BYTES: u64 = 2 * 24 + 256;
/// A registration beside its name, at its callee and at home.
const REGISTRATION_BYTES: u64 = 256;

/// A request's body, and what is read out of it.
const API_BODIES: u64 = 2;
/// A connection of the API: its task, and a buffer for a head and one for the answer.
const API_CONNECTION_BYTES: u64 = 40 << 10;

/// A connection to an application: its task, and a buffer for a head and one for the answer.
const HOOK_CONNECTION_BYTES: u64 = 64 << 10;
/// A question with the longest names, and headers of a handshake.
const HOOK_QUESTION_BYTES: u64 = 2 << 10;
/// 16,384 answers with the longest names.
const HOOK_CACHE_BYTES: u64 = 12 << 20;
/// An event, with names of 255 bytes.
const EVENT_BYTES: u64 = 1 << 10;

/// Lines that wait, and as many that are being written.
const LOG_BYTES: u64 = 2 * crate::logging::QUEUE_BYTES_MAX as u64;
/// Two texts of 1 MiB, the index of one and the delta, in JSON and as bytes.
const DELTA_BYTES: u64 = 8 << 20;
/// A channel among those of a session that have deltas, a subscriber among those without the publication
/// before, and what is known of their channel.
const DELTA_SUBSCRIPTION_BYTES: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use roost_net::epoll::EpollOptions;

    #[test]
    fn the_parts_follow_the_limits() {
        let mut settings = config::Settings::default();
        let epoll = Chosen::Epoll(EpollOptions::default());
        let of = |settings: &config::Settings| WorstCase::of(settings, &epoll, 2, 1_000);
        let usual = of(&settings);
        assert_eq!(usual.buffered, 1 << 30);
        settings.limits.buffered_bytes_max *= 2;
        assert_eq!(of(&settings).total() - usual.total(), 1 << 30);
        settings.limits.buffered_bytes_max /= 2;
        settings.deflate.takeover_bytes_max = 1 << 30;
        assert_eq!(of(&settings).total(), usual.total(), "deflate is off");
        settings.deflate.enabled = true;
        assert_eq!(of(&settings).connections - usual.connections, 1 << 30);
        settings.deflate.enabled = false;
        settings.listeners[0].tls.certificate = "a.pem".to_owned();
        let with_tls = of(&settings);
        assert_eq!(with_tls.connections - usual.connections, 208 * 1_000);
        let handshakes = 2 * u64::from(settings.limits.handshakes_in_flight_max) * HANDSHAKE_BYTES;
        assert_eq!(with_tls.reactors - usual.reactors, handshakes);
        settings.listeners[0].tls.certificate.clear();
        let patterns = |settings: &config::Settings| of(settings).patterns;
        settings.limits.patterns_max = 1;
        let one = patterns(&settings);
        settings.limits.patterns_max = 1001;
        let each = (patterns(&settings) - one) / 1000;
        assert!(
            (2 * PATTERN_BYTES..8_192).contains(&each),
            "{each} a pattern"
        );
        settings.limits.patterns_max = 0;
        assert_eq!(patterns(&settings), 0);
        assert_eq!(of(&settings).histories, 0, "no namespace keeps any");
        settings.channels.history_messages_max = 1;
        let histories = of(&settings).histories;
        settings.limits.history_bytes_max += 1 << 30;
        assert_eq!(of(&settings).histories - histories, 2 << 30);
        settings.channels.history_messages_max = 0;
        assert_eq!(of(&settings).presence, 0, "no namespace keeps any");
        settings.channels.presence = config::Presence::Counts;
        let presence = of(&settings).presence;
        settings.limits.presence_bytes_max += 1 << 30;
        assert_eq!(of(&settings).presence - presence, 2 << 30);
        settings.channels.presence = config::Presence::Off;
        let without = of(&settings).reactors;
        settings.channels.delta = config::Delta::Fossil;
        assert_eq!(of(&settings).reactors, without, "none speaks Centrifugo's");
        settings.centrifugo.enabled = true;
        let with_deltas = of(&settings).reactors;
        settings.channels.delta = config::Delta::Off;
        let subscriptions = 1_000 * u64::from(settings.limits.subscriptions_per_connection_max);
        let deltas = 2 * (DELTA_BYTES + (16 << 20)) + subscriptions * DELTA_SUBSCRIPTION_BYTES;
        assert_eq!(with_deltas - of(&settings).reactors, deltas);
        settings.centrifugo.enabled = false;
        settings.limits.channels_max = 1;
        assert!(of(&settings).channels < usual.channels / 1_000);
        settings.wamp.enabled = false;
        settings.sse.enabled = false;
        assert!(of(&settings).connections < usual.connections / 10);
        let without = of(&settings).connections;
        settings.sse.enabled = true;
        let streams = of(&settings).connections - without;
        assert!(streams >= 1_000 * STREAM_SESSION_BYTES, "{streams}");
        settings.sse.enabled = false;
        settings.soap.enabled = true;
        let calls = u64::from(settings.limits.calls_per_connection_max);
        let each = calls * (CALL_BYTES + SOAP_REQUEST_BYTES) + SOAP_SESSION_BYTES;
        assert_eq!(of(&settings).connections - without, 1_000 * each);
    }

    #[test]
    fn rates_are_counted_where_they_are_set() {
        let mut settings = config::Settings::default();
        let epoll = Chosen::Epoll(EpollOptions::default());
        let of = |settings: &config::Settings| WorstCase::of(settings, &epoll, 2, 1_000);
        let usual = of(&settings);
        settings.limits.connects_per_address_per_second_max = 20;
        let addresses = of(&settings);
        assert_eq!(addresses.reactors - usual.reactors, 512 << 10);
        assert_eq!(addresses.connections, usual.connections);
        settings.limits.connects_per_address_per_second_max = 0;
        let with: [fn(&mut config::Limits); 4] = [
            |limits| limits.client_messages_per_second_max = 1,
            |limits| limits.client_bytes_per_second_max = 1,
            |limits| limits.client_subscribes_per_second_max = 1,
            |limits| limits.client_refusals_per_second_max = 1,
        ];
        for set in with {
            let mut settings = settings.clone();
            set(&mut settings.limits);
            let clients = of(&settings);
            assert_eq!(clients.connections - usual.connections, 2 * 49 * 1_000);
            assert_eq!(clients.reactors, usual.reactors);
        }
    }

    #[test]
    fn a_reactor_keeps_its_incidents_and_questions_about_history() {
        let settings = config::Settings::default();
        let epoll = Chosen::Epoll(EpollOptions::default());
        let of = |reactors| WorstCase::of(&settings, &epoll, reactors, 1_000).reactors;
        let history = reactor::HISTORY_ASKS_BYTES_MAX as u64;
        assert!((4 << 20..6 << 20).contains(&history), "{history}");
        let kept = history + reactor::INCIDENTS_BYTES_MAX as u64;
        assert!(of(2) - of(1) > (12 << 20) + kept);
        assert!(REACTOR_BYTES >= (12 << 20) + kept);
    }

    #[test]
    fn a_hook_costs_its_calls_and_what_waits_for_them() {
        let mut settings = config::Settings::default();
        let message = settings.limits.message_bytes_max as u64;
        assert_eq!(hooks_bytes(&settings, 2), 0);
        settings.hooks = vec![config::Hook::default()];
        let one = hooks_bytes(&settings, 2);
        assert!(one > 2 * (16 << 20) + 256 * 2 * message, "{one}");
        settings.hooks[0].in_flight_max += 1;
        assert!(hooks_bytes(&settings, 2) - one > 2 * message + (64 << 10));
    }

    #[test]
    fn sizes_are_rounded_up() {
        for (bytes, text) in [
            (1, "0.1 MiB"),
            (1 << 20, "1 MiB"),
            ((1 << 20) + 1, "1.1 MiB"),
            (1 << 30, "1 GiB"),
            (3 << 39, "1.5 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
