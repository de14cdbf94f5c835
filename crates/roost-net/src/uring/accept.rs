//! Listeners: accepting, and what happens when there is no room for more.
//!
//! With ordinary descriptors one multishot accept per listener is armed. With direct descriptors
//! several single accepts are: each has its own place for the peer's address, and there are never
//! more of them than free slots, because the kernel would take a new connection out of the backlog and
//! only then find that it has no slot for it.
//!
//! Unix sockets are shared by drivers. The kernel tells of a connection the accept that has waited
//! longest, and a multishot one keeps its place: one ring would get them all. So a few single
//! accepts are armed instead, whose successors queue up behind those of other rings.
//!
//! At the limit no accept is armed (at the descriptor limit it would fail at once, for ever), but
//! a one-shot watch: when somebody comes, accepting is tried again, and if there is still no room
//! the new connection is accepted by a descriptor held in reserve, and reset. A full driver with no
//! new connections uses no CPU.

use std::cell::UnsafeCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{SockAddr, SockAddrStorage, Socket};

use super::ops::{ACCEPT, LISTENER_READY};
use super::ring::Ring;
use crate::{ConnKey, ListenAddr, ListenOptions, ListenerId, socket, sys};

/// One listening socket.
pub(super) struct Listener {
    socket: Socket,
    /// Of a unix socket, holds its file.
    addr: ListenAddr,
    /// Most accepts armed at once, where they are single ones.
    accepts: Option<u32>,
    want_peer: bool,
    state: State,
    /// Accepts that owe a completion: bit n is place n. Bit 0 alone with ordinary descriptors.
    armed: u32,
    /// The watch owes its completion.
    watched: bool,
    /// Where the kernel writes the peers' addresses; empty where asking is cheap.
    places: Box<[Place]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Accepting,
    /// No descriptor or slot is free: watching for new connections.
    Full,
    /// Accepting fails, and so does refusing: tried again when time has passed.
    Stuck,
    /// The caller wants no more connections for now.
    Paused,
    /// The caller wants no more, ever; the socket goes when nothing is armed.
    Closed,
}

/// Room for one address, written by the kernel while an accept is armed.
struct Place {
    addr: UnsafeCell<libc::sockaddr_storage>,
    len: UnsafeCell<libc::socklen_t>,
}

/// All listeners of a driver.
pub(super) struct Listeners {
    list: Vec<Option<Listener>>,
    direct: bool,
    paused: bool,
    /// Held open to be closed when no other descriptor is left.
    reserve: Option<OwnedFd>,
}

impl Listeners {
    pub(super) fn new(direct: bool) -> io::Result<Listeners> {
        Ok(Listeners {
            list: Vec::new(),
            direct,
            paused: false,
            reserve: Some(socket::spare_descriptor()?),
        })
    }

    /// Opens a listener. Accepting starts with the next [`Listeners::arm`].
    pub(super) fn open(&mut self, options: &ListenOptions) -> io::Result<(ListenerId, ListenAddr)> {
        let (socket, addr) = socket::listen(options)?;
        let id = self.add(socket, addr.clone(), options.want_peer);
        Ok((id, addr))
    }

    /// Adds a socket that listens. Accepting starts with the next [`Listeners::arm`].
    pub(super) fn add(&mut self, socket: Socket, addr: ListenAddr, want_peer: bool) -> ListenerId {
        let is_tcp = addr.tcp().is_some();
        let accepts = match (is_tcp, self.direct) {
            (false, _) => Some(SHARED_ACCEPTS),
            (true, true) => Some(PLACES as u32),
            (true, false) => None,
        };
        // Also where the address is not wanted yet: a kernel that writes to a place cannot be given
        // one later.
        let places = if self.direct && is_tcp { PLACES } else { 0 };
        let id = self.list.len() as u32;
        self.list.push(Some(Listener {
            socket,
            addr,
            accepts,
            want_peer: want_peer && is_tcp,
            state: if self.paused {
                State::Paused
            } else {
                State::Accepting
            },
            armed: 0,
            watched: false,
            places: (0..places).map(|_| Place::new()).collect(),
        }));
        ListenerId(id)
    }

    pub(super) fn set_want_peer(&mut self, id: ListenerId, want_peer: bool) {
        if let Some(Some(listener)) = self.list.get_mut(id.0 as usize) {
            listener.want_peer = want_peer && listener.addr.tcp().is_some();
        }
    }

    /// Arms what should be armed, with `free` slots left. Cheap when nothing is to be done.
    pub(super) fn arm(&mut self, ring: &mut Ring, mut free: u32) {
        let direct = self.direct;
        for (id, listener) in self.list.iter_mut().enumerate() {
            if let Some(listener) = listener {
                listener.arm(ring, id as u32, direct, &mut free);
            }
        }
    }

    /// True if a listener can only go on when time has passed.
    pub(super) fn is_stuck(&self) -> bool {
        self.list
            .iter()
            .flatten()
            .any(|listener| listener.state == State::Stuck)
    }

