//! Peers that speak SOAP: one-way messages on channels of their own, requests to the callees among the
//! WAMP peers, and documents that are none. Some vanish with requests open.
//!
//! What is promised: each request has exactly one answer or its connection ends, each document that is
//! no envelope has a fault, and what arrives are envelopes of the channel that was joined, each
//! publisher's in order. One peer listens where others publish what is no envelope, and hears nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use roost_net::sim::{SimDriver, SimRng};
use roost_wire::{CloseCode, Message, Opcode};

use super::clients::{Act, Client, Clients, Socket, Way};
use super::plan::Plan;
use super::web_socket::{Speaker, WebSocket, receive};

/// All of them.
pub(super) type SoapPeers = Clients<SoapPeer>;

pub(super) struct SoapPeer {
    index: usize,
    /// The path's channel: of SOAP's own, or of the raw and WAMP peers.
    joined: String,
    socket: Socket,
    web_socket: WebSocket,
    sent: u64,
    /// Requests without an answer.
    open: BTreeSet<u64>,
    answered: u64,
    /// Documents that are none and have no fault yet.
    bad: u64,
    /// The newest message of each publisher.
    newest: BTreeMap<u64, u64>,
    received: u64,
    failure: Option<String>,
}

impl Clients<SoapPeer> {
    pub(super) fn new(plan: &Plan, driver: SimDriver, to: SocketAddr, rng: SimRng) -> SoapPeers {
        let way = Way {
            driver,
            to,
            from: ([10, 0, 4, 1], PORT_FIRST),
            pause_ns_max: 400_000_000,
        };
        let peers = (0..plan.soap_peers).map(SoapPeer::new).collect();
        Clients::begin(way, peers, plan.start_ns..plan.end_ns, rng)
    }

    /// How many requests were answered, and how many publications received.
    ///
    /// # Errors
    /// What came and was not expected, or is missing on a connection that works.
    pub(super) fn check(&self, plan: &Plan) -> Result<(u64, u64), String> {
        let (mut answered, mut received) = (0, 0);
        for peer in self.all() {
            let err = |what: &str| Err(format!("SOAP peer {}: {what}", peer.index));
            if let Some(failure) = &peer.failure {
                return err(failure);
            }
            answered += peer.answered;
            received += peer.received;
            if !plan.reliable || peer.socket.is_over || !peer.web_socket.is_open() {
                continue;
            }
            if !peer.open.is_empty() {
                return err(&format!("no answer to {:?}", peer.open));
            }
            if peer.bad > 0 {
                return err(&format!("{} documents have no fault", peer.bad));
            }
        }
        Ok((answered, received))
    }
}

impl Client for SoapPeer {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn act(&mut self, rng: &mut SimRng) -> Act {
        if !self.web_socket.is_open() {
            return Act::Wait;
        }
        match rng.below(100) {
            0..2 => return Act::Close,
            2..12 => self.send_bad(),
            12..55 if self.open.len() < REQUESTS_MAX => self.send_call(rng.below(4)),
            _ => self.publish(rng.below(CHANNELS)),
        }
        Act::Send
    }

    fn send_request(&mut self) {
        let target = format!("/soap/{}", self.joined);
        let out = &mut self.socket.outgoing;
        self.web_socket.write_request(&target, out);
    }

    fn handle_bytes(&mut self, bytes: &mut [u8]) {
        receive(self, bytes);
    }
}

impl Speaker for SoapPeer {
    fn web_socket_mut(&mut self) -> &mut WebSocket {
        &mut self.web_socket
    }

