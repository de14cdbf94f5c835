//! Clients of namespaces that not all may use, on a quarter of the seeds: some authenticate, some with a
//! wrong secret, and each tries everything with every name. A table of who may what is the model. Where
//! there is a control thread some show a token instead, in their handshake or as ticket, which it has to
//! check: it may say that it cannot, not answer for a second, or have ended. About one namespace the application is asked
//! by a hook, which answers at once, late or never. On half of these seeds there is a realm with a prefix,
//! whose clients use the same names and patterns that match all: what they say comes to them alone, and
//! they get nothing else.
//!
//! What is promised: a request is granted exactly if its client may make it; no client receives what it may
//! not, or what another may not have said; one that knows its secret is let in, and no other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roost_access::{Matching, Operation, Permission, PermissionSet, TokenMark};
use roost_dialect::wamp::{OwnRealm, OwnRealms};
use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_reactor::{
    Access, Auth, ChannelPolicy, Publish, RevokedAtStart, Settings, policy_for_tests,
};
use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::{ClientRequest, HeadScanner};
use roost_wire::{Inbound, Input, Limits, Message, Opcode, Role};
use serde_json::{Value, json};

use super::users::{InForce, mark};
use crate::users::{permission, role, set, user};

/// How many of them there are on a seed, whose settings then have users and namespaces for them, and
/// tokens, if something checks them.
pub(super) fn add(seed: u64, has_control: bool, settings: &mut Settings) -> usize {
    let mut rng = SimRng::new(seed ^ 0x0067_7561_7264);
    if !rng.per_mille(250) {
        return 0;
    }
    let policy = |access, publish| ChannelPolicy {
        subscribe: access,
        publish,
        call: access,
        register: access,
        ..policy_for_tests()
    };
    let namespaces = [
        (
            "known",
            policy(Access::Authenticated, Publish::Authenticated),
        ),
        ("granted", policy(Access::Granted, Publish::Granted)),
        ("shut", policy(Access::Nobody, Publish::Nobody)),
        (
            "asked",
            ChannelPolicy {
                call: Access::Nobody,
                register: Access::Nobody,
                ..policy(Access::Hook, Publish::Hook)
            },
        ),
    ];
    let namespaces = namespaces.map(|(name, policy)| (name.to_owned(), policy));
    settings.channels.namespaces.extend(namespaces);
    let users = vec![
        user("realm1", "alice", SECRET, role("staff", vec![staff()])),
        user("realm1", "bob", SECRET, role("audience", vec![audience()])),
    ];
    set(settings, users, Vec::new());
    settings.hooks.wait_ms = HOOK_WAIT_MS;
    settings.hooks.asks_rpc = true;
    if has_control {
        settings.auth = Auth {
            is_on: true,
            is_required: false,
            wamp_logs_in: true,
            cookie: String::new(),
            wait_ms: 1_000,
            checks_max: 3,
            revocations_max: 4,
            revoked: RevokedAtStart::default(),
            connections_per_user_max: 0,
            token_bytes_max: 1_000,
        };
        Arc::make_mut(&mut settings.dialects.wamp).takes_tokens = true;
    }
    let count = rng.between(5, 12) as usize;
    if !rng.per_mille(500) {
        return count;
    }
    let realm = |name: &str, prefix: &str| OwnRealm {
        name: name.into(),
        prefix: prefix.into(),
        anonymous: true,
        tokens: true,
        other_dialects: false,
    };
    let realms = vec![realm("realm1", ""), realm("apart", "apart:.")];
    Arc::make_mut(&mut settings.dialects.wamp).own_realms = OwnRealms::new(realms);
    count + APART
}

fn staff() -> Permission {
    permission(Matching::Prefix, "granted:a.", &Operation::ALL)
}

fn audience() -> Permission {
    permission(Matching::Exact, "granted:a.1", &[Operation::Subscribe])
}

/// Whose token it is, and what it grants; `None` if it is not good.
pub(super) fn login_of(token: &[u8]) -> Option<(&'static str, Arc<PermissionSet>, TokenMark)> {
    let (name, permission) = match token {
        b"Alice" => ("alice", staff()),
        b"Bob" => ("bob", audience()),
        _ => return None,
    };
    let permissions = PermissionSet::of_token(vec![permission]);
    Some((name, Arc::new(permissions), mark(name)))
}

/// What the application says to a hook.
pub(super) fn application_allows(user: &str, operation: Operation, name: &str) -> bool {
    let who = match user {
        "alice" => Who::Alice,
        "bob" => Who::Bob,
        _ => Who::Guest,
    };
    who.may(operation, name)
}

