//! Requests about all connections of a user or of a token: found in passes through the identities, some
//! entries in a loop iteration.
//!
//! An index from users to connections would cost each of them bytes; a pass costs a request some
//! milliseconds for a million, and one pass is for all requests that wait for it.

use std::collections::HashMap;
use std::mem;
use std::num::NonZeroU32;

use roost_access::{Identity, Revoked, UserName};
use roost_hub::Name;
use roost_net::ConnKey;
use roost_wire::CloseCode;

use super::messages::{CloseReason, DisconnectUser, SWEEPS_MAX, Token};
use crate::connections::Connections;

/// Those that wait, and the pass under way.
#[derive(Default)]
pub(crate) struct Sweeps {
    waiting: Vec<Sweep>,
    pass: Option<Pass>,
}

/// One request.
pub(super) struct Sweep {
    token: Token,
    select: Select,
    act: Act,
    /// Connections that it was done to so far.
    done: u32,
}

/// What is done to them.
#[derive(Clone)]
pub(super) enum Act {
    End(Ending),
    Subscribe(Name),
    Unsubscribe(Name),
    /// Their identity ends at this tick; `None` with the connection.
    Refresh(Option<NonZeroU32>),
}

/// Which connections a request is about.
enum Select {
    User {
        user: UserName,
        except: Box<[ConnKey]>,
    },
    Token([u8; 8]),
    TokensOfUser {
        user: UserName,
        issued_before: u32,
    },
}

/// What their clients are told.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) code: CloseCode,
    pub(super) reason: CloseReason,
    /// Whether their token is not taken any more.
    pub(super) is_revoked: bool,
}

/// A way through all identities.
pub(super) struct Pass {
    sweeps: Vec<Sweep>,
    /// Numbers of sweeps.
    by_user: HashMap<UserName, Vec<usize>>,
    by_token: HashMap<[u8; 8], Vec<usize>>,
    /// The entry to look at next.
    next: usize,
}

/// A connection that a request is about.
pub(super) struct Found {
    pub(super) key: ConnKey,
    /// The request's number.
    at: usize,
}

impl Sweep {
    pub(super) fn of_user(token: Token, request: DisconnectUser) -> Sweep {
        let DisconnectUser {
            user,
            except,
            code,
            reason,
        } = request;
        Sweep {
            token,
            select: Select::User { user, except },
            act: Act::End(Ending {
                code,
                reason,
                is_revoked: false,
            }),
            done: 0,
        }
    }

    /// Of all connections of a user.
    pub(super) fn new(token: Token, user: UserName, act: Act) -> Sweep {
        let except = Box::default();
        Sweep {
            token,
            select: Select::User { user, except },
            act,
            done: 0,
        }
    }

    pub(super) fn of_revoked(token: Token, revoked: Revoked) -> Sweep {
        let select = match revoked {
            Revoked::Token(id) => Select::Token(id),
            Revoked::User {
                user,
                issued_before,
            } => Select::TokensOfUser {
                user,
                issued_before,
            },
        };
        Sweep {
            token,
            select,
            act: Act::End(Ending {
                code: CloseCode::IDENTITY_EXPIRED,
                reason: CloseReason::new(REVOKED).expect("it is short"),
                is_revoked: true,
            }),
            done: 0,
        }
    }

    fn wants(&self, key: ConnKey, identity: &Identity) -> bool {
        match &self.select {
            Select::User { except, .. } => !except.contains(&key),
            Select::Token(_) => identity.is_revocable(),
            Select::TokensOfUser { issued_before, .. } => {
                identity.is_revocable() && identity.token.issued_at < *issued_before
            }
        }
    }
}

impl Sweeps {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.pass.is_none()
    }

    /// Whether there are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        let under_way = self.pass.as_ref().map_or(0, |pass| pass.sweeps.len());
        self.waiting.len() + under_way >= SWEEPS_MAX
    }

    pub(super) fn push(&mut self, sweep: Sweep) {
        self.waiting.push(sweep);
    }

    /// The pass to go on with: the one under way, or one for all that wait.
    pub(super) fn take_pass(&mut self) -> Option<Pass> {
        if let Some(pass) = self.pass.take() {
            return Some(pass);
        }
        (!self.waiting.is_empty()).then(|| Pass::new(mem::take(&mut self.waiting)))
    }

    /// The pass is not over.
    pub(super) fn put_back(&mut self, pass: Pass) {
        self.pass = Some(pass);
    }
}

impl Pass {
    fn new(sweeps: Vec<Sweep>) -> Pass {
        let mut by_user: HashMap<_, Vec<usize>> = HashMap::new();
        let mut by_token: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, sweep) in sweeps.iter().enumerate() {
            match &sweep.select {
                Select::User { user, .. } | Select::TokensOfUser { user, .. } => {
                    by_user.entry(user.clone()).or_default().push(at);
                }
                Select::Token(id) => by_token.entry(*id).or_default().push(at),
            }
        }
        Pass {
            sweeps,
            by_user,
            by_token,
            next: 0,
        }
    }

    /// Goes on by a slice: the connections in it that a request is about, once for each request.
    pub(super) fn next_slice(&mut self, connections: &Connections) -> Vec<Found> {
        let identities = connections.identities();
        let mut found = Vec::new();
        let begin = self.next;
        self.next = begin.saturating_add(SLICE_ENTRIES);
        for (place, slot, identity) in identities.some_from(begin, SLICE_ENTRIES) {
            let Some(key) = connections.key_at(slot) else {
                continue;
            };
            let of_user = self
                .by_user
                .get(&identity.user)
                .map_or(&[][..], Vec::as_slice);
            let of_token = match self.by_token.is_empty() {
                true => None,
                false => self.by_token.get(&identity.token.id),
            };
            let all = of_user.iter().chain(of_token.into_iter().flatten());
            let wanted = all.filter(|&&at| self.sweeps[at].wants(key, identity));
            found.extend(wanted.map(|&at| Found { key, at }));
            if found.len() >= FOUND_MAX {
                self.next = place + 1;
                break;
            }
        }
        found
    }

    /// What is done to such a connection.
    pub(super) fn act(&self, found: &Found) -> Act {
        self.sweeps[found.at].act.clone()
    }

    /// It was done.
    pub(super) fn count(&mut self, found: &Found) {
        self.sweeps[found.at].done += 1;
    }

    /// Whether all was looked at.
    pub(super) fn is_over(&self, connections: &Connections) -> bool {
        self.next >= connections.identities().entries()
    }

    /// The requests, each with how many connections it was done to.
    pub(super) fn outcomes(self) -> impl Iterator<Item = (Token, u32)> {
        let sweeps = self.sweeps.into_iter();
        sweeps.map(|sweep| (sweep.token, sweep.done))
    }
}

/// The reason of a close frame.
const REVOKED: &str = "the token is revoked";
/// Entries looked at in one loop iteration: about 100 µs.
const SLICE_ENTRIES: usize = 4096;
/// Connections that something is done to in one loop iteration, about.
const FOUND_MAX: usize = 256;
