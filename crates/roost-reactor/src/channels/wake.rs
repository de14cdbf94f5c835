//! The flag that wakes a reactor that sleeps, and only one that sleeps.
//!
//! Two sides, any number of senders and one receiver. A sender puts a message where the receiver
//! will look, then notifies. The receiver parks, looks once more, and only then sleeps. All of it is
//! read-modify-write with acquire and release, so whichever comes second sees the other: if the
//! last look misses the notification, the notification reads what the look wrote, and so comes after
//! the parking, and wakes. `tests/loom` tries the interleavings of exactly this file.

use super::sync::{AtomicBool, AtomicU64, Ordering};

/// Senders a flag can tell apart.
pub(crate) const SENDERS_MAX: usize = 256;

/// Tells one receiver that there are messages, and from which senders.
pub(crate) struct WakeFlag<const WORDS: usize = { SENDERS_MAX / 64 }> {
    asleep: AtomicBool,
    pending: [AtomicU64; WORDS],
}

impl<const WORDS: usize> WakeFlag<WORDS> {
    pub(crate) fn new() -> Self {
        WakeFlag {
            asleep: AtomicBool::new(false),
            pending: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Says that `sender` has put a message in its place. True when the receiver sleeps and the caller
    /// must wake it; of several senders at once exactly one gets true.
    pub(crate) fn notify(&self, sender: u8) -> bool {
        let sender = usize::from(sender);
        self.pending[sender / 64].fetch_or(1 << (sender % 64), Ordering::AcqRel);
        self.asleep.swap(false, Ordering::AcqRel)
    }

    /// Receiver: parks. True when there is no message and it may sleep; false when it must look
    /// again first.
    #[inline]
    pub(crate) fn try_park(&self) -> bool {
        self.asleep.swap(true, Ordering::AcqRel);
        // A read that writes: every word must be looked at, and the looking be seen.
        let pending = self.pending.iter().fold(0, |pending, word| {
            pending | word.fetch_or(0, Ordering::AcqRel)
        });
        if pending != 0 {
            self.unpark();
        }
        pending == 0
    }

    /// Receiver: is awake; it need not be woken until it parks again.
    pub(crate) fn unpark(&self) {
        // A swap and not a store: all changes stand in one chain, which loom can follow.
        self.asleep.swap(false, Ordering::AcqRel);
    }

    /// Receiver: takes the senders with messages, 64 to a word; `None` when there are none.
    pub(crate) fn take(&self) -> Option<[u64; WORDS]> {
        if self
            .pending
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0)
        {
            return None;
        }
        Some(std::array::from_fn(|i| {
            self.pending[i].swap(0, Ordering::Acquire)
        }))
    }
}