/// Who a client says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Guest,
    Alice,
    Bob,
    /// With alice's name and another secret.
    Impostor,
    /// In the realm that is apart, where all may do everything.
    Apart,
}

impl Who {
    /// Of a client, where so many are in no realm apart.
    fn of(index: usize, common: usize) -> Who {
        match index < common {
            true => [Who::Guest, Who::Alice, Who::Bob, Who::Impostor][index % 4],
            false => Who::Apart,
        }
    }

    /// The model: who may do what with which name.
    fn may(self, operation: Operation, name: &str) -> bool {
        match (self, name) {
            (Who::Apart, _) | (_, FOREIGN_PATTERN) => true,
            (Who::Impostor, _) | (_, "shut:x" | FOREIGN) => false,
            (_, "open:x") => true,
            (Who::Alice | Who::Bob, "known:x") => true,
            (Who::Alice, "granted:a.1" | "granted:a.2") => true,
            (Who::Bob, "granted:a.1" | "asked:x") => operation == Operation::Subscribe,
            (Who::Alice, "asked:x") => {
                matches!(operation, Operation::Subscribe | Operation::Publish)
            }
            _ => false,
        }
    }
}

/// By what a client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// A ticket of the configuration; a guest nothing.
    Secret,
    /// A token in its handshake; it does not log in behind it.
    Handshake,
    /// A token as ticket.
    Ticket,
}

/// All of them, on one simulated driver.
pub(super) struct Guarded {
    driver: SimDriver,
    address: SocketAddr,
    clients: Vec<Client>,
    /// When which connects, or makes its next request.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    rng: SimRng,
    has_realms: bool,
}

