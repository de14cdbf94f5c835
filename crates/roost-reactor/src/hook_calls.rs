//! Questions to the application, between the reactors and the control thread, and the connections that
//! wait for the answers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use roost_access::{Secret, UserName};
use roost_dialect::dialect::{Message, RpcAnswer};
use roost_dialect::{Form, Publication};
use roost_hub::Since;
use roost_net::ConnKey;
use roost_wire::CloseCode;

use crate::clock::NEVER;
use crate::control::CloseReason;
use crate::token_checks::Login;

/// A question to the application.
#[derive(Debug)]
pub struct HookCall {
    /// Whose it is; given back with the answer.
    pub key: ConnKey,
    /// Which of its questions; given back with the answer. 0 in a handshake, which asks one at a time.
    pub number: u32,
    /// The connection, as the log names it.
    pub client: Box<str>,
    /// Its user; empty without an account.
    pub user: UserName,
    /// Its dialect.
    pub dialect: &'static str,
    /// What is asked.
    pub asked: HookAsked,
}

/// What the application is asked.
#[derive(Debug)]
pub enum HookAsked {
    /// Whether a client may connect, and as whom.
    Connect {
        /// Headers of its handshake.
        headers: Vec<(Box<str>, Secret)>,
    },
    /// Whether it may subscribe.
    Subscribe {
        /// To this channel.
        channel: Box<str>,
    },
    /// Whether it may publish.
    Publish {
        /// On this channel.
        channel: Box<str>,
        /// What it wants to publish.
        payload: Publication,
    },
    /// What it asks for itself.
    Rpc {
        /// The method's name.
        method: Box<str>,
        /// Its data, which is JSON.
        data: Option<Arc<str>>,
    },
}

/// What has become of a question.
#[derive(Debug)]
pub struct HookAnswer {
    /// Of which connection.
    pub key: ConnKey,
    /// Of which of its questions.
    pub number: u32,
    /// What the application says.
    pub outcome: HookOutcome,
}

/// What the application says.
#[derive(Debug)]
pub enum HookOutcome {
    /// The client may connect, as this.
    Login(Box<Login>),
    /// It may do what it asked for; what it wanted to publish is replaced, if there is something else.
    Allowed(Option<Publication>),
    /// What a method has come to.
    Rpc(RpcAnswer),
    /// It may not: a sentence for the client.
    Refused(Box<str>),
    /// It cannot be said now: a sentence for the client.
    Unavailable(Box<str>),
    /// Its connection ends.
    Disconnect {
        /// The close code; in a handshake, from 4500 on 403 and else 503.
        code: CloseCode,
        /// The close reason.
        reason: CloseReason,
    },
}

/// Questions on their way to the control thread, and the open connections that wait.
#[derive(Default)]
pub(crate) struct HookCalls {
    /// Not sent yet: at most one for each connection that waits.
    unsent: Vec<HookCall>,
    /// By slot.
    waiting: HashMap<u32, Waiting>,
    /// When which is given up. All have the same time, so the first is due first; one that has its
    /// answer stays until then.
    due: VecDeque<(u32, ConnKey, u32)>,
    last_number: u32,
    /// Of payloads and kept commands.
    bytes: usize,
}

/// An open connection that waits for an answer, and is not read meanwhile.
pub(crate) struct Waiting {
    pub(crate) number: u32,
    pub(crate) request: Request,
    /// What stands behind the command in its message.
    pub(crate) rest: Option<Rest>,
}

/// What it wants to do.
pub(crate) enum Request {
    Subscribe {
        channel: Box<str>,
        /// What was before, if that is asked for.
        since: Option<Since>,
        form: Form,
        token: u64,
    },
    Publish {
        channel: Box<str>,
        payload: Publication,
        /// Whether it is not to receive it itself.
        excludes: bool,
        ack: Option<u64>,
    },
    Rpc {
        method: Box<str>,
        data: Option<Arc<str>>,
        token: u64,
    },
}

/// A message, or the rest of one.
#[derive(Debug)]
pub(crate) enum Rest {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl From<Message<'_>> for Rest {
    fn from(message: Message<'_>) -> Rest {
        match message {
            Message::Text(text) => Rest::Text(text.into()),
            Message::Binary(bytes) => Rest::Binary(bytes.into()),
        }
    }
}

impl Rest {
    /// As it came.
    pub(crate) fn message(&self) -> Message<'_> {
        match self {
            Rest::Text(text) => Message::Text(text),
            Rest::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Rest::Text(text) => text.len(),
            Rest::Binary(bytes) => bytes.len(),
        }
    }
}

