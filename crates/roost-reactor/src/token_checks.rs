//! Checks of tokens, between the reactors and the control thread.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roost_access::{PermissionSet, Provider, Secret, TokenMark};
use roost_net::ConnKey;

use crate::clock::NEVER;

/// A token that is to be checked.
#[derive(Debug)]
pub struct TokenCheck {
    /// Whose it is; given back with the verdict.
    pub key: ConnKey,
    /// The token as it came.
    pub token: Secret,
    /// The channel that it is to allow a subscription to; `None`: it is the client's own.
    pub channel: Option<Box<str>>,
}

/// What has become of a check.
#[derive(Debug)]
pub struct Verdict {
    /// Of which connection.
    pub key: ConnKey,
    /// Whether it is let in.
    pub outcome: Result<Login, Denied>,
}

/// As whom a client is let in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its name; empty without an account.
    pub user: Box<str>,
    /// What it may do.
    pub permissions: Arc<PermissionSet>,
    /// In how many milliseconds that ends.
    pub expires_in_ms: Option<u64>,
    /// Who vouches for it.
    pub provider: Provider,
    /// What the token is revoked by.
    pub token: TokenMark,
}

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The token is not good: a sentence for the client, without a quote in it.
    Refused(Cow<'static, str>),
    /// The same of one that has expired.
    Expired(Cow<'static, str>),
    /// It cannot be said now.
    Unavailable(Cow<'static, str>),
}

/// Checks that are on their way to the control thread.
#[derive(Default)]
pub(crate) struct TokenChecks {
    /// Not sent yet: at most one for each handshake and each open connection that waits.
    unsent: Vec<TokenCheck>,
    /// Open connections that wait, by slot.
    open: BTreeMap<u32, Waiting>,
    /// The same in the order in which they began; those stay that wait no longer.
    by_due: VecDeque<(ConnKey, u32)>,
}

/// An open connection that waits.
struct Waiting {
    key: ConnKey,
    /// The tick until which it does.
    due: u32,
    ended: EndedCheck,
}

/// What is known of a check that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedCheck {
    /// What is kept of the connection's message behind the token.
    pub(crate) rest: RestKind,
    /// The token was to allow a subscription.
    pub(crate) is_subscription: bool,
}

/// What is left of a message is of the message's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestKind {
    Text,
    Binary,
}

impl TokenChecks {
    pub(crate) fn push(&mut self, check: TokenCheck) {
        self.unsent.push(check);
    }

    /// The same of an open connection, which is not read until then, or until tick `due`. All have the same
    /// time.
    pub(crate) fn push_open(&mut self, check: TokenCheck, due: u32) {
        let key = check.key;
        let ended = EndedCheck {
            rest: RestKind::Text, // until there is one
            is_subscription: check.channel.is_some(),
        };
        self.open.insert(key.slot(), Waiting { key, due, ended });
        self.by_due.push_back((key, due));
        self.unsent.push(check);
    }

    /// How many open connections wait.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether the open connection in `slot` waits.
    #[inline]
    pub(crate) fn awaits(&self, slot: u32) -> bool {
        !self.open.is_empty() && self.open.contains_key(&slot)
    }

    /// Something is left of the message of the open connection in `slot`.
    pub(crate) fn note_rest(&mut self, slot: u32, kind: RestKind) {
        if let Some(waiting) = self.open.get_mut(&slot) {
            waiting.ended.rest = kind;
        }
    }

    /// An open connection waits no longer. `None` if it did not wait.
    pub(crate) fn end_open(&mut self, key: ConnKey) -> Option<EndedCheck> {
        let waiting = self.open.get(&key.slot());
        let ended = waiting.filter(|one| one.key == key).map(|one| one.ended);
        if ended.is_some() {
            self.open.remove(&key.slot());
        }
        if self.open.is_empty() {
            self.by_due.clear();
        }
        ended
    }

    /// The tick at which the first of them has waited for too long, or earlier.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        self.by_due.front().map_or(NEVER, |&(_, due)| due)
    }

    /// Takes out the first open connection that has waited for too long at tick `now`.
    pub(crate) fn pop_due(&mut self, now: u32) -> Option<ConnKey> {
        while self.due() <= now {
            let first = self.by_due.pop_front()?;
            let waiting = self.open.get(&first.0.slot());
            if waiting.is_some_and(|one| (one.key, one.due) == first) {
                self.open.remove(&first.0.slot());
                return Some(first.0);
            }
        }
        None
    }

    pub(crate) fn take(&mut self) -> Vec<TokenCheck> {
        std::mem::take(&mut self.unsent)
    }

    /// There was no room for them.
    pub(crate) fn put_back(&mut self, checks: Vec<TokenCheck>) {
        debug_assert!(self.unsent.is_empty(), "none has come meanwhile");
        self.unsent = checks;
    }

    /// Whether some are to be sent, or to be sent again.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }
}
