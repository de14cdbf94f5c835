//! Scenes of a reactor's core that no peer can bring about at will, played on a simulated driver
//! that is never asked.

#![expect(clippy::disallowed_types, reason = "for lines of a log")]

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use roost_net::ConnKey;
use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::clock::TICK_MS;
use crate::connections::{Flags, Phase, testing};
use crate::core::Core;
use crate::input::{handle_accepted, handle_bytes, read_paused};
use crate::timeouts::keep_deadlines;
use crate::{Reactor, Settings, Shared};

fn reactor(reactors: usize) -> Reactor<SimDriver> {
    reactor_with(Settings::for_tests(), reactors)
}

fn reactor_with(settings: Settings, reactors: usize) -> Reactor<SimDriver> {
    let net = SimNet::new(1, SimFaults::none());
    let shared = Shared::new(settings, reactors, 1);
    Reactor::new(net.driver(SimOptions::default()), 0, shared)
}

pub(super) fn request(target: &str) -> Vec<u8> {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    head.into_bytes()
}

impl Reactor<SimDriver> {
    /// A new connection that has sent the request for `target`.
    fn connect(&mut self, target: &str) -> ConnKey {
        let key = handle_accepted(&mut self.core, 0, None);
        let key = key.unwrap_or_else(|_| panic!("there is room"));
        handle_bytes(&mut self.core, key, &mut request(target));
        key
    }

    /// Forgets what was to be written in this tick.
    fn end_tick(&mut self) {
        testing::forget_pending(&mut self.core.connections);
    }

    fn phase(&self, key: ConnKey) -> Phase {
        self.core.connections.get(key).expect("it is there").phase
    }
}

/// RFC 6455 §4.1: a client waits for the 101. What was on its way when reading paused is kept, up
/// to the size of a head.
#[test]
fn what_comes_while_a_channel_is_joined_has_a_limit() {
    let mut reactor = reactor(2);
    let names = (0..64).map(|n| format!("/raw/{n}"));
    let joining: Vec<ConnKey> = names
        .map(|target| reactor.connect(&target))
        .collect::<Vec<_>>()
        .into_iter()
        .filter(|&key| reactor.phase(key) == Phase::Joining)
        .collect();
    // Those of the other reactor's channels; it does not run, and does not answer.
    let [within, beyond, ..] = joining[..] else {
        panic!("the other reactor has no channel");
    };
    let head_bytes = reactor.core.settings.limits.handshake_bytes_max;
    for key in [within, beyond] {
        handle_bytes(&mut reactor.core, key, &mut vec![0; head_bytes - 1]);
        handle_bytes(&mut reactor.core, key, &mut [0]);
        assert_eq!(reactor.phase(key), Phase::Joining);
    }
    let refused = reactor.core.counters.handshakes_refused_total.get();
    handle_bytes(&mut reactor.core, beyond, &mut [0]);
    assert_eq!(reactor.phase(within), Phase::Joining);
    assert_eq!(reactor.phase(beyond), Phase::Lingering);
    let counters = &reactor.core.counters;
    assert_eq!(counters.handshakes_refused_total.get(), refused + 1);
    let said = testing::take_pending(&mut reactor.core.connections, beyond.slot()).concat();
    let said = String::from_utf8_lossy(&said);
    let answer = &said[said.rfind("HTTP/1.1").expect("an answer")..];
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("before the handshake was answered; wait for the 101.\n"));
}

/// RFC 6455 §7.1.7: the problem is logged, by the mistake's name and not by what was sent.
#[test]
fn a_broken_rule_is_one_line_of_log() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let said = tracing::subscriber::with_default(Lines(lines.clone()), || {
        let mut reactor = reactor(1);
        let key = reactor.connect("/echo");
        assert_eq!(reactor.phase(key), Phase::Open);
        lines.lock().expect("one thread").clear();
        handle_bytes(&mut reactor.core, key, &mut [0x81, 0x01, b'x']);
        assert_eq!(reactor.phase(key), Phase::Lingering);
        lines.lock().expect("one thread").clone()
    });
    let [line] = said.as_slice() else {
        panic!("not one line: {said:?}");
    };
    assert!(line.starts_with("DEBUG protocol error"), "{line}");
    assert!(line.contains("error=\"unmasked\""), "{line}");
}

