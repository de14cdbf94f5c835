//! Peers that want us to pay more than they do. The bounds themselves are asserted by
//! `fuzz::transcript` after every piece.

use std::iter::repeat;
use std::time::Instant;

use roost_wire::fuzz::OwnedMessage::{Binary, Ping, Text};
use roost_wire::fuzz::transcript;
use roost_wire::handshake::HeadScanner;
use roost_wire::{Inbound, Input, PINNED_BYTES_BASE, Role};

use crate::support::{MASK, WIDE, frame};

/// Bandit CVE-2026-65623, ws CVE-2026-48779: a message in a million fragments of one byte.
#[test]
fn a_million_one_byte_fragments() {
    let count = 1_000_000;
    let mut stream = frame(0x01, b"a");
    for _ in 2..count {
        stream.extend(frame(0x00, b"a"));
    }
    stream.extend(frame(0x80, b"a"));
    let transcript = transcript(&stream, repeat(65536), Role::Server, &WIDE);
    assert_eq!(transcript.error, None);
    assert_eq!(transcript.messages, [Text("a".repeat(count))]);
}

/// The UTF-8 check goes on where it stopped, also when every fragment ends inside a character.
#[test]
fn fragments_that_all_end_inside_a_character() {
    let count = 20_000;
    let mut stream = frame(0x01, b"\xc3");
    for _ in 1..count {
        stream.extend(frame(0x00, b"\xa9\xc3"));
    }
    stream.extend(frame(0x80, b"\xa9"));
    let transcript = transcript(&stream, repeat(4096), Role::Server, &WIDE);
    assert_eq!(transcript.error, None);
    assert_eq!(transcript.messages, [Text("é".repeat(count))]);
}

/// ws#2331: never-finished fragments pin no more than twice what came.
#[test]
fn unfinished_fragments_pin_little() {
    let mut inbound = Inbound::new(Role::Server);
    let mut received = 0;
    for first in std::iter::once(0x02).chain(repeat(0x00)).take(100_000) {
        let mut lease = frame(first, b"x");
        received += lease.len();
        let next = inbound.next(&mut Input::new(&mut lease), &WIDE);
        assert_eq!(next, Ok(None));
    }
    assert!(inbound.pinned_bytes() <= PINNED_BYTES_BASE + 2 * 100_000);
    assert!(inbound.pinned_bytes() < received / 2);
}

/// rust-websocket CVE-2022-35922, eventlet CVE-2021-21419: a declared length reserves nothing.
#[test]
fn a_declared_length_reserves_nothing() {
    let mut lease = vec![0x82, 0xff];
    lease.extend((WIDE.frame_bytes_max as u64).to_be_bytes());
    lease.extend(MASK);
    lease.push(1);
    let mut inbound = Inbound::new(Role::Server);
    assert_eq!(inbound.next(&mut Input::new(&mut lease), &WIDE), Ok(None));
    assert!(!inbound.is_quiet());
    assert!(inbound.pinned_bytes() <= PINNED_BYTES_BASE + 2);
}

#[test]
fn empty_fragments_for_ever_cost_a_constant() {
    let mut stream = frame(0x02, b"");
    for _ in 0..100_000 {
        stream.extend(frame(0x00, b""));
    }
    let transcript = transcript(&stream, repeat(4096), Role::Server, &WIDE);
    assert_eq!((transcript.error, transcript.messages), (None, vec![]));
}

#[test]
fn a_ping_flood_inside_a_message() {
    let mut stream = frame(0x02, b"begin");
    for _ in 0..10_000 {
        stream.extend(frame(0x89, b"0123456789"));
    }
    stream.extend(frame(0x80, b"end"));
    let transcript = transcript(&stream, repeat(7), Role::Server, &WIDE);
    assert_eq!(transcript.messages.len(), 10_001);
    assert_eq!(transcript.messages[0], Ping(b"0123456789".to_vec()));
    assert_eq!(transcript.messages[10_000], Binary(b"beginend".to_vec()));
}

/// After each message there is nothing to store, however it came.
#[test]
fn quiet_after_every_whole_message() {
    let streams = [
        frame(0x81, b"text"),
        [frame(0x01, b"te"), frame(0x89, b"p"), frame(0x80, b"xt")].concat(),
        frame(0x8a, b""),
    ];
    for stream in streams {
        for cut in 0..stream.len() {
            let mut inbound = Inbound::new(Role::Server);
            for (piece, whole) in [(&stream[..cut], false), (&stream[cut..], true)] {
                let mut lease = piece.to_vec();
                let mut input = Input::new(&mut lease);
                while inbound.next(&mut input, &WIDE).unwrap().is_some() {}
                assert_eq!(inbound.is_quiet(), whole || cut == 0, "cut at {cut}");
            }
            assert_eq!(inbound.pinned_bytes(), size_of::<Inbound>());
        }
    }
}

/// tungstenite CVE-2023-43669: a head one byte at a time, scanned from the start each time.
#[test]
#[expect(clippy::disallowed_methods, reason = "it compares times")]
fn a_long_head_one_byte_at_a_time_is_linear() {
    let scan_all = |len: usize| {
        let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
        head.resize(len, b'a');
        let start = Instant::now();
        let mut scanner = HeadScanner::default();
        for end in 0..=head.len() {
            assert_eq!(scanner.scan(&head[..end]), None);
        }
        start.elapsed()
    };
    // Quadratic, the long one would take 1,024 times the short one's time; linear, 32 times. A
    // busy machine may spoil a measurement, not twenty.
    let linear = |_| scan_all(512 << 10) < scan_all(16 << 10) * 256;
    assert!((0..20).any(linear));
}
