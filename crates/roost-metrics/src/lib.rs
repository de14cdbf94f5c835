//! Counters with one writer each, and their names.
//!
//! A reactor owns one [`Counters`] and is its only writer; anybody may read it at any time without
//! slowing the writer. A read sees each value whole, but not all values of one moment.
//!
//! Names follow the field's habit: `_total` only grows, the others go up and down. The one list
//! below is the source of the struct, of the names and of the help texts.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A value with one writer.
#[derive(Debug, Default)]
pub struct Value(AtomicU64);

impl Value {
    /// Adds `n`. Only the owner calls this: a load and a store, no locked instruction.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Adds one. Only the owner calls this.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes `n` away. Only the owner calls this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_sub(n),
            Ordering::Relaxed,
        );
    }

    /// Sets the value. Only the owner calls this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a name and its value mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name as shown to people and scrapers.
    pub name: &'static str,
    /// What is counted, with its unit.
    pub help: &'static str,
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// The counters of one reactor.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $help])+ pub $name: Value,)+ }

        /// Name and meaning of each counter, in the order of [`Counters::values`].
        pub const DESCRIPTIONS: &[Description] =
            &[$(Description { name: stringify!($name), help: concat!($($help),+) },)+];

        impl Counters {
            /// All values, in the order of [`DESCRIPTIONS`].
            pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
                [$(&self.$name),+].into_iter().map(Value::get)
            }
        }
    };
}

counters! {
    /// Connections in the table now, in any phase.
    connections_open,
    /// Connections whose WebSocket is open now.
    websockets_open,
    /// Connections accepted.
    connections_accepted_total,
    /// Connections over, for any cause.
    connections_closed_total,
    /// Newcomers reset because connections_max was reached.
    refused_connections_max_total,
    /// Newcomers reset because connections_per_address_max was reached.
    refused_per_address_total,
    /// New connections reset because the server is going down.
    refused_draining_total,
    /// Accepts that found no free file descriptor or table slot.
    accept_limit_total,
    /// Handshakes in flight now.
    handshakes_in_flight,
    /// Handshakes answered with 101.
    handshakes_accepted_total,
    /// Handshakes answered with an error status.
    handshakes_refused_total,
    /// Of those, because their origin is not allowed.
    origins_refused_total,
    /// Requests for a WebSocket that offered subprotocols of which none is served on their path; a
    /// browser then fails the connection.
    subprotocols_unmatched_total,
    /// Plain HTTP requests answered.
    http_requests_total,
    /// Those of them that asked for listener.health_path or with OPTIONS, as balancers do.
    health_checks_total,
    /// Connections that began with a TLS handshake, on this port without TLS.
    tls_on_plain_total,
    /// Connections that began with a header of the PROXY protocol, which is not expected here.
    proxy_header_unexpected_total,
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
    /// Messages queued to subscribers.
    deliveries_total,
    /// Channels known to this reactor now.
    channels,
    /// Channels this reactor is home of now.
    home_channels,
    /// Subscriptions on this reactor now.
    subscriptions,
    /// Connections with bytes the kernel did not take yet, now.
    outboxes,
    /// Bytes waiting in outboxes now.
    outbox_bytes,
    /// Bytes in batches that the kernel has not taken to their end, now.
    pinned_bytes,
    /// Compression contexts that single connections have now, each direction by itself.
    deflate_contexts,
    /// Bytes reserved for them now.
    deflate_context_bytes,
    /// Compression contexts that clients asked for and deflate.takeover_bytes_max refused.
    deflate_contexts_refused_total,
    /// Connections closed because their outbox was full.
    slow_consumers_total,
    /// Connections closed because all together held nearly limits.buffered_bytes_max.
    budget_closes_total,
    /// Connections failed for breaking the protocol (close codes 1002, 1003, 1007, 1009).
    protocol_errors_total,
    /// Connections closed because the handshake took too long.
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
    mail_sent_total,
    /// Wake-ups of other reactors.
    mail_wakes_total,
    /// Batches waiting because another reactor's ring is full, now.
    mail_spilled,
    /// Publishers paused because their channel was congested, or another reactor's ring or this
    /// one's fan-outs to many were full.
    publishers_paused_total,
    /// Times a fan-out to many fell behind its publishers, which then had to wait.
    congestions_total,
    /// Bytes of unfinished input held now: handshakes, cut and fragmented messages.
    partial_bytes,
    /// Receives that found no buffer free.
    buffers_exhausted_total,
    /// Calls and completions for a connection that was gone.
    stale_total,
    /// Turns of the loop.
    turns_total,
}

