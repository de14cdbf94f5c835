//! Peers that speak plain HTTP: requests of all kinds, one behind the other on a connection, in pieces
//! that end anywhere, with or without waiting for the answers. Some stop reading for a while, vanish in the
//! middle, end with FIN, with `Connection: close`, with a request that is none, or with a WebSocket.
//!
//! What is promised: each request that has come whole gets one answer, in order, and nothing else comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_wire::Opcode;
use roost_wire::frame::{append_masked_frame, split_frame};

use super::plan::Plan;

/// All of them, on one simulated driver.
pub(super) struct HttpPeers {
    driver: SimDriver,
    address: SocketAddr,
    peers: Vec<HttpPeer>,
    rng: SimRng,
    /// When which peer goes on.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
}

struct HttpPeer {
    end: End,
    /// What it sends, and how much of that has gone.
    bytes: Vec<u8>,
    sent: usize,
    /// Where each request ends in it, and how it is answered.
    expected: Vec<(usize, Answer)>,
    /// It sends a request only when those before are answered.
    waits: bool,
    /// Behind so many bytes it stops reading for a while, and vanishes.
    stalls_at: usize,
    vanishes_at: usize,
    is_stalled: bool,
    gap_ns: u64,
    answered: usize,
    received: Vec<u8>,
    has_fin: bool,
    holds_socket: bool,
    has_dialed: bool,
    connected: bool,
    in_flight: bool,
    /// Its connection ended before it was done.
    was_cut: bool,
    has_echo: bool,
    failure: Option<String>,
}

/// How a request is answered: status and body.
type Answer = (u16, Option<&'static str>);

/// How a peer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It stays connected.
    Stays,
    /// It sends FIN behind its last request.
    Fin,
    /// Its last request says that it is.
    Close,
    /// What comes last is no request.
    Broken,
    /// It opens a WebSocket, and sends a message with the request.
    WebSocket,
}

impl HttpPeers {
    pub(super) fn new(
        plan: &Plan,
        driver: SimDriver,
        address: SocketAddr,
        mut rng: SimRng,
    ) -> HttpPeers {
        let mut agenda = BinaryHeap::new();
        let mut peers = Vec::new();
        for index in 0..plan.http_peers {
            peers.push(HttpPeer::new(&mut rng));
            let length = plan.end_ns - plan.start_ns;
            agenda.push(Reverse((plan.start_ns + rng.below(length / 3), index)));
        }
        let mut peers = HttpPeers {
            driver,
            address,
            peers,
            rng,
            agenda,
        };
        peers.run_once(); // the driver must know the next due time
        peers
    }

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    /// All of them vanish.
    pub(super) fn abort_all(&mut self) {
        self.agenda.clear();
        for index in 0..self.peers.len() {
            self.close(index, CloseMode::Abort);
        }
    }

    /// How many requests were answered.
    ///
    /// # Errors
    /// An answer that was not expected, or, on a network that breaks no connection, one that is missing.
    pub(super) fn check(&self, plan: &Plan) -> Result<u64, String> {
        let mut answered = 0;
        for (index, peer) in self.peers.iter().enumerate() {
            let err = |what: &str| {
                let (done, all) = (peer.answered, peer.expected.len());
                let end = peer.end;
                Err(format!(
                    "HTTP peer {index} ({end:?}, {done} of {all} answered): {what}"
                ))
            };
            if let Some(failure) = &peer.failure {
                return err(failure);
            }
            answered += peer.answered as u64;
            // The largest connections are closed for a small budget, whatever they speak.
            if !plan.reliable || peer.vanishes() || (peer.was_cut && plan.has_small_budget()) {
                continue;
            }
            if peer.was_cut {
                return err("its connection was cut");
            }
            if peer.answered < peer.expected.len() {
                return err("an answer is missing");
            }
            match peer.end {
                End::Fin | End::Close | End::Broken if !peer.has_fin => {
                    return err("the server did not end the connection");
                }
                End::WebSocket if !peer.has_echo => return err("no message came back"),
                End::Stays if peer.has_fin => return err("the server ended the connection"),
                _ => {}
            }
        }
        Ok(answered)
    }

