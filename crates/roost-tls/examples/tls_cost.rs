//! What records and handshakes cost, beside the bare library in the same run:
//!
//! ```sh
//! cargo run --release -p roost-tls --example tls_cost
//! ```
//!
//! Times are medians of rounds that take turns; compare the ratios. With `handshakes` behind it only
//! those are measured.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use roost_tls::testing::{Endpoint, pair};
use roost_tls::{
    ClientOptions, ClientSetup, Clock, Handshake, Rest, ServerSetup, Step, Suite, Trust, Version,
    open, seal, self_signed,
};

const ROUNDS: usize = 15;

fn main() {
    if std::env::args().nth(1).as_deref() != Some("handshakes") {
        for len in [125, 1024, 16 << 10] {
            records(len);
        }
    }
    handshakes();
}

/// The median of one round of each, by turns.
fn medians<const N: usize>(mut rounds: [&mut dyn FnMut() -> Duration; N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (round, times) in rounds.iter_mut().zip(&mut times) {
            times.push(round());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    })
}

/// One record of `len` bytes a burst, sealed and opened, beside the bare AEAD with a key made for
/// each and with one that is ready. AES-256-GCM, which rustls' and OpenSSL's clients ask for first.
fn records(len: usize) {
    let count = (4 << 20) / len as u32;
    let data = vec![7_u8; len];
    let key = || LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[5; 32]).expect("32 bytes"));
    let ready = key();
    let nonce = |number: u32| {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    };
    let bare = |key: &LessSafeKey, number: u32, out: &mut Vec<u8>| {
        out.clear();
        out.extend_from_slice(&data);
        let tag = key.seal_in_place_separate_tag(nonce(number), Aad::from([0; 5]), out);
        out.extend_from_slice(tag.expect("a short record").as_ref());
    };
    let mut out = Vec::with_capacity(len + 64);
    let mut bare_ready = || {
        let start = Instant::now();
        (0..count).for_each(|number| bare(&ready, number, black_box(&mut out)));
        start.elapsed() / count
    };
    let mut out = Vec::with_capacity(len + 64);
    let mut bare_made = || {
        let start = Instant::now();
        (0..count).for_each(|number| bare(&key(), number, black_box(&mut out)));
        start.elapsed() / count
    };
    let mut out = Vec::with_capacity(len + 64);
    let (mut client, _) = pair(Suite::Aes256GcmSha384, 1);
    let mut sealed = || {
        let start = Instant::now();
        for _ in 0..count {
            out.clear();
            seal(&mut client.rest, &data, black_box(&mut out));
        }
        start.elapsed() / count
    };
    let mut opened = || {
        let (mut client, mut server) = pair(Suite::Aes256GcmSha384, 1);
        let mut leases: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                client.send(&data);
                client.take()
            })
            .collect();
        let start = Instant::now();
        for lease in &mut leases {
            let opened = open(&mut server.rest, black_box(lease));
            assert_eq!(opened.plaintext.len(), len);
        }
        start.elapsed() / count
    };
    let [ready, made, sealed, opened] =
        medians([&mut bare_ready, &mut bare_made, &mut sealed, &mut opened]);
    println!(
        "{len:>6} B: bare AEAD {ready:?}, with its key made {made:?}; sealed {sealed:?}, opened \
         {opened:?} ({:.2} and {:.2} of bare with key made)",
        ratio(sealed, made),
        ratio(opened, made),
    );
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// Full handshakes, the server's side, beside rustls' alone.
fn handshakes() {
    let clock = Arc::new(Clock::new(1_772_323_200));
    let made = self_signed(clock.now()).expect("a date of our time");
    let setup = ServerSetup::for_development(&made, &clock).expect("just made");
    let options = ClientOptions {
        trust: Trust::Any,
        certificate: None,
        min_version: Version::Tls13,
        max_version: Version::Tls13,
    };
    let client_setup = ClientSetup::load(&options, &clock)
        .expect("nothing to read")
        .0;
    const HANDSHAKES: u32 = 100;
    let mut ours = || {
        let mut taken = Duration::ZERO;
        for _ in 0..HANDSHAKES {
            let mut client = Endpoint::client(&client_setup, "localhost");
            let mut hello = client.take();
            let mut rest = Rest::VACANT;
            let mut out = Vec::new();
            let start = Instant::now();
            let mut server = Handshake::server(&setup).expect("a setup that was checked");
            let step = server.feed(&mut hello, &mut out, &mut rest);
            taken += start.elapsed();
            assert!(matches!(step, Step::More));
            client.give(&out);
            let mut second = client.take();
            out.clear();
            let mut records = split(&mut second);
            let start = Instant::now();
            for record in &mut records {
                server.feed(record, &mut out, &mut rest);
            }
            taken += start.elapsed();
            assert!(!rest.is_vacant());
        }
        taken / HANDSHAKES
    };
    let mut theirs = || {
        let mut taken = Duration::ZERO;
        for _ in 0..HANDSHAKES {
            let mut client = Endpoint::client(&client_setup, "localhost");
            let hello = client.take();
            let start = Instant::now();
            let mut server = rustls::ServerConnection::new(setup.rustls()).expect("a setup");
            let mut out = step_rustls(&mut server, &hello);
            taken += start.elapsed();
            client.give(&out);
            let second = client.take();
            let start = Instant::now();
            out = step_rustls(&mut server, &second);
            taken += start.elapsed();
            assert!(!server.is_handshaking() && !out.is_empty());
        }
        taken / HANDSHAKES
    };
    let [ours, theirs] = medians([&mut ours, &mut theirs]);
    println!(
        "handshake, server's side: {ours:?}, rustls alone {theirs:?} ({:.2})",
        ratio(ours, theirs)
    );
}

fn step_rustls(server: &mut rustls::ServerConnection, mut bytes: &[u8]) -> Vec<u8> {
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).expect("a slice can be read");
        server.process_new_packets().expect("a good client");
    }
    let mut out = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut out).expect("a Vec takes everything");
    }
    out
}

/// The records of a stream.
fn split(mut stream: &mut [u8]) -> Vec<&mut [u8]> {
    let mut records = Vec::new();
    while let roost_tls::record::Extent::Whole(len) = roost_tls::record::extent(stream) {
        let (record, rest) = stream.split_at_mut(len);
        records.push(record);
        stream = rest;
        if stream.is_empty() {
            break;
        }
    }
    records
}
