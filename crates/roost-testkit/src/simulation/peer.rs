//! One peer: what it has sent, received and been promised.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::{ClientRequest, HeadScanner, encode_key, parse_response};
use roost_wire::{CloseCode, Inbound, Input, Limits, Message, Opcode, Role};
use serde_json::Value;

/// A publication: who sent it, and the how-manieth of his it was.
pub(super) type PubId = (usize, u32);

/// How a peer speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Raw, in one channel.
    Raw(usize),
    /// WAMP, in these channels.
    Wamp(Vec<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not yet dialled, or the answer to the handshake is awaited.
    Opening,
    Open,
    /// It sent a close frame and sends nothing more.
    Closing,
    /// Its connection is over.
    Gone,
}

/// One subscription, from its acknowledgement on.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) channel: usize,
    pub(super) acked_at: u64,
    pub(super) received: Vec<PubId>,
    /// Asked to end, or the connection ended: what comes last is not known.
    pub(super) ended: bool,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) index: usize,
    pub(super) kind: Kind,
    pub(super) witness: bool,
    pub(super) state: State,
    pub(super) windows: Vec<Window>,
    /// The open window of each WAMP subscription id.
    by_subscription: BTreeMap<u64, usize>,
    /// The channel of each WAMP request under way.
    subscribing: BTreeMap<u64, usize>,
    next_request: u64,
    publishes: u32,
    /// When each publication was handed to the network, and in which channel.
    pub(super) sent: Vec<(usize, u64)>,
    /// Requests of acknowledged publishes, and what they published.
    awaiting_ack: BTreeMap<u64, PubId>,
    pub(super) acked: Vec<PubId>,
    pub(super) close: Option<(Option<CloseCode>, String)>,
    pub(super) refused: Option<u16>,
    /// Bytes that wait for the driver to take them.
    pub(super) outgoing: Vec<u8>,
    pub(super) in_flight: bool,
    /// The driver has its socket, and has not been told to close it.
    pub(super) holds_socket: bool,
    pub(super) failure: Option<String>,
    /// It answered the roll call at the end: its connection works in both directions.
    pub(super) present: bool,
    pub(super) opened: bool,
    scanner: HeadScanner,
    head: Vec<u8>,
    key: String,
    inbound: Inbound,
}

