//! Sockets without a driver: accepted, or released.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::wake::Wakeup;

/// A socket on its way between driver and caller. Dropping it closes it.
///
/// With direct descriptors an accepted socket is a slot of the driver's ring and can be adopted
/// by that driver only; a released one is an ordinary descriptor that any driver takes.
pub struct UringSocket(Kind);

enum Kind {
    Fd(OwnedFd),
    Slot(SlotGuard),
}

/// A slot, and where to say that it may be freed.
struct SlotGuard {
    slot: u32,
    dropped: Option<Arc<DroppedSlots>>,
}

/// Slots whose sockets were dropped by their holder, for the driver to close.
pub(super) struct DroppedSlots {
    slots: Mutex<Vec<u32>>,
    wakeup: Arc<Wakeup>,
}

/// What a socket is made of.
pub(super) enum Parts {
    Fd(OwnedFd),
    /// A slot of the ring asked for.
    Slot(u32),
    /// A slot of another ring.
    Foreign(UringSocket),
}

impl UringSocket {
    pub(super) fn slot(slot: u32, dropped: &Arc<DroppedSlots>) -> UringSocket {
        UringSocket(Kind::Slot(SlotGuard {
            slot,
            dropped: Some(Arc::clone(dropped)),
        }))
    }

    /// Takes the socket apart, for the ring that `dropped` belongs to.
    pub(super) fn into_parts(self, dropped: &Arc<DroppedSlots>) -> Parts {
        match self.0 {
            Kind::Fd(fd) => Parts::Fd(fd),
            Kind::Slot(mut guard) => match &guard.dropped {
                Some(home) if Arc::ptr_eq(home, dropped) => {
                    guard.dropped = None;
                    Parts::Slot(guard.slot)
                }
                _ => Parts::Foreign(UringSocket(Kind::Slot(guard))),
            },
        }
    }
}

/// Any connected TCP socket. TCP_NODELAY is the caller's to set.
impl From<OwnedFd> for UringSocket {
    fn from(fd: OwnedFd) -> UringSocket {
        UringSocket(Kind::Fd(fd))
    }
}

/// The descriptor, or the socket back if it is a slot of a ring.
impl TryFrom<UringSocket> for OwnedFd {
    type Error = UringSocket;

    fn try_from(socket: UringSocket) -> Result<OwnedFd, UringSocket> {
        match socket.0 {
            Kind::Fd(fd) => Ok(fd),
            kind @ Kind::Slot(_) => Err(UringSocket(kind)),
        }
    }
}

impl fmt::Debug for UringSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fd(fd) => f.debug_tuple("Fd").field(fd).finish(),
            Kind::Slot(guard) => f.debug_tuple("Slot").field(&guard.slot).finish(),
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            dropped.push(self.slot);
        }
    }
}

impl DroppedSlots {
    pub(super) fn new(wakeup: Arc<Wakeup>) -> DroppedSlots {
        DroppedSlots {
            slots: Mutex::new(Vec::new()),
            wakeup,
        }
    }

    /// The slots dropped since the last call.
    pub(super) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, slot: u32) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(slot);
        // The holder may be another thread, and the driver asleep.
        self.wakeup.notify();
    }
}
