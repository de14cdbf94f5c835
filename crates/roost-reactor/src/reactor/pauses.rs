//! Pauses of the process, of one reactor, of server and clients: no client that answers is cut.
//!
//! A pause of less than a quarter of a second is not noticed as one, so that the short ones here show
//! that sockets are read before silence is judged, and the long ones that deadlines begin anew.

use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use roost_net::{CloseCause, ConnKey, ConnectOptions, Driver, Event};

use super::core_tests::request;
use crate::settings::Limits;
use crate::{Iteration, Reactor, Settings, Shared};

/// Shorter than a pause that is noticed.
const SHORT_MS: u64 = 200;
const LONG_MS: u64 = 4_000;
/// Shorter than either.
const TIMEOUT_MS: u32 = 100;

struct World {
    net: SimNet,
    shared: Shared,
    reactors: Vec<Reactor<SimDriver>>,
    /// The reactors that run.
    running: Vec<bool>,
    address: SocketAddr,
    driver: SimDriver,
    clients: Vec<Client>,
}

#[derive(Default)]
struct Client {
    received: Vec<u8>,
    fin: bool,
    closed: Option<CloseCause>,
}

impl World {
    fn new(reactors: usize, options: SimOptions, change: impl FnOnce(&mut Limits)) -> World {
        let net = SimNet::new(5, SimFaults::none());
        let mut settings = Settings::for_tests();
        settings.limits.ping_interval_ms = 0;
        change(&mut settings.limits);
        let mut address = SocketAddr::from(([10, 0, 0, 1], 80));
        let shared = Shared::new(settings, reactors, 5);
        let mut all = Vec::new();
        for id in 0..reactors {
            let driver = net.driver(options.clone());
            let mut reactor = Reactor::new(driver, id as u8, shared.clone());
            if id == 0 {
                address = super::listen_at(&mut reactor, address);
            }
            all.push(reactor);
        }
        World {
            driver: net.driver(SimOptions::default()),
            net,
            shared,
            running: vec![true; reactors],
            reactors: all,
            address,
            clients: Vec::new(),
        }
    }

    fn connect(&mut self) -> usize {
        let slot = self.clients.len();
        let options = ConnectOptions {
            addr: self.address,
            local: None,
        };
        let key = ConnKey::new(slot as u32, 0);
        self.driver.connect(key, &options).expect("a free slot");
        self.clients.push(Client::default());
        self.run(20);
        slot
    }

    /// A client with an open WebSocket.
    fn open(&mut self) -> usize {
        let slot = self.connect();
        self.send(slot, &request("/echo"));
        self.run(20);
        assert!(self.clients[slot].received.starts_with(b"HTTP/1.1 101"));
        self.clients[slot].received.clear();
        slot
    }

    fn send(&mut self, slot: usize, bytes: &[u8]) {
        self.driver.send_copy(ConnKey::new(slot as u32, 0), bytes);
    }

    /// Lets `ms` pass.
    fn run(&mut self, ms: u64) {
        let until = self.net.now() + ms * 1_000_000;
        while self.net.now() < until {
            for (reactor, running) in self.reactors.iter_mut().zip(&mut self.running) {
                while *running && reactor.driver.is_due() {
                    let iteration = reactor.run_once().expect("a simulated wait does not fail");
                    *running = iteration == Iteration::Running;
                }
            }
            self.driver.wait(Some(Duration::ZERO)).expect("simulated");
            while let Some(event) = self.driver.next_event() {
                match event {
                    Event::Bytes(key, bytes) => {
                        let client = &mut self.clients[key.slot() as usize];
                        client.received.extend_from_slice(bytes);
                    }
                    Event::ReadClosed(key) => self.clients[key.slot() as usize].fin = true,
                    Event::Closed(key, cause) => {
                        self.clients[key.slot() as usize].closed = Some(cause);
                    }
                    _ => {}
                }
            }
            self.net.advance(Duration::from_millis(1));
        }
    }

    fn stop(&mut self, reactor: usize) {
        self.running[reactor] = false;
        self.net.stop(self.reactors[reactor].driver.id());
    }

    /// Lets `ms` pass in which the reactors do not run, and the clients do.
    fn pause(&mut self, ms: u64) {
        let running = self.running.clone();
        (0..self.reactors.len()).for_each(|reactor| self.stop(reactor));
        self.run(ms);
        self.running = running;
    }

    /// Runs until a client has received `what`.
    fn run_until(&mut self, slot: usize, what: &[u8]) {
        for _ in 0..5_000 {
            let received = &mut self.clients[slot].received;
            if received.windows(what.len()).any(|part| part == what) {
                return received.clear();
            }
            self.run(1);
        }
        panic!("client {slot} never received {what:x?}");
    }

    fn count(&self, name: &str) -> u64 {
        self.shared.registry().sum(name).expect("a counter")
    }

