//! Hostile peers behind TLS: what aims at handshakes, and at the records behind them.

use std::net::SocketAddr;

use roost_net::sim::SimRng;
use roost_tls::record::HEADER_BYTES;
use roost_tls::seal::seal_raw;
use roost_tls::testing::Endpoint;
use roost_wire::Opcode;

use super::hostile_bytes::{OPEN, bytewise, frame};
use super::listeners;

/// What a hostile peer tries over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsAttack {
    /// A ClientHello, byte by byte, and the handshake to its end.
    SlowHello,
    /// A ClientHello in records of one byte each.
    HelloInTinyRecords,
    /// A handshake message that declares 16 MB, in records that never complete it.
    EndlessHello,
    /// A ClientHello, and nothing behind the server's answer.
    NoFinished,
    /// HTTP in the clear, byte by byte.
    PlainHttp,
    /// Bytes of chance behind the header of a handshake record.
    NoiseForHello,
    /// Messages whose every byte has a record of its own.
    TinyRecords,
    /// Records of one byte of data and much padding.
    Padding,
    /// Empty records without end.
    EmptyRecords,
    /// Requests for new keys without end.
    KeyUpdates,
    /// Requests for new keys with a ping after each, so that none counts as one too many, and the
    /// reader stopped.
    KeyUpdatesUnread,
    /// The header of a record of 16 KiB, and its bytes one by one.
    SlowRecord,
    /// Messages to be echoed, with the reader stopped.
    Unread,
    /// A record with one bit changed.
    Broken,
    /// Bytes of chance behind a good handshake.
    Noise,
}

const ATTACKS: [TlsAttack; 15] = [
    TlsAttack::SlowHello,
    TlsAttack::HelloInTinyRecords,
    TlsAttack::EndlessHello,
    TlsAttack::NoFinished,
    TlsAttack::PlainHttp,
    TlsAttack::NoiseForHello,
    TlsAttack::TinyRecords,
    TlsAttack::Padding,
    TlsAttack::EmptyRecords,
    TlsAttack::KeyUpdates,
    TlsAttack::KeyUpdatesUnread,
    TlsAttack::SlowRecord,
    TlsAttack::Unread,
    TlsAttack::Broken,
    TlsAttack::Noise,
];

/// What one of them sends, a piece at a time.
pub(super) struct TlsScript {
    pub(super) attack: TlsAttack,
    client: Endpoint,
    /// What is sent as it stands, in reverse, before the handshake goes on.
    before: Vec<Vec<u8>>,
    /// What is sent over the connection, in reverse.
    after: Vec<Step>,
}

/// What is done over an established connection.
enum Step {
    /// Data, in a record of its own.
    Data(Vec<u8>),
    /// A record with this inside, content type and padding included. RFC 8446 §5.2.
    Record(Vec<u8>),
    /// Bytes that are not encrypted.
    Clear(Vec<u8>),
    /// A KeyUpdate that asks for one in return.
    KeyUpdate,
    /// Data in a record with one bit changed.
    Broken(Vec<u8>),
}

impl TlsScript {
    pub(super) fn new(seed: u64, address: SocketAddr, rng: &mut SimRng) -> TlsScript {
        let attack = ATTACKS[rng.below(ATTACKS.len() as u64) as usize];
        let mut client = listeners::tls_client(seed, address);
        let hello = client.take();
        let mut before = attack.before(hello, rng);
        before.reverse();
        let mut after = attack.after(rng);
        after.push(Step::Data(OPEN.as_bytes().to_vec()));
        after.rotate_right(1);
        after.reverse();
        TlsScript {
            attack,
            client,
            before,
            after,
        }
    }

    /// What has come from the server.
    pub(super) fn give(&mut self, bytes: &[u8]) {
        if self.attack != TlsAttack::NoFinished {
            self.client.give(bytes);
            self.client.received.clear();
        }
    }

    /// Whether it reads nothing once its handshake is over.
    pub(super) fn stops_reading(&self) -> bool {
        let unread = [TlsAttack::KeyUpdatesUnread, TlsAttack::Unread];
        unread.contains(&self.attack) && self.client.is_established()
    }

    /// The next piece, empty while the server has to answer first; `None` at the end.
    pub(super) fn next_piece(&mut self) -> Option<Vec<u8>> {
        if let Some(piece) = self.before.pop() {
            return Some(piece);
        }
        if self.client.is_established() && self.client.over.is_none() {
            let step = self.after.pop()?;
            self.perform(step);
        }
        match self.client.over {
            Some(_) if self.client.out.is_empty() => None,
            _ => Some(self.client.take()),
        }
    }

