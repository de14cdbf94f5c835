//! The interface between a dialect that lets clients authenticate by challenge and answer, and what knows
//! their secrets. A dialect parses and writes; an [`Authenticator`] decides.

use std::fmt;

use crate::{Identity, Method};

/// Knows who may log in, and by what. Each step is a function of what it is given: what has to be
/// remembered between the two is the [`Pending`]. Neither waits for anything or takes longer than the
/// check of one signature.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// A client wants in.
    ///
    /// # Errors
    /// It is not let in, whatever it would answer.
    fn begin(&self, hello: &Hello<'_>) -> Result<Begun, AuthError>;

    /// It has answered the challenge. A user that does not exist costs as much work as a wrong answer.
    ///
    /// # Errors
    /// It is not let in.
    fn finish(&self, pending: &Pending, answer: &Answer<'_>) -> Result<Accepted, AuthError>;
}

/// What a client says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hello<'a> {
    /// Where it wants in.
    pub realm: &'a str,
    /// The number that its session will have.
    pub session: u64,
    /// Who it says it is.
    pub user: Option<&'a str>,
    /// The role that it wants.
    pub role: Option<&'a str>,
    /// The methods it knows, by WAMP's names, in the order of its preference; none is `anonymous`.
    pub methods: &'a [&'a str],
    /// Its part of the nonce (SCRAM).
    pub nonce: Option<&'a str>,
    /// Its public key, in hexadecimal digits.
    pub public_key: Option<&'a str>,
    /// How the answer is to be tied to the TLS connection.
    pub channel_binding: Option<&'a str>,
}

/// What follows a [`Hello`].
#[derive(Debug)]
pub enum Begun {
    /// It is let in at once.
    Accepted(Accepted),
    /// It has to answer this.
    Challenge(Challenge, Box<Pending>),
}

/// What a client has to answer. What is `None` is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The method, as the client calls it.
    pub method: &'static str,
    /// What is to be signed.
    pub challenge: Option<String>,
    /// Both parts of the nonce.
    pub nonce: Option<String>,
    /// How the key is derived from the password.
    pub derivation: Option<Derivation>,
}

/// How a key is derived from a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// The name of the function, where the method has several.
    pub function: Option<&'static str>,
    /// The salt as it is sent.
    pub salt: String,
    /// How often it is iterated.
    pub iterations: u32,
    /// The key's length in bytes, where the method leaves it open.
    pub key_bytes: Option<u32>,
}

/// What is remembered of a challenge until it is answered. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The session's number.
    pub session: u64,
    /// How it is answered.
    pub method: Method,
    /// Which of the authenticator's users the work is done for.
    pub user: u32,
    /// Whether that is the user who wants in. If not, no answer is right.
    pub is_known: bool,
    /// What the answer is checked against.
    pub said: Box<str>,
}

/// A client's answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// The ticket, signature or proof.
    pub signature: &'a str,
    /// Both parts of the nonce, if they are repeated.
    pub nonce: Option<&'a str>,
    /// How it is tied to the TLS connection.
    pub channel_binding: Option<&'a str>,
}

/// A client that is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// What it is known as from now on; `None` is an anonymous client without a role of its own.
    pub identity: Option<Box<Identity>>,
    /// By which the client can tell that the server knows its key (SCRAM).
    pub server_signature: Option<String>,
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// None of its methods is known here, or none that it has what it needs for.
    NoMatchingMethod,
    /// It names no method, and has to.
    Required,
    /// It wants a role that is not its own.
    NoSuchRole,
    /// What it answers is wrong, or it is not known.
    Denied,
    /// It wants its answer tied to the TLS connection, which is not served.
    ChannelBinding,
    /// What the method needs is missing or malformed.
    Malformed(&'static str),
}