struct Client {
    who: Who,
    index: usize,
    /// So many clients are in no realm apart.
    common: usize,
    shows: Shows,
    head: Option<(HeadScanner, Vec<u8>)>,
    inbound: Inbound,
    outgoing: Vec<u8>,
    in_flight: bool,
    holds_socket: bool,
    has_dialed: bool,
    /// When that was, and when its token was good: its handshake was answered with 101, or its session with
    /// WELCOME; in nanoseconds.
    dialed_at: u64,
    let_in_at: Option<u64>,
    is_open: bool,
    was_aborted: bool,
    has_ended: bool,
    requests: u64,
    /// The operation and the name of each request that is not answered.
    awaited: BTreeMap<u64, (Operation, &'static str)>,
    /// The name of each subscription, and of each registration.
    subscriptions: BTreeMap<u64, &'static str>,
    registrations: BTreeMap<u64, &'static str>,
    answered: u64,
    failure: Option<String>,
}

impl Guarded {
    /// `count` of them, some with tokens if there are any, whose script runs at these times.
    pub(super) fn new(
        (seed, count, are_tokens_on, has_realms): (u64, usize, bool, bool),
        times: Range<u64>,
        driver: SimDriver,
        address: SocketAddr,
    ) -> Guarded {
        let mut rng = SimRng::new(seed ^ 0x6c_6f_67_69_6e);
        let mut agenda = BinaryHeap::new();
        let mut clients = Vec::new();
        for index in 0..count {
            let common = if has_realms { count - APART } else { count };
            let who = Who::of(index, common);
            let shows = match index {
                _ if !are_tokens_on || matches!(who, Who::Guest | Who::Apart) => Shows::Secret,
                4..8 => Shows::Handshake,
                8.. => Shows::Ticket,
                _ => Shows::Secret,
            };
            clients.push(Client::new(who, index, common, shows));
            let length = times.end - times.start;
            agenda.push(Reverse((times.start + rng.below(length / 2), index)));
            for _ in 0..REQUESTS {
                let at = times.start + rng.below(length);
                agenda.push(Reverse((at, index)));
            }
        }
        let mut guarded = Guarded {
            driver,
            address,
            clients,
            agenda,
            rng,
            has_realms,
        };
        guarded.run_once(); // the driver must know the next due time
        guarded
    }

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    pub(super) fn run_once(&mut self) {
        let now = self.driver.now();
        while let Some(event) = self.driver.next_event() {
            match event {
                Event::Connected(key) => {
                    self.clients[index_of(key)].send_request();
                    self.flush(index_of(key));
                }
                Event::Bytes(key, bytes) => {
                    self.clients[index_of(key)].handle_bytes(bytes, now);
                    self.flush(index_of(key));
                }
                Event::Sent(key) => {
                    self.clients[index_of(key)].in_flight = false;
                    self.flush(index_of(key));
                }
                Event::ReadClosed(key) => {
                    self.clients[index_of(key)].has_ended = true;
                    self.close(index_of(key), CloseMode::Graceful);
                }
                Event::Closed(key, _) => {
                    let client = &mut self.clients[index_of(key)];
                    (client.holds_socket, client.has_ended) = (false, true);
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => {}
            }
        }
        let now = self.driver.now();
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            self.act(index);
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    fn act(&mut self, index: usize) {
        if !self.clients[index].has_dialed {
            let options = ConnectOptions {
                addr: self.address,
                local: None,
            };
            let connected = self.driver.connect(key_of(index), &options);
            let client = &mut self.clients[index];
            (client.has_dialed, client.holds_socket) = (true, connected.is_ok());
            client.dialed_at = self.driver.now();
            return;
        }
        let operation = Operation::ALL[self.rng.below(4) as usize];
        let name = NAMES[self.rng.below(NAMES.len() as u64) as usize];
        let is_pattern = matches!(operation, Operation::Subscribe | Operation::Register);
        let name = match self.clients[index].who {
            _ if !self.has_realms || !self.rng.per_mille(300) => name,
            Who::Apart if is_pattern => EVERYTHING,
            Who::Apart => name,
            _ if is_pattern && self.rng.per_mille(500) => FOREIGN_PATTERN,
            _ => FOREIGN,
        };
        self.clients[index].ask(operation, name);
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.in_flight || !client.holds_socket || client.outgoing.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut client.outgoing);
        match self.driver.send_copy(key_of(index), &bytes) {
            SendStatus::Done => {}
            SendStatus::Pending => client.in_flight = true,
            SendStatus::Gone => client.has_ended = true,
        }
    }

    fn close(&mut self, index: usize, mode: CloseMode) {
        if std::mem::take(&mut self.clients[index].holds_socket) {
            self.driver.close(key_of(index), mode);
        }
    }

    /// Closes all sockets.
    pub(super) fn abort_all(&mut self) {
        self.agenda.clear();
        for index in 0..self.clients.len() {
            self.close(index, CloseMode::Abort);
        }
    }

    /// How many requests were answered, as they should be.
    ///
    /// # Errors
    /// One that was not, a client that was let in with a token that is revoked, or, on a network that
    /// breaks no connection, one that was not let in.
    pub(super) fn check(&self, is_reliable: bool, revoked: &[InForce]) -> Result<u64, String> {
        let mut answered = 0;
        for client in &self.clients {
            let (index, who) = (client.index, client.who);
            if let Some(failure) = &client.failure {
                return Err(format!("guarded client {index}, {who:?}: {failure}"));
            }
            answered += client.answered;
            let name = if who == Who::Bob { "bob" } else { "alice" };
            let has_token = client.shows != Shows::Secret;
            let own = |one: &&InForce| has_token && one.user == name;
            for one in revoked.iter().filter(own) {
                let is_in = client.let_in_at.is_some_and(|at| at < one.to);
                if client.dialed_at >= one.from && is_in {
                    return Err(format!(
                        "guarded client {index}, {who:?}: revoked, and let in: {one:?}"
                    ));
                }
            }
            let may_be_revoked = has_token && !revoked.is_empty();
            let is_shut_out = client.was_aborted && who != Who::Impostor && !may_be_revoked;
            if is_reliable && is_shut_out {
                return Err(format!("guarded client {index}, {who:?}, was not let in"));
            }
        }
        Ok(answered)
    }
}

impl Client {
    fn new(who: Who, index: usize, common: usize, shows: Shows) -> Client {
        Client {
            who,
            index,
            common,
            shows,
            head: Some((HeadScanner::default(), Vec::new())),
            inbound: Inbound::new(Role::Client),
            outgoing: Vec::new(),
            in_flight: false,
            holds_socket: false,
            has_dialed: false,
            dialed_at: 0,
            let_in_at: None,
            is_open: false,
            was_aborted: false,
            has_ended: false,
            requests: 0,
            awaited: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            registrations: BTreeMap::new(),
            answered: 0,
            failure: None,
        }
    }