    fn perform(&mut self, step: Step) {
        let client = &mut self.client;
        match step {
            Step::Data(data) => client.send(&data),
            Step::Record(inner) => seal_raw(&mut client.rest, DATA, &inner, &mut client.out),
            Step::Clear(bytes) => client.out.extend_from_slice(&bytes),
            Step::KeyUpdate => {
                client.rest.request_key_update();
                client.flush();
            }
            Step::Broken(data) => {
                client.send(&data);
                let last = client.out.last_mut().expect("a record was sealed");
                *last ^= 1;
            }
        }
    }
}

impl TlsAttack {
    /// What becomes of the ClientHello, behind a PROXY header if there must be one.
    fn before(self, hello: Vec<u8>, rng: &mut SimRng) -> Vec<Vec<u8>> {
        let record = hello.iter().position(|&byte| byte == HANDSHAKE);
        let record = record.expect("a PROXY header has no control character but its end");
        let (header, record) = hello.split_at(record);
        let mut pieces = vec![header.to_vec()];
        match self {
            TlsAttack::SlowHello => pieces.extend(bytewise(record)),
            TlsAttack::HelloInTinyRecords => {
                for &byte in &record[HEADER_BYTES..] {
                    pieces.push(vec![HANDSHAKE, 3, 1, 0, 1, byte]);
                }
            }
            TlsAttack::EndlessHello => {
                let mut message = vec![CLIENT_HELLO, 0xFF, 0xFF, 0xFF];
                message.resize(rng.between(100, 20_000) as usize, 3);
                for part in message.chunks(rng.between(1, 100) as usize) {
                    let mut piece = vec![HANDSHAKE, 3, 1, 0, part.len() as u8];
                    piece.extend_from_slice(part);
                    pieces.push(piece);
                }
            }
            TlsAttack::PlainHttp => pieces.extend(bytewise(OPEN.as_bytes())),
            TlsAttack::NoiseForHello => {
                pieces.push(vec![HANDSHAKE, 3, 1, 0x10, 0]);
                pieces.extend(noise(rng, 20));
            }
            _ => pieces.push(record.to_vec()),
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// What is done behind the handshake and a request for `/echo`.
    fn after(self, rng: &mut SimRng) -> Vec<Step> {
        let count = rng.between(100, STEPS_MAX) as usize;
        let mut stream = Vec::new();
        match self {
            TlsAttack::TinyRecords => {
                for n in 0..count / 20 {
                    frame(&mut stream, Opcode::Binary, &vec![n as u8; n % 20]);
                }
                let bytes = stream.iter().map(|&byte| Step::Data(vec![byte]));
                bytes.collect()
            }
            TlsAttack::Padding => {
                frame(&mut stream, Opcode::Ping, b"still there?");
                let records = stream.iter().map(|&byte| {
                    let mut inner = vec![byte, DATA];
                    inner.resize(rng.between(2, 16_000) as usize, 0);
                    Step::Record(inner)
                });
                records.collect()
            }
            TlsAttack::EmptyRecords => (0..count).map(|_| Step::Record(vec![DATA])).collect(),
            TlsAttack::KeyUpdates => (0..count).map(|_| Step::KeyUpdate).collect(),
            TlsAttack::KeyUpdatesUnread => {
                frame(&mut stream, Opcode::Pong, b"");
                let pairs = (0..count).flat_map(|_| [Step::KeyUpdate, Step::Data(stream.clone())]);
                pairs.collect()
            }
            TlsAttack::SlowRecord => {
                let mut steps = vec![Step::Clear(vec![DATA, 3, 3, 0x40, 0])];
                steps.extend(noise(rng, count).into_iter().map(Step::Clear));
                steps
            }
            TlsAttack::Unread => {
                let mut steps = Vec::new();
                for n in 0..20 + count / 5 {
                    frame(
                        &mut stream,
                        Opcode::Binary,
                        &vec![n as u8; if n < 20 { 3_500 } else { n % 3 }],
                    );
                    steps.push(Step::Data(std::mem::take(&mut stream)));
                }
                steps
            }
            TlsAttack::Broken => {
                frame(&mut stream, Opcode::Text, b"hello");
                vec![Step::Broken(stream)]
            }
            TlsAttack::Noise => noise(rng, count / 10)
                .into_iter()
                .map(Step::Clear)
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Pieces of bytes of chance.
fn noise(rng: &mut SimRng, pieces: usize) -> Vec<Vec<u8>> {
    let piece = |_| {
        let bytes = (0..rng.between(1, 40)).map(|_| rng.below(256) as u8);
        bytes.collect()
    };
    (0..pieces).map(piece).collect()
}

/// RFC 8446 §5.1, content types; §4, a message's type.
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const CLIENT_HELLO: u8 = 1;
/// Steps of one peer, about.
const STEPS_MAX: u64 = 400;
