//! WAMP sessions that register, subscribe, retain, and ask the router what there is in their realm.
//!
//! What is promised: what a session has registered or is subscribed to is on each list that it asks for, with
//! itself; nothing on a list is another realm's; and a retained event comes only to a session that has asked for
//! it, right behind its subscription, from its own realm, and never older than what the session has itself
//! retained before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;

use roost_net::sim::{SimDriver, SimRng};
use roost_reactor::{ChannelPolicy, Settings, policy_for_tests};
use roost_wire::{Message, Opcode};
use serde_json::{Value, json};

use super::clients::{Act, Client, Clients, Socket, Way};
use super::web_socket::{Pending, Speaker, WebSocket, receive};

/// The namespace of what they retain. How many there are.
pub(super) fn add(seed: u64, settings: &mut Settings) -> usize {
    let mut rng = SimRng::new(seed ^ 0x6173_6b65);
    let policy = ChannelPolicy {
        history_messages_max: rng.between(1, 4) as u32,
        ..policy_for_tests()
    };
    let namespaces = &mut settings.channels.namespaces;
    namespaces.push((NAMESPACE.to_owned(), policy));
    rng.between(2, 6) as usize
}

/// All of them.
pub(super) type Askers = Clients<Asker>;

/// What was asked and is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Register(String),
    Unregister(u64),
    /// To a topic; whether for what it retains.
    Subscribe(u64, bool),
    Unsubscribe(u64),
    /// A publication to be retained, by topic and number.
    Retain(u64, u64),
    /// A procedure of the router's, the number that it is about, and the session's own registrations and
    /// subscriptions that have been there since.
    Call(&'static str, u64, BTreeSet<u64>),
}

pub(super) struct Asker {
    index: usize,
    /// 0 or 1; all are in 0 where no realm is apart.
    realm: usize,
    socket: Socket,
    web_socket: WebSocket,
    /// The session's number, once it is welcomed.
    id: u64,
    open: Pending<Asked>,
    /// Confirmed, and not being ended.
    registrations: BTreeMap<u64, String>,
    subscriptions: BTreeMap<u64, u64>,
    /// The subscription that a retained event may come for: the last that was confirmed, and asked for it.
    awaits_retained: Option<(u64, u64)>,
    /// By topic, the newest of its own that is retained for sure.
    retained: BTreeMap<u64, u64>,
    /// Numbers of sessions and registrations that have been shown to it.
    shown: BTreeSet<u64>,
    sent: u64,
    answered: u64,
    got_retained: u64,
    failure: Option<String>,
}

impl Clients<Asker> {
    /// So many, of one realm or two, which do something in this time.
    pub(super) fn new(
        (seed, count, realms): (u64, usize, usize),
        time: Range<u64>,
        driver: SimDriver,
        to: SocketAddr,
    ) -> Askers {
        let way = Way {
            driver,
            to,
            from: ([10, 0, 5, 1], PORT_FIRST),
            pause_ns_max: 300_000_000,
        };
        let all = (0..count).map(|index| Asker::new(index, index % realms));
        let rng = SimRng::new(seed ^ 0x6173_6b73);
        Clients::begin(way, all.collect(), time, rng)
    }

    /// How many questions were answered, and how many retained events have come.
    ///
    /// # Errors
    /// What came and was not promised, or is missing on a connection that works.
    pub(super) fn check(&self, is_reliable: bool) -> Result<(u64, u64), String> {
        let (mut answered, mut retained) = (0, 0);
        for asker in self.all() {
            let err = |what: &str| Err(format!("asker {}: {what}", asker.index));
            if let Some(failure) = &asker.failure {
                return err(failure);
            }
            answered += asker.answered;
            retained += asker.got_retained;
            let works = is_reliable && !asker.socket.is_over && asker.id != 0;
            if works && !asker.open.is_empty() {
                return err(&format!("no answer to {:?}", asker.open));
            }
        }
        // Numbers of sessions and registrations are never given twice.
        for one in self.all() {
            for other in self.all().iter().filter(|other| other.realm != one.realm) {
                if let Some(number) = one.shown.intersection(&other.shown).next() {
                    return Err(format!(
                        "{number} is shown to askers {} and {}, of different realms",
                        one.index, other.index
                    ));
                }
            }
        }
        Ok((answered, retained))
    }
}

