//! Peers that speak Pusher's protocol: they subscribe to channels of all kinds, with good signatures and bad
//! ones, publish where they are subscribed and where they are not, and some vanish.
//!
//! What is promised: an event comes on channels alone that are subscribed to, with a good signature where one is
//! needed; no client gets its own events, and each publisher's come in order, with its user where there are
//! members; of members, all that came before are in the answer, each is told once as come and once as gone,
//! behind what was answered, and in the end those are known that are there, and elsewhere how many.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use roost_auth::PusherApp;
use roost_dialect::pusher::Kind;
use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::{ClientRequest, HeadScanner, encode_key, parse_response};
use roost_wire::{CloseCode, Inbound, Input, Limits, Message, Opcode, Role};
use serde_json::{Value, json};

use super::plan::Plan;
use super::pusher_app::app;

/// All of them, on one simulated driver.
pub(super) struct PusherPeers {
    driver: SimDriver,
    address: SocketAddr,
    peers: Vec<PusherPeer>,
    rng: SimRng,
    /// When which peer goes on.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    end_ns: u64,
}

struct PusherPeer {
    index: usize,
    app: PusherApp,
    is_open: bool,
    /// Its connection has ended, or is ending.
    is_over: bool,
    /// Since when.
    over_at: Option<u64>,
    key: String,
    scanner: HeadScanner,
    head: Vec<u8>,
    inbound: Inbound,
    outgoing: Vec<u8>,
    in_flight: bool,
    holds_socket: bool,
    /// Of the connection, once it is established.
    socket_id: Option<String>,
    channels: BTreeMap<&'static str, State>,
    /// Channels that it has left and of which that is not sure yet, by the pongs to come before it is.
    leaving: BTreeMap<&'static str, u64>,
    pings: u64,
    pongs: u64,
    published: u64,
    answered: u64,
    received: u64,
    /// The time of what is done now.
    now: u64,
    /// When it has asked for a channel, and since when it knows that it is in it.
    asked_at: BTreeMap<&'static str, u64>,
    active_since: BTreeMap<&'static str, u64>,
    /// Of channels with members: when it asked, and who was in the answer.
    answers: Vec<(&'static str, u64, BTreeSet<String>)>,
    /// How many there are in a channel, as it was told last.
    counts: BTreeMap<&'static str, u64>,
    /// The newest event of each publisher on each channel.
    newest: BTreeMap<(&'static str, u64), u64>,
    failure: Option<String>,
}

/// A channel that it has asked for.
#[derive(Debug)]
enum State {
    /// Not answered; whether the signature is good.
    Asked(bool),
    /// With the users that it knows there.
    Active(BTreeSet<String>),
}

impl PusherPeers {
    pub(super) fn new(
        plan: &Plan,
        driver: SimDriver,
        address: SocketAddr,
        mut rng: SimRng,
    ) -> PusherPeers {
        let mut agenda = BinaryHeap::new();
        let length = plan.end_ns - plan.start_ns;
        for index in 0..plan.pusher_peers {
            agenda.push(Reverse((plan.start_ns + rng.below(length / 3), index)));
        }
        let mut peers = PusherPeers {
            driver,
            address,
            peers: (0..plan.pusher_peers).map(PusherPeer::new).collect(),
            rng,
            agenda,
            end_ns: plan.end_ns,
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
            self.close(index);
        }
    }

    /// How many subscriptions were answered, and how many events received.
    ///
    /// # Errors
    /// What came and was not expected, or is missing on a connection that works.
    pub(super) fn check(&self, plan: &Plan) -> Result<(u64, u64), String> {
        let (mut answered, mut received) = (0, 0);
        for peer in &self.peers {
            let err = |what: &str| Err(format!("Pusher peer {}: {what}", peer.index));
            if let Some(failure) = &peer.failure {
                return err(failure);
            }
            answered += peer.answered;
            received += peer.received;
            for (channel, asked, users) in &peer.answers {
                let missing = self.users_since(channel, *asked);
                let missing: Vec<_> = missing.difference(users).collect();
                if !missing.is_empty() {
                    return err(&format!("{missing:?} came before it to {channel}"));
                }
            }
            if !plan.reliable || peer.is_over {
                continue;
            }
            for (&channel, state) in &peer.channels {
                match state {
                    State::Asked(_) => return err(&format!("no answer for {channel}")),
                    State::Active(users) if Kind::of(channel).has_members => {
                        let there = self.users_in(channel);
                        let mut others = users.difference(&there);
                        if !there.is_subset(users) || others.any(|user| !self.has_just_left(user)) {
                            return err(&format!(
                                "{users:?} in {channel}, and there are {there:?}"
                            ));
                        }
                    }
                    State::Active(_) if channel == LOBBY => {}
                    State::Active(_) => {
                        let (told, there) = (peer.counts.get(channel), self.count_in(channel));
                        let known = there..=there + self.count_just_left(channel);
                        if !told.is_some_and(|told| known.contains(told)) {
                            return err(&format!("{told:?} in {channel}, and there are {there}"));
                        }
                    }
                }
            }
        }
        Ok((answered, received))
    }

    fn count_in(&self, channel: &str) -> u64 {
        let here = self.peers.iter().filter(|peer| !peer.is_over);
        here.filter(|peer| peer.channels.contains_key(channel))
            .count() as u64
    }

    /// Connections there that have ended, of which others may not have been told yet.
    fn count_just_left(&self, channel: &str) -> u64 {
        let now = self.driver.now();
        let is_just_over = |peer: &&PusherPeer| peer.over_at.is_some_and(|at| at + TOLD_NS > now);
        let left = self.peers.iter().filter(is_just_over);
        left.filter(|peer| peer.channels.contains_key(channel))
            .count() as u64
    }

    fn users_in(&self, channel: &str) -> BTreeSet<String> {
        let here = self.peers.iter().filter(|peer| !peer.is_over);
        let here = here.filter(|peer| matches!(peer.channels.get(channel), Some(State::Active(_))));
        here.map(PusherPeer::user).collect()
    }

    /// The users that knew at a time that they were in a channel, and have been ever since.
    fn users_since(&self, channel: &str, at: u64) -> BTreeSet<String> {
        let here = self.peers.iter().filter(|peer| !peer.is_over);
        let here = here.filter(|peer| {
            peer.active_since
                .get(channel)
                .is_some_and(|&since| since < at)
        });
        here.map(PusherPeer::user).collect()
    }

    /// Whether a connection of the user has ended, and others may not have been told yet.
    fn has_just_left(&self, user: &str) -> bool {
        let now = self.driver.now();
        let mut theirs = self.peers.iter().filter(|peer| peer.user() == user);
        theirs.any(|peer| peer.over_at.is_some_and(|at| at + TOLD_NS > now))
    }

    pub(super) fn run_once(&mut self) {
        let mut changed = Vec::new();
        let now = self.driver.now();
        while let Some(event) = self.driver.next_event() {
            let index = match event {
                Event::Connected(key) => {
                    self.peers[index_of(key)].send_request();
                    index_of(key)
                }
                Event::Sent(key) => {
                    self.peers[index_of(key)].in_flight = false;
                    index_of(key)
                }
                Event::Bytes(key, bytes) => {
                    self.peers[index_of(key)].now = now;
                    self.peers[index_of(key)].handle_bytes(bytes);
                    index_of(key)
                }
                Event::ReadClosed(key) => {
                    self.peers[index_of(key)].is_over = true;
                    index_of(key)
                }
                Event::Closed(key, _) => {
                    let peer = &mut self.peers[index_of(key)];
                    peer.is_over = true;
                    peer.holds_socket = false;
                    continue;
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => continue,
            };
            changed.push(index);
        }
        for index in changed {
            self.flush(index);
        }
        let now = self.driver.now();
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            self.go_on(index);
            let next = now + self.rng.between(20_000_000, 400_000_000);
            if next < self.end_ns && !self.peers[index].is_over {
                self.agenda.push(Reverse((next, index)));
            }
        }
        for peer in self.peers.iter_mut().filter(|peer| peer.is_over) {
            peer.over_at.get_or_insert(now);
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    /// Dials, or does something.
    fn go_on(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if peer.is_over {
            return;
        }
        if !peer.holds_socket {
            let port = PORT_FIRST + index as u16;
            let options = ConnectOptions {
                addr: self.address,
                local: Some(SocketAddr::from(([10, 0, 6, 1], port))),
            };
            peer.holds_socket = self.driver.connect(key_of(index), &options).is_ok();
            peer.is_over = !peer.holds_socket;
            return;
        }
        if peer.socket_id.is_none() {
            return;
        }
        if self.rng.per_mille(20) {
            return self.close(index);
        }
        peer.now = self.driver.now();
        for _ in 0..self.rng.between(1, 4) {
            peer.act(&mut self.rng);
        }
        self.flush(index);
    }

    fn close(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.is_over = true;
        if std::mem::take(&mut peer.holds_socket) {
            self.driver.close(key_of(index), CloseMode::Abort);
        }
    }

    fn flush(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if peer.is_over && peer.outgoing.is_empty() {
            return self.close(index);
        }
        if peer.in_flight || !peer.holds_socket || peer.outgoing.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut peer.outgoing);
        match self.driver.send_copy(key_of(index), &bytes) {
            SendStatus::Done => {}
            SendStatus::Pending => peer.in_flight = true,
            SendStatus::Gone => peer.is_over = true,
        }
    }
}

impl PusherPeer {
    fn new(index: usize) -> PusherPeer {
        let mut nonce = [11; 16];
        nonce[0] = index as u8;
        PusherPeer {
            index,
            app: app(),
            is_open: false,
            is_over: false,
            over_at: None,
            key: encode_key(nonce),
            scanner: HeadScanner::default(),
            head: Vec::new(),
            inbound: Inbound::new(Role::Client),
            outgoing: Vec::new(),
            in_flight: false,
            holds_socket: false,
            socket_id: None,
            channels: BTreeMap::new(),
            leaving: BTreeMap::new(),
            pings: 0,
            pongs: 0,
            published: 0,
            answered: 0,
            received: 0,
            now: 0,
            asked_at: BTreeMap::new(),
            active_since: BTreeMap::new(),
            answers: Vec::new(),
            counts: BTreeMap::new(),
            newest: BTreeMap::new(),
            failure: None,
        }
    }

    /// Several peers are one user.
    fn user(&self) -> String {
        user_of(self.index as u64)
    }

    fn send_request(&mut self) {
        let request = ClientRequest {
            host: "roost.test",
            target: "/app/key?protocol=7&client=sim",
            key: &self.key,
            protocols: &[],
            extensions: None,
            origin: None,
        };
        request.write(&mut self.outgoing);
    }

    /// A message of any kind.
    fn act(&mut self, rng: &mut SimRng) {
        let channel = CHANNELS[rng.below(CHANNELS.len() as u64) as usize];
        if self.leaving.contains_key(channel) {
            return;
        }
        match (rng.below(8), self.channels.get(channel)) {
            (0, Some(State::Active(_))) => {
                self.channels.remove(channel);
                self.active_since.remove(channel);
                self.leaving.insert(channel, self.pings + 1);
                self.send(&json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}));
                self.ping();
            }
            (1, _) => self.ping(),
            (_, Some(State::Active(_))) => self.publish(channel),
            // Where it is not subscribed: an error, and nothing else.
            (2, None) => self.publish(channel),
            (_, None) => self.subscribe(channel, !rng.per_mille(150)),
            (_, Some(State::Asked(_))) => {}
        }
    }

    fn ping(&mut self) {
        self.pings += 1;
        self.send(&json!({"event": "pusher:ping", "data": {}}));
    }

    fn subscribe(&mut self, channel: &'static str, is_good: bool) {
        let kind = Kind::of(channel);
        let user = self.user();
        let data = kind
            .has_members
            .then(|| json!({"user_id": user, "user_info": {"n": self.index}}).to_string());
        let id = self.socket_id.clone().unwrap_or_default();
        let signing = &self.app.signing;
        let signature = match is_good {
            true => signing.sign_channel(&id, channel, data.as_deref()),
            false => signing.sign_channel("1.1", channel, data.as_deref()),
        };
        let auth = kind.is_private.then(|| format!("key:{signature}"));
        let is_good = is_good || !kind.is_private;
        self.channels.insert(channel, State::Asked(is_good));
        self.asked_at.insert(channel, self.now);
        let data = json!({"channel": channel, "auth": auth, "channel_data": data});
        self.send(&json!({"event": "pusher:subscribe", "data": data}));
    }

    fn publish(&mut self, channel: &'static str) {
        self.published += 1;
        let data = json!({"p": self.index, "n": self.published, "c": channel});
        self.send(&json!({"event": "client-e", "channel": channel, "data": data}));
    }

    fn send(&mut self, message: &Value) {
        self.frame(Opcode::Text, message.to_string().as_bytes());
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        append_masked_frame(&mut self.outgoing, opcode, payload, [1, 2, 3, 4]);
    }

    fn handle_bytes(&mut self, bytes: &mut [u8]) {
        if self.is_over {
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
            self.is_over = true; // the server has no room
            return;
        }
        if let Err(error) = parse_response(head, &self.key, &[]) {
            return self.fail(format!("bad handshake answer: {error:?}"));
        }
        self.is_open = true;
        self.handle_frames(rest);
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
                Ok(Some(Message::Close(code, reason))) => self.handle_close(code, reason),
                Ok(Some(Message::Text(text))) => self.handle_message(text),
                Ok(Some(Message::Ping(_))) => self.fail("a WebSocket ping".to_owned()),
                Ok(Some(Message::Binary(_))) => self.fail("a binary message".to_owned()),
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
        if self.is_over {
            return;
        }
        let code = code.map_or(0, CloseCode::get);
        // Idle, beyond the budget, slow, drained, its pong late.
        if !matches!(code, 1001 | 1013 | 4100 | 4200 | 4201) {
            self.fail(format!("closed with {code} {reason:?}"));
        }
        self.frame(Opcode::Close, &1000_u16.to_be_bytes());
        self.is_over = true;
    }

    fn handle_message(&mut self, text: &str) {
        if self.is_over {
            return;
        }
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return self.fail(format!("no JSON: {text}"));
        };
        let event = message["event"].as_str().unwrap_or_default();
        let data = match &message["data"] {
            Value::String(data) => serde_json::from_str(data).unwrap_or(Value::Null),
            other => other.clone(),
        };
        let code = data["code"].as_u64();
        match event {
            "pusher:connection_established" if self.socket_id.is_none() => {
                self.socket_id = data["socket_id"].as_str().map(str::to_owned);
            }
            "pusher:ping" => self.send(&json!({"event": "pusher:pong", "data": {}})),
            "pusher:pong" => {
                self.pongs += 1;
                let pongs = self.pongs;
                self.leaving.retain(|_, ping| *ping > pongs);
            }
            "pusher:error" if matches!(code, Some(4100 | 4200 | 4201 | 4301)) => {}
            _ => {
                let name = message["channel"].as_str().unwrap_or_default();
                let known = CHANNELS.iter().find(|one| **one == name);
                let Some(&channel) = known else {
                    return self.fail(format!("not expected: {text}"));
                };
                let user = message["user_id"].as_str();
                if let Err(error) = self.handle_event(channel, (event, user), &data) {
                    self.fail(format!("{error}: {text}"));
                }
            }
        }
    }

