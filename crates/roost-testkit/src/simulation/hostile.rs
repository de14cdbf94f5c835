//! Peers that aim at the server's memory and time: each sends little at a time and wants much to be
//! kept or done for it, in the clear or behind TLS (`hostile_tls.rs`). They check nothing; `costs.rs`
//! checks what they cost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_wire::Opcode;

use super::hostile_bytes::{OPEN, OPEN_LINE, WAMP_OPEN, bytewise, frame};
use super::hostile_tls::{TlsAttack, TlsScript};
use super::listeners;
use super::plan::Plan;

/// All hostile peers of a simulation, on one simulated driver.
pub(super) struct Hostiles {
    driver: SimDriver,
    /// Of the listener in the clear, and of the one with TLS or the first again.
    addresses: [SocketAddr; 2],
    peers: Vec<Hostile>,
    /// When which peer sends next.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
}

struct Hostile {
    script: Script,
    gap_ns: u64,
    holds_socket: bool,
    has_dialed: bool,
    connected: bool,
    in_flight: bool,
    /// Bytes handed to the network.
    sent_bytes: u64,
}

enum Script {
    Plain {
        attack: Attack,
        /// What it sends, one piece at a time, in reverse.
        pieces: Vec<Vec<u8>>,
    },
    Tls(Box<TlsScript>),
}

/// What a hostile peer tries, and where.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt {
    #[expect(dead_code, reason = "shown by Debug")]
    Plain(Attack),
    #[expect(dead_code, reason = "shown by Debug")]
    Tls(TlsAttack),
}

/// What a hostile peer tries in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// A long head, byte by byte, that ends.
    SlowHead,
    /// A head that never ends.
    EndlessHead,
    /// The head of draft 76, then its eight bytes one by one.
    SlowChallenge,
    /// One message in fragments of one byte, not on characters' bounds.
    TinyFragments,
    /// Continuation frames without a byte, and pings between them.
    EmptyFragments,
    /// Headers of frames, byte by byte, that declare much; a byte of it now and then.
    Declared,
    /// Pings, with the reader stopped.
    Pings,
    /// A WAMP client that pings and never says HELLO: it is closed in time.
    NoHello,
    /// Messages to be echoed, most of them tiny, with the reader stopped.
    Unread,
    /// A message of the early framing, byte by byte.
    EarlyText,
    /// Bytes of chance behind a good handshake.
    Noise,
}

const ATTACKS: [Attack; 11] = [
    Attack::SlowHead,
    Attack::EndlessHead,
    Attack::SlowChallenge,
    Attack::TinyFragments,
    Attack::EmptyFragments,
    Attack::Declared,
    Attack::Pings,
    Attack::NoHello,
    Attack::Unread,
    Attack::EarlyText,
    Attack::Noise,
];

impl Hostiles {
    pub(super) fn new(
        plan: &Plan,
        driver: SimDriver,
        addresses: &[SocketAddr],
        mut rng: SimRng,
    ) -> Hostiles {
        let mut peers = Vec::new();
        let mut agenda = BinaryHeap::new();
        let encrypted = addresses.get(listeners::ENCRYPTED);
        for index in 0..plan.hostiles {
            let is_tls = encrypted.is_some() && rng.per_mille(500);
            let script = match is_tls {
                true => {
                    let address = Hostiles::address_of(index);
                    Script::Tls(Box::new(TlsScript::new(plan.seed, address, &mut rng)))
                }
                false => Script::plain(&mut rng),
            };
            peers.push(Hostile {
                script,
                gap_ns: rng.between(100_000, 4_000_000),
                holds_socket: false,
                has_dialed: false,
                connected: false,
                in_flight: false,
                sent_bytes: 0,
            });
            let length = plan.end_ns - plan.start_ns;
            let at = plan.start_ns + rng.below(length / 2);
            agenda.push(Reverse((at, index)));
        }
        let mut hostiles = Hostiles {
            driver,
            addresses: [addresses[0], *encrypted.unwrap_or(&addresses[0])],
            peers,
            agenda,
        };
        hostiles.run_once(); // the driver must know the next due time
        hostiles
    }

