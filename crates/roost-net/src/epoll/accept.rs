//! Listeners, and what happens when no descriptor is free.
//!
//! At the limit a newcomer is accepted with a descriptor held in reserve and reset at once, so
//! that it learns its fate and the backlog stays empty. When even the reserve is gone, accepting
//! rests until one of our sockets closes or ten milliseconds pass.
//!
//! A unix socket is shared by the drivers that listen on it: all of them are told of a connection,
//! and the first to accept has it. EPOLLEXCLUSIVE would wake one alone: in practice always the same
//! one while it is idle, and none when that one has paused accepting since.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::Registry;
use mio::unix::SourceFd;
use socket2::Socket;

use crate::{DriverStats, ListenAddr, ListenerId, socket, sys};

/// How long accepting rests at the limit at most: another part of the process may have freed a
/// descriptor without our knowing.
pub(super) const RETRY_NS: u64 = 10_000_000;

/// Connections accepted from one listener in one turn; the rest waits for the next.
const ACCEPTS_PER_TURN: u32 = 64;

/// All listeners of one driver.
#[derive(Debug)]
pub(super) struct Listeners {
    /// By [`ListenerId`]; None where the listener has been closed.
    list: Vec<Option<Listener>>,
    accepting: bool,
    /// Opened with the first listener; see the module's documentation.
    reserve: Option<OwnedFd>,
    /// Accepting rests until then.
    retry_at_ns: Option<u64>,
}

#[derive(Debug)]
struct Listener {
    socket: Socket,
    /// Holds a unix socket's file.
    _addr: ListenAddr,
    want_peer: bool,
    /// No accept since the last edge has found the backlog empty.
    ready: bool,
    /// On the driver's ready-list.
    queued: bool,
    /// Accepts left in this turn.
    budget: u32,
}

/// What a listener's turn gave.
pub(super) enum Accept {
    /// A connection; there may be more.
    One(OwnedFd, Option<SocketAddr>),
    /// The turn's budget is spent.
    NextTurn,
    /// Nothing to accept for now.
    Rest,
}

impl Listeners {
    pub(super) fn new() -> Listeners {
        Listeners {
            list: Vec::new(),
            accepting: true,
            reserve: None,
            retry_at_ns: None,
        }
    }

    pub(super) fn add(&mut self, socket: Socket, addr: ListenAddr, want_peer: bool) -> ListenerId {
        self.refill_reserve();
        self.list.push(Some(Listener {
            socket,
            _addr: addr,
            want_peer,
            ready: false,
            queued: false,
            budget: 0,
        }));
        ListenerId(self.next_id().0 - 1)
    }

    /// The id the next listener will have.
    pub(super) fn next_id(&self) -> ListenerId {
        ListenerId(u32::try_from(self.list.len()).expect("fewer listeners than ports"))
    }

    pub(super) fn close_all(&mut self, registry: &Registry) {
        for listener in self.list.iter_mut().filter_map(Option::take) {
            // epoll(7): a socket that others hold as well stays in the set until it is taken out.
            // Fails only for one that is not in it; this one is.
            let _ = registry.deregister(&mut SourceFd(&listener.socket.as_raw_fd()));
        }
        self.retry_at_ns = None;
    }

    pub(super) fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    /// epoll has told of newcomers. True when the listener is to go on the ready-list.
    pub(super) fn mark_ready(&mut self, id: ListenerId) -> bool {
        if let Some(listener) = self.get_mut(id) {
            listener.ready = true;
        }
        self.enqueue(id)
    }

    /// Takes the listeners that have waited for `set_accepting` or for a free descriptor: those
    /// that are to go on the ready-list now.
    pub(super) fn take_waiting(&mut self, now_ns: u64) -> Vec<ListenerId> {
        if self.retry_at_ns.is_some_and(|at| at > now_ns) {
            return Vec::new();
        }
        self.retry_at_ns = None;
        let ids = 0..self.next_id().0;
        ids.map(ListenerId).filter(|&id| self.enqueue(id)).collect()
    }

