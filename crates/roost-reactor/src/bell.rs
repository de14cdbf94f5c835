//! The bell of a mailbox: wakes a reactor that sleeps, and only one that sleeps.
//!
//! Two parties, any number of senders and one receiver. A sender puts mail where the receiver will
//! look, then rings. The receiver lies down, looks once more, and only then sleeps. All of it is
//! read-modify-write with acquire and release, so whichever comes second sees the other: if the
//! last look misses the ring, the ring reads what the look wrote, and so comes after the lying
//! down, and wakes. `tests/loom` tries the interleavings of exactly this file.

use super::sync::{AtomicBool, AtomicU64, Ordering};

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
        self.rung[sender / 64].fetch_or(1 << (sender % 64), Ordering::AcqRel);
        self.asleep.swap(false, Ordering::AcqRel)
    }

    /// Receiver: lies down. True when there is no mail and it may sleep; false when it must look
    /// again first.
    pub(crate) fn lie_down(&self) -> bool {
        self.asleep.swap(true, Ordering::AcqRel);
        // A read that writes: every word must be looked at, and the looking be seen.
        let rung = self
            .rung
            .iter()
            .fold(0, |rung, word| rung | word.fetch_or(0, Ordering::AcqRel));
        if rung != 0 {
            self.get_up();
        }
        rung == 0
    }

    /// Receiver: is up; nobody needs to wake it until it lies down again.
    pub(crate) fn get_up(&self) {
        // A swap and not a store: all changes stand in one chain, which loom can follow.
        self.asleep.swap(false, Ordering::AcqRel);
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
