//! Counters with one writer each, and their names.
//!
//! A reactor owns one [`Counters`] and is its only writer; any thread may read it at any time without
//! slowing the writer. A read sees each value whole, but not all values of one moment.
//!
//! Names follow the field's habit: `_total` only grows, the others go up and down. The one list
//! below is the source of the struct, of the names and of the help texts.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod description;
mod histogram;
pub mod process;
pub mod reference;
mod value;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

pub use description::Description;
pub use histogram::{
    CANARY_DESCRIPTIONS, HISTOGRAM_DESCRIPTIONS, Histogram, HistogramReading, Timings, seconds,
};
pub use value::Value;

macro_rules! counters {
    (
        $(#[$about:meta])+
        $counters:ident, $descriptions:ident;
        $($(#[doc = $help:literal])+ $name:ident,)+
    ) => {
        $(#[$about])+
        #[derive(Debug, Default)]
        pub struct $counters { $($(#[doc = $help])+ pub $name: Value,)+ }

        #[doc = concat!("Name and meaning of each of [`", stringify!($counters), "`], in the order of their values.")]
        pub const $descriptions: &[Description] =
            &[$(Description { name: stringify!($name), help: concat!($($help),+) },)+];

        impl $counters {
            /// Takes over the values of another, whose place this takes: the one writer of both calls it.
            pub fn take_over(&self, other: &Self) {
                $(self.$name.set(other.$name.get());)+
            }

            /// All values, in the order of the descriptions.
            pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
                [$(&self.$name),+].into_iter().map(Value::get)
            }
        }
    };
}

counters! {
    /// The counters of one reactor.
    Counters, DESCRIPTIONS;
    /// Connections in the table now, in any phase.
    connections_open,
    /// Connections whose WebSocket is open now.
    websockets_open,
    /// Connections whose event stream is open now.
    event_streams_open,
    /// Connections accepted.
    connections_accepted_total,
    /// Connections over, for any cause.
    connections_closed_total,
    /// New connections reset because connections_max was reached.
    refused_connections_max_total,
    /// New connections reset because connections_per_address_max was reached.
    refused_per_address_total,
    /// New connections answered with 429, or reset where TLS would come first, because of
    /// connects_per_address_per_second_max.
    refused_connect_rate_total,
    /// New connections reset because the server is going down.
    refused_draining_total,
    /// Reactors that close their connections because the server is going down.
    reactors_draining,
    /// Connections that the drain has told to come back elsewhere.
    drain_told_total,
    /// Accepts that found no free file descriptor or table slot.
    accept_limit_total,
    /// Handshakes in flight now.
    handshakes_in_flight,
    /// Times a reactor stopped accepting because limits.handshakes_in_flight_max was reached, or 256
    /// ClientHellos waited for their turn.
    accept_pauses_total,
    /// Handshakes answered with 101.
    handshakes_accepted_total,
    /// Handshakes answered with an error status.
    handshakes_refused_total,
    /// Of those, because their origin is not allowed.
    origins_refused_total,
    /// Requests for a WebSocket that offered subprotocols of which none is served on their path; a
    /// browser then fails the connection.
    subprotocols_unmatched_total,
    /// Tokens that were good, in handshakes and in messages of Centrifugo's clients.
    tokens_accepted_total,
    /// Handshakes and Centrifugo's clients refused for their token, or because they had none.
    tokens_refused_total,
    /// Handshakes answered with 503 because their token was not checked in auth.wait, or
    /// auth.in_flight_max of them waited; the same of Centrifugo's clients, which are told so.
    tokens_unchecked_total,
    /// Connections closed because the identity of their token has expired.
    identities_expired_total,
    /// Connections refused because their user had auth.connections_per_user_max.
    connections_per_user_refused_total,
    /// Connections closed, or refused in their handshake, because their token was revoked.
    connections_revoked_total,
    /// Connections closed by the API, by their name or their user's.
    connections_disconnected_total,
    /// Subscriptions ended by the API, but those of raw connections, which are closed.
    subscriptions_ended_total,
    /// Sessions that began without a WebSocket: streams of Centrifugo's clients over HTTP.
    emulated_sessions_total,
    /// Requests by which such clients have sent something that a session took.
    emulation_requests_total,
    /// The same for a session that there is not.
    emulation_unknown_total,
    /// The same for a session that has not handled what it was sent before.
    emulation_busy_total,
    /// Subscriptions made by the API.
    subscriptions_served_total,
    /// Revocations kept now; every reactor keeps all of them.
    revocations,
    /// Handshakes and connections that wait for the check of a token, and handshakes that wait for a hook's answer, now.
    token_checks_in_flight,
    /// Open connections that wait for a hook's answer now.
    connections_awaiting_hooks,
    /// What clients asked for and a hook allowed: connections, subscriptions, publications.
    hooks_allowed_total,
    /// The same, refused by a hook's answer.
    hooks_refused_total,
    /// The same, refused for now: no hook has answered in time, or too many waited.
    hooks_unavailable_total,
    /// Plain HTTP requests answered.
    http_requests_total,
    /// Those of them that asked for listener.health_path or with OPTIONS, as balancers do.
    health_checks_total,
    /// Responses with a status of 200 to 399, to plain requests.
    http_responses_2xx_total,
    /// Responses with a status of 400 to 499, to plain requests and to handshakes.
    http_responses_4xx_total,
    /// Responses with a status of 500 to 599, to plain requests and to handshakes.
    http_responses_5xx_total,
    /// Connections closed because no plain request followed for limits.http_keep_alive_timeout.
    http_keep_alive_timeouts_total,
    /// Connections cut because their client took nothing of a response stream for
    /// limits.ping_timeout.
    http_stream_timeouts_total,
    /// Comments sent to event streams on which nothing was sent for a while.
    event_stream_comments_total,
    /// Connections that began with a TLS handshake, on this port without TLS.
    tls_on_plain_total,
    /// Connections that began with something else than a TLS handshake, on a port with TLS.
    plain_on_tls_total,
    /// TLS handshakes that came to their end.
    tls_handshakes_total,
    /// Of those, with a ticket of an earlier connection.
    tls_handshakes_resumed_total,
    /// TLS handshakes that failed.
    tls_handshakes_failed_total,
    /// ClientHellos that wait for their turn, now.
    tls_hellos_waiting,
    /// Connections ended because their client broke the rules of TLS, or said that we did.
    tls_faults_total,
    /// Headers of the PROXY protocol that were read.
    proxy_headers_total,
    /// Connections reset because they began with no header of the PROXY protocol, or a broken one, where
    /// one is required.
    proxy_headers_refused_total,
    /// New connections reset because their address is not in listener.proxy_protocol_from.
    refused_proxy_source_total,
    /// Connections that began with a header of the PROXY protocol, which is not expected here.
    proxy_header_unexpected_total,
    /// WebSockets and event streams that were asked for through a proxy that named the client
    /// (listener.forwarded).
    forwarded_total,
    /// The same of proxies that did not name one: they count to no address.
    forwarded_unnamed_total,
    /// Connections that began with another protocol than HTTP/1 (HTTP/2, SSH, unknown bytes).
    other_protocol_total,
    /// Text messages received.
    text_messages_received_total,
    /// Binary messages received.
    binary_messages_received_total,
    /// Pings received.
    pings_received_total,
    /// Pongs received.
    pongs_received_total,
    /// Pings sent to quiet connections.
    pings_sent_total,
    /// Pongs replaced by a newer one before they could be sent.
    pongs_coalesced_total,
    /// Bytes received.
    received_bytes_total,
    /// Bytes taken by the kernel for sending.
    sent_bytes_total,
    /// Send requests made to the kernel.
    sends_total,
    /// Receive requests made to the kernel.
    receives_total,
    /// Messages accepted for publishing.
    publishes_total,
    /// Publishes refused by the namespace's settings.
    publishes_refused_total,
    /// Subscriptions refused: by the namespace's settings, or because a limit was reached.
    subscriptions_refused_total,
    /// Subscriptions that asked for what was published before, or for what is retained, and got all of it.
    recoveries_total,
    /// Subscriptions that asked for what was published before, and were told that something is missing.
    recoveries_lost_total,
    /// Subscriptions ended because something was dropped for a slow client that would have taken what follows for
    /// all there is: it subscribes again, and recovers.
    subscriptions_insufficient_total,
    /// Subscriptions ended because the token that had allowed them expired.
    subscriptions_expired_total,
    /// Pages of history that clients have asked for.
    history_reads_total,
    /// Those that were refused at once: not allowed, not kept, or too many at once.
    history_refused_total,
    /// Channels with their home here that keep history or would.
    history_channels,
    /// Publications that they keep now.
    history_messages,
    /// Bytes of that, as limits.history_bytes_max counts them.
    history_bytes,
    /// Channels with their home here that have members, where presence is kept.
    presence_channels,
    /// Members of theirs that are listed.
    presence_members,
    /// Members of theirs that are only counted, because all together take limits.presence_bytes_max.
    presence_unlisted,
    /// Bytes of that, as limits.presence_bytes_max counts them.
    presence_bytes,
    /// Histories dropped because all together held more than limits.history_bytes_max.
    histories_evicted_total,
    /// Publications that could not be written for subscribers of some dialect, and were not delivered
    /// to those: SOAP's get envelopes only.
    publications_not_carried_total,
    /// Messages queued to subscribers.
    deliveries_total,
    /// Channels known to this reactor now.
    channels,
    /// Channels this reactor is home of now.
    home_channels,
    /// Subscriptions on this reactor now, to channels and to patterns.
    subscriptions,
    /// Patterns with subscribers on this reactor now.
    patterns,
    /// Publications that this reactor, as home, has sent to subscribers of a pattern: one for each
    /// pattern that matched and each reactor that wanted it.
    pattern_matches_total,
    /// Calls of procedures by clients of this reactor.
    calls_total,
    /// Calls refused: by the namespace's settings, or because the client had
    /// limits.calls_per_connection_max open ones.
    calls_refused_total,
    /// Calls answered for the callee: no such procedure, canceled, not in time, the callee has left
    /// or is busy.
    calls_failed_total,
    /// Calls by clients of this reactor that are not answered, now.
    calls_open,
    /// Calls that clients of this reactor have been given to answer and have not, now.
    invocations_open,
    /// Registrations of clients of this reactor now.
    registrations,
    /// Registrations refused by the namespace's settings.
    registrations_denied_total,
    /// Procedures this reactor is home of now.
    procedures,
    /// Connections with bytes the kernel did not take yet, now.
    connections_backlogged,
    /// Bytes waiting in outboxes now.
    outbox_bytes,
    /// Bytes in batches that the kernel has not taken to their end, now.
    in_flight_bytes,
    /// Compression contexts that single connections have now, each direction by itself.
    deflate_contexts,
    /// Bytes reserved for compression contexts now.
    deflate_context_bytes,
    /// Compression contexts that clients asked for and deflate.takeover_bytes_max refused.
    deflate_contexts_refused_total,
    /// Connections closed because their outbox was full.
    slow_consumers_total,
    /// Connections closed because all together held nearly limits.buffered_bytes_max.
    closed_memory_limit_total,
    /// Connections failed for breaking the protocol (close codes 1002, 1003, 1007, 1009).
    protocol_errors_total,
    /// Connections closed because the handshake took too long, or HELLO did not come.
    handshake_timeouts_total,
    /// Connections closed because no pong or other bytes came after a ping.
    ping_timeouts_total,
    /// Connections closed because they were idle for too long.
    idle_timeouts_total,
    /// Connections cut because the closing handshake took too long.
    close_timeouts_total,
    /// Connections the peer reset, or that ended without a close frame.
    abnormal_closes_total,
    /// Batches sent to other reactors.
    cross_reactor_batches_total,
    /// Wake-ups of other reactors.
    cross_reactor_wakeups_total,
    /// Batches waiting because another reactor's ring is full, now.
    cross_reactor_backlog,
    /// Publishers paused because their channel was congested, or another reactor's ring or this
    /// one's fan-outs to many were full.
    publishers_paused_total,
    /// Times a client did more than limits.client_…_per_second_max allow: it was not read for a while, or
    /// closed.
    client_rate_limited_total,
    /// Clients closed for it, by client_rate_policy or for what was refused to them.
    client_rate_closes_total,
    /// Times a fan-out to many fell behind its publishers, which then had to wait.
    channel_backpressure_total,
    /// Bytes of unfinished input held now: handshakes, cut and fragmented messages.
    input_buffered_bytes,
    /// Receives that found no buffer free.
    buffers_exhausted_total,
    /// Calls and completions for a connection that was gone.
    stale_completions_total,
    /// Requests and batches of publications of the control thread handled.
    control_requests_total,
    /// Answers to the control thread dropped because its ring was full.
    control_answers_dropped_total,
    /// Loop iterations.
    loop_iterations_total,
}

counters! {
    /// What slow receivers have cost one namespace, and how often it was published to too fast, on
    /// one reactor.
    NamespaceCounters, NAMESPACE_DESCRIPTIONS;
    /// Messages dropped because newer ones came (policies `drop_oldest` and `latest`).
    dropped_oldest_total,
    /// Messages dropped when they came (policy `drop_newest`).
    dropped_newest_total,
    /// Messages replaced by a newer one of their channel (policy `latest`).
    replaced_total,
    /// Connections closed (policy `close`).
    slow_consumers_total,
    /// Publishes beyond what may come in a second, after which the publisher had to wait.
    publish_rate_limited_total,
}

/// What a server says of itself beside its counters.
#[derive(Debug, Clone)]
pub struct About {
    /// The daemon's version.
    pub version: &'static str,
    /// The driver that runs.
    pub driver: &'static str,
    /// When it began to listen.
    pub started: Instant,
    /// The most connections held at once.
    pub connections_max: u32,
    /// The limit on open files of the process.
    pub open_files: u64,
}

/// The counters of all reactors of a server.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    reactors: Vec<Arc<Counters>>,
    /// Names of the namespaces; the first, empty, stands for channels without one. More are added by
    /// reloads, never fewer.
    names: Arc<Mutex<Arc<[String]>>>,
    /// By reactor, then as named. A reactor that has not heard of the last names yet has fewer.
    namespaces: Arc<[Mutex<Arc<[NamespaceCounters]>>]>,
    /// Set once by the process that started the reactors.
    about: Arc<OnceLock<About>>,
    timings: Arc<[Timings]>,
}

impl Registry {
    /// Counters for `reactors` reactors, and no namespace with counters of its own.
    pub fn new(reactors: usize) -> Registry {
        Registry::with_namespaces(reactors, vec![String::new()])
    }

    /// Counters for `reactors` reactors and these namespaces; the first, empty, stands for channels
    /// without one.
    pub fn with_namespaces(reactors: usize, names: Vec<String>) -> Registry {
        let namespaces = || names.iter().map(|_| NamespaceCounters::default()).collect();
        Registry {
            reactors: (0..reactors).map(|_| Arc::default()).collect(),
            namespaces: (0..reactors).map(|_| Mutex::new(namespaces())).collect(),
            names: Arc::new(Mutex::new(names.into())),
            about: Arc::default(),
            timings: (0..reactors).map(|_| Timings::default()).collect(),
        }
    }

    /// What is measured of reactor `index`.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn timings(&self, index: usize) -> &Timings {
        &self.timings[index]
    }

    /// Adds to `/stats` what the server is. Only the first call counts.
    pub fn describe(&self, about: About) {
        let _ = self.about.set(about);
    }

    /// The namespaces' counters of reactor `index`, in the order of their names.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn namespaces(&self, index: usize) -> Arc<[NamespaceCounters]> {
        lock(&self.namespaces[index]).clone()
    }

    /// Names that there are from now on: those that there were, and more behind. Each reactor adds the
    /// counters with [`Registry::grow_namespaces`].
    pub fn name_namespaces(&self, names: Vec<String>) {
        *lock(&self.names) = names.into();
    }

    /// Counters of reactor `index` for all names that there are: the old ones with their values. Only
    /// the reactor itself calls this, and writes to none but these from then on.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn grow_namespaces(&self, index: usize) -> Arc<[NamespaceCounters]> {
        let count = self.namespace_names().len();
        let mut own = lock(&self.namespaces[index]);
        if own.len() < count {
            let grown: Vec<NamespaceCounters> =
                (0..count).map(|_| NamespaceCounters::default()).collect();
            for (old, new) in own.iter().zip(&grown) {
                new.take_over(old);
            }
            *own = grown.into();
        }
        own.clone()
    }

    /// The counters of reactor `index`.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn reactor(&self, index: usize) -> &Arc<Counters> {
        &self.reactors[index]
    }

    /// Names of the namespaces, in the order of their counters; the first, empty, stands for
    /// channels without one.
    pub fn namespace_names(&self) -> Arc<[String]> {
        lock(&self.names).clone()
    }

    /// Number of reactors.
    pub fn reactors(&self) -> usize {
        self.reactors.len()
    }

    /// Sums over all reactors, in the order of [`DESCRIPTIONS`].
    pub fn sums(&self) -> Vec<u64> {
        let mut sums = vec![0u64; DESCRIPTIONS.len()];
        for counters in &self.reactors {
            for (sum, value) in sums.iter_mut().zip(counters.values()) {
                *sum = sum.wrapping_add(value);
            }
        }
        sums
    }

    /// The sum over all reactors of the counter called `name`, or the process's of that name;
    /// `None` when there is none.
    pub fn sum(&self, name: &str) -> Option<u64> {
        if let Some((_, value)) = process::values().iter().find(|(d, _)| d.name == name) {
            return Some(*value);
        }
        let at = DESCRIPTIONS.iter().position(|d| d.name == name)?;
        Some(self.sums()[at])
    }

    /// The counter called `name` of a namespace, over all reactors; the namespace without a name
    /// stands for channels without one. `None` when there is no such namespace or counter.
    pub fn namespace_sum(&self, namespace: &str, name: &str) -> Option<u64> {
        let names = self.namespace_names();
        let at = names.iter().position(|own| own == namespace)?;
        let of = NAMESPACE_DESCRIPTIONS.iter().position(|d| d.name == name)?;
        Some(self.namespace_sums(at)[of])
    }

    fn namespace_sums(&self, at: usize) -> Vec<u64> {
        let mut sums = vec![0u64; NAMESPACE_DESCRIPTIONS.len()];
        for reactor in &*self.namespaces {
            let reactor = lock(reactor);
            let values = reactor
                .get(at)
                .into_iter()
                .flat_map(NamespaceCounters::values);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = sum.wrapping_add(value);
            }
        }
        sums
    }

    /// One JSON object, as `docs/counters.md` describes it: what the server is (once that was told
    /// to [`Registry::describe`]), all counters, and those of listeners and namespaces. Only names of
    /// listeners need an escape: others are Rust identifiers, and letters, digits, `-`, `_` and `.` in
    /// namespaces.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{");
        // Writing to a String cannot fail.
        if let Some(about) = self.about.get() {
            let _ = write!(
                out,
                "\"version\":\"{}\",\n \"uptime_seconds\":{},\n \"driver\":\"{}\",\n \
                 \"limits\":{{\"connections_max\":{},\"open_files\":{}}},\n ",
                about.version,
                about.started.elapsed().as_secs(),
                about.driver,
                about.connections_max,
                about.open_files
            );
        }
        let _ = write!(out, "\"reactors\":{}", self.reactors.len());
        for (description, sum) in DESCRIPTIONS.iter().zip(self.sums()) {
            let _ = write!(out, ",\n \"{}\":{sum}", description.name);
        }
        for (description, value) in process::values() {
            let _ = write!(out, ",\n \"{}\":{value}", description.name);
        }
        let listeners = process::TLS_CERTIFICATES.seconds_left();
        let listeners = listeners.iter().map(|(listener, left)| {
            // The path of a unix socket may have them.
            let name = listener.replace('\\', r"\\").replace('"', r#"\""#);
            let key = process::LISTENER_DESCRIPTIONS[0].name;
            format!("\n  \"{name}\":{{\"{key}\":{left}}}")
        });
        let listeners: Vec<String> = listeners.collect();
        let _ = write!(out, ",\n \"tls_listeners\":{{{}}}", listeners.join(","));
        let mut named = Vec::new();
        for (at, name) in self.namespace_names().iter().enumerate() {
            let counters: Vec<String> = NAMESPACE_DESCRIPTIONS
                .iter()
                .zip(self.namespace_sums(at))
                .map(|(description, sum)| format!("\"{}\":{sum}", description.name))
                .collect();
            let counters = format!("{{{}}}", counters.join(","));
            if name.is_empty() {
                let _ = write!(out, ",\n \"default_namespace\":{counters}");
            } else {
                named.push(format!("\n  \"{name}\":{counters}"));
            }
        }
        let _ = writeln!(out, ",\n \"namespaces\":{{{}}}}}", named.join(","));
        out
    }
}

