//! A flood into one channel or through one pattern, and its effect on others: two reactors on a
//! simulated network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use roost_net::{ConnKey, ConnectOptions, Driver, Event, SendStatus};

use super::core_tests::request;
use crate::{Reactor, Settings, Shared};

const REACTORS: usize = 2;
/// Subscribers of the flooded channel on each reactor.
const SUBSCRIBERS: u32 = 40;
const MESSAGES: u32 = 20_000;
/// In which another channel than the flooded one is joined, or published to.
const STEPS_MAX: usize = 12;

struct World {
    net: SimNet,
    reactors: Vec<Reactor<SimDriver>>,
    addrs: Vec<SocketAddr>,
    /// Of the flooded channel, and of the others: no client waits for another's bytes.
    clients: [SimDriver; 2],
    /// By slot.
    peers: Vec<Peer>,
}

/// Which driver a client has.
fn of(slot: usize) -> usize {
    usize::from(slot >= SUBSCRIBERS as usize * REACTORS)
}

struct Peer {
    /// What it sends first.
    request: Vec<u8>,
    received: Vec<u8>,
    unsent: Vec<u8>,
    may_send: bool,
}

impl World {
    fn new() -> World {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> World {
        let net = SimNet::new(3, SimFaults::none());
        let mut settings = Settings::for_tests();
        settings.fan_out_at_once = 8;
        settings.fan_out_piece = 8;
        change(&mut settings);
        let shared = Shared::new(settings, REACTORS, 3);
        let reactor = |id| {
            let driver = net.driver(SimOptions::default());
            Reactor::new(driver, id as u8, shared.clone())
        };
        let mut reactors: Vec<_> = (0..REACTORS).map(reactor).collect();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = |reactor: &mut Reactor<_>| super::listen_at(reactor, any);
        World {
            addrs: reactors.iter_mut().map(listen).collect(),
            reactors,
            clients: [(); 2].map(|()| net.driver(SimOptions::default())),
            peers: Vec::new(),
            net,
        }
    }

    /// A new connection on a reactor.
    fn connect(&mut self, reactor: usize, target: &str) -> usize {
        self.connect_with(reactor, request(target))
    }

    fn connect_with(&mut self, reactor: usize, request: Vec<u8>) -> usize {
        let addr = self.addrs[reactor];
        let options = ConnectOptions { addr, local: None };
        let slot = self.peers.len();
        let key = ConnKey::new(slot as u32, 0);
        let clients = &mut self.clients[of(slot)];
        clients.connect(key, &options).expect("a free slot");
        self.peers.push(Peer {
            request,
            received: Vec::new(),
            unsent: Vec::new(),
            may_send: false,
        });
        slot
    }

    /// One loop iteration of every reactor.
    fn step(&mut self) {
        self.step_with(REACTORS);
    }

    /// The same of the first reactors; the others stand.
    fn step_with(&mut self, reactors: usize) {
        for reactor in &mut self.reactors[..reactors] {
            if reactor.driver.is_due() {
                reactor.run_once().expect("a simulated wait does not fail");
            }
        }
        let peers = &mut self.peers;
        for clients in &mut self.clients {
            clients.wait(Some(Duration::ZERO)).expect("simulated");
            while let Some(event) = clients.next_event() {
                match event {
                    Event::Connected(key) => {
                        let peer = &mut peers[key.slot() as usize];
                        peer.unsent = std::mem::take(&mut peer.request);
                        peer.may_send = true;
                    }
                    Event::Bytes(key, bytes) => {
                        peers[key.slot() as usize].received.extend_from_slice(bytes);
                    }
                    Event::Sent(key) => peers[key.slot() as usize].may_send = true,
                    Event::Closed(key, cause) => panic!("{key:?} ended: {cause:?}"),
                    _ => {}
                }
            }
        }
        for (slot, peer) in self.peers.iter_mut().enumerate() {
            while peer.may_send && !peer.unsent.is_empty() {
                let rest = peer.unsent.split_off(peer.unsent.len().min(16 << 10));
                let key = ConnKey::new(slot as u32, 0);
                let sent = self.clients[of(slot)].send_copy(key, &peer.unsent);
                peer.may_send = sent == SendStatus::Done;
                peer.unsent = rest;
            }
        }
        self.net.advance(Duration::from_micros(100));
    }

    /// Steps until what a peer has received ends with `what`.
    fn steps_until(&mut self, slot: usize, what: &[u8]) -> usize {
        let mut steps = 0;
        while !self.peers[slot].received.ends_with(what) {
            self.step();
            steps += 1;
            assert!(steps < 100_000, "it never comes");
        }
        self.peers[slot].received.clear();
        steps
    }

    fn count(&self, count: impl Fn(&Reactor<SimDriver>) -> u64) -> u64 {
        self.reactors.iter().map(count).sum()
    }
}

/// Two clients flood, one on each reactor: others come, join and publish meanwhile as always, and
/// `due` deliveries are made in the end. Returns how many publications a reactor held at most.
fn check_flood(world: &mut World, flood: [Vec<u8>; REACTORS], due: u64) -> usize {
    for (peer, flood) in world.peers.iter_mut().zip(flood) {
        peer.unsent = flood;
    }
    let congestions =
        |world: &World| world.count(|r| r.core.counters.channel_backpressure_total.get());
    while congestions(world) < 10 {
        world.step();
    }
    for n in 0..16 {
        let name = format!("/raw/quiet-{n}");
        let joined = world.connect(n % REACTORS, &name);
        let steps = world.steps_until(joined, b"\r\n\r\n");
        assert!(steps <= STEPS_MAX, "{name}: joined after {steps} steps");
        let other = world.connect((n / 2) % REACTORS, &name);
        world.steps_until(other, b"\r\n\r\n");
        let frame = [0x82, 0x81, 0, 0, 0, 0, n as u8];
        world.peers[joined].unsent.extend_from_slice(&frame);
        let steps = world.steps_until(other, &[0x82, 0x01, n as u8]);
        assert!(steps <= STEPS_MAX, "{name}: published after {steps} steps");
    }
    let deliveries = |world: &World| world.count(|r| r.core.counters.deliveries_total.get());
    assert!(
        deliveries(world) < due / 2,
        "the flood was over long before"
    );
    // Nothing of it is lost, and no client waits for ever.
    let mut held_max = 0;
    while deliveries(world) < due + 16 {
        world.step();
        let held = world.reactors.iter();
        let held = held.map(|r| r.core.channels.held_publications());
        held_max = held.max().unwrap_or(0).max(held_max);
    }
    for _ in 0..10 {
        world.step();
    }
    for reactor in &world.reactors {
        let core = &reactor.core;
        assert!(core.channels.is_quiet());
        assert!(core.counters.publishers_paused_total.get() > 0);
    }
    held_max
}

#[test]
fn a_flood_holds_up_its_own_channel_only() {
    let mut world = World::new();
    for n in 0..SUBSCRIBERS as usize * REACTORS {
        world.connect(n % REACTORS, "/raw/flooded");
    }
    let all = u64::from(SUBSCRIBERS) * REACTORS as u64;
    while world.count(|r| r.core.counters.websockets_open.get()) < all {
        world.step();
    }
    world
        .peers
        .iter_mut()
        .for_each(|peer| peer.received.clear());
    let mut flood = Vec::new();
    for number in 0..MESSAGES {
        flood.extend_from_slice(&[0x82, 0x84, 0, 0, 0, 0]);
        flood.extend_from_slice(&number.to_be_bytes());
    }
    let due = u64::from(MESSAGES) * REACTORS as u64 * (all - 1);
    check_flood(&mut world, [(); REACTORS].map(|()| flood.clone()), due);
    let mut numbers = [0; REACTORS];
    for frame in world.peers[SUBSCRIBERS as usize].received.chunks(6) {
        let number = u32::from_be_bytes(frame[2..].try_into().expect("four bytes"));
        let next = numbers.iter_mut().find(|next| **next == number);
        *next.expect("in each publisher's order") += 1;
    }
    assert_eq!(numbers, [MESSAGES; REACTORS]);
}

/// Each publication is to a channel of its own: none that a publisher could know to be congested.
#[test]
fn a_flood_of_new_channels_through_a_pattern_holds_up_its_publisher_only() {
    let mut world = World::new();
    let mut session = wamp_session();
    session.extend(text(r#"[32,1,{"match":"prefix"},"flooded."]"#));
    let all = SUBSCRIBERS as usize * REACTORS;
    for n in 0..all {
        world.connect_with(n % REACTORS, session.clone());
    }
    for slot in 0..all {
        let is_subscribed = |world: &World| {
            let received = &world.peers[slot].received;
            received.windows(6).any(|part| part == b"[33,1,")
        };
        while !is_subscribed(&world) {
            world.step();
        }
        world.peers[slot].received.clear();
    }
    let flood = |publisher: usize| {
        let publish = |n| text(&format!(r#"[16,1,{{}},"flooded.{publisher}.{n}",["x"]]"#));
        (0..MESSAGES).flat_map(publish).collect()
    };
    let due = u64::from(MESSAGES) * (REACTORS * (all - 1)) as u64;
    let held = check_flood(&mut world, std::array::from_fn(flood), due);
    println!("{held} publications held");
    assert!(held < 1_000, "{held} publications held");
}

/// Each reactor is told of a pattern: a client that brings many waits for one that stands.
#[test]
fn subscriptions_to_patterns_wait_for_a_reactor_that_stands() {
    const PATTERNS: u32 = 20_000;
    let mut world = World::with(|settings| {
        let wamp = Arc::make_mut(&mut settings.dialects.wamp);
        wamp.subscriptions_per_connection_max = PATTERNS as usize;
    });
    let mut session = wamp_session();
    for n in 1..=PATTERNS {
        session.extend(text(&format!(r#"[32,{n},{{"match":"prefix"}},"p.{n}"]"#)));
    }
    let client = world.connect_with(0, session);
    for _ in 0..500 {
        world.step_with(1);
    }
    let core = &world.reactors[0].core;
    let waiting = core.channels.links().spilled();
    println!("{waiting} batches wait behind a full ring");
    assert!(waiting <= 2, "{waiting} batches wait behind a full ring");
    assert!(core.counters.publishers_paused_total.get() > 0);
    let last = format!("[33,{PATTERNS},");
    let is_last = |part: &[u8]| part == last.as_bytes();
    for steps in 0.. {
        let received = &world.peers[client].received;
        let tail = &received[received.len().saturating_sub(64)..];
        if tail.windows(last.len()).any(is_last) {
            break;
        }
        assert!(steps < 10_000, "the last is never answered");
        world.step();
    }
}

/// The request for a WAMP session, and its HELLO.
fn wamp_session() -> Vec<u8> {
    let mut session = String::from_utf8(request("/wamp")).expect("a head is text");
    let end = session.len() - 2; // the empty line
    session.insert_str(end, "Sec-WebSocket-Protocol: wamp.2.json\r\n");
    let mut session = session.into_bytes();
    session.extend(text(
        r#"[1,"r",{"roles":{"publisher":{},"subscriber":{}}}]"#,
    ));
    session
}

/// A client's text message of up to 125 bytes.
fn text(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("it is short");
    assert!(len <= 125);
    [&[0x81, 0x80 | len, 0, 0, 0, 0], text.as_bytes()].concat()
}
