//! The wake-up: an eventfd that is written once for many wakes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Registry, Token};

use crate::waker::Wake;

/// Wakes the driver out of epoll_wait, once for many wakes.
pub(super) struct Wakeup {
    /// Woken, and not yet awake.
    pending: AtomicBool,
    waker: mio::Waker,
}

impl Wakeup {
    /// One that is an event with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Wakeup> {
        let waker = mio::Waker::new(registry, token)?;
        Ok(Wakeup {
            pending: AtomicBool::new(false),
            waker,
        })
    }

    /// The driver is awake: the next wake wakes it again.
    pub(super) fn take(&self) {
        self.pending.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Wakeup {
    fn wake(&self) {
        // Swapping on both sides makes what was written before any of the coalesced wakes
        // visible to the thread that is woken.
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.waker.wake().expect("an eventfd can always be written");
        }
    }
}
