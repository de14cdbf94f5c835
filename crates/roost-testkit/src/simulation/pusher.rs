//! Peers that speak Pusher's protocol: they subscribe to channels of all kinds, with good signatures and bad
//! ones, publish where they are subscribed and where they are not, and some vanish.
//!
//! What is promised: an event comes on channels alone that are subscribed to, with a good signature where one is
//! needed; no client gets its own events, and each publisher's come in order, with its user where there are
//! members; of members, all that came before are in the answer, each is told once as come and once as gone,
//! behind what was answered, and in the end those are known that are there, and elsewhere how many.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use roost_auth::PusherApp;
use roost_dialect::pusher::Kind;
use roost_net::sim::{SimDriver, SimRng};
use roost_wire::{CloseCode, Message, Opcode};
use serde_json::{Value, json};

use super::clients::{Act, Client, Clients, Socket, Way};
use super::plan::Plan;
use super::pusher_app::app;
use super::web_socket::{Speaker, WebSocket, receive};

/// All of them.
pub(super) type PusherPeers = Clients<PusherPeer>;

pub(super) struct PusherPeer {
    index: usize,
    app: PusherApp,
    socket: Socket,
    web_socket: WebSocket,
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

impl Clients<PusherPeer> {
    pub(super) fn new(plan: &Plan, driver: SimDriver, to: SocketAddr, rng: SimRng) -> PusherPeers {
        let way = Way {
            driver,
            to,
            from: ([10, 0, 6, 1], PORT_FIRST),
            pause_ns_max: 400_000_000,
        };
        let peers = (0..plan.pusher_peers).map(PusherPeer::new).collect();
        Clients::begin(way, peers, plan.start_ns..plan.end_ns, rng)
    }

    /// How many subscriptions were answered, and how many events received.
    ///
    /// # Errors
    /// What came and was not expected, or is missing on a connection that works.
    pub(super) fn check(&self, plan: &Plan) -> Result<(u64, u64), String> {
        let (mut answered, mut received) = (0, 0);
        for peer in self.all() {
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
            if !plan.reliable || peer.socket.is_over {
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
        let here = self.all().iter().filter(|peer| !peer.socket.is_over);
        here.filter(|peer| peer.channels.contains_key(channel))
            .count() as u64
    }

    /// Connections there that have ended, of which others may not have been told yet.
    fn count_just_left(&self, channel: &str) -> u64 {
        let now = self.now();
        let is_just_over =
            |peer: &&PusherPeer| peer.socket.over_at.is_some_and(|at| at + TOLD_NS > now);
        let left = self.all().iter().filter(is_just_over);
        left.filter(|peer| peer.channels.contains_key(channel))
            .count() as u64
    }

    fn users_in(&self, channel: &str) -> BTreeSet<String> {
        let here = self.all().iter().filter(|peer| !peer.socket.is_over);
        let here = here.filter(|peer| matches!(peer.channels.get(channel), Some(State::Active(_))));
        here.map(PusherPeer::user).collect()
    }

    /// The users that knew at a time that they were in a channel, and have been ever since.
    fn users_since(&self, channel: &str, at: u64) -> BTreeSet<String> {
        let here = self.all().iter().filter(|peer| !peer.socket.is_over);
        let here = here.filter(|peer| {
            peer.active_since
                .get(channel)
                .is_some_and(|&since| since < at)
        });
        here.map(PusherPeer::user).collect()
    }

    /// Whether a connection of the user has ended, and others may not have been told yet.
    fn has_just_left(&self, user: &str) -> bool {
        let now = self.now();
        let mut theirs = self.all().iter().filter(|peer| peer.user() == user);
        theirs.any(|peer| peer.socket.over_at.is_some_and(|at| at + TOLD_NS > now))
    }
}

impl Client for PusherPeer {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn act(&mut self, rng: &mut SimRng) -> Act {
        if self.socket_id.is_none() {
            return Act::Wait;
        }
        if rng.per_mille(20) {
            return Act::Close;
        }
        for _ in 0..rng.between(1, 4) {
            self.say_something(rng);
        }
        Act::Send
    }

    fn send_request(&mut self) {
        let out = &mut self.socket.outgoing;
        self.web_socket
            .write_request("/app/key?protocol=7&client=sim", out);
    }

    fn handle_bytes(&mut self, bytes: &mut [u8]) {
        receive(self, bytes);
    }
}

impl Speaker for PusherPeer {
    fn web_socket_mut(&mut self) -> &mut WebSocket {
        &mut self.web_socket
    }

    fn handle_message(&mut self, message: Message<'_>) {
        match message {
            Message::Close(code, reason) => self.handle_close(code, reason),
            Message::Text(text) => self.handle_text(text),
            Message::Ping(_) => self.fail("a WebSocket ping".to_owned()),
            Message::Binary(_) => self.fail("a binary message".to_owned()),
            Message::Pong(_) => {}
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

impl PusherPeer {
    fn new(index: usize) -> PusherPeer {
        PusherPeer {
            index,
            app: app(),
            socket: Socket::default(),
            web_socket: WebSocket::new(11, index, &[]),
            socket_id: None,
            channels: BTreeMap::new(),
            leaving: BTreeMap::new(),
            pings: 0,
            pongs: 0,
            published: 0,
            answered: 0,
            received: 0,
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

    /// A message of any kind.
    fn say_something(&mut self, rng: &mut SimRng) {
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
        self.asked_at.insert(channel, self.socket.now);
        let data = json!({"channel": channel, "auth": auth, "channel_data": data});
        self.send(&json!({"event": "pusher:subscribe", "data": data}));
    }

    fn publish(&mut self, channel: &'static str) {
        self.published += 1;
        let data = json!({"p": self.index, "n": self.published, "c": channel});
        self.send(&json!({"event": "client-e", "channel": channel, "data": data}));
    }

    fn send(&mut self, message: &Value) {
        self.send_frame(Opcode::Text, message.to_string().as_bytes());
    }

    fn handle_close(&mut self, code: Option<CloseCode>, reason: &str) {
        if self.socket.is_over {
            return;
        }
        let code = code.map_or(0, CloseCode::get);
        // Idle, beyond the budget, slow, drained, its pong late.
        if !matches!(code, 1001 | 1013 | 4100 | 4200 | 4201) {
            self.fail(format!("closed with {code} {reason:?}"));
        }
        self.answer_close();
    }

    fn handle_text(&mut self, text: &str) {
        if self.socket.is_over {
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
                self.active_since.insert(channel, self.socket.now);
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
}

fn user_of(index: u64) -> String {
    format!("u{}", index % 3)
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
