//! Warnings about refusals and closes, from the counters: nothing is logged where they happen.
//!
//! Once a second the counters are read. A kind that has grown is a line at once, then one at most
//! every ten seconds with what has come since, and one more when it is over. So a flood of refusals
//! costs the log a line, and the data path nothing.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use roost_metrics::{DESCRIPTIONS, Registry};
use tracing::{info, warn};

use crate::expiry::Expiry;

/// Something that is refused or closed, and what an operator makes of it.
struct Kind {
    /// The counter that tells of it.
    counter: &'static str,
    /// What happened to so many.
    event: &'static str,
    /// What can be done; empty where it is the clients' affair.
    remedy: &'static str,
    severity: Severity,
}

/// Limits of ours warn. What clients and networks do all day informs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Warn,
    Info,
}

const fn warn(counter: &'static str, event: &'static str, remedy: &'static str) -> Kind {
    Kind {
        counter,
        event,
        remedy,
        severity: Severity::Warn,
    }
}

const fn info(counter: &'static str, event: &'static str) -> Kind {
    Kind {
        counter,
        event,
        remedy: "",
        severity: Severity::Info,
    }
}

const KINDS: &[Kind] = &[
    warn(
        "refused_connections_max_total",
        "new connections reset: the server is full",
        "raise server.connections_max or the limit on open files",
    ),
    warn(
        "refused_per_address_total",
        "new connections reset: their address has limits.connections_per_address_max",
        "behind a proxy set it to 0, or have the proxy say whose it is (listener.forwarded, listener.proxy_protocol)",
    ),
    warn(
        "refused_connect_rate_total",
        "new connections refused: their address begins more than limits.connects_per_address_per_second_max",
        "raise it where many clients share an address; behind a proxy set it to 0, or have the proxy say whose it is (listener.forwarded, listener.proxy_protocol)",
    ),
    warn(
        "client_rate_limited_total",
        "times a client did more than limits.client_…_per_second_max allow",
        "roostctl why KEY names the limit; raise it, or have the clients do less",
    ),
    warn(
        "accept_limit_total",
        "accepts failed: no file descriptor is free",
        "raise the limit on open files (ulimit -n, LimitNOFILE=)",
    ),
    warn(
        "accept_pauses_total",
        "times accepting paused: limits.handshakes_in_flight_max is reached, or 256 TLS handshakes wait; new connections wait in the backlog",
        "raise it where many clients connect at once; with TLS take an ECDSA key",
    ),
    warn(
        "origins_refused_total",
        "handshakes refused with 403: their origin is not in listener.allowed_origins",
        "log.level = \"debug\" names the origins",
    ),
    warn(
        "subscriptions_refused_total",
        "subscriptions refused: by subscribe = \"nobody\", or limits.channels_max is reached",
        "log.level = \"debug\" names the cause",
    ),
    warn(
        "publishes_refused_total",
        "publishes refused by their channel's publish = …",
        "see [channels] and [[namespace]]",
    ),
    warn(
        "slow_consumers_total",
        "clients closed with 1013: they read slower than their channels speak",
        "GET /stats/slow lists those that are about to be",
    ),
    warn(
        "closed_memory_limit_total",
        "clients closed with 1013: all together held nearly limits.buffered_bytes_max",
        "raise it if there is memory",
    ),
    warn(
        "handshake_timeouts_total",
        "connections closed: no complete request within limits.handshake_timeout",
        "",
    ),
    warn(
        "deflate_contexts_refused_total",
        "compression contexts refused: deflate.takeover_bytes_max is reached",
        "raise it if there is memory",
    ),
    warn(
        "tls_on_plain_total",
        "TLS clients on a port without TLS",
        "give the listener a certificate (tls), or connect with ws:// and http://",
    ),
    warn(
        "plain_on_tls_total",
        "clients without TLS on a port with TLS",
        "connect with wss:// and https://; a proxy that ends TLS forwards to a listener without it",
    ),
    warn(
        "proxy_headers_refused_total",
        "connections reset: they began with no PROXY header, or with a broken one",
        "have the proxy send it, for health checks too (HAProxy: send-proxy-v2 check-send-proxy); log.level = \"debug\" names the cause",
    ),
    warn(
        "refused_proxy_source_total",
        "connections reset: their address is not in listener.proxy_protocol_from",
        "list the proxies' networks there",
    ),
    warn(
        "proxy_header_unexpected_total",
        "connections that began with a header of the PROXY protocol, which is not expected here",
        "switch it off in the proxy",
    ),
    info(
        "other_protocol_total",
        "connections that began with another protocol than HTTP/1",
    ),
    info(
        "subprotocols_unmatched_total",
        "WebSockets that offered subprotocols of which none is served on their path",
    ),
    info(
        "protocol_errors_total",
        "connections failed for breaking the protocol (1002, 1003, 1007, 1009)",
    ),
    info(
        "ping_timeouts_total",
        "connections cut: no answer within limits.ping_timeout",
    ),
    info(
        "close_timeouts_total",
        "connections cut: no closing handshake within limits.close_timeout",
    ),
    info(
        "idle_timeouts_total",
        "connections closed: no message within limits.idle_timeout",
    ),
    info(
        "channel_backpressure_total",
        "times a large channel was published to faster than it can be delivered",
    ),
];