    fn send_request(&mut self) {
        let token = URL_SAFE_NO_PAD.encode(format!("{:?}", self.who));
        let token = format!("roost.bearer.{token}");
        let protocols = ["wamp.2.json", &token];
        ClientRequest {
            host: "roost.test",
            target: "/wamp",
            key: "dGhlIHNhbXBsZSBub25jZQ==",
            protocols: match self.shows {
                Shows::Handshake => &protocols,
                Shows::Secret | Shows::Ticket => &protocols[..1],
            },
            extensions: None,
            origin: None,
        }
        .write(&mut self.outgoing);
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        append_masked_frame(
            &mut self.outgoing,
            Opcode::Text,
            text.as_bytes(),
            [1, 2, 3, 4],
        );
    }

    fn ask(&mut self, operation: Operation, name: &'static str) {
        if !self.is_open || self.has_ended {
            return;
        }
        self.requests += 1;
        let (request, who) = (self.requests, [self.index]);
        self.awaited.insert(request, (operation, name));
        let options = json!({"acknowledge": true, "exclude_me": false});
        let (name, matching) = match name.strip_suffix('*') {
            Some(start) => (start, json!({"match": "prefix"})),
            None => (name, json!({})),
        };
        let message = match operation {
            Operation::Subscribe => json!([32, request, matching, name]),
            Operation::Publish => json!([16, request, options, name, who]),
            Operation::Call => json!([48, request, {}, name, who]),
            Operation::Register => json!([64, request, matching, name]),
            Operation::ReadPresence => unreachable!("no WAMP client asks for it"),
        };
        self.say(&message);
    }

    fn handle_bytes(&mut self, bytes: &mut [u8], now: u64) {
        if let Some((scanner, head)) = &mut self.head {
            head.extend_from_slice(bytes);
            let Some(len) = scanner.scan(head) else {
                return;
            };
            if !head.starts_with(b"HTTP/1.1 101") {
                // There was no room for it, or its token is refused.
                let is_refused = head.starts_with(b"HTTP/1.1 401");
                (self.has_ended, self.was_aborted) = (true, is_refused);
                return;
            }
            if self.shows == Shows::Handshake {
                if self.who == Who::Impostor {
                    return self.fail("a token that is not good lets it in".to_owned());
                }
                self.let_in_at = Some(now);
            }
            let mut rest = head.split_off(len);
            self.head = None;
            let mut details = json!({"roles": {"caller": {}, "callee": {}}});
            if !matches!(self.who, Who::Guest | Who::Apart) && self.shows != Shows::Handshake {
                let name = if self.who == Who::Bob { "bob" } else { "alice" };
                details["authid"] = json!(name);
                details["authmethods"] = json!(["ticket"]);
            }
            let is_apart = self.who == Who::Apart;
            let realm = if is_apart { "apart" } else { "realm1" };
            self.say(&json!([1, realm, details]));
            return self.handle_frames(&mut rest, now);
        }
        self.handle_frames(bytes, now);
    }

    fn handle_frames(&mut self, bytes: &mut [u8], now: u64) {
        let limits = Limits {
            frame_bytes_max: 1 << 20,
            message_bytes_max: 1 << 20,
        };
        let mut inbound = std::mem::replace(&mut self.inbound, Inbound::new(Role::Client));
        let mut input = Input::new(bytes);
        loop {
            match inbound.next(&mut input, &limits) {
                Ok(Some(Message::Text(text))) => self.handle(text, now),
                Ok(Some(Message::Ping(payload))) => {
                    append_masked_frame(&mut self.outgoing, Opcode::Pong, payload, [1, 2, 3, 4]);
                }
                Ok(Some(Message::Close(..))) => {
                    self.has_ended = true;
                    append_masked_frame(&mut self.outgoing, Opcode::Close, &[3, 232], [1, 2, 3, 4]);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    return self.fail(format!("the server broke the protocol: {error:?}"));
                }
            }
        }
        self.inbound = inbound;
    }

    fn handle(&mut self, text: &str, now: u64) {
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let number = |at: usize| message[at].as_u64().unwrap_or(u64::MAX);
        match number(0) {
            2 if self.who == Who::Impostor => self.fail(format!("it is let in: {text}")),
            2 => {
                self.is_open = true;
                if self.shows == Shows::Ticket {
                    self.let_in_at = Some(now);
                }
            }
            // The application has closed it before its session was open.
            3 if ENDS.contains(&message[2].as_str().unwrap_or_default()) => self.has_ended = true,
            // The token could not be checked.
            3 if self.shows == Shows::Ticket && message[2] == UNCHECKED => self.has_ended = true,
            3 => self.was_aborted = true,
            4 => self.say(&json!([5, self.ticket(), {}])),
            6 => self.has_ended = true,
            17 | 33 | 50 | 65 => self.on_granted(number(1), number(2), text),
            8 => self.on_error(number(2), message[4].as_str().unwrap_or_default(), text),
            36 => self.on_publication(number(1), Operation::Subscribe, &message, text),
            68 => {
                self.on_publication(number(2), Operation::Register, &message, text);
                self.say(&json!([70, number(1), {}]));
            }
            _ => self.fail(format!("unexpected: {text}")),
        }
    }

