//! TLS on a simulated network: records are opened and sealed whatever the cuts, while the other stages
//! and the outbox do their work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions, SimRng};
use roost_net::{CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, Event};
use roost_wire::Opcode;
use roost_wire::deflate::{Deflater, Inflater};
use roost_wire::frame::{append_masked_frame, split_frame};

use roost_tls::testing::{Endpoint, Over, pair, set_records, setups};
use roost_tls::{CLOSE_AFTER, Fault, SharedSetup, Suite};

use super::core_tests::request;
use crate::connections::testing;
use crate::settings::{ChannelPolicy, Deflate, Publish, SlowConsumer, policy_for_tests};
use crate::{Reactor, Settings, Shared};

struct World {
    net: SimNet,
    reactor: Reactor<SimDriver>,
    client: SimDriver,
    /// The client's side of TLS.
    tls: Endpoint,
    /// HTTP in the clear.
    plain: Vec<u8>,
    closed: Option<CloseCause>,
}

const CLIENT: ConnKey = ConnKey::new(0, 0);

impl World {
    fn new(settings: Settings) -> World {
        let mut world = World::before_handshake(settings);
        world.exchange();
        assert!(world.tls.is_established(), "{:?}", world.tls.over);
        world
    }

    fn before_handshake(mut settings: Settings) -> World {
        let (server, trusting) = setups();
        settings.listeners[0].tls = Some(Arc::new(SharedSetup::new(server)));
        let net = SimNet::new(9, SimFaults::none());
        let shared = Shared::new(settings, 1, 9);
        let mut reactor = Reactor::new(net.driver(SimOptions::default()), 0, shared);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let addr = super::listen_at(&mut reactor, any);
        let mut client = net.driver(SimOptions::default());
        let options = ConnectOptions { addr, local: None };
        client.connect(CLIENT, &options).expect("a free slot");
        let mut world = World {
            net,
            reactor,
            client,
            tls: Endpoint::client(&trusting, "localhost"),
            plain: Vec::new(),
            closed: None,
        };
        world.run(20);
        world
    }

    /// Sends what the client's TLS has to send, until that is nothing.
    fn exchange(&mut self) {
        for _ in 0..20 {
            let out = self.tls.take();
            if out.is_empty() {
                return;
            }
            self.client.send_copy(CLIENT, &out);
            self.run(20);
        }
        panic!("they go on for ever");
    }

    /// Lets `ms` pass.
    fn run(&mut self, ms: u64) {
        let until = self.net.now() + ms * 1_000_000;
        while self.net.now() < until {
            while self.reactor.driver.is_due() {
                self.reactor
                    .run_once()
                    .expect("a simulated wait does not fail");
            }
            self.client.wait(Some(Duration::ZERO)).expect("simulated");
            while let Some(event) = self.client.next_event() {
                match event {
                    Event::Bytes(_, bytes) if bytes.starts_with(b"HTTP/") => {
                        self.plain.extend_from_slice(bytes)
                    }
                    Event::Bytes(_, bytes) => self.tls.give(bytes),
                    Event::Closed(_, cause) => self.closed = Some(cause),
                    _ => {}
                }
            }
            self.net.advance(Duration::from_millis(1));
        }
    }

    fn set_reading(&mut self, is_reading: bool) {
        match is_reading {
            true => self.client.resume(CLIENT),
            false => self.client.pause(CLIENT),
        }
    }

    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.tls.send(plaintext);
        self.tls.take()
    }

    /// Sends bytes in pieces of at most `len_max`.
    fn send(&mut self, bytes: &[u8], rng: &mut SimRng, len_max: u64) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = (1 + rng.below(len_max)).min(rest.len() as u64) as usize;
            self.client.send_copy(CLIENT, &rest[..len]);
            self.run(2);
            rest = &rest[len..];
        }
        self.run(20);
    }

    /// What the server has sent since the last call, opened.
    fn take_plaintext(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.tls.received)
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    append_masked_frame(&mut frame, Opcode::Binary, payload, [7, 1, 3, 9]);
    frame
}

/// The payloads of whole frames.
fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while let Some((_, payload, rest)) = split_frame(bytes) {
        payloads.push(payload.to_vec());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "{} bytes are no frame", bytes.len());
    payloads
}

