//! Files of keys: secrets, one a line, and public keys in PEM.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roost_access::Secret;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use crate::keys::{FILE_KEYS_MAX, KID_BYTES_MAX, Key, KeyError, KeyKind, SECRET_BYTES_MIN};
use crate::statics::{StaticTokens, parse_allow, parse_hash};

/// What is wrong in a file of keys. It never says what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

impl std::error::Error for FileError {}

/// What a file of secrets has.
#[derive(Debug)]
pub struct Secrets {
    /// All verify.
    pub keys: Vec<Arc<Key>>,
    /// The first signs.
    pub signer: Signer,
}

/// Signs tokens with HS256.
pub struct Signer {
    kid: String,
    key: EncodingKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.kid)
    }
}

impl Signer {
    /// A token with these claims, a JSON object.
    pub fn sign(&self, claims: &serde_json::Value) -> Secret {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.kid.clone());
        let token = jsonwebtoken::encode(&header, claims, &self.key)
            .expect("an HMAC of serialized JSON cannot fail");
        Secret::from(token)
    }
}

/// Reads `kid secret`, one a line; `#` begins a comment, and empty lines are ignored.
///
/// # Errors
/// The first mistake: a line without a secret, a short or repeated one, a public key, too many.
pub fn parse_secrets(text: &str) -> Result<Secrets, FileError> {
    let mut keys: Vec<Arc<Key>> = Vec::new();
    let mut signer = None;
    for (at, line) in text.lines().enumerate() {
        let mistake = |reason: String| FileError {
            line: at + 1,
            reason,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.contains("-----BEGIN") {
            return Err(mistake(
                "here stands a PEM: public keys go into auth.jwt.public_keys_file".to_owned(),
            ));
        }
        let Some((kid, secret)) = line.split_once(char::is_whitespace) else {
            return Err(mistake(
                "write the key's name, a space and the secret".to_owned(),
            ));
        };
        let secret = secret.trim_start();
        if kid.len() > KID_BYTES_MAX {
            return Err(mistake(format!(
                "a key's name has at most {KID_BYTES_MAX} bytes"
            )));
        }
        if keys.iter().any(|key| key.kid() == Some(kid)) {
            return Err(mistake(
                "another line has the same key's name; give each its own".to_owned(),
            ));
        }
        if keys.len() == FILE_KEYS_MAX {
            return Err(mistake(format!("at most {FILE_KEYS_MAX} secrets")));
        }
        let key = Key::secret(kid, secret.as_bytes()).map_err(|_| {
            mistake(format!(
                "the secret has fewer than {SECRET_BYTES_MIN} bytes; `openssl rand -base64 48` makes one"
            ))
        })?;
        keys.push(Arc::new(key));
        if signer.is_none() {
            let secret = Zeroizing::new(secret.as_bytes().to_vec());
            let key = EncodingKey::from_secret(&secret).map_err(|_| {
                mistake("the secret is empty; `openssl rand -base64 48` makes one".to_owned())
            })?;
            signer = Some(Signer {
                kid: kid.to_owned(),
                key,
            });
        }
    }
    match signer {
        Some(signer) => Ok(Secrets { keys, signer }),
        None => Err(FileError {
            line: 0,
            reason: "the file has no secret; write one a line as `name secret`".to_owned(),
        }),
    }
}

/// Reads public keys: sections `PUBLIC KEY` of a PEM file.
///
/// # Errors
/// A section that is something else, a key that is weak or none, too many, or none at all.
pub fn parse_public_keys(pem: &[u8]) -> Result<Vec<Arc<Key>>, FileError> {
    let mistake = |reason: &str| FileError {
        line: 0,
        reason: reason.to_owned(),
    };
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| mistake("a section of the PEM cannot be read"))?;
        let number = keys.len() + 1;
        match kind {
            SectionKind::PublicKey => {}
            SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
                return Err(mistake(
                    "a private key stands here; `openssl pkey -pubout` writes its public key, and the private one stays where tokens are made",
                ));
            }
            _ => {
                return Err(mistake(
                    "a section is no PUBLIC KEY; `openssl x509 -pubkey -noout` writes that of a certificate",
                ));
            }
        }
        if keys.len() == FILE_KEYS_MAX {
            return Err(mistake(&format!("at most {FILE_KEYS_MAX} public keys")));
        }
        let key = of_spki(&der).map_err(|_| {
            mistake(&format!(
                "key {number} cannot be used: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 can"
            ))
        })?;
        keys.push(Arc::new(key));
    }
    if keys.len() != count(pem, b"-----BEGIN ") {
        return Err(mistake(
            "a section is no PUBLIC KEY; `openssl pkey -pubin -pubout` writes an RSA PUBLIC KEY as one",
        ));
    }
    if keys.is_empty() {
        return Err(mistake("the file has no section PUBLIC KEY"));
    }
    Ok(keys)
}

/// Reads static tokens: user, SHA-256 and what it grants, one a line; `#` begins a comment.
///
/// # Errors
/// The first mistake.
pub fn parse_static_tokens(text: &str) -> Result<StaticTokens, FileError> {
    let mut tokens = StaticTokens::default();
    for (at, line) in text.lines().enumerate() {
        let mistake = |reason: &str| FileError {
            line: at + 1,
            reason: reason.to_owned(),
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(user), Some(hash)) = (words.next(), words.next()) else {
            return Err(mistake("write the user, a space and the token's SHA-256"));
        };
        let hash = parse_hash(hash).ok_or_else(|| {
            mistake("a SHA-256 has 64 hexadecimal digits; `printf %s TOKEN | sha256sum` writes it")
        })?;
        let allow: Option<Vec<_>> = words.map(parse_allow).collect();
        let allow = allow.ok_or_else(|| {
            mistake("a grant is sub: or pub: and a channel, which may end with *")
        })?;
        if !tokens.add(hash, user, allow) {
            return Err(mistake("another line has the same token"));
        }
    }
    Ok(tokens)
}

/// Each parser accepts keys of its own kind and curve alone.
fn of_spki(der: &[u8]) -> Result<Key, KeyError> {
    const KINDS: [KeyKind; 4] = [KeyKind::Rsa, KeyKind::P256, KeyKind::P384, KeyKind::Ed25519];
    let keys = KINDS.map(|kind| Key::public(None, None, kind, der));
    keys.into_iter()
        .find_map(Result::ok)
        .ok_or(KeyError::Invalid)
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|at| *at == part).count()
}
