//! What an epoll driver has, and the sockets it hands out.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mio::{Events, Poll};
use socket2::SockRef;

use super::accept::Listeners;
use super::batch::Batch;
use super::table::Table;
use super::wake::Wakeup;
use crate::input_clock::InputClock;
use crate::memory::HighWater;
use crate::{CloseCause, ConnKey, DriverStats, Event, ListenerId};

/// A connected TCP socket that no driver holds.
#[derive(Debug)]
pub struct EpollSocket(pub(super) OwnedFd);

impl EpollSocket {
    /// Takes a connected socket from elsewhere, such as another process, and makes it
    /// non-blocking.
    pub fn from_fd(fd: OwnedFd) -> io::Result<EpollSocket> {
        SockRef::from(&fd).set_nonblocking(true)?;
        Ok(EpollSocket(fd))
    }
}

impl From<EpollSocket> for OwnedFd {
    fn from(socket: EpollSocket) -> OwnedFd {
        socket.0
    }
}

impl AsFd for EpollSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// [`Driver`](crate::Driver) over epoll.
pub struct EpollDriver {
    pub(super) poll: Poll,
    pub(super) events: Events,
    pub(super) wakeup: Arc<Wakeup>,
    pub(super) table: Table,
    /// Batches in flight, by slot.
    pub(super) batches: HashMap<u32, Batch>,
    pub(super) batches_water: HighWater,
    pub(super) listeners: Listeners,
    /// Sockets and listeners with work; a key is on it once.
    pub(super) ready: VecDeque<ConnKey>,
    pub(super) ready_water: HighWater,
    /// Entries of `ready` that belong to this pass.
    pub(super) turn_left: usize,
    /// Events that need no system call any more.
    pub(super) done: VecDeque<Done>,
    pub(super) done_water: HighWater,
    pub(super) read_buffer: Box<[u8]>,
    pub(super) clock: InputClock,
    pub(super) stats: DriverStats,
    /// Beside `stats` because `&self` calls count here as well.
    pub(super) stale: Cell<u64>,
}

/// An event that is still to be reported.
#[derive(Debug)]
pub(super) enum Done {
    Closed(ConnKey, CloseCause),
    /// A connection that waited at a listener when that was closed.
    Accepted(ListenerId, EpollSocket, Option<SocketAddr>),
    Released(ConnKey),
    Woken,
}

/// What one step of a pass gave.
pub(super) enum Step {
    /// Bytes in the shared buffer.
    Bytes(ConnKey, usize),
    Event(Event<'static, EpollSocket>),
}