#[test]
fn records_are_opened_and_sealed_whatever_the_cuts() {
    for seed in 0..20 {
        let mut rng = SimRng::new(seed);
        let mut world = World::new(Settings::for_tests());
        let head = world.seal(&request("/echo"));
        world.send(&head, &mut rng, 40);
        world.run(20);
        let answer = world.take_plaintext();
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "seed {seed}");

        // Frames in records that end anywhere in them, records in pieces that end anywhere in them.
        let sent: Vec<Vec<u8>> = (0..8u8)
            .map(|n| vec![n; 1 + rng.below(400) as usize])
            .collect();
        let stream: Vec<u8> = sent.iter().flat_map(|payload| frame(payload)).collect();
        let mut sealed = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let len = (1 + rng.below(150)).min(rest.len() as u64) as usize;
            sealed.extend(world.seal(&rest[..len]));
            rest = &rest[len..];
        }
        world.send(&sealed, &mut rng, 100);
        world.run(20);
        assert_eq!(payloads(&world.take_plaintext()), sent, "seed {seed}");
    }
}

#[test]
fn a_record_and_a_message_wait_together_and_are_counted() {
    let mut world = World::new(Settings::for_tests());
    let head = world.seal(&request("/echo"));
    world.send(&head, &mut SimRng::new(1), 1_000);
    let message = frame(&[5; 600]);
    let first = world.seal(&message[..200]);
    let second = world.seal(&message[200..]);
    let rest = [&first[..], &second[..300]].concat();
    world.send(&rest, &mut SimRng::new(2), 1_000);
    let inputs = world.reactor.core.connections.inputs();
    let bytes = inputs.bytes();
    assert!((490..4_000).contains(&bytes), "{bytes} bytes are kept");
    world.take_plaintext();
    world.send(&second[300..], &mut SimRng::new(3), 1_000);
    assert_eq!(payloads(&world.take_plaintext()), [vec![5; 600]]);
    assert_eq!(world.reactor.core.connections.inputs().bytes(), 0);
}

#[test]
fn a_broken_record_ends_the_connection() {
    let mut world = World::new(Settings::for_tests());
    let mut record = world.seal(b"GET / HTTP/1.1\r\n\r\n");
    *record.last_mut().expect("a record") ^= 1;
    world.client.send_copy(CLIENT, &record);
    world.run(20);
    let over = world.tls.over;
    assert_eq!(
        over,
        Some(Over::Failed(Fault::PeerAlert(20))),
        "bad_record_mac"
    );
    world.client.close(CLIENT, CloseMode::Graceful);
    world.run(20);
    assert!(world.closed.is_some());
    assert_eq!(world.reactor.core.connections.len(), 0);
}

#[test]
fn a_handshake_may_come_in_any_pieces() {
    for len in [1, 2, 5, 6, 100] {
        let mut world = World::before_handshake(Settings::for_tests());
        for _ in 0..10 {
            let out = world.tls.take();
            for piece in out.chunks(len) {
                world.client.send_copy(CLIENT, piece);
                world.run(2);
            }
            world.run(20);
        }
        assert!(world.tls.is_established(), "{len}: {:?}", world.tls.over);
        let head = world.seal(&request("/echo"));
        world.send(&head, &mut SimRng::new(1), 1_000);
        assert!(
            world.take_plaintext().starts_with(b"HTTP/1.1 101 "),
            "{len}"
        );
    }
}

/// RFC 8446 §6.1: close_notify goes before FIN.
#[test]
fn the_end_is_told_before_it_comes() {
    let mut world = World::new(Settings::for_tests());
    let head = world.seal(&request("/echo"));
    world.send(&head, &mut SimRng::new(1), 1_000);
    let mut close = Vec::new();
    append_masked_frame(&mut close, Opcode::Close, &[3, 232], [0; 4]);
    let close = world.seal(&close);
    world.send(&close, &mut SimRng::new(1), 1_000);
    assert!(world.take_plaintext().ends_with(&[0x88, 2, 3, 232]));
    assert_eq!(world.tls.over, Some(Over::Closed));
}

