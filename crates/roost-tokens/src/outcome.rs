//! What becomes of a token that is checked.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use roost_access::{PermissionSet, TokenMark};

use crate::keys::KeyPrint;

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is. Empty: of a client without an account.
    pub user: Box<str>,
    /// Of `jti` and `iat`, by which it may be revoked.
    pub mark: TokenMark,
    /// From when on it opens no connection, with the leeway.
    pub token_expires_at: Option<u64>,
    /// When a connection that it opened ends: `expire_at`, or when the token expires.
    pub expires_at: Option<u64>,
    /// What it allows beside what all may.
    pub permissions: Arc<PermissionSet>,
    /// The channel that it is for: it allows one to subscribe there, and nothing else. `None`: it is for a
    /// connection.
    pub channel: Option<Box<str>>,
    /// The key that has signed it; none for a static token.
    pub key: Option<KeyPrint>,
}

/// What a token's own name (`jti`) comes to: its issuer gives the names, so that 64 bits are enough.
pub fn id_of(jti: &str) -> [u8; 8] {
    let hash = digest::digest(&digest::SHA256, jti.as_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&hash.as_ref()[..8]);
    id
}

/// Why a token is refused. Says nothing of what stands in it but the kid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Above `token_bytes_max`.
    TooLarge,
    /// No JWT in compact form, and no static token.
    Malformed,
    /// Its head asks for something that is not understood here.
    Head(&'static str),
    /// `none`, or an algorithm of which there is no key.
    Algorithm,
    /// The kid is of no key.
    UnknownKey,
    /// The same, but the JWKS may have it by now.
    MaybeInJwks(Box<str>),
    /// It names no key, and several could have signed it.
    AmbiguousKey,
    /// Signed by none of our keys, or changed since.
    Signature,
    /// A claim that has another type, or stands twice.
    Claims,
    /// A claim that is needed, or has an unusable value.
    Claim(&'static str),
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// For somebody else.
    Audience,
    /// Of somebody else.
    Issuer,
    /// Valid for longer than the configuration allows.
    Lifetime,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::TooLarge => "the token is larger than auth.token_bytes_max",
            Refusal::Malformed => "the token is no JWT in compact form",
            Refusal::Head(reason) => reason,
            Refusal::Algorithm => "the server has no key for the token's algorithm",
            Refusal::UnknownKey | Refusal::MaybeInJwks(_) => "the token's kid is of no known key",
            Refusal::AmbiguousKey => "the token has no kid, and several keys could have signed it",
            Refusal::Signature => "the token's signature is wrong",
            Refusal::Claims => "a claim of the token has the wrong type or stands twice",
            Refusal::Claim(reason) => reason,
            Refusal::Expired => "the token has expired",
            Refusal::NotYet => "the token is not valid yet",
            Refusal::Audience => "the token is for another audience",
            Refusal::Issuer => "the token is of another issuer",
            Refusal::Lifetime => "the token is valid for longer than auth.jwt.lifetime_max",
        })
    }
}