    pub(super) fn run_once(&mut self) {
        let mut changed = Vec::new();
        while let Some(event) = self.driver.next_event() {
            let (key, is_over) = match event {
                Event::Connected(key) => {
                    self.peers[index_of(key)].connected = true;
                    (key, false)
                }
                Event::Sent(key) => {
                    self.peers[index_of(key)].in_flight = false;
                    (key, false)
                }
                Event::Bytes(key, bytes) => {
                    let peer = &mut self.peers[index_of(key)];
                    peer.received.extend_from_slice(bytes);
                    peer.read_answers();
                    (key, peer.has_echo)
                }
                Event::ReadClosed(key) => {
                    self.peers[index_of(key)].has_fin = true;
                    (key, true)
                }
                Event::Closed(key, cause) => {
                    let peer = &mut self.peers[index_of(key)];
                    peer.was_cut |= cause != CloseCause::Requested;
                    peer.holds_socket = false;
                    continue;
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => continue,
            };
            changed.push((index_of(key), is_over));
        }
        for (index, is_over) in changed {
            if is_over {
                self.close(index, CloseMode::Graceful);
            }
        }
        let now = self.driver.now();
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            if self.go_on(index) {
                let gap_ns = self.peers[index].gap_ns;
                let next = match self.peers[index].is_stalled {
                    true => STALL_NS,
                    false => gap_ns,
                };
                self.agenda.push(Reverse((now + next, index)));
            }
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    fn close(&mut self, index: usize, mode: CloseMode) {
        if std::mem::take(&mut self.peers[index].holds_socket) {
            self.driver.close(key_of(index), mode);
        }
    }

    /// Dials, or sends the next piece. False when the peer has nothing more to do.
    fn go_on(&mut self, index: usize) -> bool {
        let (key, peer) = (key_of(index), &mut self.peers[index]);
        if !peer.holds_socket {
            if peer.has_dialed {
                return false;
            }
            let options = ConnectOptions {
                addr: self.address,
                local: Some(SocketAddr::from(([10, 0, 3, 1], PORT_FIRST + index as u16))),
            };
            peer.has_dialed = true;
            peer.holds_socket = self.driver.connect(key, &options).is_ok();
            return peer.holds_socket;
        }
        if std::mem::take(&mut peer.is_stalled) {
            self.driver.resume(key);
        }
        if !peer.connected || peer.in_flight {
            return true;
        }
        if peer.sent >= peer.vanishes_at {
            self.close(index, CloseMode::Abort);
            return false;
        }
        if peer.sent == peer.bytes.len() {
            if peer.end == End::Fin {
                self.driver.shutdown_write(key);
            }
            return false;
        }
        let len = 1 + self.rng.below(PIECE_BYTES_MAX) as usize;
        let mut end = (peer.sent + len).min(peer.bytes.len());
        if peer.waits {
            // Up to the end of the first request that is not answered.
            let first = peer.expected.get(peer.answered);
            end = end.min(first.map_or(peer.bytes.len(), |(at, _)| *at));
        }
        let piece = peer.sent..end;
        if piece.is_empty() {
            return true;
        }
        if piece.contains(&peer.stalls_at) {
            peer.is_stalled = true;
            self.driver.pause(key);
        }
        peer.sent = end;
        match self.driver.send_copy(key, &peer.bytes[piece]) {
            SendStatus::Done => {}
            SendStatus::Pending => peer.in_flight = true,
            SendStatus::Gone => return false,
        }
        true
    }
}

impl HttpPeer {
    fn new(rng: &mut SimRng) -> HttpPeer {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..rng.between(1, REQUESTS_MAX) {
            let answer = append_request(rng, &mut bytes);
            expected.push((bytes.len(), answer));
        }
        let ends = [
            End::Stays,
            End::Fin,
            End::Close,
            End::Broken,
            End::WebSocket,
        ];
        let end = ends[rng.below(ends.len() as u64) as usize];
        let behind: &[u8] = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
        match end {
            End::Stays | End::Fin => {}
            End::Close => {
                bytes.extend_from_slice(CLOSE);
                expected.push((bytes.len(), (200, Some("ok\n"))));
                bytes.extend_from_slice(behind);
            }
            End::Broken => {
                bytes.extend_from_slice(BROKEN[rng.below(BROKEN.len() as u64) as usize]);
                expected.push((bytes.len(), (400, None)));
                bytes.extend_from_slice(behind);
            }
            End::WebSocket => {
                bytes.extend_from_slice(WEBSOCKET);
                append_masked_frame(&mut bytes, Opcode::Text, ECHO, [1, 3, 5, 7]);
                expected.push((bytes.len(), (101, None)));
            }
        }
        let all = bytes.len() as u64;
        let mut at = |per_mille| match rng.per_mille(per_mille) {
            true => rng.below(all) as usize,
            false => usize::MAX,
        };
        let (stalls_at, vanishes_at) = (at(300), at(200));
        HttpPeer {
            end,
            bytes,
            sent: 0,
            expected,
            waits: rng.per_mille(300),
            stalls_at,
            vanishes_at,
            is_stalled: false,
            gap_ns: rng.between(100_000, 5_000_000),
            answered: 0,
            received: Vec::new(),
            has_fin: false,
            holds_socket: false,
            has_dialed: false,
            connected: false,
            in_flight: false,
            was_cut: false,
            has_echo: false,
            failure: None,
        }
    }

    fn vanishes(&self) -> bool {
        self.vanishes_at < usize::MAX
    }

    /// Takes whole answers off what has come.
    fn read_answers(&mut self) {
        loop {
            match self.read_answer() {
                Ok(true) => {}
                Ok(false) => return,
                Err(what) => {
                    self.failure.get_or_insert(what);
                    return;
                }
            }
        }
    }

    /// The same for one. False if it is not whole.
    fn read_answer(&mut self) -> Result<bool, String> {
        let Some(&(_, (expected, body))) = self.expected.get(self.answered) else {
            return self.read_echo();
        };
        let Some(end) = self
            .received
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.received[..end + 4]).into_owned();
        let status = head
            .get(9..12)
            .and_then(|status| status.parse::<u16>().ok());
        if status == Some(503) {
            self.was_cut = true; // for the budget: of such a peer no more is asked
            self.received.clear();
            return Ok(false);
        }
        if status != Some(expected) {
            return Err(format!(
                "answer {} is no {expected}: {head:?}",
                self.answered
            ));
        }
        let length = head.split("\r\n").find_map(|line| {
            let value = line.strip_prefix("Content-Length: ")?;
            value.parse::<usize>().ok()
        });
        // Of an answer to HEAD only the length comes.
        let length = match body {
            Some("") => 0,
            _ => length.unwrap_or(0),
        };
        let Some(came) = self.received.get(end + 4..end + 4 + length) else {
            return Ok(false);
        };
        if body.is_some_and(|body| body.as_bytes() != came) {
            let came = String::from_utf8_lossy(came);
            return Err(format!(
                "answer {}: {came:?} instead of {body:?}",
                self.answered
            ));
        }
        self.received.drain(..end + 4 + length);
        self.answered += 1;
        Ok(true)
    }

    /// Behind the last answer nothing comes but frames of the WebSocket.
    fn read_echo(&mut self) -> Result<bool, String> {
        if self.end != End::WebSocket {
            let more = String::from_utf8_lossy(&self.received);
            return match more.is_empty() {
                true => Ok(false),
                false => Err(format!("more came than was asked for: {more:?}")),
            };
        }
        while let Some((header, payload, rest)) = split_frame(&self.received) {
            match header.opcode {
                Opcode::Text if payload == ECHO && !self.has_echo => self.has_echo = true,
                Opcode::Ping => {}
                other => return Err(format!("a frame that was not expected: {other:?}")),
            }
            let used = self.received.len() - rest.len();
            self.received.drain(..used);
        }
        Ok(false)
    }
}

/// Appends a request that leaves the connection open; returns how it is answered.
fn append_request(rng: &mut SimRng, bytes: &mut Vec<u8>) -> Answer {
    let body = "b".repeat(rng.below(BODY_BYTES_MAX) as usize);
    let (path, get, other) = PATHS[rng.below(PATHS.len() as u64) as usize];
    let (method, answer) = match rng.below(6) {
        0 | 1 => ("GET", get),
        2 => ("HEAD", (get.0, Some(""))),
        3 => ("OPTIONS", (200, Some(""))),
        4 => ("POST", other),
        _ => ("PUT", other),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n");
    bytes.extend_from_slice(head.as_bytes());
    match rng.below(4) {
        0 => {
            let length = body.len();
            let more = format!("Content-Length: {length}\r\n\r\n{body}");
            bytes.extend_from_slice(more.as_bytes());
        }
        1 => {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = body.as_bytes();
            while !rest.is_empty() {
                let len = (1 + rng.below(200)).min(rest.len() as u64) as usize;
                bytes.extend_from_slice(format!("{len:x}\r\n").as_bytes());
                bytes.extend_from_slice(&rest[..len]);
                bytes.extend_from_slice(b"\r\n");
                rest = &rest[len..];
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        _ => bytes.extend_from_slice(b"\r\n"),
    }
    answer
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

/// Paths, with the answers to GET and to methods that are not allowed.
const PATHS: [(&str, Answer, Answer); 4] = [
    ("/health", (200, Some("ok\n")), (405, None)),
    ("/nothing", (404, None), (404, None)),
    ("/echo", (426, None), (405, None)),
    ("/", (200, None), (405, None)),
];
const CLOSE: &[u8] = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const BROKEN: [&[u8]; 4] = [
    b"GET /health\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello",
];
const WEBSOCKET: &[u8] = b"GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ECHO: &[u8] = b"behind plain requests";
/// Requests of a peer, at most.
const REQUESTS_MAX: u64 = 25;
const BODY_BYTES_MAX: u64 = 400;
/// So that a request with its body has come long before its time is over.
const PIECE_BYTES_MAX: u64 = 300;
/// How long some do not read: a request that is half sent meanwhile has more time.
const STALL_NS: u64 = 300_000_000;
/// The port of the first.
const PORT_FIRST: u16 = 30_000;
