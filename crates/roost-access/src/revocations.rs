//! Tokens that are not taken any more, though their time is not over.

use std::collections::HashMap;

use crate::{Identity, UserName};

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// The token of this name: [`crate::TokenMark::id`].
    Token([u8; 8]),
    /// A user's tokens.
    User {
        /// Whose.
        user: UserName,
        /// Those issued before this second of the Unix epoch, and those that do not say.
        issued_before: u32,
    },
}

/// There is no room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Revocations, each until its tick. Nothing is held while there are none.
#[derive(Debug)]
pub struct Revocations {
    tokens: HashMap<[u8; 8], u32>,
    users: HashMap<UserName, OfUser>,
    /// Of all users, where it is not known which there are.
    of_all: Option<OfUser>,
    /// Of tokens and users.
    max: usize,
    /// None ends before this tick.
    earliest: u32,
}

#[derive(Debug, Clone, Copy)]
struct OfUser {
    issued_before: u32,
    until: u32,
}

impl Revocations {
    /// Room for so many.
    pub fn new(max: usize) -> Revocations {
        Revocations {
            tokens: HashMap::new(),
            users: HashMap::new(),
            of_all: None,
            max,
            earliest: u32::MAX,
        }
    }

    /// Adds one, which ends at a tick. Of two for one user that which says more holds in each respect.
    ///
    /// # Errors
    /// There are as many as may be.
    pub fn insert(&mut self, revoked: &Revoked, until: u32, now: u32) -> Result<(), Full> {
        let is_known = match revoked {
            Revoked::Token(id) => self.tokens.contains_key(id),
            Revoked::User { user, .. } => self.users.contains_key(user),
        };
        if !is_known && self.len() >= self.max {
            self.forget_ended(now);
            if self.len() >= self.max {
                return Err(Full);
            }
        }
        match revoked {
            Revoked::Token(id) => {
                let known = self.tokens.entry(*id).or_insert(until);
                *known = until.max(*known);
            }
            Revoked::User {
                user,
                issued_before,
            } => {
                let new = OfUser {
                    issued_before: *issued_before,
                    until,
                };
                let known = self.users.entry(user.clone()).or_insert(new);
                known.issued_before = new.issued_before.max(known.issued_before);
                known.until = new.until.max(known.until);
            }
        }
        self.earliest = self.earliest.min(until);
        Ok(())
    }

    /// All that was issued before this second is revoked until a tick, and what does not say when.
    pub fn revoke_all(&mut self, issued_before: u32, until: u32) {
        self.of_all = Some(OfUser {
            issued_before,
            until,
        });
        self.earliest = self.earliest.min(until);
    }

    /// Whether an identity came by a token that is revoked.
    pub fn is_revoked(&self, identity: &Identity, now: u32) -> bool {
        if self.is_empty() || !identity.is_revocable() {
            return false;
        }
        let of_token = self.tokens.get(&identity.token.id);
        let of_user = self.users.get(&identity.user);
        let holds = |one: &OfUser| now < one.until && identity.token.issued_at < one.issued_before;
        of_token.is_some_and(|&until| now < until)
            || of_user.is_some_and(holds)
            || self.of_all.as_ref().is_some_and(holds)
    }