    fn handle_message(&mut self, message: Message<'_>) {
        match message {
            Message::Ping(payload) => self.send_frame(Opcode::Pong, payload),
            Message::Close(code, reason) => self.handle_close(code, reason),
            Message::Text(text) => self.handle_envelope(text),
            Message::Binary(bytes) => match str::from_utf8(bytes) {
                Ok(text) => self.handle_envelope(text),
                Err(_) => self.fail("an envelope is not UTF-8".to_owned()),
            },
            Message::Pong(_) => {}
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

impl SoapPeer {
    fn new(index: usize) -> SoapPeer {
        let joined = match index % 3 {
            2 => Plan::name_of(0),
            channel => format!("urn:sim:{channel}"),
        };
        SoapPeer {
            index,
            joined,
            socket: Socket::default(),
            web_socket: WebSocket::new(7, index, &["soap"]),
            sent: 0,
            open: BTreeSet::new(),
            answered: 0,
            bad: 0,
            newest: BTreeMap::new(),
            received: 0,
            failure: None,
        }
    }

    /// To a channel that some of these peers have joined.
    fn publish(&mut self, channel: u64) {
        self.sent += 1;
        let header = format!("<a:To>urn:sim:{channel}</a:To>");
        let body = format!("<p>{channel}.{}.{}</p>", self.index, self.sent);
        self.send_envelope(&header, &body);
    }

    /// To a procedure that some WAMP peers have, and others do not.
    fn send_call(&mut self, procedure: u64) {
        self.sent += 1;
        let id = self.sent;
        self.open.insert(id);
        let header = format!(
            "<a:Action>urn:rpc.{procedure}</a:Action><a:MessageID>urn:id:{id}</a:MessageID>"
        );
        self.send_envelope(&header, "<r/>");
    }

    fn send_bad(&mut self) {
        self.sent += 1;
        self.bad += 1;
        let text = BAD[self.sent as usize % BAD.len()];
        self.send(text);
    }

    fn send_envelope(&mut self, header: &str, body: &str) {
        let text = format!(
            "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
             xmlns:a=\"http://www.w3.org/2005/08/addressing\"><e:Header>{header}</e:Header>\
             <e:Body>{body}</e:Body></e:Envelope>"
        );
        self.send(&text);
    }

    /// As text or binary, by turns.
    fn send(&mut self, text: &str) {
        let opcode = match self.sent % 2 {
            0 => Opcode::Text,
            _ => Opcode::Binary,
        };
        self.send_frame(opcode, text.as_bytes());
    }

    fn handle_close(&mut self, code: Option<CloseCode>, reason: &str) {
        // Idle, drained, slow or beyond the budget; its messages close nothing.
        if !matches!(code.map(CloseCode::get), Some(1001 | 1013)) {
            self.fail(format!("closed with {code:?} {reason:?}"));
        }
        self.answer_close();
    }

    fn handle_envelope(&mut self, text: &str) {
        if !roost_dialect::soap::fuzz::is_envelope(text) {
            return self.fail(format!("no envelope: {text}"));
        }
        if let Some(id) = between(text, "urn:id:", "</wsa:RelatesTo>") {
            // The last: a callee sends the request back, with its MessageID.
            let id = id.rsplit("urn:id:").next().and_then(|id| id.parse().ok());
            match id.filter(|id| self.open.remove(id)) {
                Some(_) => self.answered += 1,
                None => self.fail(format!("an answer to no open request: {text}")),
            }
        } else if text.contains("env:Fault") {
            match self.bad.checked_sub(1) {
                Some(left) => self.bad = left,
                None => self.fail(format!("a fault without a cause: {text}")),
            }
        } else {
            self.handle_publication(text);
        }
    }

    fn handle_publication(&mut self, text: &str) {
        let numbers = between(text, "<p>", "</p>").unwrap_or_default();
        let mut numbers = numbers.split('.').map(str::parse::<u64>);
        let mut next = || numbers.next().and_then(Result::ok);
        let (Some(channel), Some(publisher), Some(number)) = (next(), next(), next()) else {
            return self.fail(format!("nothing that a peer has published: {text}"));
        };
        if self.joined != format!("urn:sim:{channel}") {
            return self.fail(format!("of channel {channel}, not of {}", self.joined));
        }
        let before = self.newest.insert(publisher, number).unwrap_or(0);
        if before >= number {
            return self.fail(format!("{number} of {publisher} behind {before}"));
        }
        self.received += 1;
    }
}

fn between<'t>(text: &'t str, before: &str, behind: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(behind).map(|(found, _)| found)
}

/// Documents that are no envelope.
const BAD: [&str; 3] = [
    "hello",
    "<!DOCTYPE a><a/>",
    "<Envelope xmlns=\"http://www.w3.org/2003/05/soap-envelope\"><Body></Envelope>",
];
/// Channels that are published to; peers join the first two.
const CHANNELS: u64 = 3;
/// Open requests of a peer, so that no limit of the server's is met.
const REQUESTS_MAX: usize = 8;
/// The port of the first.
const PORT_FIRST: u16 = 40_000;