/// For a clone of what is in it.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_over_all_reactors() {
        let registry = Registry::new(3);
        registry.reactor(0).pings_sent_total.add(2);
        registry.reactor(2).pings_sent_total.inc();
        assert_eq!(registry.sum("pings_sent_total"), Some(3));
        assert_eq!(registry.sum("no_such_counter"), None);
        assert!(registry.to_json().contains("\"pings_sent_total\":3"));
    }

    #[test]
    fn what_the_server_is_stands_before_its_counters_and_namespaces_are_objects() {
        let registry = Registry::with_namespaces(2, vec![String::new(), "chat.eu".to_owned()]);
        registry.namespaces(0)[1].replaced_total.add(3);
        registry.namespaces(1)[1].replaced_total.add(4);
        registry.namespaces(1)[0].dropped_newest_total.inc();
        assert!(registry.to_json().starts_with("{\"reactors\":2,"));
        registry.describe(About {
            version: "1.2.3",
            driver: "epoll",
            started: Instant::now(),
            connections_max: 10,
            open_files: 20,
        });
        let json = registry.to_json();
        for part in [
            "\"version\":\"1.2.3\"",
            "\"uptime_seconds\":0",
            "\"limits\":{\"connections_max\":10,\"open_files\":20}",
            "\"default_namespace\":{\"dropped_oldest_total\":0,\"dropped_newest_total\":1,",
            "\"namespaces\":{\n  \"chat.eu\":{\"dropped_oldest_total\":0,",
            "\"replaced_total\":7,",
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
        assert_eq!(registry.namespace_sum("chat.eu", "replaced_total"), Some(7));
        assert_eq!(registry.namespace_sum("", "dropped_newest_total"), Some(1));
        assert_eq!(registry.namespace_sum("none", "replaced_total"), None);
    }

    #[test]
    fn every_counter_has_a_unique_name_and_a_help_text() {
        for (i, d) in DESCRIPTIONS.iter().enumerate() {
            assert!(d.help.trim().ends_with('.'), "{} has no sentence", d.name);
            assert!(
                DESCRIPTIONS[..i].iter().all(|e| e.name != d.name),
                "{} twice",
                d.name
            );
        }
    }
}
