//! Keys, and which algorithms each may be used with.
//!
//! RFC 8725 §3.1: a key is for one family of algorithms, whatever a token's head says.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use aws_lc_rs::{digest, rsa};
use jsonwebtoken::{Algorithm, DecodingKey};

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A shared secret of so many bytes: HS256, HS384, HS512.
    Secret(usize),
    /// RSA of 2048 to 8192 bits: RS256 to RS512, PS256 to PS512.
    Rsa,
    /// The curve P-256: ES256.
    P256,
    /// The curve P-384: ES384.
    P384,
    /// EdDSA.
    Ed25519,
}

/// A key that verifies.
#[derive(Debug)]
pub struct Key {
    kid: Option<Box<str>>,
    kind: KeyKind,
    /// The one algorithm that its JWK allows.
    only: Option<Algorithm>,
    material: DecodingKey,
    print: KeyPrint,
}

/// Tells keys apart, by kind and material: 16 bytes of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyPrint([u8; 16]);

/// Why bytes are no key that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Shorter than [`SECRET_BYTES_MIN`].
    SecretTooShort,
    /// RSA below 2048 or above 8192 bits, a point that is not on its curve, or not a key at all.
    Invalid,
}

impl KeyKind {
    /// Whether such a key may be used with this algorithm.
    pub(crate) fn allows(self, algorithm: Algorithm) -> bool {
        match self {
            // RFC 7518 §3.2: a key of the hash's size or larger MUST be used.
            KeyKind::Secret(bytes) => match algorithm {
                Algorithm::HS256 => bytes >= 32,
                Algorithm::HS384 => bytes >= 48,
                Algorithm::HS512 => bytes >= 64,
                _ => false,
            },
            KeyKind::Rsa => matches!(
                algorithm,
                Algorithm::RS256
                    | Algorithm::RS384
                    | Algorithm::RS512
                    | Algorithm::PS256
                    | Algorithm::PS384
                    | Algorithm::PS512
            ),
            KeyKind::P256 => algorithm == Algorithm::ES256,
            KeyKind::P384 => algorithm == Algorithm::ES384,
            KeyKind::Ed25519 => algorithm == Algorithm::EdDSA,
        }
    }

    fn tag(self) -> u8 {
        match self {
            KeyKind::Secret(_) => 0,
            KeyKind::Rsa => 1,
            KeyKind::P256 => 2,
            KeyKind::P384 => 3,
            KeyKind::Ed25519 => 4,
        }
    }
}

impl Key {
    pub(crate) fn secret(kid: &str, secret: &[u8]) -> Result<Key, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::SecretTooShort);
        }
        let material = DecodingKey::from_secret(secret).map_err(|_| KeyError::Invalid)?;
        let kind = KeyKind::Secret(secret.len());
        Ok(Key::new(Some(kid), kind, None, material, &[secret]))
    }

    pub(crate) fn rsa(
        kid: Option<&str>,
        only: Option<Algorithm>,
        n: &[u8],
        e: &[u8],
    ) -> Result<Key, KeyError> {
        // RFC 7518 §6.3.1: no leading zeros; a few issuers write one all the same.
        let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
        let e = &e[e.iter().take_while(|byte| **byte == 0).count()..];
        // aws-lc judges the length only when it verifies, and takes 1 as an exponent.
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        let is_small = matches!(e, [] | [0..=2]);
        if !(2048..=8192).contains(&bits) || is_small {
            return Err(KeyError::Invalid);
        }
        RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| KeyError::Invalid)?;
        let material = DecodingKey::from_rsa_raw_components(n, e);
        Ok(Key::new(kid, KeyKind::Rsa, only, material, &[n, e]))
    }

    /// `bytes`: an uncompressed point, 32 bytes of Ed25519, or a whole SubjectPublicKeyInfo.
    pub(crate) fn public(
        kid: Option<&str>,
        only: Option<Algorithm>,
        kind: KeyKind,
        bytes: &[u8],
    ) -> Result<Key, KeyError> {
        let parsed = match kind {
            KeyKind::Secret(_) => return Err(KeyError::Invalid),
            KeyKind::Rsa => {
                let key = rsa::PublicKey::from_der(bytes).map_err(|_| KeyError::Invalid)?;
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::from(&key);
                return Key::rsa(kid, only, &n, &e);
            }
            KeyKind::P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes),
            KeyKind::P384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, bytes),
            KeyKind::Ed25519 => ParsedPublicKey::new(&ED25519, bytes),
        };
        parsed.map_err(|_| KeyError::Invalid)?;
        let material = match kind {
            KeyKind::Ed25519 => DecodingKey::from_ed_der(bytes),
            _ => DecodingKey::from_ec_der(bytes),
        };
        Ok(Key::new(kid, kind, only, material, &[bytes]))
    }

    fn new(
        kid: Option<&str>,
        kind: KeyKind,
        only: Option<Algorithm>,
        material: DecodingKey,
        parts: &[&[u8]],
    ) -> Key {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&[kind.tag()]);
        for part in parts {
            hash.update(&part.len().to_le_bytes());
            hash.update(part);
        }
        let mut print = [0; 16];
        print.copy_from_slice(&hash.finish().as_ref()[..16]);
        Key {
            kid: kid.map(Box::from),
            kind,
            only,
            material,
            print: KeyPrint(print),
        }
    }

    pub(crate) fn material(&self) -> &DecodingKey {
        &self.material
    }

    /// Tells it from other keys.
    pub fn print(&self) -> KeyPrint {
        self.print
    }

    /// What it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    fn allows(&self, algorithm: Algorithm) -> bool {
        self.kind.allows(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }
}