/// Connections that opened at once are pinged evenly, each at most an interval after its last byte,
/// however long a pong may take.
#[test]
fn connections_opened_at_once_are_pinged_evenly() {
    const CONNECTIONS: u32 = 20_000;
    const INTERVAL_S: u32 = 25;
    let mut settings = Settings::for_tests();
    settings.limits.handshakes_in_flight_max = CONNECTIONS;
    settings.limits.ping_interval_ms = INTERVAL_S * 1_000;
    settings.limits.ping_timeout_ms = 60_000;
    let mut reactor = reactor_with(settings, 1);
    let keys: Vec<ConnKey> = (0..CONNECTIONS).map(|_| reactor.connect("/echo")).collect();
    reactor.end_tick();

    let core = &mut reactor.core;
    let ticks_a_second = 1_000 / TICK_MS;
    let mut last_seen_s = vec![0; CONNECTIONS as usize];
    let mut pings_in = vec![0u32; 4 * INTERVAL_S as usize];
    for second in 0..4 * INTERVAL_S {
        for _ in 0..ticks_a_second {
            testing::advance(&mut core.connections, 1);
            while core.connections.deadlines_due() <= core.now() {
                keep_deadlines(core, &reactor.driver);
                let is_pinged = |key: &ConnKey| {
                    let conn = core.connections.get(*key).expect("all stay");
                    conn.flags.has(Flags::PING_SENT)
                };
                let pinged: Vec<ConnKey> = keys.iter().copied().filter(is_pinged).collect();
                for &key in &pinged {
                    let quiet_s = second - last_seen_s[key.slot() as usize];
                    // The table is looked through once a second.
                    assert!(
                        (INTERVAL_S / 4 - 1..=INTERVAL_S + 1).contains(&quiet_s),
                        "{key:?}: a ping after {quiet_s} s"
                    );
                    last_seen_s[key.slot() as usize] = second;
                    handle_bytes(core, key, &mut [0x8a, 0x80, 0, 0, 0, 0]);
                }
                testing::forget_pending(&mut core.connections);
                pings_in[second as usize] += pinged.len() as u32;
            }
        }
    }
    let mean = CONNECTIONS / INTERVAL_S;
    for (second, &pings) in pings_in.iter().enumerate().skip(2 * INTERVAL_S as usize) {
        assert!(
            (mean / 2..=mean * 3 / 2).contains(&pings),
            "{pings} pings in second {second}, {mean} would be even"
        );
    }
}

/// A client that is not read cannot answer: it is neither pinged nor timed out.
#[test]
fn a_paused_connection_is_not_taken_for_dead() {
    let mut reactor = reactor(1);
    let key = reactor.connect("/echo");
    reactor.end_tick();
    let core = &mut reactor.core;
    let settings = core.settings.clone();
    let wait = |core: &mut Core, ms: u32| {
        testing::advance(&mut core.connections, ms / TICK_MS + 1);
        while core.connections.deadlines_due() <= core.now() {
            keep_deadlines(core, &reactor.driver);
        }
    };
    wait(core, settings.limits.ping_interval_ms);
    let is_pinged = |core: &Core| {
        let conn = core.connections.get(key).expect("it is there");
        (conn.phase, conn.flags.has(Flags::PING_SENT))
    };
    assert_eq!(is_pinged(core), (Phase::Open, true));
    let conn = core.connections.get_mut(key).expect("it is there");
    conn.flags.set(Flags::PAUSED);
    core.channels.paused().push(key);
    for _ in 0..3 {
        wait(core, settings.limits.ping_timeout_ms);
        assert_eq!(is_pinged(core), (Phase::Open, true));
    }
    read_paused(core);
    wait(core, settings.limits.ping_timeout_ms);
    assert_eq!(is_pinged(core).0, Phase::Closed, "it was read, and silent");
}

/// Deadlines that are due together are kept within a few loop iterations, not in one.
#[test]
fn many_deadlines_at_once_are_several_iterations_work() {
    const CONNECTIONS: u64 = 1_000;
    let mut reactor = reactor(1);
    let core = &mut reactor.core;
    for _ in 0..CONNECTIONS {
        assert!(handle_accepted(core, 0, None).is_ok(), "there is room");
    }
    let timeout_ms = core.settings.limits.handshake_timeout_ms;
    testing::advance(&mut core.connections, timeout_ms / TICK_MS);
    let timeouts = core.counters.clone();
    let timeouts = || timeouts.handshake_timeouts_total.get();
    let mut iterations = 0;
    while timeouts() < CONNECTIONS {
        let before = timeouts();
        assert!(
            core.connections.deadlines_due() <= core.now(),
            "the next iteration comes at once"
        );
        keep_deadlines(core, &reactor.driver);
        assert!((1..=256).contains(&(timeouts() - before)));
        testing::forget_pending(&mut core.connections);
        iterations += 1;
    }
    assert_eq!(iterations, CONNECTIONS.div_ceil(256));
    assert!(
        core.connections.deadlines_due() > core.now(),
        "nothing is left"
    );
}

/// Keeps each event as a line.
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level();
        let line = format!("{level} {}{}", line.message, line.fields);
        self.0.lock().expect("one thread").push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a string takes all");
    }
}
