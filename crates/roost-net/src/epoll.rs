//! The epoll backend, by mio: readiness made into completions.
//!
//! Each socket is registered once, edge-triggered, for reading and writing. An edge puts the
//! socket's key on the ready-list; a pass over the ready-list reads one buffer's worth from each
//! socket on it, into the one buffer all share, and goes on with batches that were stuck. A
//! socket that may hold more goes to the back for the next pass. A quiet socket costs its eight
//! bytes in the table.

mod accept;
mod batch;
mod serve;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod wake;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{SockAddr, SockRef, Socket};

use self::accept::Listeners;
use self::batch::{Batch, Cursor, Written};
use self::serve::send_fin;
use self::state::{Done, Step};
pub use self::state::{EpollDriver, EpollSocket};
use self::table::{
    CLOSING, CONNECTING, ENDED, FAULT, FIN, PAUSED, QUEUED, READ_TO_END, READABLE, RELEASING, Sock,
    Table, WRITABLE, WRITING,
};
use self::token::{OP_LISTENER, OP_SOCKET, OP_WAKER, listener_key};
use self::wake::Wakeup;
use crate::input_clock::{InputClock, WaitEnd};
use crate::memory::{HighWater, shrink_queue};
use crate::tcp_info::tcp_info_of;
use crate::{
    Chunk, CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, DriverStats, Event, ListenAddr,
    ListenOptions, ListenerId, OpenListener, SendStatus, TcpInfo, Waker, clock, socket,
};

/// Sizes of an [`EpollDriver`].
#[derive(Debug, Clone)]
pub struct EpollOptions {
    /// Size of the shared read buffer, and so of the largest [`Event::Bytes`]; at least 1.
    pub read_buffer_bytes: usize,
    /// Events taken from the kernel in one `wait`; at least 1.
    pub events_max: usize,
}

impl Default for EpollOptions {
    fn default() -> EpollOptions {
        EpollOptions {
            read_buffer_bytes: 65_536,
            events_max: 1_024,
        }
    }
}

/// Room for so many batches in flight is not worth giving back.
const BATCHES_FLOOR: usize = 32;

/// What is in the epoll set beside connections, about: the waker, and listeners.
const SOURCES_BESIDE: u64 = 64;

/// What a socket is registered for, once. Urgent data too: it parts reads, see [`flags_of`].
const SOCKET_INTEREST: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);

const _: () = assert!(
    size_of::<usize>() == size_of::<u64>(),
    "a token holds a whole key"
);

impl EpollDriver {
    /// A driver without sockets.
    pub fn new(options: &EpollOptions) -> io::Result<EpollDriver> {
        let poll = Poll::new()?;
        let token = Token(ConnKey::new(0, 0).with_op(OP_WAKER).to_bits() as usize);
        let wakeup = Wakeup::new(poll.registry(), token)?;
        Ok(EpollDriver {
            poll,
            events: Events::with_capacity(options.events_max.max(1)),
            wakeup: Arc::new(wakeup),
            table: Table::default(),
            batches: HashMap::new(),
            batches_water: HighWater::default(),
            listeners: Listeners::new(),
            ready: VecDeque::new(),
            ready_water: HighWater::default(),
            turn_left: 0,
            done: VecDeque::new(),
            done_water: HighWater::default(),
            read_buffer: vec![0; options.read_buffer_bytes.max(1)].into_boxed_slice(),
            clock: InputClock::new(clock::now_ns()),
            stats: DriverStats::default(),
            stale: Cell::new(0),
        })
    }

    fn register(&self, fd: &impl AsRawFd, key: ConnKey, interest: Interest) -> io::Result<()> {
        let token = Token(key.to_bits() as usize);
        self.poll
            .registry()
            .register(&mut SourceFd(&fd.as_raw_fd()), token, interest)
    }

    /// Accepts from a listening socket from now on.
    fn add_listener(
        &mut self,
        socket: Socket,
        addr: &ListenAddr,
        want_peer: bool,
    ) -> io::Result<ListenerId> {
        let shared = addr.unix_socket().cloned();
        if shared.is_none() {
            let key = listener_key(self.listeners.next_id());
            self.register(&socket, key, Interest::READABLE)?;
        }
        let shared = shared.map(|socket| (socket, self.waker()));
        self.listeners.add(&self.poll, socket, shared, want_peer)
    }

