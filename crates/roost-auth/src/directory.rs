//! The users of all realms, and the two steps in which one logs in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use roost_access::{
    Accepted, Answer, AuthError, Authenticator, Begun, Challenge, Derivation, Hello, Identity,
    Method, Pending, PermissionSet, Provider, Secret, TokenMark, UserName,
};

use crate::cryptosign::{self, PublicKey};
use crate::keys::{self, Salted, mac, to_base64, to_hex};
use crate::scram::{self, Said, ScramKeys};
use crate::ticket::Ticket;
use crate::wampcra::{self, CraKey};

/// All users. Shared by all reactors; nothing in it changes.
pub struct Directory {
    users: Vec<Account>,
    realms: HashMap<Box<str>, Users>,
    /// What holds in realms without users and roles.
    lets_in_anonymous: bool,
    clock: fn() -> u64,
    /// Of nonces.
    nonce_key: hmac::Key,
    nonces: AtomicU64,
    /// Of what a name that is not known is answered with. It depends on the users alone, so that an
    /// answer is the same behind a restart.
    unknown_key: hmac::Key,
}

/// What a directory is made of, beside its users.
pub struct Options {
    /// Random bytes, drawn at the start.
    pub seed: [u8; 32],
    /// Milliseconds since 1970: clients are told when they were challenged.
    pub clock: fn() -> u64,
    /// Whether clients without credentials are let in.
    pub lets_in_anonymous: bool,
}

/// A realm's roles that are given without authentication.
pub struct Realm {
    /// Its name.
    pub name: String,
    /// What anonymous clients may do in it.
    pub anonymous: Arc<PermissionSet>,
}

/// A user of a realm.
pub struct User {
    /// The realm.
    pub realm: String,
    /// Who it is, `authid`.
    pub name: String,
    /// What it may do, and in which role.
    pub role: Arc<PermissionSet>,
    /// By what it logs in.
    pub credentials: Credentials,
}

/// By what a user logs in: each is a method.
#[derive(Default)]
pub struct Credentials {
    /// `ticket`.
    pub ticket: Option<Secret>,
    /// `wampcra`, salted or not.
    pub wampcra: Option<(Secret, Option<Salted>)>,
    /// `scram`; the salt is base64.
    pub scram: Option<(Secret, Salted)>,
    /// `cryptosign`: Ed25519 keys in hexadecimal digits.
    pub public_keys: Vec<String>,
}

/// What is wrong with a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    /// Which one, by its place.
    pub user: usize,
    /// A sentence.
    pub what: &'static str,
}

/// A user with what its answers are checked with.
struct Account {
    name: UserName,
    role: Arc<PermissionSet>,
    ticket: Option<Ticket>,
    wampcra: Option<(CraKey, Option<Salted>)>,
    scram: Option<(ScramKeys, Salted)>,
    has_public_keys: bool,
}

/// The users of one realm.
#[derive(Default)]
struct Users {
    all: Vec<u32>,
    by_name: HashMap<Box<str>, u32>,
    by_public_key: HashMap<PublicKey, u32>,
    anonymous: Option<Arc<PermissionSet>>,
}

/// Who a client says it is: a user, or the one that stands in for a name that is not known.
#[derive(Clone, Copy)]
struct Claimed<'a> {
    name: &'a str,
    user: u32,
    is_known: bool,
}

impl Directory {
    /// Derives the keys of all users, which takes its time where there are salts.
    ///
    /// # Errors
    /// The first user that cannot be.
    pub fn new(
        options: Options,
        realms: Vec<Realm>,
        users: Vec<User>,
    ) -> Result<Directory, UserError> {
        let Options {
            seed,
            clock,
            lets_in_anonymous,
        } = options;
        let mut directory = Directory {
            users: Vec::new(),
            realms: HashMap::new(),
            lets_in_anonymous,
            clock,
            nonce_key: keys::key(&seed),
            nonces: AtomicU64::new(0),
            unknown_key: unknown_key(&users),
        };
        for realm in realms {
            directory.users_of(realm.name).anonymous = Some(realm.anonymous);
        }
        for (at, user) in users.into_iter().enumerate() {
            let added = directory.add(user);
            added.map_err(|what| UserError { user: at, what })?;
        }
        Ok(directory)
    }

    fn users_of(&mut self, realm: String) -> &mut Users {
        self.realms.entry(realm.into()).or_default()
    }