    /// The client's connection works in both directions.
    fn assert_serves(&mut self, slot: usize) {
        self.clients[slot].received.clear();
        self.send(slot, TEXT);
        self.run(50);
        let client = &self.clients[slot];
        assert_eq!(client.closed, None, "client {slot}");
        let received = client.received.windows(3).any(|part| part == b"\x81\x01x");
        assert!(received, "client {slot} received {:x?}", client.received);
    }
}

#[test]
fn a_pong_in_the_socket_is_read_before_its_time_is_judged() {
    let pings = |limits: &mut Limits| {
        limits.ping_interval_ms = 300;
        limits.ping_timeout_ms = TIMEOUT_MS;
    };
    let mut world = World::new(1, SimOptions::default(), pings);
    let slot = world.open();
    for _ in 0..3 {
        world.run_until(slot, PING);
        world.send(slot, PONG);
        world.pause(SHORT_MS);
    }
    assert_eq!(world.count("ping_timeouts_total"), 0);
    world.assert_serves(slot);
}

/// More answers than one iteration takes, or than there are buffers for.
#[test]
fn answers_that_need_many_turns_are_all_read_first() {
    for (events_max, buffers) in [(1, 16), (128, 1)] {
        let options = SimOptions {
            events_max,
            buffers,
            ..SimOptions::default()
        };
        let pings = |limits: &mut Limits| {
            limits.ping_interval_ms = 4_000;
            limits.ping_timeout_ms = TIMEOUT_MS;
        };
        let mut world = World::new(1, options, pings);
        // All in one block, which is pinged together.
        let slots: Vec<usize> = (0..30).map(|_| world.open()).collect();
        world.run_until(slots[0], PING);
        slots.iter().for_each(|&slot| world.send(slot, PONG));
        world.pause(SHORT_MS);
        world.run(300);
        assert_eq!(world.count("ping_timeouts_total"), 0);
        for slot in slots {
            world.assert_serves(slot);
        }
    }
}

#[test]
fn a_head_that_was_finished_in_time_is_read_before_its_time_is_judged() {
    let limit = |limits: &mut Limits| limits.handshake_timeout_ms = TIMEOUT_MS;
    let mut world = World::new(1, SimOptions::default(), limit);
    let slot = world.connect();
    let head = request("/echo");
    let (half, rest) = head.split_at(head.len() / 2);
    world.send(slot, half);
    world.run(20);
    world.send(slot, rest);
    world.pause(SHORT_MS);
    world.run(50);
    let received = String::from_utf8_lossy(&world.clients[slot].received).into_owned();
    assert!(received.starts_with("HTTP/1.1 101"), "{received}");
}

#[test]
fn a_close_frame_in_the_socket_is_read_before_its_time_is_judged() {
    let limits = |limits: &mut Limits| {
        limits.idle_timeout_ms = 300;
        limits.close_timeout_ms = TIMEOUT_MS;
    };
    let mut world = World::new(1, SimOptions::default(), limits);
    let slot = world.open();
    world.run_until(slot, b"idle for too long");
    world.send(slot, CLOSE);
    world.driver.shutdown_write(ConnKey::new(slot as u32, 0));
    world.pause(SHORT_MS);
    world.run(50);
    assert_eq!(world.count("close_timeouts_total"), 0);
    assert!(world.clients[slot].fin, "its connection ends in order");
}

#[test]
fn a_message_in_the_socket_is_read_before_a_client_is_called_idle() {
    let limit = |limits: &mut Limits| limits.idle_timeout_ms = 300;
    let mut world = World::new(1, SimOptions::default(), limit);
    let slot = world.open();
    world.run(200);
    world.send(slot, TEXT);
    world.pause(SHORT_MS);
    world.run(50);
    assert_eq!(world.count("idle_timeouts_total"), 0);
    world.assert_serves(slot);
}

#[test]
fn answers_in_the_sockets_are_read_before_a_drain_ends() {
    for (pause_ms, answers_late) in [(SHORT_MS, false), (LONG_MS, false), (LONG_MS, true)] {
        let mut world = World::new(1, SimOptions::default(), |_| {});
        let slots: Vec<usize> = (0..10).map(|_| world.open()).collect();
        world.shared.begin_drain(TIMEOUT_MS);
        world.reactors[0].waker().wake();
        world.run_until(slots[0], b"server is going down");
        let answer = |world: &mut World| {
            for &slot in &slots {
                world.send(slot, CLOSE);
                world.driver.shutdown_write(ConnKey::new(slot as u32, 0));
            }
        };
        if !answers_late {
            answer(&mut world);
        }
        world.pause(pause_ms);
        if answers_late {
            world.run(20);
            answer(&mut world);
        }
        world.run(50);
        for &slot in &slots {
            let client = &world.clients[slot];
            assert!(client.fin, "{pause_ms} ms: reset: {:?}", client.closed);
        }
    }
}

