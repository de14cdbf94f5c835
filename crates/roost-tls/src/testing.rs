//! One end of a connection, fed with pieces of a stream, as a reactor would feed it. For tests, fuzz
//! targets and measurements.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::certs::CertificateFiles;
use crate::clock::Clock;
use crate::fault::{Alert, Fault};
use crate::handshake::client::{ClientOptions, ClientSetup, Trust};
use crate::handshake::server::{ClientAuth, ServerOptions, ServerSetup};
use crate::handshake::{Handshake, Session, Step};
use crate::keys::{Side, Suite, Version};
use crate::open::{End, open};
use crate::record::{Extent, RECORD_BYTES_MAX, gather, plain_alert};
use crate::rest::{Material, Rest};
use crate::seal;
use crate::self_signed::of_fixed_length;

/// One end of a connection.
pub struct Endpoint {
    /// The connection, once the handshake is over.
    pub rest: Box<Rest>,
    handshake: Option<Handshake>,
    kept: Vec<u8>,
    /// What goes to the peer.
    pub out: Vec<u8>,
    /// The data that has come.
    pub received: Vec<u8>,
    /// What the handshake found out.
    pub session: Option<Session>,
    /// Why it is over. Nothing more is read.
    pub over: Option<Over>,
    /// Steps of work on what has come, and bytes that have.
    pub steps: u64,
    /// See `steps`.
    pub bytes: u64,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The peer's close_notify.
    Closed,
    /// A fault of the peer.
    Failed(Fault),
}

impl Endpoint {
    fn new(handshake: Option<Handshake>, rest: Rest, out: Vec<u8>) -> Self {
        Self {
            rest: Box::new(rest),
            handshake,
            kept: Vec::new(),
            out,
            received: Vec::new(),
            session: None,
            over: None,
            steps: 0,
            bytes: 0,
        }
    }

    /// A server before its handshake.
    pub fn server(setup: &ServerSetup) -> Self {
        let handshake = Handshake::server(setup).expect("a setup that was checked");
        Self::new(Some(handshake), Rest::VACANT, Vec::new())
    }

    /// A client before its handshake; its ClientHello stands in `out`.
    pub fn client(setup: &ClientSetup, name: &str) -> Self {
        let mut out = Vec::new();
        let handshake = Handshake::client(setup, name, &mut out).expect("a name");
        Self::new(Some(handshake), Rest::VACANT, out)
    }

    /// An end that is established.
    pub fn established(rest: Rest) -> Self {
        Self::new(None, rest, Vec::new())
    }

    /// Whether the handshake is over, and well.
    pub fn is_established(&self) -> bool {
        self.handshake.is_none() && !self.rest.is_vacant()
    }

    /// Bytes that are kept of the peer's.
    pub fn kept_bytes(&self) -> usize {
        let handshake = self.handshake.as_ref().map_or(0, Handshake::kept_bytes);
        self.kept.len() + handshake
    }

    /// A piece of the peer's stream.
    pub fn give(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let mut piece = piece.to_vec();
        let mut lease = &mut piece[..];
        while !lease.is_empty() && self.over.is_none() {
            let taken = if self.handshake.is_some() {
                self.feed_handshake(lease)
            } else if self.kept.is_empty() {
                self.open(lease)
            } else {
                self.open_kept(lease)
            };
            lease = &mut lease[taken..];
        }
        assert!(self.kept_bytes() <= crate::handshake::BYTES_MAX + RECORD_BYTES_MAX);
    }

    fn feed_handshake(&mut self, lease: &[u8]) -> usize {
        let (taken, extent) = gather(&mut self.kept, lease);
        self.steps += taken as u64;
        match extent {
            Extent::Missing(_) => return taken,
            Extent::TooLong => {
                self.out.extend(plain_alert(Alert::RecordOverflow));
                self.over = Some(Over::Failed(Fault::RecordOverflow));
                return taken;
            }
            Extent::Whole(_) => {}
        }
        let mut record = std::mem::take(&mut self.kept);
        let handshake = self.handshake.as_mut().expect("checked by give");
        match handshake.feed(&mut record, &mut self.out, &mut self.rest) {
            Step::More => {}
            Step::Done(session) => {
                self.session = Some(*session);
                self.handshake = None;
            }
            Step::Failed(fault) => self.over = Some(Over::Failed(Fault::Handshake(fault))),
        }
        taken
    }

    fn open_kept(&mut self, lease: &[u8]) -> usize {
        let (taken, extent) = gather(&mut self.kept, lease);
        self.steps += taken as u64;
        if let Extent::Missing(_) = extent {
            return taken;
        }
        let mut kept = std::mem::take(&mut self.kept);
        let used = self.open(&mut kept);
        assert_eq!(used, kept.len(), "a record is opened whole");
        taken
    }