    fn add(&mut self, user: User) -> Result<(), &'static str> {
        let User {
            realm,
            name,
            role,
            credentials,
        } = user;
        let Credentials {
            ticket,
            wampcra,
            scram,
            public_keys,
        } = credentials;
        let number = u32::try_from(self.users.len()).expect("fewer than 2^32 users");
        if let Some((_, salted)) = &scram
            && salted.salt_bytes().len() < SALT_BYTES_MIN
        {
            return Err("its salt must be base64 of at least 8 bytes for scram");
        }
        self.users.push(Account {
            name: name.as_str().into(),
            role,
            ticket: ticket.map(|ticket| Ticket::new(&self.nonce_key, &ticket)),
            wampcra: wampcra
                .map(|(secret, salted)| (CraKey::new(&secret, salted.as_ref()), salted)),
            scram: scram.map(|(secret, salted)| (ScramKeys::new(&secret, &salted), salted)),
            has_public_keys: !public_keys.is_empty(),
        });
        let users = self.users_of(realm);
        users.all.push(number);
        if users.by_name.insert(name.into(), number).is_some() {
            return Err("its realm has another user of this name");
        }
        for key in public_keys {
            let key = cryptosign::public_key(&key);
            let key = key.ok_or("a public key must be 64 hexadecimal digits")?;
            if users.by_public_key.insert(key, number).is_some() {
                return Err("one of its public keys is in its realm twice");
            }
        }
        Ok(())
    }

    /// The user of this name, or who stands in for it; `None`: the realm has no users.
    fn claimed<'a>(&self, realm: &str, users: &Users, name: &'a str) -> Option<Claimed<'a>> {
        let known = users.by_name.get(name).copied();
        let hash = mac(
            &self.unknown_key,
            &[b"user ", realm.as_bytes(), b"\n", name.as_bytes()],
        );
        let [a, b, c, d, ..] = hash;
        let at = u32::from_le_bytes([a, b, c, d]) as usize % users.all.len().max(1);
        let user = known.or_else(|| users.all.get(at).copied())?;
        Some(Claimed {
            name,
            user,
            is_known: known.is_some(),
        })
    }

    /// A salt that is always the same for a name that is not known.
    fn made_up_salt(&self, realm: &str, name: &str) -> String {
        let hash = mac(
            &self.unknown_key,
            &[b"salt ", realm.as_bytes(), b"\n", name.as_bytes()],
        );
        to_base64(&hash[..SALT_BYTES])
    }

    fn nonce(&self, session: u64) -> [u8; keys::BYTES] {
        let count = self.nonces.fetch_add(1, Ordering::Relaxed);
        mac(
            &self.nonce_key,
            &[b"nonce ", &session.to_le_bytes(), &count.to_le_bytes()],
        )
    }

    fn anonymous(&self, users: Option<&Users>, hello: &Hello<'_>) -> Result<Begun, AuthError> {
        let method = Method::Anonymous;
        if hello.role.is_some_and(|role| role != method.name()) {
            return Err(AuthError::NoSuchRole);
        }
        let role = users.and_then(|users| users.anonymous.clone());
        let identity = role.map(|permissions| {
            Box::new(Identity {
                user: UserName::new(),
                permissions,
                expires: None,
                method,
                provider: Provider::Static,
                token: TokenMark::default(),
            })
        });
        Ok(Begun::Accepted(Accepted {
            identity,
            server_signature: None,
        }))
    }

    /// The challenge by one of the client's methods; `None`: the user has nothing for it.
    fn challenge(
        &self,
        hello: &Hello<'_>,
        users: &Users,
        method: &str,
    ) -> Result<Option<Begun>, AuthError> {
        if method == Method::CryptoSign.name() {
            return self.challenge_of_key(hello, users);
        }
        let claimed = hello
            .user
            .and_then(|name| self.claimed(hello.realm, users, name));
        let Some(claimed) = claimed else {
            return Ok(None);
        };
        let account = &self.users[claimed.user as usize];
        let made_up = |salted: &Salted, function| {
            let salt = (!claimed.is_known).then(|| self.made_up_salt(hello.realm, claimed.name));
            derivation(salted, function, salt)
        };
        let (challenge, said) = match (method, account) {
            (
                "ticket",
                Account {
                    ticket: Some(_), ..
                },
            ) => (ticket_challenge(), String::new()),
            (
                "wampcra",
                Account {
                    wampcra: Some((_, salted)),
                    role,
                    ..
                },
            ) => {
                let nonce = self.nonce(hello.session);
                let (name, role, now) = (claimed.name, role.role(), (self.clock)());
                let said =
                    wampcra::challenge(name, role, hello.session, &nonce[..NONCE_BYTES], now);
                let challenge = Challenge {
                    method: Method::WampCra.name(),
                    challenge: Some(said.clone()),
                    derivation: salted.as_ref().map(|salted| made_up(salted, None)),
                    nonce: None,
                };
                (challenge, said)
            }
            (
                "scram" | "wamp-scram",
                Account {
                    scram: Some((_, salted)),
                    ..
                },
            ) => {
                let derivation = made_up(salted, Some("pbkdf2"));
                self.scram_challenge(hello, claimed.name, method, derivation)?
            }
            _ => return Ok(None),
        };
        check_role(account, hello)?;
        let method = method_of(method);
        Ok(Some(pending(
            challenge,
            hello,
            claimed.user,
            (method, claimed.is_known),
            said,
        )))
    }

    fn scram_challenge(
        &self,
        hello: &Hello<'_>,
        name: &str,
        method: &str,
        derivation: Derivation,
    ) -> Result<(Challenge, String), AuthError> {
        if hello.channel_binding.is_some() {
            return Err(AuthError::ChannelBinding);
        }
        let client_nonce = hello.nonce.filter(|nonce| scram::is_nonce(nonce));
        let client_nonce = client_nonce.ok_or(AuthError::Malformed(
            "authextra.nonce must be base64 of 6 to 96 bytes for scram.",
        ))?;
        let own = self.nonce(hello.session);
        let nonce = format!("{client_nonce}{}", to_base64(&own[..NONCE_BYTES]));
        let said = scram::keep(
            name,
            client_nonce,
            &nonce,
            &derivation.salt,
            derivation.iterations,
        );
        let challenge = Challenge {
            method: if method == "scram" {
                "scram"
            } else {
                "wamp-scram"
            },
            challenge: None,
            nonce: Some(nonce),
            derivation: Some(derivation),
        };
        Ok((challenge, said))
    }

    /// A user is found by its key; a name, if there is one, must be the same user's.
    fn challenge_of_key(
        &self,
        hello: &Hello<'_>,
        users: &Users,
    ) -> Result<Option<Begun>, AuthError> {
        let claimed = hello
            .user
            .and_then(|name| self.claimed(hello.realm, users, name));
        let has_keys = match claimed {
            Some(claimed) => self.users[claimed.user as usize].has_public_keys,
            None => !users.by_public_key.is_empty(),
        };
        if !has_keys {
            return Ok(None);
        }
        if hello.channel_binding.is_some() {
            return Err(AuthError::ChannelBinding);
        }
        let text = hello.public_key.unwrap_or_default();
        let key = cryptosign::public_key(text).ok_or(AuthError::Malformed(
            "authextra.pubkey must be 64 hexadecimal digits for cryptosign.",
        ))?;
        let owner = users.by_public_key.get(&key).copied();
        let is_known = owner.is_some()
            && claimed.is_none_or(|claimed| claimed.is_known && Some(claimed.user) == owner);
        let any = users.all.first().copied().unwrap_or_default();
        let user = claimed.map(|claimed| claimed.user).or(owner).unwrap_or(any);
        check_role(&self.users[user as usize], hello)?;
        let challenge = to_hex(&self.nonce(hello.session));
        let said = format!("{challenge}\n{text}");
        let challenge = Challenge {
            method: Method::CryptoSign.name(),
            challenge: Some(challenge),
            ..Challenge::default()
        };
        let by = (Method::CryptoSign, is_known);
        Ok(Some(pending(challenge, hello, user, by, said)))
    }

    /// Whether an answer is right, and what the server signs.
    fn check(&self, pending: &Pending, answer: &Answer<'_>) -> (bool, Option<String>) {
        let Some(account) = self.users.get(pending.user as usize) else {
            return (false, None);
        };
        let signature = answer.signature;
        match (pending.method, account) {
            (
                Method::Ticket,
                Account {
                    ticket: Some(ticket),
                    ..
                },
            ) => (ticket.is(&self.nonce_key, signature), None),
            (
                Method::WampCra,
                Account {
                    wampcra: Some((key, _)),
                    ..
                },
            ) => (key.verifies(&pending.said, signature), None),
            (
                Method::Scram,
                Account {
                    scram: Some((keys, _)),
                    ..
                },
            ) => {
                let said = Said::of(&pending.said);
                let server_signature = keys.verify(&said, signature);
                let is_bound = answer.channel_binding.is_some();
                let repeats = answer.nonce.is_none_or(|nonce| nonce == said.nonce());
                (
                    server_signature.is_some() && !is_bound && repeats,
                    server_signature,
                )
            }
            (Method::CryptoSign, _) => {
                let (challenge, key) = pending.said.split_once('\n').unwrap_or_default();
                let key = cryptosign::public_key(key);
                let verifies = |key| cryptosign::verifies(&key, challenge, signature);
                (key.is_some_and(verifies), None)
            }
            _ => (false, None),
        }
    }
}

