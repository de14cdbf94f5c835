//! One peer that speaks Centrifugo's protocol: what it sends, and what it expects of that.

use std::collections::BTreeMap;

use roost_net::sim::SimRng;
use roost_wire::{CloseCode, Message, Opcode};
use serde_json::{Value, json};

use super::centrifugo_streams::StreamClient;
use super::clients::{Act, Client, Socket};
use super::plan::Plan;
use super::presence::{CHANNEL, Rules, Watch};
use super::web_socket::{Pending, Speaker, WebSocket, append_frame, receive};
use crate::centrifugo::{Deltas, Encoding, commands, replies};

pub(super) struct CentrifugoPeer {
    pub(super) index: usize,
    who: Who,
    /// The namespaces of [`super::guarded`] are there.
    has_guarded: bool,
    pub(super) is_connected: bool,
    pub(super) socket: Socket,
    web_socket: WebSocket,
    published: u64,
    /// Commands without an answer.
    pub(super) open: Pending<Asked>,
    /// The channels as the commands that were sent leave them.
    wanted: Vec<String>,
    /// Those that publications may come on: answered with success, and no answer to the end of it yet.
    pub(super) active: Vec<String>,
    /// A subscription was refused for want of room: what is subscribed to is not sure.
    pub(super) is_unsure: bool,
    pub(super) answered: u64,
    /// The newest message of each publisher on each channel.
    pub(super) newest: BTreeMap<(String, u64), u64>,
    pub(super) received: u64,
    pub(super) failure: Option<String>,
    /// The newest of its own publications on each channel that it is to get, or has got.
    pub(super) awaited: BTreeMap<String, u64>,
    pub(super) watch: Watch,
    /// It has no WebSocket.
    pub(super) stream: Option<StreamClient>,
    encoding: Encoding,
    /// Of the channels whose publications come as deltas.
    deltas: BTreeMap<String, Deltas>,
    /// Deltas on those that it has left.
    received_deltas: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Guest,
    Alice,
    Impostor,
}

/// A command that was sent.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Connect,
    Subscribe(String),
    Unsubscribe(String),
    /// With the publication's number, if the peer is to have got it by then.
    Publish(String, Option<u64>),
    Refused(u64),
    /// Who is in a channel, and whether the peer is.
    Presence(bool),
    /// How many are.
    PresenceStats,
    /// The application, which answers with what it is asked, or with an error of its own.
    Called,
}

impl Client for CentrifugoPeer {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn second_mut(&mut self) -> Option<&mut Socket> {
        let stream = self.stream.as_mut().filter(|_| self.is_connected);
        stream.map(|stream| &mut stream.sender)
    }

    fn act(&mut self, rng: &mut SimRng) -> Act {
        if !self.is_connected {
            return Act::Wait; // the token is being checked, or was refused
        }
        if rng.per_mille(20) {
            return Act::Close;
        }
        let lines = rng.between(1, 5);
        let lines: Vec<String> = (0..lines).map(|_| self.command(rng)).collect();
        self.send_frame(Opcode::Text, lines.join("\n").as_bytes());
        Act::Send
    }

    /// The handshake; of a stream with `connect` in it.
    fn send_request(&mut self) {
        if self.stream.is_none() {
            return self
                .web_socket
                .write_request(self.encoding.target(), &mut self.socket.outgoing);
        }
        let commands = self.connect_commands();
        if let Some(stream) = &self.stream {
            self.socket.outgoing = stream.request(&commands);
        }
    }

    fn handle_bytes(&mut self, bytes: &mut [u8]) {
        match self.stream {
            _ if self.socket.is_over => {}
            None => receive(self, bytes),
            Some(_) => self.handle_stream(bytes),
        }
    }

    fn handle_second_bytes(&mut self, bytes: &[u8]) {
        let answered = self.stream.as_mut().map(|stream| stream.answered(bytes));
        match answered.unwrap_or(Ok(true)) {
            Ok(is_taken) => self.socket.is_over |= !is_taken,
            Err(error) => self.fail(error),
        }
    }
}

impl Speaker for CentrifugoPeer {
    fn web_socket_mut(&mut self) -> &mut WebSocket {
        &mut self.web_socket
    }

    /// `connect`, with a subscription behind it in the same message.
    fn handle_open(&mut self) {
        let commands = self.connect_commands();
        self.send_frame(Opcode::Text, commands.as_bytes());
    }

