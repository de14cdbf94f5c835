//! The wake-up: an eventfd that is written once for many wakes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Registry, Token};

use crate::waker::Wake;

/// Rings the driver out of epoll_wait, once for many wakes.
pub(super) struct Bell {
    /// Rung, and not yet heard.
    rung: AtomicBool,
    waker: mio::Waker,
}

impl Bell {
    /// A bell heard as an event with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Bell> {
        let waker = mio::Waker::new(registry, token)?;
        Ok(Bell {
            rung: AtomicBool::new(false),
            waker,
        })
    }

    /// The ring has been heard: the next wake rings again.
    pub(super) fn hear(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Bell {
    fn wake(&self) {
        // Swapping on both sides makes what was written before any of the coalesced wakes
        // visible to the thread that hears the bell.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waker.wake().expect("an eventfd can always be written");
        }
    }
}
