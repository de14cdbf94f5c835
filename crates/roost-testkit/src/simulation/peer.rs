//! One peer: what it has sent, received and been promised.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_dialect::wamp::Wire;
use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::{ClientRequest, HeadScanner, encode_key, parse_response};
use roost_wire::{CloseCode, Inbound, Input, Limits, Message, Opcode, Role};
use serde_json::Value;

use super::behavior::{Behavior, Kind, State};
use super::calls::{self, Calls};
use super::plan::Plan;
use super::records::{PubId, Sent, Window};
use super::serializers::{unwrap, wrap};
use super::subscriptions::{Subscriptions, Topic};

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) index: usize,
    pub(super) kind: Kind,
    pub(super) behavior: Behavior,
    pub(super) witness: bool,
    /// How often it wanted new keys.
    pub(super) key_updates: u8,
    /// It subscribes to this pattern whenever it would to a channel.
    pub(super) pattern: Option<usize>,
    /// How many channels there are.
    pub(super) channels: usize,
    /// What its request names as the origin.
    pub(super) origin: Option<&'static str>,
    /// What a proxy adds to its request.
    pub(super) forwarded: String,
    /// It came after the script.
    pub(super) late: bool,
    pub(super) state: State,
    pub(super) windows: Vec<Window>,
    /// WAMP.
    subscriptions: Subscriptions,
    next_request: u64,
    pub(super) calls: Calls,
    publishes: u32,
    pub(super) sent: Vec<Sent>,
    /// Requests of acknowledged publishes, and what they published.
    awaiting_ack: BTreeMap<u64, PubId>,
    /// What was acknowledged, and when that came.
    pub(super) acked: BTreeMap<PubId, u64>,
    pub(super) close: Option<(Option<CloseCode>, String)>,
    /// WAMP: the server sent GOODBYE or ABORT.
    pub(super) goodbye: bool,
    /// Pings sent, and the newest that was answered.
    pub(super) pings: u32,
    pub(super) ponged: u32,
    /// When it handed bytes to the network.
    pub(super) sends: Vec<u64>,
    /// The shortest time it had been quiet when a ping was sent to it.
    pub(super) pinged_after: u64,
    /// When the last message went or came.
    pub(super) last_message: u64,
    /// Bytes sent later: the end of a request, or a pong.
    pub(super) deferred: Vec<u8>,
    /// The sending of those is scheduled.
    pub(super) deferred_planned: bool,
    /// When so much last came at once that more may have waited for it.
    pub(super) backlogged_at: u64,
    /// Bytes that came since a time.
    recent: (u64, usize),
    /// How long it had been without a message when the server closed it.
    pub(super) idle_at_close: u64,
    /// It has not read for a while: the server may have closed it.
    pub(super) stalled: bool,
    /// When it first stopped reading.
    pub(super) stalled_at: u64,
    pub(super) vanished: bool,
    pub(super) sent_close: bool,
    /// It sent FIN and no close frame.
    pub(super) only_fin: bool,
    pub(super) violated_protocol: bool,
    /// The server's FIN has come, behind all the rest.
    pub(super) saw_fin: bool,
    pub(super) refused: Option<u16>,
    /// Bytes that wait for the driver to take them.
    pub(super) outgoing: Vec<u8>,
    pub(super) in_flight: bool,
    /// Behind what waits, FIN goes.
    pub(super) fin_is_next: bool,
    /// FIN has gone; nothing may follow it.
    pub(super) fin_sent: bool,
    /// The driver has its socket, and has not been told to close it.
    pub(super) holds_socket: bool,
    pub(super) failure: Option<String>,
    /// It answered the final ping: its connection works in both directions.
    pub(super) alive: bool,
    pub(super) opened: bool,
    pub(super) opened_at: u64,
    /// When its request for a WebSocket left.
    asked_at: u64,
    /// The reactor that has its connection, once that was seen there.
    pub(super) reactor: Option<usize>,
    /// What its connection held when it was closed for the memory budget.
    pub(super) closed_holding: Option<u64>,
    scanner: HeadScanner,
    head: Vec<u8>,
    key: String,
    inbound: Inbound,
}

