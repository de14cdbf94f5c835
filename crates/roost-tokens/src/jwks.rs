//! A JWK Set (RFC 7517) as keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::keys::{KID_BYTES_MAX, Key, KeyError, KeyKind};
use crate::object::Object;

/// What a document has.
#[derive(Debug)]
pub struct Jwks {
    /// The keys that may verify.
    pub keys: Vec<Arc<Key>>,
    /// How many more it has: for other uses, of other kinds, private, shared or broken.
    pub skipped: usize,
}

/// Why a document is refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwksError {
    /// Larger than may be.
    TooLarge,
    /// Not JSON, or not an object with an array `keys`.
    Malformed,
    /// More than [`JWKS_KEYS_MAX`].
    TooMany,
    /// None that may be used.
    Empty,
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwksError::TooLarge => f.write_str("it is larger than auth.jwt.jwks_bytes_max"),
            JwksError::Malformed => f.write_str("it is no JSON object with an array `keys`"),
            JwksError::TooMany => write!(f, "it has more than {JWKS_KEYS_MAX} keys"),
            JwksError::Empty => f.write_str("it has no key that verifies signatures"),
        }
    }
}

#[derive(Deserialize)]
struct Document<'d> {
    #[serde(borrow)]
    keys: Vec<&'d RawValue>,
}

/// The members that say what a key is. Of a member that stands twice nothing is taken.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// What only private keys have.
    d: Option<IgnoredAny>,
}

/// Reads a JWK Set of at most `bytes_max` bytes.
///
/// A key that cannot be used is skipped and counted: issuers publish others beside.
///
/// # Errors
/// When the document as a whole is none, or no key of it can be used.
pub fn parse_jwks(document: &[u8], bytes_max: usize) -> Result<Jwks, JwksError> {
    if document.len() > bytes_max {
        return Err(JwksError::TooLarge);
    }
    let Object(parsed): Object<Document<'_>> =
        serde_json::from_slice(document).map_err(|_| JwksError::Malformed)?;
    if parsed.keys.len() > JWKS_KEYS_MAX {
        return Err(JwksError::TooMany);
    }
    let mut keys: Vec<Arc<Key>> = Vec::new();
    for raw in &parsed.keys {
        let Ok(key) = parse_jwk(raw) else {
            continue;
        };
        // RFC 7517 §4.5: a kid is of one key of a kind.
        let is_double = keys
            .iter()
            .any(|other| other.kid() == key.kid() && other.kind() == key.kind());
        if !is_double {
            keys.push(Arc::new(key));
        }
    }
    if keys.is_empty() {
        return Err(JwksError::Empty);
    }
    let skipped = parsed.keys.len() - keys.len();
    Ok(Jwks { keys, skipped })
}

fn parse_jwk(raw: &RawValue) -> Result<Key, KeyError> {
    let Object(jwk): Object<Jwk> =
        serde_json::from_str(raw.get()).map_err(|_| KeyError::Invalid)?;
    let is_for_signatures = jwk.r#use.as_deref().is_none_or(|used| used == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    let kid = jwk.kid.as_deref();
    // A private key that is published is known to everybody.
    if !is_for_signatures || jwk.d.is_some() || kid.is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return Err(KeyError::Invalid);
    }
    let only = match &jwk.alg {
        Some(name) => Some(Algorithm::from_str(name).map_err(|_| KeyError::Invalid)?),
        None => None,
    };
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", None) => Key::rsa(kid, only, &member(&jwk.n)?, &member(&jwk.e)?)?,
        ("EC", Some("P-256")) => {
            let point = point(&jwk, 32)?;
            Key::public(kid, only, KeyKind::P256, &point)?
        }
        ("EC", Some("P-384")) => {
            let point = point(&jwk, 48)?;
            Key::public(kid, only, KeyKind::P384, &point)?
        }
        ("OKP", Some("Ed25519")) => {
            let x = member(&jwk.x)?;
            if x.len() != 32 {
                return Err(KeyError::Invalid);
            }
            Key::public(kid, only, KeyKind::Ed25519, &x)?
        }
        // `oct` too: a secret that stands in a public document is none.
        _ => return Err(KeyError::Invalid),
    };
    match only {
        Some(only) if !key.kind().allows(only) => Err(KeyError::Invalid),
        _ => Ok(key),
    }
}

/// SEC 1 §2.3.3, uncompressed.
fn point(jwk: &Jwk, bytes: usize) -> Result<Vec<u8>, KeyError> {
    let (x, y) = (member(&jwk.x)?, member(&jwk.y)?);
    // RFC 7518 §6.2.1.2: the length of a coordinate is that of the curve.
    if x.len() != bytes || y.len() != bytes {
        return Err(KeyError::Invalid);
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}

fn member(value: &Option<String>) -> Result<Vec<u8>, KeyError> {
    let text = value.as_deref().ok_or(KeyError::Invalid)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Invalid)
}

/// Large issuers publish about twenty.
pub const JWKS_KEYS_MAX: usize = 100;