    fn handle_message(&mut self, message: Message<'_>) {
        match message {
            Message::Ping(_) => self.fail("a WebSocket ping".to_owned()),
            Message::Close(code, reason) => self.handle_close(code, reason),
            Message::Text(text) if self.encoding == Encoding::Json => {
                text.split('\n').for_each(|line| self.handle_line(line));
            }
            Message::Binary(bytes) if self.encoding == Encoding::Protobuf => match replies(bytes) {
                Ok(all) => all.iter().for_each(|it| self.handle_line(&it.to_string())),
                Err(why) => self.fail(format!("{why}: {bytes:?}")),
            },
            Message::Pong(_) => {}
            other => self.fail(format!("in another encoding: {other:?}")),
        }
    }

    fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        match &mut self.stream {
            None if opcode == Opcode::Text && self.encoding == Encoding::Protobuf => {
                let lines = str::from_utf8(payload).expect("commands are JSON");
                let message = commands(lines);
                append_frame(&mut self.socket.outgoing, Opcode::Binary, &message);
            }
            None => append_frame(&mut self.socket.outgoing, opcode, payload),
            Some(_) if opcode == Opcode::Close => {} // it has none
            Some(stream) => stream.say(payload),
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

impl CentrifugoPeer {
    pub(super) fn new(index: usize, plan: &Plan) -> CentrifugoPeer {
        let who = match (plan.settings.auth.is_on, index % 4) {
            (true, 1) => Who::Alice,
            (true, 2) => Who::Impostor,
            _ => Who::Guest,
        };
        let stream = StreamClient::of(index, plan.seed);
        CentrifugoPeer {
            index,
            who,
            has_guarded: plan.guarded > 0,
            is_connected: false,
            socket: Socket::default(),
            web_socket: WebSocket::new(9, index, &[]),
            published: 0,
            open: Pending::default(),
            wanted: Vec::new(),
            active: Vec::new(),
            is_unsure: false,
            answered: 0,
            newest: BTreeMap::new(),
            received: 0,
            failure: None,
            awaited: BTreeMap::new(),
            watch: Watch::new(Rules::of(&plan.settings)),
            encoding: match &stream {
                Some(stream) => stream.encoding,
                None => Encoding::ALL[(index + plan.seed as usize) % 2],
            },
            stream,
            deltas: BTreeMap::new(),
            received_deltas: 0,
        }
    }

    /// How many publications came as deltas.
    pub(super) fn deltas(&self) -> u64 {
        let deltas = self.deltas.values().map(|one| one.deltas);
        self.received_deltas + deltas.sum::<u64>()
    }

    fn connect_commands(&mut self) -> String {
        let token = match self.who {
            Who::Guest => None,
            Who::Alice => Some("Alice"),
            Who::Impostor => Some("wrong"),
        };
        let id = self.open.ask(Asked::Connect);
        let connect = json!({"id": id, "connect": {"token": token, "name": "sim"}});
        let mut lines = vec![connect.to_string()];
        if self.who != Who::Impostor {
            lines.push(self.subscribe("cf:0".to_owned(), true));
        }
        lines.join("\n")
    }

    /// A command of any kind, as a line.
    fn command(&mut self, rng: &mut SimRng) -> String {
        let channel = match rng.below(8) {
            channel @ 0..=3 => format!("cf:{channel}"),
            4 => Plan::name_of(0),
            5 if self.has_guarded => "granted:a.cf".to_owned(),
            6 if self.has_guarded => "shut:cf".to_owned(),
            _ => "cf:0".to_owned(),
        };
        match rng.below(if self.watch.is_on() { 12 } else { 10 }) {
            0 | 1 => self.subscribe(channel, rng.per_mille(500)),
            10 | 11 => self.ask_presence(rng),
            2 => {
                let id = self.open.ask(Asked::Unsubscribe(channel.clone()));
                self.wanted.retain(|one| *one != channel);
                self.forget_awaited(&channel);
                json!({"id": id, "unsubscribe": {"channel": channel}}).to_string()
            }
            // One at a time: some are never answered by the application, and what is behind one waits.
            3 if !self
                .open
                .values()
                .any(|asked| matches!(asked, Asked::Called)) =>
            {
                let id = self.open.ask(match self.has_guarded {
                    true => Asked::Called,
                    false => Asked::Refused(108),
                });
                json!({"id": id, "rpc": {"method": "m", "data": [self.index, id]}}).to_string()
            }
            // The raw and WAMP peers know all that is published on theirs.
            _ if channel == Plan::name_of(0) => self.publish("cf:0".to_owned()),
            _ => self.publish(channel),
        }
    }

    /// The peer unsubscribes: what it has published there need not come any more, answered or not.
    fn forget_awaited(&mut self, channel: &str) {
        self.awaited.remove(channel);
        for asked in self.open.values_mut() {
            match asked {
                Asked::Publish(there, number) if *there == channel => *number = None,
                _ => {}
            }
        }
    }

    /// Who is in a channel. What was sent before decides whether the peer is.
    fn ask_presence(&mut self, rng: &mut SimRng) -> String {
        let channel = format!("{CHANNEL}{}", rng.below(4));
        if rng.per_mille(300) {
            let id = self.open.ask(Asked::PresenceStats);
            return json!({"id": id, "presence_stats": {"channel": channel}}).to_string();
        }
        let id = self
            .open
            .ask(Asked::Presence(self.wanted.contains(&channel)));
        json!({"id": id, "presence": {"channel": channel}}).to_string()
    }

    fn subscribe(&mut self, channel: String, join_leave: bool) -> String {
        let asked = if !self.may(&channel) {
            Asked::Refused(103)
        } else if self.wanted.contains(&channel) {
            Asked::Refused(105)
        } else {
            self.wanted.push(channel.clone());
            Asked::Subscribe(channel.clone())
        };
        let id = self.open.ask(asked);
        if join_leave {
            self.watch.ask(id);
        }
        let mut subscribe = json!({"channel": channel, "join_leave": join_leave});
        if !(self.index + id as usize).is_multiple_of(3) {
            subscribe["delta"] = json!("fossil");
        }
        json!({"id": id, "subscribe": subscribe}).to_string()
    }

    fn publish(&mut self, channel: String) -> String {
        self.published += 1;
        let number = self.published;
        let is_active = self.active.contains(&channel) && self.wanted.contains(&channel);
        let asked = match self.may(&channel) {
            true => Asked::Publish(channel.clone(), is_active.then_some(number)),
            false => Asked::Refused(103),
        };
        let id = self.open.ask(asked);
        // Long enough for a delta to be worth it.
        let same = "same".repeat(20);
        let data = json!({"p": self.index, "n": number, "c": channel, "same": same});
        json!({"id": id, "publish": {"channel": channel, "data": data}}).to_string()
    }

    fn may(&self, channel: &str) -> bool {
        match channel {
            "shut:cf" => false,
            "granted:a.cf" => self.who == Who::Alice,
            _ => true,
        }
    }

    /// Bytes of a response that goes on.
    fn handle_stream(&mut self, bytes: &[u8]) {
        let lines = self.stream.as_mut().map(|stream| stream.lines(bytes));
        match lines.unwrap_or(Ok(None)) {
            Ok(Some(lines)) => lines.iter().for_each(|line| self.handle_line(line)),
            Ok(None) => self.socket.is_over = true,
            Err(error) => self.fail(error),
        }
    }

    fn handle_close(&mut self, code: Option<CloseCode>, reason: &str) {
        if self.socket.is_over {
            return; // its `connect` was refused, and so is what it has sent behind
        }
        let code = code.map_or(0, CloseCode::get);
        let is_expected = match code {
            // Idle, drained, slow or beyond the budget, its pong late.
            1001 | 1013 | 3001 | 3008 | 3012 => true,
            // Its `connect` was late.
            3502 => !self.is_connected,
            // The control thread has ended, or is late.
            3004 => !self.is_connected && self.who != Who::Guest,
            3500 if self.who == Who::Impostor => !self.is_connected,
            // The application has revoked its token, or has ended its user's connections.
            3500 => self.who == Who::Alice,
            1008 => self.who == Who::Alice && reason == "elsewhere",
            _ => false,
        };
        if !is_expected {
            self.fail(format!("closed with {code} {reason:?}"));
        }
        self.answer_close();
    }

    fn handle_line(&mut self, line: &str) {
        let Ok(reply) = serde_json::from_str::<Value>(line) else {
            return self.fail(format!("no JSON: {line}"));
        };
        if line == "{}" {
            return self.send_frame(Opcode::Text, b"{}");
        }
        if let Value::Object(close) = &reply["push"]["disconnect"] {
            let code = close["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok());
            let reason = close["reason"].as_str().unwrap_or_default();
            return self.handle_close(code.and_then(CloseCode::new), reason);
        }
        if let Value::Object(push) = &reply["push"] {
            let channel = push["channel"].as_str().unwrap_or_default();
            if push.contains_key("pub") {
                return self.handle_publication(channel, &push["pub"], line);
            }
            if !self.active.iter().any(|one| one == channel) {
                return self.fail(format!("not subscribed to: {line}"));
            }
            if let Err(error) = self.watch.told(channel, &reply["push"]) {
                self.fail(format!("{error}: {line}"));
            }
            return;
        }
        let id = reply["id"].as_u64();
        let Some(asked) = id.and_then(|id| self.open.take(id)) else {
            return self.fail(format!("an answer to no open command: {line}"));
        };
        self.answered += 1;
        self.handle_answer(asked, &reply, line);
    }

    fn handle_answer(&mut self, asked: Asked, reply: &Value, line: &str) {
        let code = reply["error"]["code"].as_u64();
        match (asked, code) {
            (Asked::Connect, None) if self.who != Who::Impostor => {
                self.is_connected = true;
                if let Some(stream) = &mut self.stream {
                    let name = reply["connect"]["session"].as_str();
                    stream.session = name.unwrap_or_default().to_owned();
                }
                self.watch.connected(reply);
            }
            // The token could not be checked.
            (Asked::Connect, Some(100)) if self.who != Who::Guest => {
                self.socket.is_over = true;
            }
            (Asked::Subscribe(channel), None) => {
                self.watch.subscribed(&channel, &reply["id"]);
                if reply["subscribe"]["delta"] == true {
                    self.deltas.insert(channel.clone(), Deltas::default());
                }
                self.active.push(channel);
            }
            (Asked::Presence(_) | Asked::PresenceStats, Some(111)) => {}
            (Asked::PresenceStats, None) if reply["presence_stats"]["num_users"].is_u64() => {}
            // Protobuf has no word for a list that is cut.
            (Asked::Presence(_), None)
                if self.encoding == Encoding::Protobuf
                    && self.watch.rules.may_be_truncated
                    && reply["presence"]["presence"] == json!({}) => {}
            (Asked::Presence(is_there), None) if !self.is_unsure => {
                let user = if self.who == Who::Alice { "alice" } else { "" };
                let checked = self.watch.check_members(&reply["presence"], user, is_there);
                if let Err(error) = checked {
                    self.fail(format!("{error}: {line}"));
                }
            }
            (Asked::Subscribe(_), Some(100)) => self.is_unsure = true,
            (Asked::Unsubscribe(channel), None) => {
                self.active.retain(|one| *one != channel);
                self.received_deltas += self.deltas.remove(&channel).map_or(0, |it| it.deltas);
            }
            (Asked::Publish(channel, Some(number)), None) => {
                if self.active.contains(&channel) && self.wanted.contains(&channel) {
                    self.awaited.insert(channel, number);
                }
            }
            (Asked::Publish(_, None), None) => {}
            (Asked::Publish(..), Some(100)) => {}
            (Asked::Refused(expected), Some(code)) if code == expected => {}
            (Asked::Called, Some(100 | 1000)) => {}
            (Asked::Called, None) if reply["rpc"]["data"] == json!([self.index, reply["id"]]) => {}
            _ if self.is_unsure => {}
            (asked, _) => self.fail(format!("{line} answers {asked:?}")),
        }
    }

    fn handle_publication(&mut self, channel: &str, publication: &Value, line: &str) {
        if !self.active.iter().any(|one| one == channel) {
            return self.fail(format!("not subscribed to: {line}"));
        }
        self.received += 1;
        let read = self
            .deltas
            .get_mut(channel)
            .map(|deltas| deltas.read(self.encoding, publication));
        let data = match read.transpose() {
            Ok(read) => read.unwrap_or_else(|| publication["data"].clone()),
            Err(error) => return self.fail(format!("{error}: {line}")),
        };
        if data.is_string() || channel == Plan::name_of(0) {
            return; // of a raw or WAMP peer
        }
        let (Some(publisher), Some(number)) = (data["p"].as_u64(), data["n"].as_u64()) else {
            return self.fail(format!("nothing that a peer has published: {line}"));
        };
        let user = publication["info"]["user"].as_str();
        if data["c"] != channel || !matches!(user, Some("" | "alice")) {
            return self.fail(format!("of another channel or user: {line}"));
        }
        let before = self.newest.insert((channel.to_owned(), publisher), number);
        if before.is_some_and(|before| before >= number) {
            self.fail(format!("{line} behind {before:?}"));
        }
    }
}