/// A machine that slept has stopped its clients too: they answer when they go on.
#[test]
fn deadlines_begin_anew_behind_a_pause() {
    let limits = |limits: &mut Limits| {
        limits.ping_interval_ms = 300;
        limits.ping_timeout_ms = TIMEOUT_MS;
        limits.handshake_timeout_ms = TIMEOUT_MS;
    };
    let mut world = World::new(1, SimOptions::default(), limits);
    let open = world.open();
    world.run_until(open, PING);
    let opening = world.connect();
    let head = request("/echo");
    let (half, rest) = head.split_at(head.len() / 2);
    world.send(opening, half);
    world.run(10);
    world.pause(LONG_MS);
    world.run(u64::from(TIMEOUT_MS) / 2);
    world.send(open, PONG);
    world.send(opening, rest);
    world.run(50);
    assert_eq!(world.count("ping_timeouts_total"), 0);
    let received = &world.clients[opening].received;
    assert!(received.starts_with(b"HTTP/1.1 101"), "{received:x?}");
    world.assert_serves(open);
    // Once: clients that send nothing then are cut.
    world.run_until(open, PING);
    world.run_until(opening, PING);
    world.pause(LONG_MS);
    world.run(u64::from(TIMEOUT_MS) + 50);
    assert_eq!(world.count("ping_timeouts_total"), 2);
}

#[test]
fn an_idle_time_begins_anew_behind_a_pause() {
    let limit = |limits: &mut Limits| limits.idle_timeout_ms = 300;
    let mut world = World::new(1, SimOptions::default(), limit);
    let slot = world.open();
    world.pause(LONG_MS);
    world.run(200);
    world.assert_serves(slot);
    world.run_until(slot, b"idle for too long");
}

/// The end of its idle time is not the end of the time for its pong.
#[test]
fn a_client_that_becomes_idle_beside_a_ping_is_told_so() {
    let limits = |limits: &mut Limits| {
        limits.ping_interval_ms = 800;
        limits.ping_timeout_ms = 2_000;
        limits.idle_timeout_ms = 1_000;
    };
    let mut world = World::new(1, SimOptions::default(), limits);
    let slot = world.open();
    // The ping that stands when the idle time ends, whatever its moment in the interval is.
    world.run_until(slot, PING);
    world.run(1_000);
    world.send(slot, PONG);
    world.run_until(slot, b"idle for too long");
    assert_eq!(world.count("ping_timeouts_total"), 0);
}

/// What lies unread may be a message, but not for ever.
#[test]
fn a_peer_that_sends_for_ever_and_no_message_is_idle() {
    let limit = |limits: &mut Limits| limits.idle_timeout_ms = 300;
    let options = SimOptions {
        read_buffer_bytes: 64,
        ..SimOptions::default()
    };
    let mut world = World::new(1, options, limit);
    let slot = world.open();
    for ms in 0..2 * 300 + 200 {
        world.send(slot, &PONG.repeat(50));
        world.run(1);
        if world.count("idle_timeouts_total") > 0 {
            assert!(ms > 200, "closed after {ms} ms");
            return;
        }
    }
    panic!("it is open after more than twice its idle time");
}

/// Its request is whole: what it waits for is the other reactor.
#[test]
fn a_client_is_not_refused_for_a_reactor_that_is_held_up() {
    let limit = |limits: &mut Limits| limits.handshake_timeout_ms = 300;
    let mut world = World::new(2, SimOptions::default(), limit);
    world.stop(1);
    for name in 0..8 {
        let slot = world.connect();
        world.send(slot, &request(&format!("/raw/{name}")));
    }
    world.run(1_000);
    let waits = |client: &&Client| client.received.is_empty();
    let waiting = world.clients.iter().filter(waits).count();
    assert!(waiting > 0, "no channel has its home on the other reactor");
    world.running.fill(true);
    world.run(100);
    for (name, client) in world.clients.iter().enumerate() {
        let received = String::from_utf8_lossy(&client.received);
        let ended = (client.fin, client.closed);
        assert!(
            received.starts_with("HTTP/1.1 101"),
            "{name}: {received:?}, {ended:?}"
        );
    }
}

/// What is put off for unread input is put off once: to send for ever is no answer.
#[test]
fn a_peer_that_sends_for_ever_and_does_not_answer_is_cut() {
    let limits = |limits: &mut Limits| {
        limits.idle_timeout_ms = 300;
        limits.close_timeout_ms = TIMEOUT_MS;
    };
    let options = SimOptions {
        read_buffer_bytes: 64,
        ..SimOptions::default()
    };
    let mut world = World::new(1, options, limits);
    let slot = world.open();
    world.run_until(slot, b"idle for too long");
    for _ in 0..2 * TIMEOUT_MS + 100 {
        if world.clients[slot].closed.is_none() {
            world.send(slot, &PONG.repeat(50));
        }
        world.run(1);
    }
    assert_eq!(world.count("close_timeouts_total"), 1);
    assert_eq!(world.clients[slot].closed, Some(CloseCause::Reset));
}

const PING: &[u8] = &[0x89, 0x00];
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];
const TEXT: &[u8] = &[0x81, 0x81, 0, 0, 0, 0, b'x'];
const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
