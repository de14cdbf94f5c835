//! Listeners, and what happens when no descriptor is free.
//!
//! At the limit a new connection is accepted with a descriptor held in reserve and reset at once, so
//! that it learns its fate and the backlog stays empty. When even the reserve is gone, accepting
//! rests until one of our sockets closes or ten milliseconds pass.
//!
//! A unix socket is shared by the drivers that listen on it ([`Shared`]). Were all told of each
//! connection, the quickest would have nearly all: of 96 connections to three idle reactors 53, 43 and
//! 0. So the kernel tells one, that which has waited longest (EPOLLEXCLUSIVE), and having accepted it
//! queues up again. One that stops to accept meanwhile has the others look.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use mio::Poll;
use mio::unix::SourceFd;
use socket2::Socket;

use super::token::listener_key;
use crate::unix_socket::UnixSocket;
use crate::{DriverStats, ListenerId, Waker, socket, sys};

/// How long accepting rests at the limit at most: another part of the process may have freed a
/// descriptor without our knowing.
pub(super) const RETRY_NS: u64 = 10_000_000;

/// Connections accepted from one listener in one iteration; the rest waits for the next.
const ACCEPTS_PER_TURN: u32 = 64;
/// The same where other drivers accept from the socket, too.
const SHARED_ACCEPTS_PER_TURN: u32 = 4;

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
    shared: Option<Shared>,
    want_peer: bool,
    /// No accept since the last edge has found the backlog empty.
    ready: bool,
    /// On the driver's ready-list.
    queued: bool,
    /// Accepts left in this iteration.
    budget: u32,
}

/// The part of a listener whose socket others accept from, too.
#[derive(Debug)]
struct Shared {
    socket: Arc<UnixSocket>,
    /// In epoll's set.
    watched: bool,
    token: u64,
    /// [`UnixSocket::left_behind`] as it was when we looked last.
    left_behind: u32,
    /// It has accepted since it queued up.
    served: bool,
}

impl Shared {
    /// Queues up behind the other drivers. What waits already is told at once.
    fn watch(&mut self, poll: &Poll, listener: &Socket) -> io::Result<()> {
        self.unwatch(poll, listener);
        sys::watch_exclusively(poll, listener, self.token)?;
        self.watched = true;
        self.served = false;
        Ok(())
    }

    fn unwatch(&mut self, poll: &Poll, listener: &Socket) {
        if std::mem::take(&mut self.watched) {
            unregister(poll, listener);
        }
    }
}

/// epoll(7): a socket that others hold as well stays in the set until it is taken out.
fn unregister(poll: &Poll, listener: &Socket) {
    let fd = listener.as_raw_fd();
    // Fails only for one that is not in the set; this one is.
    let _ = poll.registry().deregister(&mut SourceFd(&fd));
}

/// What accepting from a listener gave.
pub(super) enum Accept {
    /// A connection; there may be more.
    One(OwnedFd, Option<SocketAddr>),
    /// The iteration's budget is spent.
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

    /// Adds a listener that is in epoll's set, but for a shared one, which is put there.
    pub(super) fn add(
        &mut self,
        poll: &Poll,
        socket: Socket,
        shared: Option<(Arc<UnixSocket>, Waker)>,
        want_peer: bool,
    ) -> io::Result<ListenerId> {
        self.refill_reserve();
        let mut shared = shared.map(|(unix, waker)| Shared {
            left_behind: unix.join(waker),
            socket: unix,
            watched: false,
            token: listener_key(self.next_id()).to_bits(),
            served: false,
        });
        if let Some(shared) = shared.as_mut().filter(|_| self.accepting) {
            shared.watch(poll, &socket)?;
        }
        self.list.push(Some(Listener {
            socket,
            shared,
            want_peer,
            ready: false,
            queued: false,
            budget: 0,
        }));
        Ok(ListenerId(self.next_id().0 - 1))
    }

    /// The id the next listener will have.
    pub(super) fn next_id(&self) -> ListenerId {
        ListenerId(u32::try_from(self.list.len()).expect("fewer listeners than ports"))
    }

    pub(super) fn close_all(&mut self, poll: &Poll) {
        for mut listener in self.list.iter_mut().filter_map(Option::take) {
            listener.leave_to_others(poll);
        }
        self.retry_at_ns = None;
    }