impl Authenticator for Directory {
    fn begin(&self, hello: &Hello<'_>) -> Result<Begun, AuthError> {
        let users = self.realms.get(hello.realm);
        if hello.methods.is_empty() {
            return match self.lets_in_anonymous {
                true => self.anonymous(users, hello),
                false => Err(AuthError::Required),
            };
        }
        for &method in hello.methods {
            if method == Method::Anonymous.name() && self.lets_in_anonymous {
                return self.anonymous(users, hello);
            }
            if let Some(users) = users
                && let Some(begun) = self.challenge(hello, users, method)?
            {
                return Ok(begun);
            }
        }
        Err(AuthError::NoMatchingMethod)
    }

    fn finish(&self, pending: &Pending, answer: &Answer<'_>) -> Result<Accepted, AuthError> {
        let (is_right, server_signature) = self.check(pending, answer);
        if !(is_right && pending.is_known) {
            return Err(AuthError::Denied);
        }
        let account = &self.users[pending.user as usize];
        let identity = Identity {
            user: account.name.clone(),
            permissions: account.role.clone(),
            expires: None,
            method: pending.method,
            provider: Provider::Static,
            token: TokenMark::default(),
        };
        Ok(Accepted {
            identity: Some(Box::new(identity)),
            server_signature,
        })
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (users, realms) = (self.users.len(), self.realms.len());
        write!(f, "Directory of {users} users in {realms} realms")
    }
}