    /// Moves what epoll has reported into the table and on the ready-list. Returns how much it was.
    fn gather(&mut self) -> usize {
        let (mut count, mut look_behind) = (0, false);
        for event in &self.events {
            count += 1;
            let key = ConnKey::from_bits(event.token().0 as u64);
            match key.op() {
                OP_SOCKET => {
                    let Some(sock) = self.table.get_mut(key) else {
                        self.stale.set(self.stale.get() + 1);
                        continue;
                    };
                    sock.set(flags_of(event));
                    if sock.has_work() && !sock.any(QUEUED) {
                        sock.set(QUEUED);
                        self.ready.push_back(key);
                    }
                }
                OP_LISTENER => {
                    if self.listeners.mark_ready(ListenerId(key.slot())) {
                        self.ready.push_back(key);
                    }
                }
                _ => {
                    self.wakeup.take();
                    self.done.push_back(Done::Woken);
                    look_behind = self.listeners.look_behind();
                }
            }
        }
        if look_behind {
            self.wake_listeners();
        }
        count
    }

    /// Puts waiting listeners on the ready-list.
    fn wake_listeners(&mut self) {
        for id in self.listeners.take_waiting(self.clock.now()) {
            self.ready.push_back(listener_key(id));
        }
    }

    fn next_step(&mut self) -> Option<Step> {
        loop {
            if let Some(done) = self.done.pop_front() {
                match self.event_of(done) {
                    Some(event) => return Some(Step::Event(event)),
                    None => continue,
                }
            }
            if self.turn_left == 0 {
                return None;
            }
            self.turn_left -= 1;
            let key = self.ready.pop_front()?;
            let step = match key.op() {
                OP_LISTENER => self.serve_listener(key),
                _ => self.serve(key),
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// Turns a waiting event into one for the caller, unless the connection has gone another way.
    fn event_of(&mut self, done: Done) -> Option<Event<'static, EpollSocket>> {
        match done {
            Done::Woken => Some(Event::Woken),
            Done::Accepted(listener, socket, peer) => Some(Event::Accepted {
                listener,
                socket,
                peer,
            }),
            Done::Closed(key, cause) => {
                self.table.remove(key);
                Some(Event::Closed(key, cause))
            }
            Done::Released(key) => {
                if !self.table.get(key)?.any(RELEASING) {
                    return None;
                }
                let fd = self.table.remove(key)?;
                // Fails only for a socket that is not registered; this one is.
                let _ = self
                    .poll
                    .registry()
                    .deregister(&mut SourceFd(&fd.as_raw_fd()));
                Some(Event::Released(key, EpollSocket(fd)))
            }
        }
    }

    /// The entry of a connection the caller may still use.
    fn open_sock(&mut self, key: ConnKey) -> Option<&mut Sock> {
        match self.table.get_mut(key) {
            None => {
                self.stale.set(self.stale.get() + 1);
                None
            }
            Some(sock) => (!sock.any(ENDED)).then_some(sock),
        }
    }

    /// Checks that a batch may be sent. False: the send is `Gone`.
    fn may_send(&mut self, key: ConnKey) -> bool {
        let Some(sock) = self.open_sock(key) else {
            return false;
        };
        if sock.any(CLOSING | RELEASING | FIN) {
            return false;
        }
        let in_flight = sock.any(WRITING);
        debug_assert!(!in_flight, "{key:?}: a batch is in flight already");
        if in_flight {
            self.close(key, CloseMode::Abort);
        }
        !in_flight
    }

    fn keep_in_flight(&mut self, key: ConnKey, batch: Batch) -> SendStatus {
        if let Some(sock) = self.table.get_mut(key) {
            sock.set(WRITING);
            // The edge that ends the waiting is still to come: events already taken from the
            // kernel are older than the write that found the buffer full.
            sock.clear(WRITABLE);
            self.stats.pinned_bytes += batch.pinned_bytes();
            self.batches.insert(key.slot(), batch);
            self.batches_water.note(self.batches.len());
        }
        self.table.check(key);
        SendStatus::Pending
    }
}

impl EpollDriver {
    fn release_batches(&mut self) -> usize {
        let before = self.batches.capacity();
        self.batches_water.note(self.batches.len());
        if let Some(needed) = self.batches_water.shrink_target(before, BATCHES_FLOOR) {
            self.batches.shrink_to(needed);
        }
        (before - self.batches.capacity()) * size_of::<(u32, Batch)>()
    }
}

impl Driver for EpollDriver {
    type Socket = EpollSocket;

    fn name(&self) -> &'static str {
        "epoll"
    }

    fn listen(&mut self, options: &ListenOptions) -> io::Result<(ListenerId, ListenAddr)> {
        let (socket, addr) = socket::listen(options)?;
        let id = self.add_listener(socket, &addr, options.want_peer)?;
        Ok((id, addr))
    }

    fn adopt_listener(&mut self, listener: OpenListener) -> io::Result<ListenerId> {
        let want_peer = listener.options().want_peer;
        let (socket, addr) = listener.into_socket()?;
        self.add_listener(socket, &addr, want_peer)
    }

    fn close_listener(&mut self, id: ListenerId) {
        for (fd, peer) in self.listeners.close(&self.poll, id) {
            self.stats.accepted += 1;
            self.done
                .push_back(Done::Accepted(id, EpollSocket(fd), peer));
        }
    }

    fn set_want_peer(&mut self, id: ListenerId, want_peer: bool) {
        self.listeners.set_want_peer(id, want_peer);
    }

    fn set_accepting(&mut self, accepting: bool) {
        self.listeners.set_accepting(&self.poll, accepting);
        self.wake_listeners();
    }

    fn stop_listening(&mut self) {
        self.listeners.close_all(&self.poll);
    }

    fn waker(&self) -> Waker {
        Waker::new(self.wakeup.clone())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let busy = !self.done.is_empty() || !self.ready.is_empty();
        let mut timeout = if busy { Some(Duration::ZERO) } else { timeout };
        if let Some(at) = self.listeners.retry_at_ns() {
            let rest = Duration::from_nanos(at.saturating_sub(clock::now_ns()));
            timeout = Some(timeout.map_or(rest, |asked| asked.min(rest)));
        }
        let mut interrupted = false;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                interrupted = true;
            }
            result => result?,
        }
        let now = clock::now_ns();
        let end = match self.gather() {
            0 if interrupted => WaitEnd::Interrupted,
            0 => WaitEnd::TimedOut, // epoll looks once more when the time is over
            count => WaitEnd::Reported {
                count: count as u64,
                all: count < self.events.capacity(),
            },
        };
        // When it began is not asked for: after the last one returned.
        let asked = self.clock.now();
        let sources = self.table.live() + SOURCES_BESIDE;
        self.clock.note_wait(asked, timeout, end, now, sources);
        if self.listeners.retry_at_ns().is_some() {
            self.wake_listeners();
        }
        self.turn_left = self.ready.len();
        self.ready_water.note(self.turn_left);
        self.done_water.note(self.done.len());
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event<'_, EpollSocket>> {
        match self.next_step()? {
            Step::Bytes(key, n) => Some(Event::Bytes(key, &mut self.read_buffer[..n])),
            Step::Event(event) => Some(event),
        }
    }

    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn read_clock(&self) -> u64 {
        clock::now_ns()
    }

    fn polled_until(&self) -> u64 {
        self.clock.polled_until()
    }

    fn resumed_at(&self) -> u64 {
        self.clock.resumed_at()
    }

    fn has_unread(&self, key: ConnKey) -> bool {
        let sock = self.table.get(key);
        sock.is_some_and(|sock| sock.has_input() || sock.any(ENDED))
    }

    fn adopt(&mut self, key: ConnKey, socket: EpollSocket) -> io::Result<()> {
        if self.table.is_taken(key) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.register(&socket.0, key, SOCKET_INTEREST)?;
        let inserted = self.table.insert(key, socket.0, 0);
        debug_assert!(inserted.is_ok(), "{key:?}: the slot was free a moment ago");
        Ok(())
    }

    fn refuse(&mut self, socket: EpollSocket) {
        socket::reset_on_close(&socket);
        drop(socket);
        self.listeners.descriptor_freed();
    }

    fn connect(&mut self, key: ConnKey, options: &ConnectOptions) -> io::Result<()> {
        if self.table.is_taken(key) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let socket = socket::for_connect(options)?;
        let started = match socket.connect(&SockAddr::from(options.addr)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(()),
        };
        if started.is_ok() {
            // After connect: a socket that has not begun would be reported as hung up.
            self.register(&socket, key, SOCKET_INTEREST)?;
        }
        let inserted = self.table.insert(key, socket.into(), CONNECTING);
        debug_assert!(inserted.is_ok(), "{key:?}: the slot was free a moment ago");
        if let Err(error) = started {
            self.fail(key, &error);
        }
        Ok(())
    }

    fn send(&mut self, key: ConnKey, chunks: &[Chunk]) -> SendStatus {
        if !self.may_send(key) {
            return SendStatus::Gone;
        }
        let Some(sock) = self.table.get(key) else {
            return SendStatus::Gone;
        };
        let mut cursor = Cursor::start(chunks);
        let written = match &sock.fd {
            Some(fd) if !sock.any(CONNECTING) => {
                batch::write(fd, chunks, &mut cursor, &mut self.stats)
            }
            _ => Written::Full,
        };
        match written {
            Written::All => SendStatus::Done,
            Written::Full => self.keep_in_flight(key, Batch::rest(chunks, cursor)),
            Written::Failed(error) => {
                self.fail(key, &error);
                SendStatus::Gone
            }
        }
    }

    fn send_copy(&mut self, key: ConnKey, bytes: &[u8]) -> SendStatus {
        if !self.may_send(key) {
            return SendStatus::Gone;
        }
        let Some(sock) = self.table.get(key) else {
            return SendStatus::Gone;
        };
        let written = match &sock.fd {
            Some(fd) if !sock.any(CONNECTING) && !bytes.is_empty() => {
                batch::write_once(fd, bytes, &mut self.stats)
            }
            _ => Ok(0),
        };
        match written {
            Ok(taken) if taken == bytes.len() => SendStatus::Done,
            Ok(taken) => self.keep_in_flight(key, Batch::copy(&bytes[taken..])),
            Err(error) => {
                self.fail(key, &error);
                SendStatus::Gone
            }
        }
    }

    fn unsent_bytes(&self, key: ConnKey) -> usize {
        match self.table.get(key) {
            Some(sock) if sock.any(WRITING) => {
                self.batches.get(&key.slot()).map_or(0, Batch::unsent_bytes)
            }
            Some(_) => 0,
            None => {
                self.stale.set(self.stale.get() + 1);
                0
            }
        }
    }

    fn pinned_bytes(&self, key: ConnKey) -> usize {
        match self.table.get(key) {
            Some(sock) if sock.any(WRITING) => {
                let batch = self.batches.get(&key.slot());
                batch.map_or(0, |batch| batch.pinned_bytes() as usize)
            }
            Some(_) | None => 0,
        }
    }

    fn each_pinned(&self, visit: &mut dyn FnMut(usize, usize)) {
        let chunks = self.batches.values().flat_map(Batch::chunks);
        chunks.for_each(|chunk| visit(chunk.address(), chunk.held_bytes()));
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(sock) = self.open_sock(key) {
            sock.set(PAUSED);
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(sock) = self.open_sock(key) {
            sock.clear(PAUSED);
            self.enqueue(key);
        }
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        if let Some(sock) = self.open_sock(key)
            && !sock.any(FIN | CLOSING)
        {
            sock.set(FIN);
            if !sock.any(WRITING | CONNECTING) {
                send_fin(sock);
            }
        }
    }

    fn close(&mut self, key: ConnKey, mode: CloseMode) {
        let Some(sock) = self.open_sock(key) else {
            return;
        };
        if mode == CloseMode::Graceful && sock.any(WRITING) {
            sock.clear(RELEASING);
            sock.set(CLOSING);
            self.table.check(key);
            return;
        }
        if mode == CloseMode::Abort
            && let Some(fd) = &sock.fd
        {
            socket::reset_on_close(fd);
        }
        self.end(key, CloseCause::Requested);
    }

    fn release(&mut self, key: ConnKey) {
        if let Some(sock) = self.open_sock(key)
            && !sock.any(CLOSING | RELEASING)
        {
            sock.set(RELEASING);
            self.finish_release(key);
        }
    }

    fn peer_addr(&self, key: ConnKey) -> Option<SocketAddr> {
        let Some(sock) = self.table.get(key) else {
            self.stale.set(self.stale.get() + 1);
            return None;
        };
        SockRef::from(sock.fd.as_ref()?)
            .peer_addr()
            .ok()?
            .as_socket()
    }

    fn tcp_info(&mut self, key: ConnKey) -> Option<TcpInfo> {
        tcp_info_of(self.table.get(key)?.fd.as_ref()?.as_fd())
    }

    fn shrink(&mut self) -> usize {
        shrink_queue(&mut self.ready, &mut self.ready_water)
            + shrink_queue(&mut self.done, &mut self.done_water)
            + self.table.shrink()
            + self.release_batches()
    }

    fn stats(&self) -> DriverStats {
        DriverStats {
            stale: self.stale.get(),
            open: self.table.live(),
            ..self.stats
        }
    }
}

impl std::fmt::Debug for EpollDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpollDriver")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What an edge says about a socket.
fn flags_of(event: &mio::event::Event) -> u16 {
    let mut flags = 0;
    if event.is_readable() || event.is_read_closed() {
        flags |= READABLE;
    }
    if event.is_writable() || event.is_write_closed() {
        flags |= WRITABLE;
    }
    // A receive stops short of urgent data although more is there.
    if event.is_read_closed() || event.is_priority() {
        flags |= READ_TO_END;
    }
    if event.is_error() {
        flags |= READABLE | READ_TO_END | WRITABLE | FAULT;
    }
    flags
}