    /// Tries again what was stuck.
    pub(super) fn retry_stuck(&mut self) {
        if self.reserve.is_none() {
            self.reserve = socket::spare_descriptor().ok();
        }
        for listener in self.list.iter_mut().flatten() {
            if listener.state == State::Stuck {
                listener.state = State::Accepting;
            }
        }
    }

    /// A slot has become free.
    pub(super) fn room(&mut self) {
        for listener in self.list.iter_mut().flatten() {
            if listener.state == State::Full {
                listener.state = State::Accepting;
            }
        }
    }

    pub(super) fn set_accepting(&mut self, ring: &mut Ring, accepting: bool) {
        self.paused = !accepting;
        for (id, listener) in self.list.iter_mut().enumerate() {
            let Some(listener) = listener else { continue };
            match (listener.state, accepting) {
                (State::Closed, _) => {}
                (State::Paused, true) => listener.state = State::Accepting,
                (_, true) => {}
                (_, false) => {
                    listener.state = State::Paused;
                    listener.disarm(ring, id as u32);
                }
            }
        }
    }

    /// Closes one listener. Returns the connections that wait to be accepted; what the kernel is about
    /// to give to accepts that are armed still comes.
    pub(super) fn close(
        &mut self,
        ring: &mut Ring,
        id: ListenerId,
    ) -> Vec<(OwnedFd, Option<SocketAddr>)> {
        let Some(Some(listener)) = self.list.get_mut(id.0 as usize) else {
            return Vec::new();
        };
        let waiting = sys::accept_waiting(&listener.socket, listener.want_peer);
        listener.state = State::Closed;
        listener.disarm(ring, id.0);
        self.forget_closed();
        waiting
    }

    pub(super) fn close_all(&mut self, ring: &mut Ring) {
        for (id, entry) in self.list.iter_mut().enumerate() {
            if let Some(listener) = entry {
                listener.state = State::Closed;
                listener.disarm(ring, id as u32);
            }
        }
        self.forget_closed();
    }

    /// An accept has completed: `more` if it stays armed. Returns the peer's address if it was
    /// asked for and is known, and notes why it failed if it did.
    pub(super) fn accepted(
        &mut self,
        key: ConnKey,
        result: Result<(), i32>,
        more: bool,
    ) -> Option<SocketAddr> {
        let listener = self.list[key.slot() as usize].as_mut()?;
        let place = usize::from(key.generation());
        if !more {
            listener.armed &= !(1 << place);
        }
        let peer = match result {
            Ok(()) if listener.want_peer => listener.places.get(place).and_then(Place::read),
            Ok(()) => None,
            Err(errno) => {
                if listener.state == State::Accepting {
                    listener.state = State::after(errno);
                }
                None
            }
        };
        self.forget_closed();
        peer
    }

    /// Whether the listener's peers are to be asked for their address.
    pub(super) fn wants_peer(&self, id: u32) -> bool {
        self.list[id as usize]
            .as_ref()
            .is_some_and(|listener| listener.want_peer)
    }

    /// Somebody has come to a full listener. Returns a connection if there is a descriptor for
    /// one again, and how many new connections were reset.
    pub(super) fn retry_full(&mut self, id: u32) -> (Option<OwnedFd>, u64) {
        let Some(listener) = self.list[id as usize].as_mut() else {
            return (None, 0);
        };
        listener.watched = false;
        let mut reset = 0;
        if listener.state == State::Full {
            // A direct slot does not come free unnoticed; a descriptor does.
            if !self.direct
                && let Ok((fd, _)) = sys::accept(&listener.socket, false)
            {
                listener.state = State::Accepting;
                return (Some(fd), 0);
            }
            reset = reset_waiting(&listener.socket, &mut self.reserve);
            if reset == 0 {
                // They still wait, and the watch would report them at once, for ever.
                listener.state = State::Stuck;
            }
        }
        self.forget_closed();
        (None, reset)
    }

    /// Accepts armed now, of all listeners.
    pub(super) fn armed(&self) -> u32 {
        self.list
            .iter()
            .flatten()
            .map(|listener| listener.armed.count_ones())
            .sum()
    }

    /// Keeps the memory the kernel may still write addresses to.
    pub(super) fn leak(&mut self) {
        for listener in self.list.iter_mut().flatten() {
            std::mem::forget(std::mem::take(&mut listener.places));
        }
    }

    fn forget_closed(&mut self) {
        for entry in &mut self.list {
            if entry.as_ref().is_some_and(Listener::is_over) {
                *entry = None;
            }
        }
    }
}

impl State {
    /// How an accepting listener goes on when an accept has failed.
    fn after(errno: i32) -> State {
        match errno {
            // Connections closed again, and our own cancelling: the next accept may succeed.
            libc::ECANCELED | libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EAGAIN => {
                State::Accepting
            }
            errno if is_limit(errno) => State::Full,
            _ => State::Stuck,
        }
    }
}