/// Nothing but the question.
fn ticket_challenge() -> Challenge {
    Challenge {
        method: Method::Ticket.name(),
        ..Challenge::default()
    }
}

fn derivation(salted: &Salted, function: Option<&'static str>, salt: Option<String>) -> Derivation {
    Derivation {
        function,
        salt: salt.unwrap_or_else(|| salted.salt.clone()),
        iterations: salted.iterations.get(),
        key_bytes: function.is_none().then_some(salted.key_bytes),
    }
}

fn pending(
    challenge: Challenge,
    hello: &Hello<'_>,
    user: u32,
    (method, is_known): (Method, bool),
    said: String,
) -> Begun {
    let pending = Pending {
        session: hello.session,
        method,
        user,
        is_known,
        said: said.into(),
    };
    Begun::Challenge(challenge, Box::new(pending))
}

fn check_role(account: &Account, hello: &Hello<'_>) -> Result<(), AuthError> {
    match hello.role.is_none_or(|role| role == account.role.role()) {
        true => Ok(()),
        false => Err(AuthError::NoSuchRole),
    }
}

/// Of one of WAMP's names that has been matched.
fn method_of(name: &str) -> Method {
    match name {
        "ticket" => Method::Ticket,
        "wampcra" => Method::WampCra,
        _ => Method::Scram,
    }
}

/// A key made of all secrets: without them it is not known, and with the same it is the same.
fn unknown_key(users: &[User]) -> hmac::Key {
    let mut all = Secret::from(b"unknown ".to_vec());
    for user in users {
        let Credentials {
            ticket,
            wampcra,
            scram,
            public_keys: _,
        } = &user.credentials;
        let secrets = [
            ticket.as_ref(),
            wampcra.as_ref().map(|(secret, _)| secret),
            scram.as_ref().map(|(secret, _)| secret),
        ];
        for secret in secrets.into_iter().flatten() {
            let next = [all.expose(), &keys::sha256(secret.expose())].concat();
            all = Secret::from(keys::sha256(Secret::from(next).expose()).to_vec());
        }
    }
    keys::key(all.expose())
}

/// Bytes of a nonce: base64 writes them without padding.
const NONCE_BYTES: usize = 18;
/// Bytes of a salt that is made up.
const SALT_BYTES: usize = 16;
const SALT_BYTES_MIN: usize = 8;