impl Client for Asker {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn act(&mut self, rng: &mut SimRng) -> Act {
        if self.id == 0 {
            return Act::Wait;
        }
        match rng.below(100) {
            0..2 => return Act::Close,
            _ if self.open.len() >= OPEN_MAX => {}
            2..14 => self.register(rng.below(NAMES)),
            14..20 => self.unregister(rng.next_u64()),
            20..38 => self.subscribe(rng.below(NAMES), rng.per_mille(700)),
            38..48 => self.unsubscribe(rng.next_u64()),
            48..60 => self.publish(rng.below(NAMES), rng.per_mille(700)),
            _ => self.call(rng.next_u64()),
        }
        Act::Send
    }

    fn send_request(&mut self) {
        let out = &mut self.socket.outgoing;
        self.web_socket.write_request("/wamp", out);
    }

    fn handle_bytes(&mut self, bytes: &mut [u8]) {
        receive(self, bytes);
    }
}

impl Speaker for Asker {
    fn web_socket_mut(&mut self) -> &mut WebSocket {
        &mut self.web_socket
    }

    fn handle_open(&mut self) {
        let realm = ["realm1", "apart"][self.realm];
        let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
        self.say(&json!([1, realm, {"roles": roles}]));
    }

    fn handle_message(&mut self, message: Message<'_>) {
        match message {
            Message::Ping(payload) => self.send_frame(Opcode::Pong, payload),
            Message::Text(text) => match serde_json::from_str(text) {
                Ok(Value::Array(message)) => self.handle(&message),
                _ => self.fail(format!("no WAMP message: {text}")),
            },
            Message::Close(..) => self.answer_close(),
            Message::Binary(_) => self.fail("binary on wamp.2.json".to_owned()),
            Message::Pong(_) => {}
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

impl Asker {
    fn new(index: usize, realm: usize) -> Asker {
        Asker {
            index,
            realm,
            socket: Socket::default(),
            web_socket: WebSocket::new(9, index, &["wamp.2.json"]),
            id: 0,
            open: Pending::default(),
            registrations: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            awaits_retained: None,
            retained: BTreeMap::new(),
            shown: BTreeSet::new(),
            sent: 0,
            answered: 0,
            got_retained: 0,
            failure: None,
        }
    }

    fn register(&mut self, name: u64) {
        let name = format!("ask.{}.{name}", self.realm);
        let asked = Asked::Register(name.clone());
        self.ask(
            asked,
            |request| json!([64, request, {"invoke": "first"}, name]),
        );
    }

    fn unregister(&mut self, which: u64) {
        if let Some(number) = pick(&self.registrations, which) {
            self.registrations.remove(&number);
            self.end_entry(number);
            self.ask(Asked::Unregister(number), |request| {
                json!([66, request, number])
            });
        }
    }

    fn subscribe(&mut self, name: u64, gets_retained: bool) {
        let topic = format!("{NAMESPACE}:{name}");
        self.ask(
            Asked::Subscribe(name, gets_retained),
            |request| json!([32, request, {"get_retained": gets_retained}, topic]),
        );
    }

    fn unsubscribe(&mut self, which: u64) {
        if let Some(number) = pick(&self.subscriptions, which) {
            self.subscriptions.remove(&number);
            self.end_entry(number);
            self.ask(Asked::Unsubscribe(number), |request| {
                json!([34, request, number])
            });
        }
    }

    /// What is asked already may be answered behind that.
    fn end_entry(&mut self, number: u64) {
        for asked in self.open.values_mut() {
            if let Asked::Call(_, _, had) = asked {
                had.remove(&number);
            }
        }
    }

    fn publish(&mut self, name: u64, retain: bool) {
        self.sent += 1;
        let args = json!([self.realm, name, self.index, self.sent, retain]);
        let topic = format!("{NAMESPACE}:{name}");
        let options = json!({"acknowledge": retain, "retain": retain});
        if retain {
            let asked = Asked::Retain(name, self.sent);
            return self.ask(asked, |request| json!([16, request, options, topic, args]));
        }
        let request = self.open.next_number();
        self.say(&json!([16, request, options, topic, args]));
    }

    fn call(&mut self, which: u64) {
        let name = CALLS[(which % CALLS.len() as u64) as usize];
        let number = match name.starts_with("wamp.registration.") {
            true => pick(&self.registrations, which),
            false => pick(&self.subscriptions, which),
        };
        let takes_number = !name.ends_with(".list");
        if takes_number && number.is_none() {
            return;
        }
        let args = match takes_number {
            true => json!([number]),
            false => json!([]),
        };
        let had = match name.starts_with("wamp.registration.") {
            true => self.registrations.keys().copied().collect(),
            false => self.subscriptions.keys().copied().collect(),
        };
        let asked = Asked::Call(name, number.unwrap_or_default(), had);
        self.ask(asked, |request| json!([48, request, {}, name, args]));
    }

    fn ask(&mut self, asked: Asked, message: impl FnOnce(u64) -> Value) {
        let request = self.open.ask(asked);
        self.say(&message(request));
    }

    fn say(&mut self, message: &Value) {
        self.send_frame(Opcode::Text, message.to_string().as_bytes());
    }

    fn handle(&mut self, message: &[Value]) {
        let number = |at: usize| message.get(at).and_then(Value::as_u64).unwrap_or(0);
        let awaited = self.awaits_retained.take();
        match number(0) {
            2 => {
                self.id = number(1);
                self.shown.insert(self.id);
            }
            3 | 6 => self.socket.is_over = true, // it says why in its close
            36 => self.handle_event(message, awaited),
            8 => match self.open.take(number(2)) {
                Some(asked) => self.handle_error(&asked, message),
                None => self.fail(format!("an error for nothing: {message:?}")),
            },
            68 => {} // a call of another client's: it is not answered
            _ => match self.open.take(number(1)) {
                Some(asked) => self.handle_answer(number(1), asked, message),
                None => self.fail(format!("an answer to nothing: {message:?}")),
            },
        }
    }

    fn handle_answer(&mut self, request: u64, asked: Asked, message: &[Value]) {
        let number = message.get(2).and_then(Value::as_u64).unwrap_or(0);
        match asked {
            Asked::Register(name) => {
                self.registrations.insert(number, name);
            }
            // It was subscribed already, and has said meanwhile that it no longer wants to be.
            Asked::Subscribe(..) if self.ends_behind(request, number) => {}
            Asked::Subscribe(name, gets_retained) => {
                let is_new = !self.subscriptions.contains_key(&number);
                self.subscriptions.insert(number, name);
                self.awaits_retained = (gets_retained && is_new).then_some((number, name));
            }
            Asked::Unregister(_) | Asked::Unsubscribe(_) => {}
            Asked::Retain(name, sent) => {
                self.retained.insert(name, sent);
            }
            Asked::Call(name, about, had) => {
                self.answered += 1;
                if let Err(what) = self.check_result((name, about), &had, &message[3][0]) {
                    self.fail(format!("{name} of {about}: {what}: {message:?}"));
                }
            }
        }
    }

    /// Whether the subscription of this number is to be ended by a request behind that one.
    fn ends_behind(&self, request: u64, number: u64) -> bool {
        let mut behind = self.open.since(request);
        behind.any(|asked| *asked == Asked::Unsubscribe(number))
    }

    /// What the session has had all the time is there.
    fn check_result(
        &mut self,
        (name, about): (&str, u64),
        had: &BTreeSet<u64>,
        result: &Value,
    ) -> Result<(), String> {
        let list = |value: &Value| -> BTreeSet<u64> {
            let list = value.as_array().into_iter().flatten();
            list.filter_map(Value::as_u64).collect()
        };
        match name {
            "wamp.session.list" => {
                let all = list(result);
                self.shown.extend(&all);
                ensure(all.contains(&self.id), "it is not on the list")
            }
            "wamp.registration.list" => {
                let all = list(&result["exact"]);
                self.shown.extend(&all);
                ensure(had.is_subset(&all), "its registrations are not on the list")
            }
            "wamp.subscription.list" => {
                let all = list(&result["exact"]);
                ensure(had.is_subset(&all), "its subscriptions are not on the list")
            }
            "wamp.subscription.get" => {
                let uri = result["uri"].as_str().unwrap_or_default();
                let other = format!("ask.{}.", 1 - self.realm);
                ensure(result["id"] == about, "it is another")?;
                ensure(!uri.starts_with(&other), "it is another realm's")
            }
            "wamp.registration.list_callees" | "wamp.subscription.list_subscribers" => {
                let all = list(result);
                self.shown.extend(&all);
                let is_there = !had.contains(&about) || all.contains(&self.id);
                ensure(is_there, "it is not on the list")
            }
            _ => ensure(result.is_u64(), "it is no number"),
        }
    }

    fn handle_error(&mut self, asked: &Asked, message: &[Value]) {
        let error = message[4].as_str().unwrap_or_default();
        let is_expected = match asked {
            // There are limits, and one may register twice.
            Asked::Register(_) | Asked::Subscribe(..) | Asked::Retain(..) => true,
            Asked::Call(_, about, had) => {
                self.answered += 1;
                let is_gone = !had.contains(about);
                error == "wamp.error.unavailable"
                    || (error.starts_with("wamp.error.no_such_") && is_gone)
            }
            Asked::Unregister(_) | Asked::Unsubscribe(_) => false,
        };
        if !is_expected {
            self.fail(format!("{asked:?} is answered with {message:?}"));
        }
    }

    /// `[realm, topic, publisher, number, whether it is retained]`
    fn handle_event(&mut self, message: &[Value], awaited: Option<(u64, u64)>) {
        let args = &message[4];
        let part = |at: usize| args[at].as_u64().unwrap_or(u64::MAX);
        if part(0) != self.realm as u64 {
            return self.fail(format!("an event of another realm: {message:?}"));
        }
        let is_flagged = message[3]["retained"] == true;
        if !is_flagged {
            return;
        }
        self.got_retained += 1;
        let Some((_, name)) = awaited.filter(|(number, _)| message[1] == *number) else {
            return self.fail(format!(
                "a retained event that was not asked for: {message:?}"
            ));
        };
        let (by, sent) = (part(2), part(3));
        let newest = self.retained.get(&name).copied().unwrap_or(0);
        let is_old = by == self.index as u64 && sent < newest;
        if part(1) != name || args[4] != true || is_old {
            self.fail(format!("behind {newest} of topic {name}: {message:?}"));
        }
    }
}

fn ensure(holds: bool, what: &str) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what.to_owned()),
    }
}

fn pick<T>(all: &BTreeMap<u64, T>, which: u64) -> Option<u64> {
    let count = all.len() as u64;
    let at = which.checked_rem(count)?;
    all.keys().nth(at as usize).copied()
}

/// What the router is asked. Not `wamp.registration.get`: what it tells of the time is not simulated.
const CALLS: [&str; 8] = [
    "wamp.session.list",
    "wamp.registration.list",
    "wamp.registration.list_callees",
    "wamp.registration.count_callees",
    "wamp.subscription.list",
    "wamp.subscription.get",
    "wamp.subscription.list_subscribers",
    "wamp.subscription.count_subscribers",
];
const NAMESPACE: &str = "held";
/// Procedures and topics that they share.
const NAMES: u64 = 4;
/// Requests of one that are open at once.
const OPEN_MAX: usize = 4;
/// The port of the first.
const PORT_FIRST: u16 = 41_000;
