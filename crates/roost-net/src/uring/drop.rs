//! The driver's own end: memory back from the kernel, sockets closed.

use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use super::ops::{ACCEPT, INSTALL, SEND};
use super::ring::{Cqe, IGNORED, Target};
use super::state::UringDriver;
use crate::{ConnKey, clock};

impl Drop for UringDriver {
    fn drop(&mut self) {
        if !self.take_back_memory() {
            // The kernel may still read or write there.
            self.table.leak_batches();
            self.listeners.leak();
            self.buffers.leak();
        }
        for target in self.table.targets() {
            if let Target::Fd(fd) = target {
                // SAFETY: the table owns the descriptor and goes now.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
}

impl UringDriver {
    /// Cancels the requests that point to memory of ours and waits for their completions.
    fn take_back_memory(&mut self) -> bool {
        if !self.ring.enabled() {
            return true;
        }
        let sending: Vec<ConnKey> = self.table.sending().collect();
        for key in &sending {
            self.ring.cancel(key.with_op(SEND).to_bits());
        }
        self.listeners.close_all(&mut self.ring);
        let mut lent = sending.len() + self.listeners.armed() as usize;
        lent = lent.saturating_sub(self.ready.iter().filter(|cqe| gives_back(cqe)).count());
        let started = clock::now_ns();
        // Also what was asked last, as refusals.
        let mut entered = self.ring.enter(false, None);
        while lent > 0 {
            if entered.is_err() || clock::now_ns() - started > TAKE_BACK_NS_MAX {
                return false;
            }
            while let Some(cqe) = self.ring.next_arrived() {
                if gives_back(&cqe) {
                    lent = lent.saturating_sub(1);
                }
                self.ready.push_back(cqe);
            }
            if lent > 0 {
                entered = self.ring.enter(true, Some(Duration::from_millis(10)));
            }
        }
        self.close_unclaimed();
        true
    }

    /// Closes descriptors that arrived and that the caller has not seen.
    fn close_unclaimed(&mut self) {
        let made = [ACCEPT, INSTALL];
        for cqe in self.ready.drain(..) {
            let op = ConnKey::from_bits(cqe.user_data).op();
            let direct = self.direct && op == ACCEPT;
            if made.contains(&op) && cqe.result >= 0 && !direct {
                // SAFETY: the request made this descriptor; it is known nowhere else.
                drop(unsafe { OwnedFd::from_raw_fd(cqe.result) });
            }
        }
    }
}

/// Whether this completion ends a request that points to memory of ours.
fn gives_back(cqe: &Cqe) -> bool {
    let op = ConnKey::from_bits(cqe.user_data).op();
    cqe.user_data != IGNORED && (op == SEND || op == ACCEPT && !cqe.more())
}

/// How long a dropped driver waits for the kernel to give memory back.
const TAKE_BACK_NS_MAX: u64 = 1_000_000_000;