/// What has been said of each kind.
pub(crate) struct Watch {
    registry: Registry,
    expiry: Expiry,
    states: Vec<State>,
}

/// Of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// The counter when it was last read.
    total: u64,
    /// Grown by so much since the last line, in so many readings.
    unsaid: u64,
    unsaid_for: u32,
    /// Grown by so much since it was last over; 0 while it is over.
    episode: u64,
    /// Readings since the last line, and since it last grew.
    since_line: u32,
    since_growth: u32,
}

/// What is to be said of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many more, in so many seconds.
    More { count: u64, seconds: u32 },
    /// None came for a while; so many in all.
    Over { count: u64 },
}

impl Watch {
    /// Of the counters of `registry`, from 0: clients may have come before this is called.
    pub(crate) fn new(registry: Registry, expiry: Expiry) -> Watch {
        Watch {
            registry,
            expiry,
            states: vec![State::new(); KINDS.len()],
        }
    }

    /// Reads once a second, until the other end of `end` is dropped.
    pub(crate) fn run(mut self, end: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(READ_EVERY) {
            self.read(false);
            self.expiry.check();
        }
        self.read(true);
    }

    fn read(&mut self, is_last: bool) {
        let totals = self.totals();
        for ((kind, state), total) in KINDS.iter().zip(&mut self.states).zip(totals) {
            if let Some(line) = state.read(total, is_last) {
                kind.log(line);
            }
        }
    }

    /// In the order of the kinds.
    fn totals(&self) -> Vec<u64> {
        let sums = self.registry.sums();
        let at = |kind: &Kind| DESCRIPTIONS.iter().position(|d| d.name == kind.counter);
        let total = |kind| at(kind).map_or(0, |at| sums[at]);
        KINDS.iter().map(total).collect()
    }
}

impl State {
    fn new() -> State {
        State {
            total: 0,
            unsaid: 0,
            unsaid_for: 0,
            episode: 0,
            since_line: LINE_EVERY,
            since_growth: 0,
        }
    }

    /// One reading: what is to be said now, if anything. The last one keeps nothing back.
    fn read(&mut self, total: u64, is_last: bool) -> Option<Line> {
        let growth = total.saturating_sub(self.total);
        self.total = total;
        self.unsaid += growth;
        self.episode += growth;
        self.since_line = self.since_line.saturating_add(1);
        self.since_growth = match growth {
            0 => self.since_growth.saturating_add(1),
            _ => 0,
        };
        self.unsaid_for = match self.unsaid {
            0 => 0,
            _ => self.unsaid_for.saturating_add(1),
        };
        if !is_last && self.since_line < LINE_EVERY {
            return None;
        }
        let line = if self.unsaid > 0 {
            Line::More {
                count: std::mem::take(&mut self.unsaid),
                seconds: std::mem::take(&mut self.unsaid_for),
            }
        } else if self.episode > 0 && self.since_growth >= OVER_AFTER {
            Line::Over {
                count: std::mem::take(&mut self.episode),
            }
        } else {
            return None;
        };
        self.since_line = 0;
        Some(line)
    }
}