    /// Forgets those that have ended; looks through them only if there are some.
    pub fn forget_ended(&mut self, now: u32) {
        if now < self.earliest {
            return;
        }
        self.tokens.retain(|_, until| now < *until);
        self.users.retain(|_, one| now < one.until);
        self.of_all = self.of_all.filter(|one| now < one.until);
        let tokens = self.tokens.values().copied();
        let users = self.users.values().chain(&self.of_all);
        let all = tokens.chain(users.map(|one| one.until));
        self.earliest = all.min().unwrap_or(u32::MAX);
        if self.is_empty() {
            *self = Revocations::new(self.max);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.of_all.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Method, PermissionSet, Provider, TokenMark};

    fn identity(user: &str, id: u8, issued_at: u32) -> Identity {
        Identity {
            user: user.into(),
            permissions: Arc::new(PermissionSet::of_token(Vec::new())),
            expires: None,
            method: Method::Token,
            provider: Provider::Jwt,
            token: TokenMark {
                id: [id; 8],
                issued_at,
            },
        }
    }

    fn of(user: &str, issued_before: u32) -> Revoked {
        Revoked::User {
            user: user.into(),
            issued_before,
        }
    }

    #[test]
    fn all_are_revoked_where_it_is_not_known_which() {
        let mut table = Revocations::new(10);
        table.revoke_all(60, 100);
        for (issued_at, now, is_revoked) in [
            (59, 99, true),
            (0, 99, true),
            (60, 0, false),
            (59, 100, false),
        ] {
            let who = identity("alice", 1, issued_at);
            assert_eq!(
                table.is_revoked(&who, now),
                is_revoked,
                "{issued_at} at {now}"
            );
        }
        table.forget_ended(99);
        assert!(table.is_revoked(&identity("bob", 1, 0), 99));
        table.forget_ended(100);
        assert!(table.is_empty());
    }

    #[test]
    fn tokens_are_revoked_by_name_and_by_user_until_the_end() {
        let mut table = Revocations::new(10);
        assert!(!table.is_revoked(&identity("alice", 1, 50), 0));
        table.insert(&Revoked::Token([1; 8]), 100, 0).expect("room");
        table.insert(&of("bob", 60), 200, 0).expect("room");
        for (who, now, is_revoked) in [
            (identity("alice", 1, 50), 99, true),
            (identity("alice", 1, 50), 100, false),
            (identity("alice", 2, 50), 0, false),
            (identity("bob", 2, 59), 199, true),
            (identity("bob", 2, 59), 200, false),
            (identity("bob", 2, 60), 0, false),
            // It does not say when it was issued.
            (identity("bob", 2, 0), 0, true),
            (identity("bo", 2, 59), 0, false),
        ] {
            assert_eq!(table.is_revoked(&who, now), is_revoked, "{who:?} at {now}");
        }
        // Without a name of its own it is not the token that is named, whatever zeros mean.
        table.insert(&Revoked::Token([7; 8]), 100, 0).expect("room");
        assert!(!table.is_revoked(&identity("eve", 0, 50), 0));
        // A login by password is no token's.
        let login = Identity {
            method: Method::Scram,
            provider: Provider::Static,
            ..identity("bob", 0, 0)
        };
        assert!(!table.is_revoked(&login, 0));
    }

    #[test]
    fn of_two_for_one_user_both_hold() {
        let mut table = Revocations::new(1);
        table.insert(&of("bob", 60), 200, 0).expect("room");
        table.insert(&of("bob", 50), 300, 0).expect("it is known");
        assert!(table.is_revoked(&identity("bob", 1, 59), 299));
        assert_eq!(table.insert(&of("eve", 1), 300, 0), Err(Full));
        assert_eq!(table.insert(&Revoked::Token([1; 8]), 300, 199), Err(Full));
    }

    #[test]
    fn what_has_ended_makes_room_and_leaves_nothing() {
        let mut table = Revocations::new(1_000);
        for n in 0..1_000_u32 {
            let revoked = match n % 2 {
                0 => of(&n.to_string(), 1),
                _ => Revoked::Token(u64::from(n).to_le_bytes()),
            };
            table.insert(&revoked, 100 + n, 0).expect("room");
        }
        assert_eq!(table.insert(&of("more", 1), 5_000, 99), Err(Full));
        table.insert(&of("more", 1), 5_000, 600).expect("501 ended");
        assert_eq!(table.len(), 500);
        table.forget_ended(4_999);
        assert_eq!(table.len(), 1);
        table.forget_ended(5_000);
        assert!(table.is_empty() && table.tokens.capacity() == 0);
        assert_eq!(table.earliest, u32::MAX);
    }
}