/// What slow receivers have cost one namespace, and how often it was published to too fast, on one
/// reactor.
#[derive(Debug, Default)]
pub struct NamespaceCounters {
    /// Messages dropped because newer ones came (policies `drop_oldest` and `latest`).
    pub dropped_oldest_total: Value,
    /// Messages dropped when they came (policy `drop_newest`).
    pub dropped_newest_total: Value,
    /// Messages replaced by a newer one of their channel (policy `latest`).
    pub replaced_total: Value,
    /// Connections closed (policy `close`).
    pub slow_consumers_total: Value,
    /// Publishes beyond what may come in a second, after which the publisher had to wait.
    pub inflow_limited_total: Value,
}

impl NamespaceCounters {
    fn values(&self) -> [(&'static str, u64); 5] {
        [
            ("dropped_oldest_total", self.dropped_oldest_total.get()),
            ("dropped_newest_total", self.dropped_newest_total.get()),
            ("replaced_total", self.replaced_total.get()),
            ("slow_consumers_total", self.slow_consumers_total.get()),
            ("inflow_limited_total", self.inflow_limited_total.get()),
        ]
    }
}

/// The counters of all reactors of a server.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    reactors: Vec<Arc<Counters>>,
    /// Names of the namespaces; the first, empty, stands for channels without one.
    names: Arc<[String]>,
    /// By reactor, then as named.
    namespaces: Vec<Arc<[NamespaceCounters]>>,
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
            namespaces: (0..reactors).map(|_| namespaces()).collect(),
            names: names.into(),
        }
    }

    /// The namespaces' counters of reactor `index`, in the order of their names.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn namespaces(&self, index: usize) -> &Arc<[NamespaceCounters]> {
        &self.namespaces[index]
    }

    /// The counters of reactor `index`.
    ///
    /// # Panics
    /// When there is no such reactor.
    pub fn reactor(&self, index: usize) -> &Arc<Counters> {
        &self.reactors[index]
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

    /// One JSON object: `{"reactors":n,"name":sum,…}`, with `channels.name` and
    /// `namespace.NAME.name` for what is counted by namespace. Names need no escape: they are Rust
    /// identifiers, and letters, digits, `-`, `_` and `.` in namespaces.
    pub fn to_json(&self) -> String {
        use std::fmt::Write as _;
        let mut out = format!("{{\"reactors\":{}", self.reactors.len());
        for (description, sum) in DESCRIPTIONS.iter().zip(self.sums()) {
            write!(out, ",\n \"{}\":{sum}", description.name).expect("a String takes all writes");
        }
        for (description, value) in process::values() {
            write!(out, ",\n \"{}\":{value}", description.name).expect("a String takes all writes");
        }
        for (at, namespace) in self.names.iter().enumerate() {
            let section = if namespace.is_empty() {
                "channels".to_owned()
            } else {
                format!("namespace.{namespace}")
            };
            let mut sums = NamespaceCounters::default().values();
            for reactor in &self.namespaces {
                for (sum, value) in sums.iter_mut().zip(reactor[at].values()) {
                    sum.1 += value.1;
                }
            }
            for (name, sum) in sums {
                write!(out, ",\n \"{section}.{name}\":{sum}").expect("a String takes all writes");
            }
        }
        out.push_str("}\n");
        out
    }
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
