//! Waking the driver from other threads: an eventfd that the ring watches.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::waker::Wake;

/// An eventfd, and whether it has been rung since the driver last looked.
#[derive(Debug)]
pub(super) struct Bell {
    fd: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        // SAFETY: makes a descriptor and touches no memory of ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Bell {
            // SAFETY: the kernel has just given us this descriptor; it is known nowhere else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            rung: AtomicBool::new(false),
        })
    }

    pub(super) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Wakes the driver, unless it has been woken and has not answered yet.
    pub(super) fn ring(&self) {
        // What the caller wrote before is seen by the driver after `answer`: both are
        // read-modify-writes of one flag, so that one of them sees the other.
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The count is never read: each write is an edge to the watch, and 2^64 of them do
            // not come. A failed write could only be a full counter.
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight live bytes, and an open descriptor.
            unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// The driver is awake; the next ring wakes it again. False if it was not rung.
    pub(super) fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring();
    }
}
