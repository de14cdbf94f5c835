//! What the control thread does to users of guarded clients: it closes their connections and revokes
//! their tokens, and knows from when to when no such token may open a connection.

use std::collections::HashMap;

use roost_access::{Revoked, TokenMark};
use roost_net::sim::SimRng;
use roost_reactor::{
    Answer, CloseReason, ControlPeer, DisconnectUser, Part, Request, Revocation, Token,
};
use roost_wire::CloseCode;

/// The users' part of the control thread.
pub(super) struct Users {
    rng: SimRng,
    /// Revocations whose answers are awaited, by the numbers of their requests.
    asked: HashMap<Token, usize>,
    revocations: Vec<Asked>,
}

/// A revocation that all reactors are asked for.
struct Asked {
    /// Reactors that have not answered.
    awaited: usize,
    is_refused: bool,
    in_force: InForce,
}

/// From when to when a user's token opens no connection, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct InForce {
    pub(super) user: &'static str,
    /// When all reactors have answered; until then there is nothing to hold them to.
    pub(super) from: u64,
    /// It ends no earlier.
    pub(super) to: u64,
}

impl Users {
    pub(super) fn new(seed: u64) -> Users {
        Users {
            rng: SimRng::new(seed ^ 0x75_73_65_72_73),
            asked: HashMap::new(),
            revocations: Vec::new(),
        }
    }

    /// Asks all reactors about a user now and then. A ring that is full is not tried again.
    pub(super) fn ask(&mut self, peer: &mut ControlPeer, now: u64) -> Vec<Token> {
        if !self.rng.per_mille(10) {
            return Vec::new();
        }
        let user = ["alice", "bob"][self.rng.below(2) as usize];
        let ends_in_ms = self.rng.between(300, 2_500);
        let revoke = |revoked| {
            Request::Revoke(Box::new(Revocation {
                revoked,
                ends_in_ms,
            }))
        };
        let request = match self.rng.below(3) {
            0 => Request::DisconnectUser(Box::new(DisconnectUser {
                user: user.into(),
                except: Box::default(),
                code: CloseCode::POLICY_VIOLATION,
                reason: CloseReason::new("elsewhere").expect("it is short"),
            })),
            1 => revoke(Revoked::Token(mark(user).id)),
            _ => revoke(Revoked::User {
                user: user.into(),
                issued_before: mark(user).issued_at + 1,
            }),
        };
        let is_revocation = matches!(request, Request::Revoke(_));
        let reactors = 0..peer.reactors();
        let sent: Vec<_> = reactors
            .map(|reactor| peer.ask(reactor, request.clone()))
            .collect();
        if is_revocation {
            let number = self.revocations.len();
            self.revocations.push(Asked {
                awaited: sent.len(),
                is_refused: sent.iter().any(Result::is_err),
                in_force: InForce {
                    user,
                    from: u64::MAX,
                    to: now + (ends_in_ms - TICKS_MS) * 1_000_000,
                },
            });
            let tokens = sent.iter().filter_map(|sent| sent.ok());
            self.asked.extend(tokens.map(|token| (token, number)));
        }
        sent.into_iter().flatten().collect()
    }

    pub(super) fn answer(&mut self, answer: &Answer, now: u64) {
        let Some(number) = self.asked.remove(&answer.token) else {
            return;
        };
        let asked = &mut self.revocations[number];
        asked.awaited -= 1;
        match answer.part {
            Part::Done { .. } => {}
            Part::Refused(_) => asked.is_refused = true,
            _ => panic!("{answer:?} answers no revocation"),
        }
        if asked.awaited == 0 && !asked.is_refused {
            asked.in_force.from = now;
        }
    }

    /// What was asked for, whatever has become of it.
    pub(super) fn revoked(&self) -> Vec<InForce> {
        self.revocations
            .iter()
            .map(|asked| asked.in_force)
            .collect()
    }
}

/// What the token of a user is revoked by.
pub(super) fn mark(user: &str) -> TokenMark {
    let (id, issued_at) = if user == "alice" { (1, 100) } else { (2, 200) };
    TokenMark {
        id: [id; 8],
        issued_at,
    }
}

/// Two ticks, by which a reactor's clock may be behind.
const TICKS_MS: u64 = 200;