    /// Opens what is whole, and keeps what is not. Returns how much that is.
    fn open(&mut self, lease: &mut [u8]) -> usize {
        let opened = open(&mut self.rest, lease);
        self.steps += opened.steps;
        self.received.extend_from_slice(&lease[opened.plaintext]);
        match opened.end {
            End::Incomplete(missing) => {
                assert!(missing > 0);
                self.kept.extend_from_slice(&lease[opened.consumed..]);
                self.steps += self.kept.len() as u64;
            }
            End::Closed => self.over = Some(Over::Closed),
            End::Failed(fault) => {
                self.over = Some(Over::Failed(fault));
                if let Some(alert) = fault.alert() {
                    seal::alert(&mut self.rest, alert, &mut self.out);
                }
            }
        }
        lease.len()
    }

    /// Sends data.
    pub fn send(&mut self, data: &[u8]) {
        assert!(seal::seal(&mut self.rest, data, &mut self.out));
    }

    /// Sends what is owed.
    pub fn flush(&mut self) {
        if self.is_established() && self.rest.owes_output() {
            self.send(&[]);
        }
    }

    /// Writes the connection down and reads it back.
    pub fn move_through_bytes(&mut self) {
        let mut moved = Rest::VACANT;
        self.rest.move_to(&mut moved);
        let bytes = moved.into_bytes();
        let mut read = Rest::from_bytes(&bytes[..]).expect("what was just written");
        read.move_to(&mut self.rest);
    }

    /// What goes to the peer, taken.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// Hexadecimal digits as bytes; blanks between them do not count.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let bytes = digits.chunks_exact(2);
    bytes.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a server with a certificate for localhost, and a client that trusts any, do handshakes with. The
/// key is Ed25519: all messages have the same length each time.
///
/// # Panics
/// If the temporary directory cannot be written to.
pub fn setups() -> (ServerSetup, ClientSetup) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roost-tls-setup-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir(&dir).expect("a directory of our own");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock that is right").as_secs();
    let made = of_fixed_length(now).expect("a date of our time");
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    fs::write(&certificate, made.certificate).expect("a directory of our own");
    fs::write(&key, made.key).expect("a directory of our own");
    let clock = Arc::new(Clock::new(now));
    let server = ServerOptions {
        certificates: vec![CertificateFiles {
            certificate,
            key,
            ocsp: None,
        }],
        min_version: Version::Tls12,
        client_auth: ClientAuth::Off,
        client_name: None,
        tickets: None,
    };
    let server = ServerSetup::load(&server, &clock).map(|(setup, _)| setup);
    fs::remove_dir_all(&dir).expect("a directory of our own");
    let client = ClientOptions {
        trust: Trust::Any,
        certificate: None,
        min_version: Version::Tls12,
        max_version: Version::Tls13,
    };
    let client = ClientSetup::load(&client, &clock).map(|(setup, _)| setup);
    (
        server.expect("files just made"),
        client.expect("no files are needed"),
    )
}

/// Two ends of one connection that had no handshake.
pub fn pair(suite: Suite, seed: u8) -> (Endpoint, Endpoint) {
    let [client, server] = [seed, !seed].map(|seed| [seed; 48]);
    let end = |side| {
        let mut rest = Rest::VACANT;
        match suite.version() {
            Version::Tls13 => {
                let len = suite.secret_bytes();
                let client = Material::Secret {
                    secret: &client[..len],
                    seq: 0,
                };
                let server = Material::Secret {
                    secret: &server[..len],
                    seq: 0,
                };
                rest.establish(side, suite, &client, &server);
            }
            Version::Tls12 => {
                let len = suite.key_bytes();
                let iv = |secret: &[u8; 48]| {
                    let mut iv = [0; 12];
                    iv.copy_from_slice(&secret[36..]);
                    iv
                };
                let client_material = Material::Key {
                    key: &client[..len],
                    iv: &iv(&client),
                    seq: 1,
                };
                let server_material = Material::Key {
                    key: &server[..len],
                    iv: &iv(&server),
                    seq: 1,
                };
                rest.establish(side, suite, &client_material, &server_material);
            }
        }
        Endpoint::established(rest)
    };
    (end(Side::Client), end(Side::Server))
}

/// Sets how many records have been sealed and opened.
pub fn set_records(rest: &mut Rest, sealed: u64, opened: u64) {
    rest.tx().0.set_seq(sealed);
    rest.rx().0.set_seq(opened);
}
