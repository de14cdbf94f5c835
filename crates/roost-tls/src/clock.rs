//! The time, as somebody else sets it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds since 1970, for dates of certificates and the age of tickets. It stands where it was last
/// set: the daemon sets it as its loop goes round, a simulator to what it likes.
#[derive(Debug)]
pub struct Clock(AtomicU64);

impl Clock {
    /// A clock that stands at `now`.
    pub fn new(now: u64) -> Self {
        Self(AtomicU64::new(now))
    }

    /// Sets it.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    /// What it says.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