    fn ticket(&self) -> &'static str {
        match (self.shows, self.who) {
            (Shows::Ticket, Who::Alice) => "Alice",
            // A good token, of another user than the one that it claims to be.
            (Shows::Ticket, Who::Bob | Who::Impostor) => "Bob",
            (_, Who::Impostor) => "wrong",
            _ => SECRET,
        }
    }

    fn on_granted(&mut self, request: u64, id: u64, text: &str) {
        let Some((operation, name)) = self.awaited.remove(&request) else {
            return self.fail(format!("an answer without a request: {text}"));
        };
        self.answered += 1;
        if !self.who.may(operation, name) {
            return self.fail(format!("it may not {operation:?} {name}: {text}"));
        }
        match operation {
            Operation::Subscribe => _ = self.subscriptions.insert(id, name),
            Operation::Register => _ = self.registrations.insert(id, name),
            Operation::Publish | Operation::Call | Operation::ReadPresence => {}
        }
    }

    fn on_error(&mut self, request: u64, error: &str, text: &str) {
        let Some((operation, name)) = self.awaited.remove(&request) else {
            return self.fail(format!("an answer without a request: {text}"));
        };
        self.answered += 1;
        if name == "asked:x" && error == "wamp.error.authorization_failed" {
            return; // the application could not be asked
        }
        let is_denied = error == "wamp.error.not_authorized";
        if is_denied == self.who.may(operation, name) {
            self.fail(format!("{operation:?} {name}: {text}"));
        }
    }

    /// An event or a call: both sides must have been allowed to.
    fn on_publication(&mut self, id: u64, own: Operation, message: &Value, text: &str) {
        let (details, arguments) = (&message[3], &message[4]);
        let (topics, from) = match own {
            Operation::Register => (&self.registrations, Operation::Call),
            _ => (&self.subscriptions, Operation::Publish),
        };
        let Some(name) = topics.get(&id).copied() else {
            return self.fail(format!("it has not asked for it: {text}"));
        };
        // Of sessions that ask what there is, which begin with their realm.
        if details["topic"]
            .as_str()
            .is_some_and(|topic| topic.starts_with("held:"))
        {
            if (arguments[0] == 1) != (self.who == Who::Apart) {
                self.fail(format!("it comes from another realm: {text}"));
            }
            return;
        }
        let said_by = arguments[0].as_u64().map(|index| index as usize);
        let said_by = said_by.map(|index| Who::of(index, self.common));
        if said_by.is_some_and(|who| (who == Who::Apart) != (self.who == Who::Apart)) {
            return self.fail(format!("it comes from another realm: {text}"));
        }
        if name == EVERYTHING {
            let shown = [&details["topic"], &details["procedure"]];
            if !shown
                .iter()
                .any(|name| NAMES.iter().any(|one| *name == one))
            {
                self.fail(format!("not as it is called in the realm: {text}"));
            }
        }
        let may_say = said_by.is_some_and(|who| who.may(from, name));
        if !self.who.may(own, name) || !may_say {
            self.fail(format!("{said_by:?} to {name}: {text}"));
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

const SECRET: &str = "hunter2";
/// Why the application ends a session.
const ENDS: [&str; 2] = ["wamp.close.killed", "roost.close.revoked"];
const UNCHECKED: &str = "wamp.error.authentication_failed";
const NAMES: [&str; 7] = [
    "open:x",
    "known:x",
    "granted:a.1",
    "granted:a.2",
    "granted:b",
    "shut:x",
    "asked:x",
];
/// A name of the realm that is apart, as other realms would have it.
const FOREIGN: &str = "apart:.open:x";
/// What would match it, with a prefix before the star.
const FOREIGN_PATTERN: &str = "apar*";
/// What matches all in a realm.
const EVERYTHING: &str = "*";
/// Clients in the realm that is apart.
const APART: usize = 4;
/// How long a client waits for a hook.
const HOOK_WAIT_MS: u32 = 800;
/// What each tries.
const REQUESTS: usize = 40;
