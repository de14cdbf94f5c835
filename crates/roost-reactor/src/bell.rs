//! The bell of a mailbox: wakes a reactor that sleeps, and only one that sleeps.
//!
//! Two parties, any number of senders and one receiver. A sender puts mail where the receiver will
//! look, then rings. The receiver lies down, looks once more, and only then sleeps. Whichever
//! comes second sees the other: the two sequentially consistent fences order "mail is there"
//! against "receiver lies down", so that mail is either seen in the last look or answered with a
//! wake. `tests/loom` tries every interleaving of exactly this file.

use super::sync::{AtomicBool, AtomicU64, Ordering, fence};

/// Senders a bell can tell apart.
pub(crate) const SENDERS_MAX: usize = 256;

/// Tells one receiver that there is mail, and from whom.
pub(crate) struct Bell<const WORDS: usize = { SENDERS_MAX / 64 }> {
    asleep: AtomicBool,
    rung: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Bell<WORDS> {
    pub(crate) fn new() -> Self {
        Bell {
            asleep: AtomicBool::new(false),
            rung: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Says that `sender` has put mail in its place. True when the receiver sleeps and the caller
    /// must wake it; of several senders at once exactly one is told so.
    pub(crate) fn ring(&self, sender: u8) -> bool {
        let sender = usize::from(sender);
        self.rung[sender / 64].fetch_or(1 << (sender % 64), Ordering::Release);
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// Receiver: lies down. True when there is no mail and it may sleep; false when it must look
    /// again first.
    pub(crate) fn lie_down(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let quiet = self
            .rung
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0);
        if !quiet {
            self.asleep.store(false, Ordering::Relaxed);
        }
        quiet
    }

    /// Receiver: is up; nobody needs to wake it until it lies down again.
    pub(crate) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Receiver: takes the senders with mail, 64 to a word; `None` when nobody rang.
    pub(crate) fn take(&self) -> Option<[u64; WORDS]> {
        if self
            .rung
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0)
        {
            return None;
        }
        Some(std::array::from_fn(|i| {
            self.rung[i].swap(0, Ordering::Acquire)
        }))
    }
}