    /// Closes one listener. Returns the connections that waited to be accepted.
    pub(super) fn close(
        &mut self,
        poll: &Poll,
        id: ListenerId,
    ) -> Vec<(OwnedFd, Option<SocketAddr>)> {
        let entry = self.list.get_mut(id.0 as usize);
        let Some(mut listener) = entry.and_then(Option::take) else {
            return Vec::new();
        };
        let waiting = sys::accept_waiting(&listener.socket, listener.want_peer);
        listener.leave_to_others(poll);
        waiting
    }

    pub(super) fn set_want_peer(&mut self, id: ListenerId, want_peer: bool) {
        if let Some(listener) = self.get_mut(id) {
            listener.want_peer = want_peer;
        }
    }

    pub(super) fn set_accepting(&mut self, poll: &Poll, accepting: bool) {
        self.accepting = accepting;
        for listener in self.list.iter_mut().flatten() {
            match accepting {
                false => listener.leave_to_others(poll),
                true => listener.queue_up(poll),
            }
        }
    }

    /// The driver was woken: listeners at which another has left connections behind are to be looked
    /// at. True when one is.
    pub(super) fn look_behind(&mut self) -> bool {
        let mut found = false;
        for listener in self.list.iter_mut().flatten() {
            if let Some(shared) = &mut listener.shared {
                let left_behind = shared.socket.left_behind();
                if std::mem::replace(&mut shared.left_behind, left_behind) != left_behind {
                    listener.ready = true;
                    found = true;
                }
            }
        }
        found
    }

    /// epoll has reported new connections. True when the listener is to go on the ready-list.
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
        listener.budget = listener.accepts_per_iteration();
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
        poll: &Poll,
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
                listener.budget = listener.accepts_per_iteration();
                return Accept::NextTurn;
            }
            listener.budget -= 1;
            match sys::accept(&listener.socket, listener.want_peer) {
                Ok((fd, peer)) => {
                    stats.accepted += 1;
                    if let Some(shared) = &mut listener.shared {
                        shared.served = true;
                    }
                    return Accept::One(fd, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listener.ready = false;
                    listener.queued = false;
                    if listener.shared.as_ref().is_some_and(|shared| shared.served) {
                        listener.queue_up(poll);
                    }
                    self.refill_reserve();
                    return Accept::Rest;
                }
                Err(error) if is_peers_own(&error) => {}
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

    /// Accepts a new connection with the reserve descriptor and resets it.
    fn shed(&mut self, id: ListenerId, stats: &mut DriverStats) -> Shed {
        let Some(reserve) = self.reserve.take() else {
            return Shed::Failed;
        };
        drop(reserve);
        let Some(listener) = self.get_mut(id) else {
            return Shed::NoneWaiting;
        };
        // The kernel looks for a descriptor before it looks for a new connection, so the limit alone
        // does not say that anyone is waiting.
        let shed = match sys::accept(&listener.socket, false) {
            Ok((fd, _)) => {
                stats.accept_limit += 1;
                stats.accept_reset += 1;
                socket::reset_on_close(&fd);
                Shed::One
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Shed::NoneWaiting,
            Err(error) if is_peers_own(&error) => Shed::One,
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

impl Listener {
    fn accepts_per_iteration(&self) -> u32 {
        match self.shared {
            None => ACCEPTS_PER_TURN,
            Some(_) => SHARED_ACCEPTS_PER_TURN,
        }
    }

    /// Goes to the end of the queue of those that accept from a shared socket.
    fn queue_up(&mut self, poll: &Poll) {
        if let Some(shared) = &mut self.shared
            && shared.watch(poll, &self.socket).is_err()
        {
            // No memory for the entry: others are told, and so are we by them.
            shared.socket.leave_behind();
        }
    }

    /// Is told of no more connections to a shared socket; whether it has accepted all of which it
    /// was told is not known.
    fn leave_to_others(&mut self, poll: &Poll) {
        if let Some(shared) = &mut self.shared {
            shared.unwatch(poll, &self.socket);
            shared.socket.leave_behind();
            shared.left_behind = shared.socket.left_behind();
        }
    }
}

enum Shed {
    /// A new connection is gone; there may be more.
    One,
    /// None is waiting.
    NoneWaiting,
    /// The reserve is not there.
    Failed,
}

/// accept(2): Linux hands the new connection's own network errors to the acceptor; the next one may be
/// well.
fn is_peers_own(error: &io::Error) -> bool {
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