impl HookCalls {
    /// The next number of a question of an open connection.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1).max(1);
        self.last_number
    }

    /// Whether one more connection may wait, with so many bytes.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.waiting.len() < WAITING_MAX
            && self.due.len() < DUE_MAX
            && (self.bytes == 0 || self.bytes + bytes <= WAITING_BYTES_MAX)
    }

    pub(crate) fn push(&mut self, call: HookCall) {
        self.unsent.push(call);
    }

    pub(crate) fn take(&mut self) -> Vec<HookCall> {
        std::mem::take(&mut self.unsent)
    }

    /// There was no room for them.
    pub(crate) fn put_back(&mut self, calls: Vec<HookCall>) {
        debug_assert!(self.unsent.is_empty(), "none has come meanwhile");
        self.unsent = calls;
    }

    /// Whether some are to be sent, or to be sent again.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// An open connection waits until a tick at most.
    pub(crate) fn wait(&mut self, key: ConnKey, waiting: Waiting, due: u32) {
        self.bytes += waiting.bytes();
        self.due.push_back((due, key, waiting.number));
        let before = self.waiting.insert(key.slot(), waiting);
        debug_assert!(before.is_none(), "a connection asks one question at a time");
    }

    /// Whether an open connection waits.
    #[inline]
    pub(crate) fn waits(&self, slot: u32) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&slot)
    }

    /// Whether an open connection waits for this answer.
    pub(crate) fn waits_for(&self, slot: u32, number: u32) -> bool {
        let waiting = self.waiting.get(&slot);
        waiting.is_some_and(|waiting| waiting.number == number)
    }

    /// Keeps what stands behind the command of a connection that waits.
    pub(crate) fn keep_rest(&mut self, slot: u32, rest: Message<'_>) {
        let Some(waiting) = self.waiting.get_mut(&slot) else {
            return;
        };
        debug_assert!(waiting.rest.is_none(), "one message at a time");
        self.bytes += rest.bytes().len();
        waiting.rest = Some(rest.into());
    }

    /// It waits no longer: its question is answered, or given up. `None` if that was another one.
    pub(crate) fn take_waiting(&mut self, slot: u32, number: u32) -> Option<Waiting> {
        let is_this = self.waits_for(slot, number);
        is_this.then(|| self.remove(slot))?
    }

    /// Its connection is closing.
    #[inline]
    pub(crate) fn forget(&mut self, slot: u32) {
        if !self.waiting.is_empty() {
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: u32) -> Option<Waiting> {
        let waiting = self.waiting.remove(&slot)?;
        self.bytes -= waiting.bytes();
        Some(waiting)
    }

    /// The tick at which the first is due.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        self.due.front().map_or(NEVER, |&(due, ..)| due)
    }

    /// Takes the first, if it is due at this tick: whose question, and which.
    pub(crate) fn pop_due(&mut self, now: u32) -> Option<(ConnKey, u32)> {
        let is_due = self.due() <= now;
        is_due
            .then(|| self.due.pop_front())?
            .map(|(_, key, number)| (key, number))
    }

    /// How many open connections wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Drops memory that nothing is in; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let mut freed = 0;
        if self.waiting.is_empty() {
            freed += self.waiting.capacity() * size_of::<(u32, Waiting)>();
            self.waiting = HashMap::new();
        }
        if self.due.is_empty() {
            freed += self.due.capacity() * size_of::<(u32, ConnKey, u32)>();
            self.due = VecDeque::new();
        }
        freed
    }

    /// In debug builds: what is counted is what is there.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let bytes: usize = self.waiting.values().map(Waiting::bytes).sum();
            assert_eq!(
                bytes, self.bytes,
                "bytes of connections that wait for a hook"
            );
        }
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        let request = match &self.request {
            Request::Subscribe { channel, .. } => channel.len(),
            Request::Publish {
                channel, payload, ..
            } => channel.len() + payload.bytes(),
            Request::Rpc { method, data, .. } => bytes_of_rpc(method, data.as_deref()),
        };
        request + self.rest.as_ref().map_or(0, Rest::len)
    }
}

impl HookCall {
    /// Memory that it keeps beside itself.
    pub(crate) fn bytes_beside(&self) -> usize {
        let asked = match &self.asked {
            HookAsked::Connect { headers } => headers
                .iter()
                .map(|(name, value)| name.len() + value.expose().len())
                .sum(),
            HookAsked::Subscribe { channel } => channel.len(),
            HookAsked::Publish { channel, payload } => channel.len() + payload.bytes(),
            HookAsked::Rpc { method, data } => bytes_of_rpc(method, data.as_deref()),
        };
        self.client.len() + asked
    }
}

pub(crate) fn bytes_of_rpc(method: &str, data: Option<&str>) -> usize {
    method.len() + data.map_or(0, str::len)
}

/// Open connections of one reactor that wait. What is kept of each is some 200 bytes beside what it has
/// sent.
const WAITING_MAX: usize = 1 << 16;
/// Questions of one reactor within the time to answer, of 16 bytes each.
const DUE_MAX: usize = 1 << 20;
/// What open connections of one reactor want to publish, and what stands behind that, while they wait;
/// one may always.
pub const WAITING_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use roost_dialect::PayloadRef;

    use super::*;

    fn publish(calls: &mut HookCalls, slot: u32, bytes: usize) -> u32 {
        let number = calls.next_number();
        let request = Request::Publish {
            channel: "chat:1".into(),
            payload: PayloadRef::Binary(&vec![7; bytes]).freeze(),
            excludes: false,
            ack: None,
        };
        let waiting = Waiting {
            number,
            request,
            rest: None,
        };
        calls.wait(ConnKey::new(slot, 1), waiting, 5 + slot);
        number
    }

    #[test]
    fn what_waits_is_counted_and_bounded() {
        let mut calls = HookCalls::default();
        assert!(calls.has_room(WAITING_BYTES_MAX * 2), "one always has");
        let first = publish(&mut calls, 1, WAITING_BYTES_MAX - 1_000);
        assert!(calls.has_room(100) && !calls.has_room(1_000));
        calls.keep_rest(1, Message::Text("behind it"));
        calls.check_invariants();
        assert!(calls.waits(1) && !calls.waits(2));
        assert!(
            calls.take_waiting(1, first + 1).is_none(),
            "another's answer"
        );
        let waiting = calls.take_waiting(1, first).expect("it waits");
        assert!(matches!(waiting.rest, Some(Rest::Text(rest)) if &*rest == "behind it"));
        assert_eq!(calls.bytes, 0);
        assert_eq!(calls.pop_due(5), None);
        assert_eq!(calls.pop_due(6), Some((ConnKey::new(1, 1), first)));
        let second = publish(&mut calls, 2, 10);
        calls.forget(2);
        assert!(calls.take_waiting(2, second).is_none());
        calls.check_invariants();
        assert_eq!(calls.bytes, 0);
    }
}
