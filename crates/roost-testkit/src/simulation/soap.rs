//! Peers that speak SOAP: one-way messages on channels of their own, requests to the callees among the
//! WAMP peers, and documents that are none. Some vanish with requests open.
//!
//! What is promised: each request has exactly one answer or its connection ends, each document that is
//! no envelope has a fault, and what arrives are envelopes of the channel that was joined, each
//! publisher's in order. One peer listens where others publish what is no envelope, and hears nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use roost_net::sim::{SimDriver, SimRng};
use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::{ClientRequest, HeadScanner, encode_key, parse_response};
use roost_wire::{CloseCode, Inbound, Input, Limits, Message, Opcode, Role};

use super::clients::{Act, Client, Clients, Socket, Way};
use super::plan::Plan;

/// All of them.
pub(super) type SoapPeers = Clients<SoapPeer>;

pub(super) struct SoapPeer {
    index: usize,
    /// The path's channel: of SOAP's own, or of the raw and WAMP peers.
    joined: String,
    is_open: bool,
    socket: Socket,
    key: String,
    scanner: HeadScanner,
    head: Vec<u8>,
    inbound: Inbound,
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
            if !plan.reliable || peer.socket.is_over || !peer.is_open {
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
        if !self.is_open {
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
        let request = ClientRequest {
            host: "roost.test",
            target: &format!("/soap/{}", self.joined),
            key: &self.key,
            protocols: &["soap"],
            extensions: None,
            origin: None,
        };
        request.write(&mut self.socket.outgoing);
    }

    fn handle_bytes(&mut self, bytes: &mut [u8]) {
        if self.socket.is_over {
            return;
        }
        if self.is_open {
            return self.handle_frames(bytes);
        }
        self.head.extend_from_slice(bytes);
        let Some(len) = self.scanner.scan(&self.head) else {
            return;
        };
        let mut head = std::mem::take(&mut self.head);
        let (head, rest) = head.split_at_mut(len);
        if head.starts_with(b"HTTP/1.1 503") {
            self.socket.is_over = true; // the server has no room
            return;
        }
        if let Err(error) = parse_response(head, &self.key, &["soap"]) {
            return self.fail(format!("bad handshake answer: {error:?}"));
        }
        self.is_open = true;
        self.handle_frames(rest);
    }
}

impl SoapPeer {
    fn new(index: usize) -> SoapPeer {
        let mut nonce = [7; 16];
        nonce[0] = index as u8;
        let joined = match index % 3 {
            2 => Plan::name_of(0),
            channel => format!("urn:sim:{channel}"),
        };
        SoapPeer {
            index,
            joined,
            is_open: false,
            socket: Socket::default(),
            key: encode_key(nonce),
            scanner: HeadScanner::default(),
            head: Vec::new(),
            inbound: Inbound::new(Role::Client),
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
        self.frame(opcode, text.as_bytes());
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        append_masked_frame(&mut self.socket.outgoing, opcode, payload, [1, 2, 3, 4]);
    }

    fn handle_frames(&mut self, bytes: &mut [u8]) {
        let limits = Limits {
            frame_bytes_max: 1 << 20,
            message_bytes_max: 1 << 20,
        };
        let mut inbound = std::mem::replace(&mut self.inbound, Inbound::new(Role::Client));
        let mut input = Input::new(bytes);
        loop {
            match inbound.next(&mut input, &limits) {
                Ok(Some(Message::Ping(payload))) => self.frame(Opcode::Pong, payload),
                Ok(Some(Message::Close(code, reason))) => self.handle_close(code, reason),
                Ok(Some(Message::Text(text))) => self.handle_envelope(text),
                Ok(Some(Message::Binary(bytes))) => match str::from_utf8(bytes) {
                    Ok(text) => self.handle_envelope(text),
                    Err(_) => self.fail("an envelope is not UTF-8".to_owned()),
                },
                Ok(Some(Message::Pong(_))) => {}
                Ok(None) => break,
                Err(error) => {
                    return self.fail(format!("the server broke the protocol: {error:?}"));
                }
            }
        }
        self.inbound = inbound;
    }

    fn handle_close(&mut self, code: Option<CloseCode>, reason: &str) {
        // Idle, drained, slow or beyond the budget; its messages close nothing.
        if !matches!(code.map(CloseCode::get), Some(1001 | 1013)) {
            self.fail(format!("closed with {code:?} {reason:?}"));
        }
        self.frame(Opcode::Close, &1000_u16.to_be_bytes());
        self.socket.is_over = true;
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

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
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