    fn enqueue(&mut self, id: ListenerId) -> bool {
        if !self.accepting || self.retry_at_ns.is_some() {
            return false;
        }
        let Some(listener) = self.get_mut(id) else {
            return false;
        };
        listener.budget = ACCEPTS_PER_TURN;
        listener.ready && !std::mem::replace(&mut listener.queued, true)
    }

    /// When accepting goes on after the limit, if it rests.
    pub(super) fn retry_at_ns(&self) -> Option<u64> {
        self.retry_at_ns.filter(|_| self.accepting)
    }

    /// A descriptor of ours has been closed: accepting need not rest any longer.
    pub(super) fn descriptor_freed(&mut self) {
        if self.retry_at_ns.is_some() {
            self.retry_at_ns = Some(0);
        }
    }

    /// Accepts from a listener that was on the ready-list. On [`Accept::Rest`] it is off the
    /// list, otherwise it stays.
    pub(super) fn accept(
        &mut self,
        id: ListenerId,
        now_ns: u64,
        stats: &mut DriverStats,
    ) -> Accept {
        let accepting = self.accepting;
        loop {
            let Some(listener) = self.get_mut(id) else {
                return Accept::Rest;
            };
            if !accepting {
                listener.queued = false;
                return Accept::Rest;
            }
            if listener.budget == 0 {
                listener.budget = ACCEPTS_PER_TURN;
                return Accept::NextTurn;
            }
            listener.budget -= 1;
            match sys::accept(&listener.socket, listener.want_peer) {
                Ok((fd, peer)) => {
                    stats.accepted += 1;
                    return Accept::One(fd, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listener.ready = false;
                    listener.queued = false;
                    self.refill_reserve();
                    return Accept::Rest;
                }
                Err(error) if is_newcomers_own(&error) => {}
                Err(error) if is_descriptor_limit(&error) => match self.shed(id, stats) {
                    Shed::One => {}
                    Shed::NoneWaiting => {
                        if let Some(listener) = self.get_mut(id) {
                            listener.ready = false;
                            listener.queued = false;
                        }
                        return Accept::Rest;
                    }
                    Shed::Failed => {
                        stats.accept_limit += 1;
                        return self.rest(id, now_ns);
                    }
                },
                // No memory for the socket, or a listener gone bad: nothing to do but wait.
                Err(_) => return self.rest(id, now_ns),
            }
        }
    }

    /// Accepts a newcomer with the reserve descriptor and resets it.
    fn shed(&mut self, id: ListenerId, stats: &mut DriverStats) -> Shed {
        let Some(reserve) = self.reserve.take() else {
            return Shed::Failed;
        };
        drop(reserve);
        let Some(listener) = self.get_mut(id) else {
            return Shed::NoneWaiting;
        };
        // The kernel looks for a descriptor before it looks for a newcomer, so the limit alone
        // does not say that anyone is waiting.
        let shed = match sys::accept(&listener.socket, false) {
            Ok((fd, _)) => {
                stats.accept_limit += 1;
                stats.accept_reset += 1;
                socket::reset_on_close(&fd);
                Shed::One
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Shed::NoneWaiting,
            Err(error) if is_newcomers_own(&error) => Shed::One,
            // Another thread was quicker than we.
            Err(_) => Shed::Failed,
        };
        self.refill_reserve();
        shed
    }

    fn rest(&mut self, id: ListenerId, now_ns: u64) -> Accept {
        if let Some(listener) = self.get_mut(id) {
            listener.queued = false;
        }
        self.retry_at_ns = Some(now_ns + RETRY_NS);
        Accept::Rest
    }

    fn refill_reserve(&mut self) {
        if self.reserve.is_none() {
            self.reserve = socket::spare_descriptor().ok();
        }
    }

    fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.list.get_mut(id.0 as usize)?.as_mut()
    }
}

enum Shed {
    /// A newcomer is gone; there may be more.
    One,
    /// Nobody is waiting.
    NoneWaiting,
    /// The reserve is not there.
    Failed,
}

/// accept(2): Linux hands the newcomer's own network errors to the acceptor; the next one may be
/// well.
fn is_newcomers_own(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

fn is_descriptor_limit(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
