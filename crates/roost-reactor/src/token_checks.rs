//! Checks of tokens, between the reactors and the control thread.

use std::borrow::Cow;
use std::sync::Arc;

use roost_access::{PermissionSet, Provider, Secret, TokenMark};
use roost_net::ConnKey;

/// A token that is to be checked.
#[derive(Debug)]
pub struct TokenCheck {
    /// Whose it is; given back with the verdict.
    pub key: ConnKey,
    /// The token as it came.
    pub token: Secret,
}

/// What has become of a check.
#[derive(Debug)]
pub struct Verdict {
    /// Of which connection.
    pub key: ConnKey,
    /// Whether it is let in.
    pub outcome: Result<Login, Denied>,
}

/// As whom a client is let in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its name; empty without an account.
    pub user: Box<str>,
    /// What it may do.
    pub permissions: Arc<PermissionSet>,
    /// In how many milliseconds that ends.
    pub expires_in_ms: Option<u64>,
    /// Who vouches for it.
    pub provider: Provider,
    /// What the token is revoked by.
    pub token: TokenMark,
}

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The token is not good: a sentence for the client, without a quote in it.
    Refused(Cow<'static, str>),
    /// It cannot be said now.
    Unavailable(Cow<'static, str>),
}

/// Checks that are on their way to the control thread.
#[derive(Default)]
pub(crate) struct TokenChecks {
    /// Not sent yet: at most one for each handshake that waits.
    unsent: Vec<TokenCheck>,
}

impl TokenChecks {
    pub(crate) fn push(&mut self, check: TokenCheck) {
        self.unsent.push(check);
    }

    pub(crate) fn take(&mut self) -> Vec<TokenCheck> {
        std::mem::take(&mut self.unsent)
    }

    /// There was no room for them.
    pub(crate) fn put_back(&mut self, checks: Vec<TokenCheck>) {
        debug_assert!(self.unsent.is_empty(), "none has come meanwhile");
        self.unsent = checks;
    }

    /// Whether some are to be sent, or to be sent again.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }
}
