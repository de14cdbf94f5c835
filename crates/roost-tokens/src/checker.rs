//! All that is needed to check tokens, in one place: static ones, those checked before, keys.

use std::sync::Arc;

use aws_lc_rs::digest;
use roost_access::PermissionSets;

use crate::cache::Cache;
use crate::keys::KeySet;
use crate::outcome::{Refusal, Verified};
use crate::statics::{StaticTokens, TokenHash};
use crate::verify::{Rules, verify};

/// Checks tokens, and remembers the good ones.
#[derive(Debug)]
pub struct Checker {
    rules: Rules,
    statics: StaticTokens,
    keys: KeySet,
    cache: Cache,
    /// Tokens that allow the same share it.
    sets: PermissionSets,
    counts: Counts,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens hashed.
    pub hashed: u64,
    /// Tokens known from before, and static ones.
    pub known: u64,
    /// Tokens checked as JWT.
    pub checked: u64,
}

impl Checker {
    /// Keeps so many bytes of tokens that were checked.
    pub fn new(
        rules: Rules,
        statics: StaticTokens,
        keys: KeySet,
        cache_bytes_max: usize,
    ) -> Checker {
        Checker {
            rules,
            statics,
            keys,
            cache: Cache::new(cache_bytes_max),
            sets: PermissionSets::default(),
            counts: Counts::default(),
        }
    }

    /// Checks one for a subscription to `channel`, or without that for a connection: neither serves for the
    /// other. `now` is in seconds of the Unix epoch.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn check_for(
        &mut self,
        token: &[u8],
        channel: Option<&str>,
        now: u64,
    ) -> Result<Arc<Verified>, Refusal> {
        let verified = self.look(token, now)?;
        match (verified.channel.as_deref(), channel) {
            (Some(_), None) => Err(Refusal::Claim(
                "the token is for a subscription (claim channel), not for a connection",
            )),
            (None, Some(_)) => Err(Refusal::Claim(
                "the token is for a connection, not for a subscription (claim channel)",
            )),
            (of, wanted) if of != wanted => Err(Refusal::Claim(
                "the token is for a subscription to another channel (claim channel)",
            )),
            _ => Ok(verified),
        }
    }

    /// Checks one for a connection. `now` is in seconds of the Unix epoch.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn check(&mut self, token: &[u8], now: u64) -> Result<Arc<Verified>, Refusal> {
        self.check_for(token, None, now)
    }

    /// What a token says, whatever it is for.
    fn look(&mut self, token: &[u8], now: u64) -> Result<Arc<Verified>, Refusal> {
        if token.len() > self.rules.token_bytes_max {
            return Err(Refusal::TooLarge);
        }
        self.counts.hashed += 1;
        let hash = hash(token);
        let known = self.statics.get(&hash).cloned();
        if let Some(known) = known.or_else(|| self.cache.get(&hash, now)) {
            self.counts.known += 1;
            return Ok(known);
        }
        self.counts.checked += 1;
        let mut verified = verify(token, &self.keys, &self.rules, now)?;
        let permissions = Arc::try_unwrap(verified.permissions);
        verified.permissions = match permissions {
            Ok(permissions) => self.sets.intern(permissions),
            Err(shared) => shared,
        };
        let verified = Arc::new(verified);
        self.cache.keep(hash, token.len(), verified.clone());
        Ok(verified)
    }

    /// The JWKS has changed. Tokens of keys that are gone have to be checked anew.
    pub fn set_jwks(&mut self, keys: Vec<Arc<crate::Key>>) {
        self.keys.jwks = keys;
        self.cache.retain(&self.keys.prints());
    }

    /// The keys in use.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many tokens are remembered, and in how many bytes.
    pub fn remembered(&self) -> (usize, usize) {
        (self.cache.len(), self.cache.bytes())
    }
}

/// SHA-256 of a token.
pub fn hash(token: &[u8]) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    hash
}