impl Kind {
    fn log(&self, line: Line) {
        let Kind { event, counter, .. } = self;
        let remedy = (!self.remedy.is_empty()).then_some(self.remedy);
        match (line, self.severity) {
            (Line::More { count, seconds }, Severity::Warn) => {
                warn!(count, seconds, counter, remedy, "{count} {event}");
            }
            (Line::More { count, seconds }, Severity::Info) => {
                info!(count, seconds, counter, "{count} {event}");
            }
            (Line::Over { count }, Severity::Warn) => {
                warn!(count, counter, "over, {count} in all: {event}");
            }
            (Line::Over { count }, Severity::Info) => {
                info!(count, counter, "over, {count} in all: {event}");
            }
        }
    }
}

/// How often the counters are read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Readings between two lines of one kind, at least; the last may come sooner.
const LINE_EVERY: u32 = 10;
/// Readings without growth after which a kind is over.
const OVER_AFTER: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a counter that grows by these; the lines with the reading at which they came.
    fn lines(growth: &[u64]) -> Vec<(usize, Line)> {
        let (mut state, mut total, mut lines) = (State::new(), 0, Vec::new());
        for (at, growth) in growth.iter().enumerate() {
            total += growth;
            lines.extend(state.read(total, false).map(|line| (at, line)));
        }
        lines
    }

    fn more(count: u64, seconds: u32) -> Line {
        Line::More { count, seconds }
    }

    #[test]
    fn every_kind_has_a_counter() {
        for kind in KINDS {
            let known = DESCRIPTIONS.iter().any(|d| d.name == kind.counter);
            assert!(known, "no counter is called {}", kind.counter);
        }
    }

    #[test]
    fn one_refusal_is_one_line_and_its_end() {
        let mut growth = vec![0, 3];
        growth.extend([0; 20]);
        assert_eq!(
            lines(&growth),
            [(1, more(3, 1)), (11, Line::Over { count: 3 })]
        );
    }

    #[test]
    fn a_flood_is_a_line_every_ten_readings_and_counts_all() {
        let mut growth = vec![7; 25];
        growth.extend([0; 20]);
        assert_eq!(
            lines(&growth),
            [
                (0, more(7, 1)),
                (10, more(70, 10)),
                (20, more(70, 10)),
                (30, more(28, 10)),
                (40, Line::Over { count: 175 }),
            ]
        );
    }

    #[test]
    fn what_comes_now_and_then_does_not_flood_the_log() {
        // One refusal every six seconds for a day: never over.
        let growth: Vec<u64> = (0..86_400)
            .map(|second| u64::from(second % 6 == 0))
            .collect();
        let said = lines(&growth);
        let at: Vec<usize> = said.iter().map(|(at, _)| *at).collect();
        assert!(
            at.windows(2).all(|pair| pair[1] - pair[0] >= 10),
            "{:?}",
            &at[..40]
        );
        let counted: u64 = said
            .iter()
            .map(|(_, line)| match line {
                Line::More { count, .. } => *count,
                Line::Over { .. } => 0,
            })
            .sum();
        assert!(86_400 / 6 - counted < 10, "{counted} told of");
        // One every twelve seconds is over each time, and still not more.
        let growth: Vec<u64> = (0..86_400)
            .map(|second| u64::from(second % 12 == 0))
            .collect();
        let at: Vec<usize> = lines(&growth).iter().map(|(at, _)| *at).collect();
        assert!(
            at.windows(2).all(|pair| pair[1] - pair[0] >= 10),
            "{:?}",
            &at[..40]
        );
    }

    #[test]
    fn the_last_reading_keeps_nothing_back() {
        let mut state = State::new();
        assert_eq!(state.read(5, false), Some(more(5, 1)));
        assert_eq!(state.read(9, false), None);
        assert_eq!(state.read(12, true), Some(more(7, 2)));
    }
}