    fn handle_event(
        &mut self,
        channel: &'static str,
        (event, user): (&str, Option<&str>),
        data: &Value,
    ) -> Result<(), &'static str> {
        let own = self.user();
        if self.leaving.contains_key(channel) {
            return Ok(()); // it was on its way
        }
        let state = self.channels.get_mut(channel).ok_or("not subscribed to")?;
        match (event, state) {
            ("pusher_internal:subscription_succeeded", state @ State::Asked(true)) => {
                let ids = data["presence"]["ids"].as_array();
                let ids = ids.into_iter().flatten().filter_map(Value::as_str);
                let users: BTreeSet<String> = ids.map(str::to_owned).collect();
                let has_members = Kind::of(channel).has_members;
                if has_members != users.contains(&own) {
                    return Err("it is a member itself, where there are members");
                }
                if has_members {
                    self.answers
                        .push((channel, self.asked_at[channel], users.clone()));
                }
                self.active_since.insert(channel, self.now);
                *state = State::Active(users);
                self.answered += 1;
            }
            ("pusher:subscription_error", State::Asked(is_good)) => {
                // Of room there may be none.
                if *is_good && data["type"] != "LimitReached" {
                    return Err("its signature is good");
                }
                self.channels.remove(channel);
                self.answered += 1;
            }
            ("pusher:cache_miss", State::Active(_)) if Kind::of(channel).is_cached => {}
            ("pusher_internal:subscription_count", State::Active(_))
                if channel != LOBBY && !Kind::of(channel).has_members =>
            {
                let count = data["subscription_count"].as_u64();
                let count = count
                    .filter(|count| *count > 0)
                    .ok_or("it is there itself")?;
                self.counts.insert(channel, count);
            }
            ("pusher_internal:member_added", State::Active(users)) => {
                let user = data["user_id"].as_str().unwrap_or_default();
                if user == own || !users.insert(user.to_owned()) {
                    return Err("that user is there");
                }
            }
            ("pusher_internal:member_removed", State::Active(users)) => {
                let user = data["user_id"].as_str().unwrap_or_default();
                if user == own || !users.remove(user) {
                    return Err("that user is not there");
                }
            }
            ("client-e", State::Active(_) | State::Asked(true)) => {
                return self.handle_client_event(channel, user, data);
            }
            _ => return Err("not expected"),
        }
        Ok(())
    }

    fn handle_client_event(
        &mut self,
        channel: &'static str,
        user: Option<&str>,
        data: &Value,
    ) -> Result<(), &'static str> {
        let kind = Kind::of(channel);
        let (Some(publisher), Some(number)) = (data["p"].as_u64(), data["n"].as_u64()) else {
            return Err("nothing that a peer has published");
        };
        if publisher == self.index as u64 && !kind.is_cached {
            return Err("its own");
        }
        if data["c"] != channel || !kind.takes_client_events() {
            return Err("of another channel, or of one that takes none");
        }
        let expected = kind.has_members.then(|| user_of(publisher));
        if user != expected.as_deref() {
            return Err("of another user");
        }
        self.received += 1;
        let before = self.newest.insert((channel, publisher), number);
        match before.is_some_and(|before| before >= number && !kind.is_cached) {
            true => Err("it came before"),
            false => Ok(()),
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

fn user_of(index: u64) -> String {
    format!("u{}", index % 3)
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

/// In so long those in a channel are told that one has left.
const TOLD_NS: u64 = 2_000_000_000;
/// As the peers know them.
const CHANNELS: [&str; 8] = [
    LOBBY,
    "cache-a",
    "private-a",
    "private-encrypted-a",
    "private-cache-a",
    "presence-a",
    "presence-b",
    "presence-cache-a",
];
/// Its namespace is that of others' channels.
const LOBBY: &str = "lobby";
/// The port of the first.
const PORT_FIRST: u16 = 42_000;
