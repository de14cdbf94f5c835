//! What must hold for any bytes, as functions that panic when it does not.
//!
//! The fuzz targets call them with what the fuzzer finds, the property tests with random bytes and
//! with the corpus. Nothing here is meant for a server.

use std::sync::{Arc, OnceLock};

use crate::clock::Clock;
use crate::handshake::client::{ClientOptions, ClientSetup, Trust};
use crate::handshake::server::ServerSetup;
use crate::keys::{Suite, Version};
use crate::nonces;
use crate::record::RECORD_BYTES_MAX;
use crate::rest::Rest;
use crate::seal;
use crate::self_signed::self_signed;
use crate::testing::{Endpoint, Over, pair};

/// Work allowed per byte received, in [`crate::Opened::steps`] and bytes kept.
pub const STEPS_PER_BYTE_MAX: u64 = 32;

/// Records, by a script: a client that knows the keys sends data, messages and rubbish, and the
/// server reads the same however the stream is cut, never anything that was not sealed as data, and
/// with no more work than may be.
pub fn open(data: &[u8]) {
    let [suite, piece, script @ ..] = data else {
        return;
    };
    let suite = Suite::ALL[usize::from(*suite) % Suite::ALL.len()];
    let watch = nonces::watch();
    let (mut client, mut server) = pair(suite, 11);
    let (stream, sealed) = write(&mut client, script);
    for piece in stream.chunks(1 + usize::from(*piece) * 7) {
        server.give(piece);
        check(&server, &sealed);
        if *piece.first().unwrap_or(&0) & 1 == 1 {
            server.move_through_bytes();
        }
    }
    if server.over.is_none() {
        server.flush();
        server.take();
    }
    drop(watch); // the same server once more, with the same keys
    let (_, mut whole) = pair(suite, 11);
    whole.give(&stream);
    check(&whole, &sealed);
    assert_eq!(
        (whole.over, &whole.received),
        (server.over, &server.received),
        "cut elsewhere"
    );
    // A pair that changed its keys in step can still speak.
    if whole.over.is_none() && whole.kept_bytes() == 0 {
        client.send(b"end");
        whole.give(&client.take());
        let is_legal = whole.received.ends_with(b"end");
        assert!(is_legal || matches!(whole.over, Some(Over::Failed(_))));
    }
}

fn check(server: &Endpoint, sealed: &[u8]) {
    assert!(
        sealed.starts_with(&server.received),
        "what was not sealed as data"
    );
    assert!(server.kept_bytes() < RECORD_BYTES_MAX);
    let max = STEPS_PER_BYTE_MAX * server.bytes + 64;
    assert!(
        server.steps <= max,
        "{} steps for {} bytes",
        server.steps,
        server.bytes
    );
}

/// Carries out a script. Returns the stream, and all that was sealed as data in it.
fn write(client: &mut Endpoint, mut script: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut stream, mut sealed) = (Vec::new(), Vec::new());
    while let [kind, len, rest @ ..] = script {
        let (argument, later) = rest.split_at(rest.len().min(usize::from(*len) % 40));
        script = later;
        match kind % 9 {
            0 => {
                client.send(argument);
                sealed.extend_from_slice(argument);
            }
            1 => {
                let long = argument.repeat(1 + usize::from(*len) * 8);
                client.send(&long);
                sealed.extend_from_slice(&long);
            }
            2 => client.rest.request_key_update(),
            3 => stream.extend_from_slice(argument),
            4 => {
                if let Some((outer, inner)) = argument.split_first() {
                    raw(client, *outer, inner, &mut sealed);
                }
            }
            5 => message(client, 22, argument, &mut sealed),
            6 => message(client, 21, argument, &mut sealed),
            7 => message(client, 23, argument, &mut sealed),
            _ => {
                client.send(b"changed");
                let at = usize::from(*len) % client.out.len();
                client.out[at] ^= 1 << (kind / 9 % 8);
            }
        }
        stream.append(&mut client.out);
    }
    (stream, sealed)
}

/// A record with content of a type and, in 1.3, padding behind it.
fn message(client: &mut Endpoint, content_type: u8, content: &[u8], sealed: &mut Vec<u8>) {
    match client.rest.version() {
        Some(Version::Tls13) => {
            let padding = content.first().map_or(0, |byte| usize::from(*byte) % 4);
            let inner = [content, &[content_type], &vec![0; padding]].concat();
            raw(client, 23, &inner, sealed);
        }
        _ => raw(client, content_type, content, sealed),
    }
}