/// All keys that verify tokens, by where they came from.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    /// Of the file of secrets; each has a kid.
    pub secrets: Vec<Arc<Key>>,
    /// Of the file of public keys; none has a kid.
    pub public: Vec<Arc<Key>>,
    /// Of the JWKS.
    pub jwks: Vec<Arc<Key>>,
    /// Whether there is a JWKS that could have further keys.
    pub has_jwks: bool,
}

/// The keys to try for a token.
#[derive(Debug)]
pub(crate) struct Candidates<'k> {
    /// At least one, and few: a token must not make many signatures be checked.
    pub(crate) keys: Vec<&'k Key>,
    /// None of them has the token's kid, and the JWKS may have one by now.
    pub(crate) may_be_in_jwks: bool,
}

/// Why no key is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// No key that the server has may be used with the algorithm.
    Algorithm,
    /// The kid is of no key that it has.
    Kid,
    /// The same, and the JWKS may have it by now.
    MaybeInJwks,
    /// Several keys of the JWKS could have signed it, and it does not say which.
    Ambiguous,
}

impl KeySet {
    /// The keys to try.
    pub(crate) fn candidates(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<Candidates<'_>, NoKey> {
        let mut may_be_in_jwks = false;
        let is_secret = matches!(
            algorithm,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
        );
        let of_files = if is_secret {
            &self.secrets
        } else {
            &self.public
        };
        let mut fit: Vec<&Key> = allowing(of_files, algorithm).collect();
        if let (true, Some(kid)) = (is_secret, kid) {
            let has_any = !fit.is_empty();
            fit.retain(|key| key.kid() == Some(kid));
            return match (fit.is_empty(), has_any) {
                (false, _) => Ok(Candidates {
                    keys: fit,
                    may_be_in_jwks,
                }),
                (true, true) => Err(NoKey::Kid),
                (true, false) => Err(NoKey::Algorithm),
            };
        }
        if !is_secret {
            let mut of_jwks = allowing(&self.jwks, algorithm);
            match kid {
                Some(kid) => {
                    let named = of_jwks.find(|key| key.kid() == Some(kid));
                    may_be_in_jwks = named.is_none() && self.has_jwks;
                    fit.extend(named);
                }
                None => {
                    // OpenID Connect Core §10.1: with several keys in the set, a kid is needed.
                    let first = of_jwks.next();
                    if of_jwks.next().is_some() && fit.is_empty() {
                        return Err(NoKey::Ambiguous);
                    }
                    fit.extend(first);
                }
            }
        }
        match (fit.is_empty(), may_be_in_jwks) {
            (false, _) => Ok(Candidates {
                keys: fit,
                may_be_in_jwks,
            }),
            (true, true) => Err(NoKey::MaybeInJwks),
            (true, false) => Err(NoKey::Algorithm),
        }
    }

    /// What tells its keys from others.
    pub(crate) fn prints(&self) -> HashSet<KeyPrint> {
        let all = [&self.secrets, &self.public, &self.jwks];
        all.into_iter().flatten().map(|key| key.print).collect()
    }

    /// Whether a kid is among the keys of the JWKS.
    pub fn has_kid(&self, kid: &str) -> bool {
        self.jwks.iter().any(|key| key.kid() == Some(kid))
    }
}

fn allowing(keys: &[Arc<Key>], algorithm: Algorithm) -> impl Iterator<Item = &Key> {
    keys.iter()
        .map(Arc::as_ref)
        .filter(move |key| key.allows(algorithm))
}

/// RFC 7518 §3.2, of the smallest hash.
pub const SECRET_BYTES_MIN: usize = 32;
/// Keys of one file: each is tried in turn for a token that names none.
pub const FILE_KEYS_MAX: usize = 16;
/// Names of keys are short words; UUIDs and thumbprints fit.
pub(crate) const KID_BYTES_MAX: usize = 256;