impl Listener {
    fn arm(&mut self, ring: &mut Ring, id: u32, direct: bool, free: &mut u32) {
        if self.state == State::Accepting {
            let Some(accepts) = self.accepts else {
                if self.armed == 0 {
                    ring.accept_many(self.fd(), accept_key(id, 0));
                    self.armed = 1;
                }
                return;
            };
            while self.armed.count_ones() < accepts && (!direct || *free > 0) {
                let place = self.armed.trailing_ones() as u16;
                if direct {
                    self.arm_direct(ring, id, place);
                    *free -= 1;
                } else {
                    ring.accept_one(self.fd(), accept_key(id, place));
                    self.armed |= 1 << place;
                }
            }
            if self.armed != 0 {
                return;
            }
            self.state = State::Full;
        }
        if self.state == State::Full && !self.watched && self.armed == 0 {
            ring.watch_once(self.fd(), watch_key(id));
            self.watched = true;
        }
    }

    fn arm_direct(&mut self, ring: &mut Ring, id: u32, place: u16) {
        let (addr, len) = match self.places.get(usize::from(place)) {
            Some(place) => place.lend(),
            None => (std::ptr::null_mut(), std::ptr::null_mut()),
        };
        // SAFETY: the place is the listener's, which lives until nothing is armed; its bit keeps
        // it from being lent twice or read before the completion.
        unsafe { ring.accept_direct(self.fd(), addr, len, accept_key(id, place)) };
        self.armed |= 1 << place;
    }

    fn disarm(&mut self, ring: &mut Ring, id: u32) {
        let mut armed = self.armed;
        while armed != 0 {
            ring.cancel(accept_key(id, armed.trailing_zeros() as u16));
            armed &= armed - 1;
        }
        if self.watched {
            ring.cancel(watch_key(id));
        }
    }

    fn is_over(&self) -> bool {
        self.state == State::Closed && self.armed == 0 && !self.watched
    }

    fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Place {
    fn new() -> Place {
        Place {
            // SAFETY: all zeros is an address of no family.
            addr: UnsafeCell::new(unsafe { std::mem::zeroed() }),
            len: UnsafeCell::new(0),
        }
    }

    fn lend(&self) -> (*mut libc::sockaddr_storage, *mut libc::socklen_t) {
        let len = self.len.get();
        // SAFETY: no accept is armed with this place, so nothing else reads or writes it.
        unsafe { len.write(size_of::<libc::sockaddr_storage>() as libc::socklen_t) };
        (self.addr.get(), len)
    }

    /// What the kernel wrote, after the completion.
    fn read(&self) -> Option<SocketAddr> {
        // SAFETY: the accept has completed, so the kernel writes here no more.
        let len = unsafe { *self.len.get() };
        // SAFETY: as above.
        let from = unsafe { *self.addr.get() };
        let fill = |to: *mut SockAddrStorage, to_len: *mut libc::socklen_t| {
            // SAFETY: `try_init` gives storage for any address.
            unsafe { to.cast::<libc::sockaddr_storage>().write(from) };
            // SAFETY: and a place for its length.
            unsafe { to_len.write(len) };
            Ok(())
        };
        // SAFETY: `fill` writes a valid address and its length, as the kernel gave them.
        let addr = unsafe { SockAddr::try_init(fill) };
        addr.ok()?.1.as_socket()
    }
}

/// Whether an accept failed because there is no room: for a descriptor in the process (EMFILE),
/// in the system or the table of slots (ENFILE), or for the socket.
pub(super) fn is_limit(errno: i32) -> bool {
    matches!(
        errno,
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM
    )
}

/// Accepts and resets those who wait, by the reserve if need be.
fn reset_waiting(listener: &Socket, reserve: &mut Option<OwnedFd>) -> u64 {
    let mut reset = 0;
    while reset < RESETS_MAX {
        match sys::accept(listener, false) {
            Ok((socket, _)) => {
                socket::reset_on_close(&socket);
                reset += 1;
            }
            Err(error) => match error.raw_os_error() {
                Some(errno) if is_limit(errno) && reserve.is_some() => *reserve = None,
                Some(libc::ECONNABORTED | libc::EINTR) => {}
                _ => break,
            },
        }
    }
    if reserve.is_none() {
        *reserve = socket::spare_descriptor().ok();
    }
    reset
}

/// `user_data` of the accept at `place` of listener `id`.
fn accept_key(id: u32, place: u16) -> u64 {
    ConnKey::new(id, place).with_op(ACCEPT).to_bits()
}

fn watch_key(id: u32) -> u64 {
    ConnKey::new(id, 0).with_op(LISTENER_READY).to_bits()
}

/// Direct accepts armed per listener: how many new connections one wait takes. One bit each.
const PLACES: usize = 32;
/// Accepts armed for a socket that other rings accept from, too: few, so that each ring gets its
/// share of a few connections as well.
const SHARED_ACCEPTS: u32 = 4;

/// New connections reset per iteration.
const RESETS_MAX: u64 = 64;