impl Peer {
    pub(super) fn new(index: usize, kind: Kind, witness: bool) -> Peer {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(index as u64).to_le_bytes());
        Peer {
            index,
            kind,
            witness,
            state: State::Opening,
            windows: Vec::new(),
            by_subscription: BTreeMap::new(),
            subscribing: BTreeMap::new(),
            next_request: 1,
            publishes: 0,
            sent: Vec::new(),
            awaiting_ack: BTreeMap::new(),
            acked: Vec::new(),
            close: None,
            refused: None,
            outgoing: Vec::new(),
            in_flight: false,
            holds_socket: false,
            failure: None,
            present: false,
            opened: false,
            scanner: HeadScanner::default(),
            head: Vec::new(),
            key: encode_key(nonce),
            inbound: Inbound::new(Role::Client),
        }
    }

    // What it does.

    /// The request for its WebSocket.
    pub(super) fn say_hello(&mut self) {
        let (path, protocols): (String, &[&str]) = match &self.kind {
            Kind::Raw(channel) => (format!("/raw/{}", name_of(*channel)), &[]),
            Kind::Wamp(_) => ("/wamp".to_owned(), &["wamp.2.json"]),
        };
        let request = ClientRequest {
            host: "roost.test",
            target: &path,
            key: &self.key,
            protocols,
            extensions: None,
            origin: None,
        };
        request.write(&mut self.outgoing);
    }

    pub(super) fn publish(&mut self, channel: usize, now: u64, bytes: usize, ack: bool) {
        if self.state != State::Open {
            return;
        }
        self.publishes += 1;
        let id = (self.index, self.publishes);
        let text = format!("p{}.{}.{}", id.0, id.1, "x".repeat(bytes));
        match &self.kind {
            Kind::Raw(_) if self.publishes.is_multiple_of(3) => {
                self.frame(Opcode::Binary, text.as_bytes());
            }
            Kind::Raw(_) => self.frame(Opcode::Text, text.as_bytes()),
            Kind::Wamp(_) => {
                let request = self.request();
                let options = if ack { r#"{"acknowledge":true}"# } else { "{}" };
                if ack {
                    self.awaiting_ack.insert(request, id);
                }
                let topic = name_of(channel);
                let json = format!(r#"[16,{request},{options},"{topic}",["{text}"]]"#);
                self.frame(Opcode::Text, json.as_bytes());
            }
        }
        self.sent.push((channel, now));
    }

    pub(super) fn subscribe(&mut self, channel: usize) {
        if self.state == State::Open {
            let request = self.request();
            self.subscribing.insert(request, channel);
            let json = format!(r#"[32,{request},{{}},"{}"]"#, name_of(channel));
            self.frame(Opcode::Text, json.as_bytes());
        }
    }

    pub(super) fn unsubscribe_first(&mut self) {
        if self.state != State::Open {
            return;
        }
        if let Some((subscription, window)) = self.by_subscription.pop_first() {
            self.windows[window].ended = true;
            let request = self.request();
            let json = format!("[34,{request},{subscription}]");
            self.frame(Opcode::Text, json.as_bytes());
        }
    }

    pub(super) fn ping(&mut self) {
        if self.state == State::Open {
            self.frame(Opcode::Ping, b"are you there");
        }
    }

    pub(super) fn answer_roll_call(&mut self) {
        if self.state == State::Open {
            self.frame(Opcode::Ping, ROLL_CALL);
        }
    }

    pub(super) fn say_close(&mut self) {
        if self.state == State::Open {
            self.end_windows();
            self.state = State::Closing;
            self.frame(Opcode::Close, &[0x03, 0xe8]);
        }
    }

    /// Breaks the protocol: an unmasked frame.
    pub(super) fn misbehave(&mut self) {
        if self.state == State::Open {
            self.end_windows();
            self.state = State::Closing;
            self.outgoing.extend_from_slice(&[0x81, 0x01, b'x']);
        }
    }

    /// Its connection is over.
    pub(super) fn gone(&mut self) {
        self.end_windows();
        self.state = State::Gone;
    }

    fn end_windows(&mut self) {
        for window in &mut self.windows {
            window.ended = true;
        }
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = (self.index as u32 ^ self.outgoing.len() as u32).to_le_bytes();
        append_masked_frame(&mut self.outgoing, opcode, payload, mask);
    }

    // What comes.

    pub(super) fn handle_bytes(&mut self, bytes: &mut [u8], now: u64) {
        if self.state == State::Opening {
            self.head.extend_from_slice(bytes);
            let Some(len) = self.scanner.scan(&self.head) else {
                return;
            };
            let mut head = std::mem::take(&mut self.head);
            let (head, rest) = head.split_at_mut(len);
            if !head.starts_with(b"HTTP/1.1 101") {
                let status = str::from_utf8(&head[9..12])
                    .ok()
                    .and_then(|s| s.parse().ok());
                self.refused = status;
                self.state = State::Closing;
                return;
            }
            if let Err(error) = parse_response(head, &self.key, self.protocols()) {
                return self.fail(format!("bad handshake answer: {error:?}"));
            }
            self.on_open(now);
            self.handle_frames(rest, now);
        } else {
            self.handle_frames(bytes, now);
        }
    }

    fn protocols(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Raw(_) => &[],
            Kind::Wamp(_) => &["wamp.2.json"],
        }
    }

    fn on_open(&mut self, now: u64) {
        self.state = State::Open;
        self.opened = true;
        match &self.kind {
            Kind::Raw(channel) => {
                let channel = *channel;
                self.open_window(channel, now);
            }
            Kind::Wamp(_) => {
                let roles = r#"{"roles":{"subscriber":{},"publisher":{}}}"#;
                self.frame(Opcode::Text, format!(r#"[1,"realm1",{roles}]"#).as_bytes());
            }
        }
    }

    fn open_window(&mut self, channel: usize, now: u64) -> usize {
        let ended = self.state != State::Open;
        self.windows.push(Window {
            channel,
            acked_at: now,
            received: Vec::new(),
            ended,
        });
        self.windows.len() - 1
    }

    fn handle_frames(&mut self, bytes: &mut [u8], now: u64) {
        let limits = Limits {
            frame_bytes_max: 1 << 24,
            message_bytes_max: 1 << 24,
        };
        let mut inbound = std::mem::replace(&mut self.inbound, Inbound::new(Role::Client));
        let mut input = Input::new(bytes);
        loop {
            match inbound.next(&mut input, &limits) {
                Ok(Some(message)) => self.handle_message(message, now),
                Ok(None) => break,
                Err(error) => {
                    return self.fail(format!("the server broke the protocol: {error:?}"));
                }
            }
            if self.close.is_some() {
                return;
            }
        }
        self.inbound = inbound;
    }

    fn handle_message(&mut self, message: Message<'_>, now: u64) {
        match (message, &self.kind) {
            (Message::Text(text), Kind::Raw(_)) => self.receive(0, text.as_bytes()),
            (Message::Binary(bytes), Kind::Raw(_)) => self.receive(0, bytes),
            (Message::Text(text), Kind::Wamp(_)) => self.handle_wamp(text, now),
            (Message::Binary(_), Kind::Wamp(_)) => self.fail("binary on wamp.2.json".to_owned()),
            (Message::Ping(payload), _) => {
                if self.state == State::Open {
                    self.frame(Opcode::Pong, payload);
                }
            }
            (Message::Pong(payload), _) => self.present |= payload == ROLL_CALL,
            (Message::Close(code, reason), _) => {
                self.close = Some((code, reason.to_owned()));
                self.end_windows();
                if self.state == State::Open {
                    let code = code.map_or(1000, CloseCode::get).to_be_bytes();
                    self.frame(Opcode::Close, &code);
                }
                self.state = State::Closing;
            }
        }
    }

    fn handle_wamp(&mut self, text: &str, now: u64) {
        let Ok(Value::Array(message)) = serde_json::from_str::<Value>(text) else {
            return self.fail(format!("not a WAMP message: {text}"));
        };
        let number = |at: usize| message.get(at).and_then(Value::as_u64).unwrap_or(u64::MAX);
        match number(0) {
            2 => {
                let Kind::Wamp(channels) = self.kind.clone() else {
                    return;
                };
                for channel in channels {
                    self.subscribe(channel);
                }
            }
            33 => {
                let Some(channel) = self.subscribing.remove(&number(1)) else {
                    return self.fail(format!("SUBSCRIBED without a request: {text}"));
                };
                // Subscribed already: still one subscription, and nothing begins anew.
                if !self.by_subscription.contains_key(&number(2)) {
                    let window = self.open_window(channel, now);
                    self.by_subscription.insert(number(2), window);
                }
            }
            17 => match self.awaiting_ack.remove(&number(1)) {
                Some(id) => self.acked.push(id),
                None => self.fail(format!("PUBLISHED without a request: {text}")),
            },
            36 => {
                let Some(&window) = self.by_subscription.get(&number(1)) else {
                    // Events may be on their way when the subscription ends.
                    let ended = self.windows.iter().any(|window| window.ended);
                    if !ended {
                        self.fail(format!("EVENT before SUBSCRIBED: {text}"));
                    }
                    return;
                };
                let payload = message
                    .get(4)
                    .and_then(|args| args.get(0))
                    .and_then(Value::as_str);
                match payload.map(|text| text.strip_prefix('\0').map(|b| STANDARD.decode(b))) {
                    Some(None) => self.receive(window, payload.unwrap_or("").as_bytes()),
                    Some(Some(Ok(bytes))) => self.receive(window, &bytes),
                    _ => self.fail(format!("EVENT without a payload: {text}")),
                }
            }
            35 | 6 => {}
            _ => self.fail(format!("unexpected: {text}")),
        }
    }

    fn receive(&mut self, window: usize, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let mut parts = text.trim_start_matches('p').split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
        match (number(), number(), self.windows.get_mut(window)) {
            (Some(peer), Some(n), Some(window)) => window.received.push((peer, n as u32)),
            _ => self.fail(format!("a payload nobody sent: {text:?}")),
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

const ROLL_CALL: &[u8] = b"roll call";

/// The channel's name on the wire.
fn name_of(channel: usize) -> String {
    format!("room.number{channel}")
}
