//! What a connection is known as.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::{PermissionSet, UserName};

/// Of a connection that is not anonymous, or is so in a role. It stands beside the connection's record;
/// one without costs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As whom it has been authenticated; empty of an anonymous one.
    pub user: UserName,
    /// What it may do, and in which role.
    pub permissions: Arc<PermissionSet>,
    /// When it ends, by the clock of the process that asks; `None` is with the connection.
    pub expires: Option<NonZeroU32>,
    /// How it was found out.
    pub method: Method,
    /// Who vouches for it.
    pub provider: Provider,
    /// Which token it came by.
    pub token: TokenMark,
}

// Most of what an authenticated connection may cost beside its record.
const _: () = assert!(size_of::<Identity>() <= 48);

/// What a token or certificate is known by, once it is checked, so that it can be revoked. The default is of one that
/// says nothing of it, and of none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenMark {
    /// Eight bytes of a hash of its own name (`jti`); zeros if it has none.
    pub id: [u8; 8],
    /// In seconds of the Unix epoch; 0 if it does not say.
    pub issued_at: u32,
}

/// How an identity is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Anonymous,
    /// A secret was shown.
    Ticket,
    /// A challenge was signed with a secret that both know (WAMP-CRA).
    WampCra,
    /// The password was proved to be known, and the server has proved the same (SCRAM, RFC 5802).
    Scram,
    /// A challenge was signed with a private key (Ed25519).
    CryptoSign,
    /// A token came with the handshake.
    Token,
    /// A certificate was shown, and verified by TLS.
    Certificate,
    /// The application said so when its hook asked.
    Hook,
    /// The application has signed it, for Pusher's clients.
    Signature,
}

impl Method {
    /// WAMP's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Anonymous => "anonymous",
            Method::Ticket => "ticket",
            Method::WampCra => "wampcra",
            Method::Scram => "scram",
            Method::CryptoSign => "cryptosign",
            Method::Token => "token",
            Method::Certificate => "tls",
            Method::Hook => "hook",
            Method::Signature => "pusher",
        }
    }
}

/// Who vouches for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// The configuration.
    Static,
    /// The issuer of a JWT.
    Jwt,
    /// The application, which its hook has asked.
    Hook,
}

impl Provider {
    /// WAMP's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Static => "static",
            Provider::Jwt => "jwt",
            Provider::Hook => "dynamic",
        }
    }
}

impl Identity {
    /// Whether the connection has said who it is, and that was right.
    pub fn is_authenticated(&self) -> bool {
        self.method != Method::Anonymous
    }

    /// Whether it came by something that was issued to the user, and can be revoked before its time: a token, by
    /// whatever way that was shown, or a certificate.
    pub fn is_revocable(&self) -> bool {
        matches!(self.method, Method::Token | Method::Certificate) || self.provider == Provider::Jwt
    }

    /// Whether it has ended.
    pub fn is_expired(&self, now: u32) -> bool {
        self.expires.is_some_and(|expires| expires.get() <= now)
    }
}
