//! Waking the driver from other threads: an eventfd that the ring watches.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::waker::Wake;

/// An eventfd, and whether it has been written since the driver last looked.
#[derive(Debug)]
pub(super) struct Wakeup {
    fd: OwnedFd,
    pending: AtomicBool,
}

impl Wakeup {
    pub(super) fn new() -> io::Result<Wakeup> {
        // SAFETY: makes a descriptor and touches no memory of ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Wakeup {
            // SAFETY: the kernel has just given us this descriptor; it is known nowhere else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            pending: AtomicBool::new(false),
        })
    }

    pub(super) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Wakes the driver, unless it has been woken and has not looked yet.
    pub(super) fn notify(&self) {
        // What the caller wrote before is seen by the driver after `take`: both are
        // read-modify-writes of one flag, so that one of them sees the other.
        if !self.pending.swap(true, Ordering::AcqRel) {
            // The count is never read: each write is an edge to the watch, and 2^64 of them do
            // not come. A failed write could only be a full counter.
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight live bytes, and an open descriptor.
            unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// The driver is awake; the next wake wakes it again. False if it was not woken.
    pub(super) fn take(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Wakeup {
    fn wake(&self) {
        self.notify();
    }
}