/// TLS 1.2 cannot change its keys: when they have been used as often as may be, the connection is
/// closed, and the client's answer is read, in whatever pieces it comes.
#[test]
fn a_connection_with_worn_out_keys_is_closed_in_good_order() {
    let mut world = World::new(Settings::for_tests());
    let head = world.seal(&request("/echo"));
    world.send(&head, &mut SimRng::new(1), 1_000);
    world.take_plaintext();
    let (client, mut server) = pair(Suite::EcdheEcdsaAes128GcmSha256, 5);
    world.tls = client;
    set_records(&mut server.rest, CLOSE_AFTER, 1);
    set_records(&mut world.tls.rest, 1, CLOSE_AFTER);
    testing::set_keys(&mut world.reactor.core.connections, 0, &mut server.rest);

    let mut close = Vec::new();
    append_masked_frame(&mut close, Opcode::Close, &[3, 233], [0; 4]);
    let mut sent = world.seal(&frame(b"one message more"));
    sent.extend(world.seal(&close));
    world.send(&sent, &mut SimRng::new(2), 40);
    let received = payloads(&world.take_plaintext());
    assert_eq!(received[0][..2], [3, 233], "1001");
    assert_eq!(world.tls.over, Some(Over::Closed));
    let counters = world.reactor.core.counters.clone();
    assert_eq!(counters.tls_faults_total.get(), 0);
}

#[test]
fn plain_http_is_told_that_this_is_tls() {
    let mut world = World::before_handshake(Settings::for_tests());
    world.tls.take();
    world.client.send_copy(CLIENT, b"GET / HTTP/1.1\r\n\r\n");
    world.run(20);
    let answer = String::from_utf8_lossy(&world.plain).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("wss://"), "{answer}");
}

/// What waits may still be dropped, so it is sealed when it leaves and not before: the numbers of the
/// records that arrive have no gap, though a slow consumer's messages are dropped. The same for a
/// compression context before it.
#[test]
fn what_waits_is_sealed_when_it_leaves() {
    let mut settings = Settings::for_tests();
    settings.deflate = Deflate {
        enabled: true,
        compress_min_bytes: 0,
        level: 1,
        takeover_bytes_max: 16 << 20,
    };
    settings.channels.default = ChannelPolicy {
        publish: Publish::Anyone,
        receive_own: true,
        slow_consumer: SlowConsumer::DropOldest,
        outbox_messages_max: 5,
        ..policy_for_tests()
    };
    let mut world = World::new(settings);
    let head = String::from_utf8(request("/raw/c")).expect("ASCII");
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let head = head.replacen("\r\n\r\n", &format!("\r\n{offer}"), 1);
    let head = world.seal(head.as_bytes());
    world.send(&head, &mut SimRng::new(1), 1_000);
    let answer = world.take_plaintext();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("permessage-deflate"), "{answer}");
    assert!(!answer.contains("no_context_takeover"), "{answer}");

    world.set_reading(false);
    let mut rng = SimRng::new(4);
    let mut deflater = Deflater::with_window(1, 15, true);
    let mut sent = Vec::new();
    for _ in 0..40 {
        let payload: Vec<u8> = (0..8_000).map(|_| rng.below(256) as u8).collect();
        let deflated = deflater.deflate_any(&payload).expect("zlib").to_vec();
        let mut bytes = Vec::new();
        append_masked_frame(&mut bytes, Opcode::Binary, &deflated, [7, 1, 3, 9]);
        bytes[0] |= 0x40; // RFC 7692 §6: RSV1
        let sealed = world.seal(&bytes);
        world.client.send_copy(CLIENT, &sealed);
        world.run(5);
        sent.push(payload);
    }
    assert!(!world.reactor.core.connections.outboxes().is_empty());
    world.set_reading(true);
    world.run(200);
    let plaintext = world.take_plaintext();
    assert_eq!(world.tls.kept_bytes(), 0, "records are whole");
    let mut inflater = Inflater::with_takeover(true);
    let received: Vec<Vec<u8>> = payloads(&plaintext)
        .iter()
        .map(|deflated| {
            let inflated = inflater.inflate(deflated, 8_000).expect("zlib");
            inflated.to_vec()
        })
        .collect();
    assert!(received.len() < sent.len(), "none was dropped");
    assert_eq!(received.last(), sent.last(), "the newest came");
    let mut rest = sent.iter();
    let is_in_order = received
        .iter()
        .all(|payload| rest.any(|sent| sent == payload));
    assert!(is_in_order, "each is one that was sent, and in order");
}