impl Peer {
    pub(super) fn new(index: usize, kind: Kind, behavior: Behavior, witness: bool) -> Peer {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(index as u64).to_le_bytes());
        Peer {
            index,
            kind,
            behavior,
            witness,
            key_updates: 0,
            pattern: None,
            channels: 0,
            origin: None,
            forwarded: String::new(),
            late: false,
            state: State::Opening,
            windows: Vec::new(),
            subscriptions: Subscriptions::default(),
            next_request: 1,
            calls: Calls::default(),
            publishes: 0,
            sent: Vec::new(),
            awaiting_ack: BTreeMap::new(),
            acked: BTreeMap::new(),
            close: None,
            goodbye: false,
            pings: 0,
            ponged: 0,
            sends: Vec::new(),
            pinged_after: u64::MAX,
            last_message: 0,
            deferred: Vec::new(),
            deferred_planned: false,
            backlogged_at: 0,
            recent: (0, 0),
            idle_at_close: 0,
            stalled: false,
            stalled_at: u64::MAX,
            vanished: false,
            sent_close: false,
            only_fin: false,
            violated_protocol: false,
            saw_fin: false,
            refused: None,
            outgoing: Vec::new(),
            in_flight: false,
            fin_is_next: false,
            fin_sent: false,
            holds_socket: false,
            failure: None,
            alive: false,
            opened: false,
            opened_at: 0,
            asked_at: 0,
            reactor: None,
            closed_holding: None,
            scanner: HeadScanner::default(),
            head: Vec::new(),
            key: encode_key(nonce),
            inbound: Inbound::new(Role::Client),
        }
    }

    // What it sends.

    /// The request for its WebSocket.
    pub(super) fn send_request(&mut self, now: u64) {
        if self.behavior == Behavior::Silent {
            return;
        }
        let path = match &self.kind {
            Kind::Raw(channel) => format!("/raw/{}", Plan::name_of(*channel)),
            Kind::Wamp(_) => "/wamp".to_owned(),
        };
        let request = ClientRequest {
            host: "roost.test",
            target: &path,
            key: &self.key,
            protocols: &self.protocols(),
            extensions: None,
            origin: self.origin,
        };
        request.write(&mut self.outgoing);
        let end = self.outgoing.len() - b"\r\n".len(); // the empty line
        self.outgoing.splice(end..end, self.forwarded.bytes());
        self.asked_at = now;
        match (self.behavior, self.kind.clone()) {
            (Behavior::PartialRequest, _) => self.outgoing.truncate(self.outgoing.len() / 2),
            (Behavior::EarlyPublish, Kind::Raw(channel)) => {
                self.send_publish(channel, now, 10, false, false)
            }
            _ if self.takes_time() => {
                self.deferred = self.outgoing.split_off(self.outgoing.len() / 2)
            }
            _ => {}
        }
    }

    /// It answers late, and sends nothing by itself before it has.
    pub(super) fn takes_time(&self) -> bool {
        self.behavior == Behavior::Normal && self.index % 3 == 1
    }

    /// Sends what was deferred.
    pub(super) fn send_deferred(&mut self) {
        self.deferred_planned = false;
        if matches!(self.state, State::Opening | State::Open) {
            self.outgoing.append(&mut self.deferred);
        }
    }

    /// Publishes a text of so many bytes. WAMP: `ack` asks for PUBLISHED, `receives_own` for its own
    /// event.
    pub(super) fn publish(
        &mut self,
        channel: usize,
        now: u64,
        bytes: usize,
        ack: bool,
        receives_own: bool,
    ) {
        if self.state == State::Open {
            self.send_publish(channel, now, bytes, ack, receives_own);
        }
    }

    fn send_publish(
        &mut self,
        channel: usize,
        now: u64,
        bytes: usize,
        ack: bool,
        receives_own: bool,
    ) {
        self.publishes += 1;
        self.last_message = now;
        let id = (self.index, self.publishes);
        let text = format!("p{}.{}.{}", id.0, id.1, "x".repeat(bytes));
        let binary = matches!(self.kind, Kind::Raw(_)) && self.publishes.is_multiple_of(3);
        match &self.kind {
            Kind::Raw(_) if binary => self.frame(Opcode::Binary, text.as_bytes()),
            Kind::Raw(_) => self.frame(Opcode::Text, text.as_bytes()),
            Kind::Wamp(_) => {
                let request = self.request();
                if ack {
                    self.awaiting_ack.insert(request, id);
                }
                let exclude = !receives_own;
                let options = format!(r#"{{"acknowledge":{ack},"exclude_me":{exclude}}}"#);
                let topic = Plan::name_of(channel);
                let json = format!(r#"[16,{request},{options},"{topic}",["{text}"]]"#);
                self.send_wamp(&json);
            }
        }
        // RFC 6455 §5.2: up to 125 bytes the length is in the header's second byte.
        let frame_bytes = text.len() as u64 + if text.len() <= 125 { 2 } else { 4 };
        let receives_own = receives_own && matches!(self.kind, Kind::Wamp(_));
        self.sent.push(Sent {
            channel,
            at: now,
            receives_own,
            frame_bytes,
            binary,
        });
    }

    pub(super) fn subscribe(&mut self, channel: usize, now: u64) {
        if self.state == State::Open {
            let request = self.request();
            let topic = match self.pattern {
                None => Topic::Channel(channel),
                Some(pattern) => Topic::Pattern(pattern),
            };
            let json = self.subscriptions.ask(request, topic, now);
            self.send_wamp(&json);
        }
    }

    /// Calls a procedure.
    pub(super) fn call(&mut self) {
        if self.state == State::Open && self.calls.has_room() {
            let request = self.request();
            for json in self.calls.begin(self.index, request) {
                self.send_wamp(&json);
            }
        }
    }

    /// Offers a procedure, as its first act.
    fn register(&mut self) {
        if self.state == State::Open
            && self.behavior == Behavior::Normal
            && self.index.is_multiple_of(2)
        {
            let request = self.request();
            self.send_wamp(&calls::registration(self.index, request));
        }
    }

    /// It is called.
    fn handle_invocation(&mut self, invocation: u64, args: &Value) {
        if self.state == State::Open {
            for json in self.calls.answer(self.index, invocation, args) {
                self.send_wamp(&json);
            }
        }
    }

    pub(super) fn unsubscribe_first(&mut self) {
        if self.state != State::Open {
            return;
        }
        let Some((subscription, windows)) = self.subscriptions.end_first() else {
            return;
        };
        for window in windows {
            self.windows[window].ended = true;
        }
        let request = self.request();
        self.subscriptions.leave(request, subscription);
        self.send_wamp(&format!("[34,{request},{subscription}]"));
    }

    pub(super) fn ping(&mut self) {
        if self.state == State::Open {
            self.pings += 1;
            self.frame(Opcode::Ping, &self.pings.to_le_bytes());
        }
    }

    pub(super) fn send_final_ping(&mut self) {
        if self.state == State::Open && self.behavior != Behavior::NoPong {
            self.frame(Opcode::Ping, FINAL_PING);
        }
    }

    pub(super) fn send_close(&mut self) {
        if self.state == State::Open {
            self.end_windows();
            self.state = State::Closing;
            self.sent_close = true;
            self.frame(Opcode::Close, &[0x03, 0xe8]);
        }
    }

    /// FIN comes next, and no close frame.
    pub(super) fn end_without_close(&mut self) {
        self.end_windows();
        self.state = State::Closing;
        self.only_fin = true;
    }

    /// Breaks the protocol: an unmasked frame.
    pub(super) fn violate_protocol(&mut self) {
        if self.state == State::Open {
            self.end_windows();
            self.state = State::Closing;
            self.violated_protocol = true;
            self.outgoing.extend_from_slice(&[0x81, 0x01, b'x']);
        }
    }

    /// What it has subscribed to, by acknowledgement.
    pub(super) fn subscriptions(&self) -> usize {
        match (&self.kind, self.state) {
            (_, State::Opening | State::Closing | State::Closed) => 0,
            (Kind::Raw(_), State::Open) => 1,
            (Kind::Wamp(_), State::Open) => self.subscriptions.len(),
        }
    }

    /// It stops reading.
    pub(super) fn stall(&mut self, now: u64) {
        self.stalled = true;
        self.stalled_at = self.stalled_at.min(now);
    }

    /// It has always read what came.
    pub(super) fn reads(&self) -> bool {
        !self.stalled && self.behavior != Behavior::NeverReads
    }

    /// Its connection is over.
    pub(super) fn mark_closed(&mut self) {
        self.end_windows();
        self.state = State::Closed;
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

    fn send_wamp(&mut self, json: &str) {
        let (opcode, message) = wrap(self.wire(), json);
        self.frame(opcode, &message);
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = (self.index as u32 ^ self.outgoing.len() as u32).to_le_bytes();
        append_masked_frame(&mut self.outgoing, opcode, payload, mask);
    }

    // What comes.

    pub(super) fn handle_bytes(&mut self, bytes: &mut [u8], now: u64) {
        if now - self.recent.0 > RECENT_NS {
            self.recent = (now, 0);
        }
        self.recent.1 += bytes.len();
        if self.recent.1 >= BACKLOG_BYTES_MIN {
            self.backlogged_at = now;
        }
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
            if let Err(error) = parse_response(head, &self.key, &self.protocols()) {
                return self.fail(format!("bad handshake answer: {error:?}"));
            }
            self.on_open(now);
            self.handle_frames(rest, now);
        } else if self.refused.is_none() {
            self.handle_frames(bytes, now);
        }
    }

    fn protocols(&self) -> Vec<&'static str> {
        match self.kind {
            Kind::Raw(_) => Vec::new(),
            Kind::Wamp(_) => vec![self.wire().subprotocol()],
        }
    }

    /// WAMP: how its messages are written.
    fn wire(&self) -> Wire {
        // Every other peer speaks JSON, as most clients do.
        let at = match self.index % 2 {
            0 => 0,
            _ => self.index / 2 % Wire::ALL.len(),
        };
        Wire::ALL[at].1
    }

    fn on_open(&mut self, now: u64) {
        self.state = State::Open;
        self.opened = true;
        self.opened_at = now;
        self.last_message = now;
        match &self.kind {
            Kind::Raw(channel) => {
                let channel = *channel;
                self.open_window(channel, self.asked_at, now, false);
            }
            Kind::Wamp(_) => {
                let callee = calls::callee_role(self.index);
                let roles = format!(
                    r#"{{"roles":{{"subscriber":{{}},"publisher":{{}},"caller":{{}},"callee":{callee}}}}}"#
                );
                self.send_wamp(&format!(r#"[1,"realm1",{roles}]"#));
            }
        }
    }

    fn open_window(&mut self, channel: usize, asked_at: u64, now: u64, of_pattern: bool) -> usize {
        let ended = self.state != State::Open;
        self.windows.push(Window {
            of_pattern,
            channel,
            asked_at,
            acked_at: now,
            received: Vec::new(),
            times: Vec::new(),
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
                // RFC 6455 §5.5.1: after a close frame comes no message. §5.5.2: a pong may.
                Ok(Some(message)) if self.close.is_some() && !is_pong(&message) => {
                    return self.fail(format!("a frame behind the close frame: {message:?}"));
                }
                Ok(Some(message)) => self.handle_message(message, now),
                Ok(None) => break,
                Err(error) => {
                    return self.fail(format!("the server broke the protocol: {error:?}"));
                }
            }
        }
        self.inbound = inbound;
    }

    fn handle_message(&mut self, message: Message<'_>, now: u64) {
        match (message, &self.kind) {
            (Message::Text(text), Kind::Raw(_)) => self.receive(0, text.as_bytes(), now),
            (Message::Binary(bytes), Kind::Raw(_)) => self.receive(0, bytes, now),
            (Message::Text(text), Kind::Wamp(_)) => {
                self.handle_batch(Opcode::Text, text.as_bytes(), now);
            }
            (Message::Binary(bytes), Kind::Wamp(_)) => {
                self.handle_batch(Opcode::Binary, bytes, now);
            }
            (Message::Ping(payload), _) => {
                let before = self.sends.iter().rev().find(|&&at| at + CROSSING_NS < now);
                let quiet = now - before.unwrap_or(&0);
                self.pinged_after = quiet.min(self.pinged_after);
                if self.state == State::Open && self.behavior != Behavior::NoPong {
                    let before = self.outgoing.len();
                    self.frame(Opcode::Pong, payload);
                    if self.takes_time() {
                        let pong = self.outgoing.split_off(before);
                        self.deferred.extend(pong);
                    }
                }
            }
            (Message::Pong(FINAL_PING), _) => self.alive = true,
            (Message::Pong(payload), _) => match payload.try_into().map(u32::from_le_bytes) {
                Ok(number) if number > self.ponged && number <= self.pings => self.ponged = number,
                _ => self.fail(format!("a pong without a ping: {payload:?}")),
            },
            (Message::Close(code, reason), _) => {
                self.idle_at_close = now - self.last_message;
                self.close = Some((code, reason.to_owned()));
                self.end_windows();
                if self.state == State::Open && self.behavior != Behavior::NoCloseReply {
                    let code = code.map_or(1000, CloseCode::get).to_be_bytes();
                    self.frame(Opcode::Close, &code);
                }
                self.state = State::Closing;
            }
        }
    }

    fn handle_batch(&mut self, opcode: Opcode, message: &[u8], now: u64) {
        match unwrap(self.wire(), opcode, message) {
            Ok(messages) => {
                for json in messages {
                    self.handle_wamp(&json, now);
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn handle_wamp(&mut self, text: &str, now: u64) {
        self.last_message = now;
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
                    self.subscribe(channel, now);
                }
                self.register();
            }
            33 => {
                let asked = self.subscriptions.take_asked(number(1));
                let Some((topic, asked_at)) = asked else {
                    return self.fail(format!("SUBSCRIBED without a request: {text}"));
                };
                // Subscribed already: still one subscription, and nothing begins anew.
                if !self.subscriptions.has(number(2)) {
                    let (channels, of_pattern) = topic.channels(self.channels);
                    let open = |channel| self.open_window(channel, asked_at, now, of_pattern);
                    let windows = channels.into_iter().map(open).collect();
                    self.subscriptions.begin(number(2), topic, windows);
                }
            }
            17 => match self.awaiting_ack.remove(&number(1)) {
                Some(id) => _ = self.acked.insert(id, now),
                None => self.fail(format!("PUBLISHED without a request: {text}")),
            },
            36 => self.handle_event(&message, now),
            code @ (8 | 50) if code == 50 || number(1) == 48 => {
                if let Err(error) = self.calls.take_answer(&message) {
                    self.fail(error);
                }
            }
            65 => {}
            68 => self.handle_invocation(number(1), message.get(4).unwrap_or(&Value::Null)),
            69 if calls::can_be_interrupted(self.index) => self.calls.take_interrupt(&message),
            35 if self.subscriptions.has_left(number(1)) => {}
            3 | 6 => self.goodbye = true,
            _ => self.fail(format!("unexpected: {text}")),
        }
    }

    fn handle_event(&mut self, message: &[Value], now: u64) {
        let subscription = message.get(1).and_then(Value::as_u64).unwrap_or(u64::MAX);
        let channel = message.get(3).and_then(|details| details["topic"].as_str());
        let channel_of = |window: usize| Plan::name_of(self.windows[window].channel);
        let window = match self.subscriptions.window(subscription, channel, channel_of) {
            Ok(Some(window)) => window,
            Ok(None) => return,
            Err(what) => return self.fail(format!("{what}: {message:?}")),
        };
        let payload = message
            .get(4)
            .and_then(|args| args.get(0))
            .and_then(Value::as_str);
        match payload.map(|text| text.strip_prefix('\0').map(|b| STANDARD.decode(b))) {
            Some(None) => self.receive(window, payload.unwrap_or("").as_bytes(), now),
            Some(Some(Ok(bytes))) => self.receive(window, &bytes, now),
            _ => self.fail(format!("EVENT without a payload: {message:?}")),
        }
    }

    fn receive(&mut self, window: usize, payload: &[u8], now: u64) {
        self.last_message = now;
        let text = String::from_utf8_lossy(payload);
        let mut parts = text.trim_start_matches('p').split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
        match (number(), number(), self.windows.get_mut(window)) {
            (Some(peer), Some(n), Some(window)) => {
                window.received.push((peer, n as u32));
                window.times.push(now);
            }
            _ => self.fail(format!("a payload that no peer sent: {text:?}")),
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

fn is_pong(message: &Message<'_>) -> bool {
    matches!(message, Message::Pong(_))
}

/// What was sent so short a time ago may have crossed a ping on its way.
pub(super) const CROSSING_NS: u64 = 200_000_000;
/// The network takes this much at least before anything waits; it comes within a round trip or two.
const BACKLOG_BYTES_MIN: usize = 4_096 / 2;
const RECENT_NS: u64 = 100_000_000;
const FINAL_PING: &[u8] = b"last ping";
