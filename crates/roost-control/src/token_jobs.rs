//! What the thread that checks tokens is given.

use std::sync::{Arc, mpsc};

use roost_reactor::TokenCheck;
use roost_tokens::Key;

/// What the thread is given.
pub(crate) enum Job {
    /// Tokens that a reactor asks about.
    Check(usize, Vec<TokenCheck>),
    /// Those whose key was asked for: now they are good or refused.
    Recheck(Vec<Parked>),
    /// The JWKS has other keys.
    Keys(Vec<Arc<Key>>),
}

/// A token whose key may be in the JWKS by now.
pub(crate) struct Parked {
    pub(crate) reactor: usize,
    pub(crate) check: TokenCheck,
}

/// The way to the thread.
pub(crate) type ToThread = mpsc::Sender<Job>;