    /// Where peer `index` dials from: a cost is traced to its cause by it.
    fn address_of(index: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 2, 1], PORT_FIRST + index as u16))
    }

    /// What the peer at `address` tries, and how many bytes it has handed to the network; `None`
    /// for an address that is no hostile peer's.
    pub(super) fn sent_from(&self, address: SocketAddr) -> Option<(Attempt, u64)> {
        let index = address.port().checked_sub(PORT_FIRST)?;
        let peer = self.peers.get(usize::from(index))?;
        let theirs = Hostiles::address_of(usize::from(index)) == address;
        theirs.then(|| (peer.script.attempt(), peer.sent_bytes))
    }

    /// Bytes that all of them have sent.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.peers.iter().map(|peer| peer.sent_bytes).sum()
    }

    /// All of them vanish.
    pub(super) fn abort_all(&mut self) {
        self.agenda.clear();
        for index in 0..self.peers.len() {
            if std::mem::take(&mut self.peers[index].holds_socket) {
                self.driver.close(key_of(index), CloseMode::Abort);
            }
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    pub(super) fn run_once(&mut self) {
        while let Some(event) = self.driver.next_event() {
            match event {
                Event::Connected(key) => self.peers[index_of(key)].connected = true,
                Event::Sent(key) => self.peers[index_of(key)].in_flight = false,
                Event::ReadClosed(key) => self.end(key),
                Event::Closed(key, _) => self.peers[index_of(key)].holds_socket = false,
                Event::Bytes(key, bytes) => {
                    if let Script::Tls(tls) = &mut self.peers[index_of(key)].script {
                        tls.give(bytes);
                    }
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => {}
            }
        }
        let now = self.driver.now();
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            if self.send_next(index) {
                let next = now + self.peers[index].gap_ns;
                self.agenda.push(Reverse((next, index)));
            }
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    fn end(&mut self, key: ConnKey) {
        if std::mem::take(&mut self.peers[index_of(key)].holds_socket) {
            self.driver.close(key, CloseMode::Graceful);
        }
    }

    /// Dials, or sends the next piece. False when the peer is done.
    fn send_next(&mut self, index: usize) -> bool {
        let (key, peer) = (key_of(index), &mut self.peers[index]);
        if !peer.holds_socket {
            if peer.has_dialed {
                return false; // closed, or refused
            }
            let options = ConnectOptions {
                addr: self.addresses[usize::from(matches!(peer.script, Script::Tls(_)))],
                local: Some(Hostiles::address_of(index)),
            };
            peer.has_dialed = true;
            peer.holds_socket = self.driver.connect(key, &options).is_ok();
            return peer.holds_socket;
        }
        if !peer.connected || peer.in_flight {
            return true;
        }
        if peer.script.stops_reading(peer.sent_bytes) {
            self.driver.pause(key);
        }
        let Some(piece) = peer.script.next_piece() else {
            return false;
        };
        if piece.is_empty() {
            return true; // the server has to answer first
        }
        peer.sent_bytes += piece.len() as u64;
        match self.driver.send_copy(key, &piece) {
            SendStatus::Done => {}
            SendStatus::Pending => peer.in_flight = true,
            SendStatus::Gone => return false,
        }
        true
    }
}

impl Script {
    fn plain(rng: &mut SimRng) -> Script {
        let attack = ATTACKS[rng.below(ATTACKS.len() as u64) as usize];
        let mut pieces = attack.pieces(rng);
        pieces.reverse();
        Script::Plain { attack, pieces }
    }

    fn attempt(&self) -> Attempt {
        match self {
            Script::Plain { attack, .. } => Attempt::Plain(*attack),
            Script::Tls(tls) => Attempt::Tls(tls.attack),
        }
    }

    /// Whether it reads nothing from now on.
    fn stops_reading(&self, sent_bytes: u64) -> bool {
        match self {
            Script::Plain { attack, .. } => {
                sent_bytes == 0 && matches!(attack, Attack::Pings | Attack::Unread)
            }
            Script::Tls(tls) => tls.stops_reading(),
        }
    }

    /// What is sent next, empty if nothing yet; `None` at the end.
    fn next_piece(&mut self) -> Option<Vec<u8>> {
        match self {
            Script::Plain { pieces, .. } => pieces.pop(),
            Script::Tls(tls) => tls.next_piece(),
        }
    }
}

impl Attack {
    /// What is sent, piece by piece.
    fn pieces(self, rng: &mut SimRng) -> Vec<Vec<u8>> {
        let count = rng.between(100, PIECES_MAX) as usize;
        let mut stream = Vec::new();
        let mut pieces = vec![OPEN.as_bytes().to_vec()];
        match self {
            Attack::SlowHead => {
                let padding = "x".repeat(count);
                let (line, rest) = OPEN.split_at(OPEN_LINE_BYTES);
                return bytewise(format!("{line}X: {padding}\r\n{rest}").as_bytes());
            }
            Attack::EndlessHead => {
                return bytewise(format!("{}X: {}", OPEN_LINE, "x".repeat(count)).as_bytes());
            }
            Attack::SlowChallenge => {
                let padding = "x".repeat(8 * count);
                pieces = vec![format!("{CHALLENGE_OPEN}X: {padding}\r\n\r\n").into_bytes()];
                pieces.extend(bytewise(b"^n:ds[4U"));
            }
            Attack::TinyFragments => {
                let text = "né€𐍈".repeat(count / 10);
                let last = text.len() - 1;
                for (at, &byte) in text.as_bytes().iter().enumerate() {
                    let opcode = if at == 0 { 0x01 } else { 0x00 };
                    let fin = if at == last { 0x80 } else { 0x00 };
                    pieces.push(vec![fin | opcode, 0x81, 0, 0, 0, 0, byte]);
                }
            }
            Attack::EmptyFragments => {
                pieces.push(vec![0x01, 0x80, 1, 2, 3, 4]);
                for _ in 0..count {
                    pieces.push(vec![0x00, 0x80, 5, 6, 7, 8]);
                    if rng.per_mille(100) {
                        frame(&mut stream, Opcode::Ping, b"still there?");
                        pieces.push(std::mem::take(&mut stream));
                    }
                }
            }
            Attack::NoHello => {
                pieces = vec![WAMP_OPEN.as_bytes().to_vec()];
                frame(&mut stream, Opcode::Ping, b"still there?");
                pieces.extend(std::iter::repeat_n(stream.clone(), count));
            }
            Attack::Declared => {
                let declared = [1_000_000, 16 << 20][rng.below(2) as usize] as u64;
                stream.extend_from_slice(&[0x02, 0xFF]);
                stream.extend_from_slice(&declared.to_be_bytes());
                stream.resize(stream.len() + 4 + count / 4, 0);
                pieces.extend(bytewise(&stream));
            }
            Attack::Pings => {
                for _ in 0..count {
                    frame(&mut stream, Opcode::Ping, &[b'p'; 125]);
                    pieces.push(std::mem::take(&mut stream));
                }
            }
            Attack::Unread => {
                pieces.extend((0..20 + count / 5).map(unread_piece));
            }
            Attack::EarlyText => {
                pieces = vec![EARLY_OPEN.as_bytes().to_vec(), vec![0x00]];
                pieces.extend(bytewise("né€𐍈".repeat(count / 10).as_bytes()));
            }
            Attack::Noise => {
                for _ in 0..count / 10 {
                    let bytes = (0..rng.between(1, 40)).map(|_| rng.below(256) as u8);
                    pieces.push(bytes.collect());
                }
            }
        }
        pieces
    }
}

/// First as much as the network takes, then so that little makes much wait.
fn unread_piece(n: usize) -> Vec<u8> {
    let (messages, bytes) = if n < 20 { (1, 3_500) } else { (50, n % 3) };
    let mut stream = Vec::new();
    for _ in 0..messages {
        frame(&mut stream, Opcode::Binary, &vec![n as u8; bytes]);
    }
    stream
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

const OPEN_LINE_BYTES: usize = OPEN_LINE.len();
const EARLY_OPEN: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n\
     Connection: Upgrade\r\nOrigin: http://h\r\n\r\n";
/// The keys of the example in draft 76 §1.2, without the end of the head.
const CHALLENGE_OPEN: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n\
     Connection: Upgrade\r\nOrigin: http://h\r\n\
     Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
     Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n";
/// Pieces of one hostile peer, about.
const PIECES_MAX: u64 = 700;
/// The port of the first.
const PORT_FIRST: u16 = 20_000;