/// A record as no honest client seals one.
fn raw(client: &mut Endpoint, outer: u8, inner: &[u8], sealed: &mut Vec<u8>) {
    let data = match client.rest.version() {
        Some(Version::Tls13) => {
            let end = inner.iter().rposition(|&byte| byte != 0);
            end.filter(|&end| inner[end] == 23).map(|end| &inner[..end])
        }
        _ => (outer == 23).then_some(inner),
    };
    sealed.extend_from_slice(data.unwrap_or_default());
    seal::seal_raw(&mut client.rest, outer, inner, &mut client.out);
}

/// Handshakes with bytes that were changed on their way, cut anywhere, and with bytes that are none:
/// either end fails or is established, without a panic and without keeping more than has come.
pub fn shake(data: &[u8]) {
    let [mode, piece, script @ ..] = data else {
        return;
    };
    let (server_setup, client_setups) = setups();
    let client_setup = &client_setups[usize::from(mode / 4 % 2)];
    let size = 1 + usize::from(*piece);
    let mut server = Endpoint::server(server_setup);
    let mut client = Endpoint::client(client_setup, "localhost");
    match mode % 4 {
        0 => give(&mut server, script, size),
        1 => give(&mut client, script, size),
        2 => converse(&mut client, &mut server, script, size),
        _ => {
            // The ClientHello in records of other lengths.
            let hello = client.take();
            let mut rest = &hello[5..];
            for len in script.iter().chain(std::iter::repeat(&255)) {
                let (part, later) = rest.split_at(rest.len().min(usize::from(*len)));
                give(
                    &mut server,
                    &[&[22, 3, 1, 0, part.len() as u8], part].concat(),
                    size,
                );
                rest = later;
                if rest.is_empty() || server.over.is_some() {
                    break;
                }
            }
            converse(&mut client, &mut server, &[], size);
        }
    }
}

fn give(end: &mut Endpoint, bytes: &[u8], size: usize) {
    for piece in bytes.chunks(size) {
        end.give(piece);
        assert!(end.kept_bytes() as u64 <= end.bytes);
    }
    assert!(end.steps <= STEPS_PER_BYTE_MAX * end.bytes + 64);
}

/// Both ends speak, while the script changes bytes: of three, where (two) and how.
fn converse(client: &mut Endpoint, server: &mut Endpoint, script: &[u8], size: usize) {
    let mut changes = script.chunks_exact(3);
    let mut change = |bytes: &mut [u8]| {
        if let (false, Some(&[high, low, bits])) = (bytes.is_empty(), changes.next()) {
            let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
            bytes[at] ^= bits;
        }
    };
    for _ in 0..4 {
        let mut there = client.take();
        change(&mut there);
        give(server, &there, size);
        let mut back = server.take();
        change(&mut back);
        give(client, &back, size);
    }
    if client.is_established() && server.is_established() && script.is_empty() {
        client.send(b"there");
        give(server, &client.take(), size);
        assert_eq!((&server.received[..], server.over), (&b"there"[..], None));
    }
    for end in [client, server] {
        assert_eq!(end.rest.is_vacant(), !end.is_established());
        assert!(end.session.is_some() == end.is_established());
    }
}

fn setups() -> &'static (ServerSetup, [ClientSetup; 2]) {
    static SETUPS: OnceLock<(ServerSetup, [ClientSetup; 2])> = OnceLock::new();
    SETUPS.get_or_init(|| {
        let clock = Arc::new(Clock::new(1_772_323_200));
        let made = self_signed(clock.now()).expect("a date of our time");
        let server = ServerSetup::for_development(&made, &clock).expect("just made");
        let clients = [Version::Tls13, Version::Tls12].map(|max_version| {
            let options = ClientOptions {
                trust: Trust::Any,
                certificate: None,
                min_version: Version::Tls12,
                max_version,
            };
            ClientSetup::load(&options, &clock)
                .expect("nothing to read")
                .0
        });
        (server, clients)
    })
}

/// Bytes as a connection that was written down: what is read is written the same again.
pub fn import(data: &[u8]) {
    if let Ok(rest) = Rest::from_bytes(data) {
        assert_eq!(rest.into_bytes()[..], *data);
    }
}
