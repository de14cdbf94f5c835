//! What a driver on io_uring has.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use socket2::SockRef;

use super::accept::Listeners;
use super::batch::BatchPool;
use super::buffers::ReadBuffers;
use super::handle::{DroppedSlots, UringSocket};
use super::ring::{Cqe, Ring, Target};
use super::table::{self, Table};
use super::wake::Wakeup;
use crate::input_clock::InputClock;
use crate::memory::HighWater;
use crate::{CloseCause, ConnKey, DriverStats, Event};

/// The sockets of one reactor, on io_uring.
pub struct UringDriver {
    // Dropped in this order: the ring before what it points to.
    pub(super) ring: Ring,
    pub(super) buffers: ReadBuffers,
    pub(super) listeners: Listeners,
    pub(super) table: Table,
    pub(super) batches: BatchPool,
    /// Completions that may make an event, oldest first.
    pub(super) ready: VecDeque<Cqe>,
    pub(super) ready_water: HighWater,
    /// Connections that wait for a receive buffer.
    pub(super) line: VecDeque<ConnKey>,
    pub(super) line_water: HighWater,
    /// Connections that waited at listeners when those were closed, each with a note in `ready`.
    pub(super) late: VecDeque<(OwnedFd, Option<SocketAddr>)>,
    /// The buffer lent to the caller.
    pub(super) lease: Option<u16>,
    pub(super) wakeup: Arc<Wakeup>,
    pub(super) wakeup_watched: bool,
    pub(super) dropped: Arc<DroppedSlots>,
    /// Direct slots there are, and those in use.
    pub(super) slots_max: u32,
    pub(super) slots_used: u32,
    pub(super) direct: bool,
    pub(super) retry_at: u64,
    /// When the memory of receive buffers may be given back next.
    pub(super) release_at: u64,
    /// Receives there had been when it was last looked at.
    pub(super) receives_seen: u64,
    pub(super) clock: InputClock,
    pub(super) stats: DriverStats,
    /// Beside `stats`, because asking with a stale key counts too.
    pub(super) stale: Cell<u64>,
}

// SAFETY: the raw pointers inside (ring memory, receive buffers, slices of batches, places for
// addresses) point to memory the driver owns and that moves with it. Nothing is tied to the thread
// but the kernel's own check of who submits, which answers with an error.
unsafe impl Send for UringDriver {}

/// What a completion has come to.
pub(super) enum Outcome {
    Event(Event<'static, UringSocket>),
    /// Bytes in a buffer.
    Bytes(ConnKey, u16, u32),
}

impl UringDriver {
    /// Frees a slot that no connection has.
    pub(super) fn close_slot(&mut self, slot: u32) {
        self.ring.close(Target::Slot(slot), None);
        self.slot_is_free();
    }

    pub(super) fn slot_is_free(&mut self) {
        self.slots_used -= 1;
        self.listeners.room();
    }

    pub(super) fn end_lease(&mut self) {
        if let Some(buffer) = self.lease.take() {
            self.buffers.shrink(buffer);
        }
    }

    /// The key, if it names a live connection that is not closing; else counted.
    pub(super) fn live(&self, key: ConnKey) -> Option<ConnKey> {
        let key = self.held(key)?;
        (!self.table.any(key, table::CLOSING)).then_some(key)
    }

    /// The key, if it names a live connection; else counted.
    pub(super) fn held(&self, key: ConnKey) -> Option<ConnKey> {
        let key = key.with_op(0);
        if self.table.holds(key) {
            return Some(key);
        }
        self.count_stale();
        None
    }

    pub(super) fn count_stale(&self) {
        self.stale.set(self.stale.get() + 1);
    }
}

pub(super) fn peer_of(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&fd).peer_addr().ok()?.as_socket()
}

pub(super) fn cause_of(errno: i32) -> CloseCause {
    match errno {
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => CloseCause::Reset,
        errno => CloseCause::Error(errno),
    }
}
