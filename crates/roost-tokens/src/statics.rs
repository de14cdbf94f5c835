//! Static tokens: known by their SHA-256, for devices and tests.

use std::collections::HashMap;
use std::sync::Arc;

use roost_access::{Operation, Operations, Permission, PermissionSet, TokenMark};

use crate::grants::pattern;
use crate::outcome::Verified;

/// SHA-256 of a whole token.
pub type TokenHash = [u8; 32];

/// Static tokens of the configuration.
#[derive(Debug, Clone, Default)]
pub struct StaticTokens {
    known: HashMap<TokenHash, Arc<Verified>>,
}

impl StaticTokens {
    /// Adds one; false if there is one with that hash.
    pub fn add(&mut self, hash: TokenHash, user: &str, permissions: Vec<Permission>) -> bool {
        let verified = Verified {
            user: user.into(),
            mark: TokenMark::default(),
            token_expires_at: None,
            expires_at: None,
            permissions: Arc::new(PermissionSet::of_token(permissions)),
            channel: None,
            key: None,
        };
        self.known.insert(hash, Arc::new(verified)).is_none()
    }

    pub(crate) fn get(&self, hash: &TokenHash) -> Option<&Arc<Verified>> {
        self.known.get(hash)
    }
}

/// What a static token allows: `sub:`, `pub:` or `prs:` and a channel, which may end with `*`.
pub fn parse_allow(text: &str) -> Option<Permission> {
    let (word, channel) = text.split_once(':')?;
    let operation = match word {
        "sub" => Operation::Subscribe,
        "pub" => Operation::Publish,
        "prs" => Operation::ReadPresence,
        _ => return None,
    };
    Some(Permission {
        pattern: pattern(channel).filter(|_| !channel.is_empty())?,
        allow: Operations::from_iter([operation]),
    })
}

/// 64 hexadecimal digits as a hash.
pub fn parse_hash(text: &str) -> Option<TokenHash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(hash)
}
