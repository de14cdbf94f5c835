//! The io_uring backend: requests in, completions out.
//!
//! Needs Linux 6.1 (deferred task work), and 6.8 for direct descriptors (6.11 to connect from a
//! given local address with them); [`UringDriver::new`] says what is missing.
//!
//! # A connection's life here
//! - A **quiet** socket is watched by a multishot poll (256 bytes of kernel memory; an armed
//!   receive would take 864) and has eight bytes in `table`, nothing else.
//! - When the watch reports, a receive that never waits (MSG_DONTWAIT) is submitted with a
//!   provided buffer. The watch works by edges: it reports each arrival once, so reading goes on
//!   until the kernel says the socket is empty.
//!   A multishot receive for busy connections, tried instead, cost between 5 % less (one
//!   connection, echo of 125 B) and 40 % more CPU (1,000 connections) than this in interleaved
//!   runs of `examples/cost` with both; it was dropped.
//! - No receive is submitted for which no buffer is free: connections wait in line instead, which
//!   is counted as [`DriverStats::buffers_exhausted`].
//! - A **send** is one request for its whole batch, submitted by the next wait with all others.
//!   Nothing is tried at once: `send` says `Pending` and `Sent` follows. The kernel is not asked to
//!   resume a short send (MSG_WAITALL), because after 128 waits it moves the request to a thread
//!   of its own, and because `unsent_bytes` would stand still.
//! - **Closing** cancels what is armed, closes the socket, and reports `Closed` when the last
//!   completion is in. `user_data` is the key and the operation, so a completion that came late
//!   cannot be mistaken for the slot's next owner; there are none, and they would be counted.
//!
//! # Threads
//! A driver may be made on one thread and used on another, but from its first `wait` (or a full
//! queue before) on it belongs to the thread that called it: the kernel refuses all others.
//!
//! # End
//! Dropping the driver cancels what holds memory of ours and waits for it before the memory goes;
//! if the kernel does not give it back (or the driver is dropped on another thread) it is leaked.
//! Sockets are closed; those in direct slots by the kernel, shortly after. The ring's end may
//! interrupt one system call of the thread that owned it (EINTR).
#![expect(
    unsafe_code,
    reason = "requests point to memory, and completions bring descriptors"
)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::input_clock::{InputClock, WaitEnd};
use crate::memory::{HighWater, shrink_queue};
use crate::tcp_info::tcp_info_of;
use crate::{
    Chunk, CloseMode, ConnKey, ConnectOptions, Driver, DriverStats, Event, ListenAddr,
    ListenOptions, ListenerId, OpenListener, SendStatus, TcpInfo, Waker, clock, socket,
};

mod accept;
mod arrival;
mod batch;
mod buffers;
mod dialing;
mod drop;
mod ending;
mod handle;
mod ops;
mod options;
mod reading;
mod ring;
mod sending;
mod setup;
mod state;
mod table;
mod wake;

pub use handle::UringSocket;
pub use options::UringOptions;
pub use state::UringDriver;

use accept::Listeners;
use batch::BatchPool;
use buffers::ReadBuffers;
use handle::{DroppedSlots, Parts};
use ops::{
    ACCEPT, ADVANCE, BIND, CLOSE, CONNECT, INSTALL, LATE, LISTENER_READY, LOOK, OPEN, RECEIVE,
    SEND, SENT, SHUTDOWN, WATCH, WOKEN, key_of,
};
use ring::{Cqe, IGNORED, Ring, SocketOption, Target, own_installed};
use state::{Outcome, peer_of};
use table::Table;
use wake::Wakeup;

impl UringDriver {
    /// Sets up a ring and its buffers. Fails with what is missing and the remedy in its text.
    pub fn new(options: &UringOptions) -> io::Result<UringDriver> {
        let ring = Ring::new(options)?;
        let buffers = ReadBuffers::new(&ring, options.buffers, options.buffer_bytes)?;
        let wakeup = Arc::new(Wakeup::new()?);
        Ok(UringDriver {
            ring,
            buffers,
            listeners: Listeners::new(options.direct_slots.is_some())?,
            table: Table::default(),
            batches: BatchPool::default(),
            ready: VecDeque::new(),
            ready_water: HighWater::default(),
            line: VecDeque::new(),
            line_water: HighWater::default(),
            late: VecDeque::new(),
            lease: None,
            dropped: Arc::new(DroppedSlots::new(Arc::clone(&wakeup))),
            wakeup,
            wakeup_watched: false,
            slots_max: options.direct_slots.unwrap_or(0),
            slots_used: 0,
            direct: options.direct_slots.is_some(),
            retry_at: 0,
            release_at: 0,
            receives_seen: 0,
            clock: InputClock::new(clock::now_ns()),
            stats: DriverStats::default(),
            stale: Cell::new(0),
        })
    }

    /// Whether a driver with these options runs here: sets one up, has the kernel do one request
    /// that does nothing, and drops it. A seccomp filter may allow the set-up and refuse the rest.
    ///
    /// # Errors
    /// As [`UringDriver::new`], and what the kernel says to the request.
    pub fn probe(options: &UringOptions) -> io::Result<()> {
        let mut driver = UringDriver::new(options)?;
        driver.ring.do_nothing(PROBE);
        let until = clock::now_ns() + PROBE_NS;
        while clock::now_ns() < until {
            driver
                .ring
                .enter(true, Some(Duration::from_nanos(PROBE_NS)))?;
            if let Some(cqe) = driver.ring.next_arrived() {
                return match cqe.result {
                    0 => Ok(()),
                    errno => Err(io::Error::from_raw_os_error(-errno)),
                };
            }
        }
        Err(io::Error::other(
            "io_uring does not complete a request that does nothing",
        ))
    }

    /// What must be in the queue before a wait: watches, accepts, receives that got a buffer.
    fn prepare(&mut self) {
        self.end_lease();
        if self.buffers.is_swollen() && self.clock.now() >= self.release_at {
            self.release_swollen();
        }
        if !self.wakeup_watched {
            self.ring.watch(Target::Fd(self.wakeup.fd()), key_of(WOKEN));
            self.wakeup_watched = true;
        }
        if self.direct {
            for slot in self.dropped.take() {
                self.close_slot(slot);
            }
        }
        if self.listeners.is_stuck() && self.clock.now() >= self.retry_at {
            self.listeners.retry_stuck();
            self.retry_at = self.clock.now() + STUCK_RETRY_NS;
        }
        let free = if self.direct {
            self.slots_max
                .saturating_sub(self.slots_used + self.listeners.armed())
        } else {
            0
        };
        self.listeners.arm(&mut self.ring, free);
        self.read_line();
    }

    /// Gives the memory of receive buffers back behind a burst; not while they are used again and again.
    #[cold]
    fn release_swollen(&mut self) {
        let receives = self.stats.receives - self.receives_seen;
        if receives < self.buffers.warm() as u64 {
            self.buffers.release_swollen();
        }
        self.receives_seen = self.stats.receives;
        self.release_at = self.clock.now() + RELEASE_INTERVAL_NS;
    }

    /// Submits, and collects for as long as there is much to collect at once.
    fn gather(&mut self, wait: bool, timeout: Option<Duration>) -> io::Result<WaitEnd> {
        let entered = self.ring.enter(wait, timeout)?;
        let mut collected = entered.collected;
        let mut count = collected as u64;
        self.sort_arrived();
        if collected == 0 && !self.ring.has_queued() {
            if entered.interrupted {
                return Ok(WaitEnd::Interrupted);
            }
            if entered.timed_out {
                return Ok(WaitEnd::TimedOut); // what came with the end of the time is collected
            }
        }
        let mut all = false;
        // What was watched and is ready is read in the same wait. Linux 6.13 and later finish
        // about twenty deferred completions in one call; ask again while that many come.
        for _ in 0..ROUNDS_MAX {
            if collected < ROUND_COMPLETIONS && !self.ring.has_queued() {
                all = true;
                break;
            }
            collected = self.ring.enter(false, None)?.collected;
            count += collected as u64;
            self.sort_arrived();
        }
        Ok(WaitEnd::Reported { count, all })
    }

    /// Answers watches with receives at once, and frees what sends have held; the rest waits for
    /// the caller.
    fn sort_arrived(&mut self) {
        while let Some(cqe) = self.ring.next_arrived() {
            let key = ConnKey::from_bits(cqe.user_data);
            if key.op() == WATCH && cqe.more() {
                self.watch_reported(key.with_op(0), cqe.result);
            } else if key.op() == SEND && self.send_done_early(key.with_op(0), cqe.result) {
                self.ready.push_back(Cqe::note(key.with_op(SENT).to_bits()));
            } else if cqe.user_data != IGNORED {
                self.ready.push_back(cqe);
            }
        }
    }

    fn handle(&mut self, cqe: Cqe) -> Option<Outcome> {
        let full = ConnKey::from_bits(cqe.user_data);
        let key = full.with_op(0);
        match full.op() {
            ACCEPT => self.accept_done(key, cqe),
            LISTENER_READY => self.listener_ready(key),
            LATE => self.late_arrival(key),
            WOKEN => {
                if !cqe.more() {
                    self.wakeup_watched = false;
                }
                self.wakeup.take().then_some(Outcome::Event(Event::Woken))
            }
            LOOK => {
                drop(own_installed(cqe.result)); // it came too late for the one who looked
                None
            }
            op if !self.table.holds(key) => {
                // A note to ourselves may come late; a completion may not.
                if op != ADVANCE && op != SENT {
                    self.count_stale();
                }
                None
            }
            WATCH => self.watch_done(key, cqe.result),
            RECEIVE => self.receive_done(key, cqe),
            SEND => self.send_done(key, cqe.result),
            OPEN => self.open_done(key, cqe.result),
            BIND => self.bind_done(key, cqe.result),
            CONNECT => self.connect_done(key, cqe.result),
            INSTALL => self.install_done(key, cqe.result),
            SHUTDOWN => self.owed_done(key, table::SHUTDOWN),
            CLOSE => self.owed_done(key, table::CLOSE),
            ADVANCE => self.advance(key),
            SENT => self.sent(key),
            op => unreachable!("no request has operation {op}"),
        }
    }
}

impl Driver for UringDriver {
    type Socket = UringSocket;

    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn listen(&mut self, options: &ListenOptions) -> io::Result<(ListenerId, ListenAddr)> {
        self.listeners.open(options)
    }

    fn adopt_listener(&mut self, listener: OpenListener) -> io::Result<ListenerId> {
        let want_peer = listener.options().want_peer;
        let (socket, addr) = listener.into_socket()?;
        Ok(self.listeners.add(socket, addr, want_peer))
    }

    fn close_listener(&mut self, id: ListenerId) {
        for arrived in self.listeners.close(&mut self.ring, id) {
            self.late.push_back(arrived);
            let note = ConnKey::new(id.0, 0).with_op(LATE);
            self.ready.push_back(Cqe::note(note.to_bits()));
        }
    }

    fn set_want_peer(&mut self, id: ListenerId, want_peer: bool) {
        self.listeners.set_want_peer(id, want_peer);
    }

    fn set_accepting(&mut self, accepting: bool) {
        self.listeners.set_accepting(&mut self.ring, accepting);
    }

    fn stop_listening(&mut self) {
        self.listeners.close_all(&mut self.ring);
    }

    fn waker(&self) -> Waker {
        Waker::new(Arc::clone(&self.wakeup) as _)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let start = clock::now_ns();
        let limit = timeout.map(|timeout| {
            start.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
        });
        let mut asked = start;
        // As the caller reckons: what it did since counts as a part of the wait.
        let mut begun = self.clock.now();
        loop {
            self.prepare();
            let mut until = limit;
            if self.listeners.is_stuck() {
                until = Some(until.unwrap_or(u64::MAX).min(self.retry_at));
            }
            let left = until.map(|until| Duration::from_nanos(until.saturating_sub(asked)));
            let wait = self.ready.is_empty()
                && !self.ring.has_arrived()
                && left.is_none_or(|left| !left.is_zero());
            let end = self.gather(wait, left)?;
            let now = clock::now_ns();
            let sources = REQUESTS_EACH * self.table.live() + REQUESTS_BESIDE;
            let waited = if wait { left } else { Some(Duration::ZERO) };
            self.clock.note_wait(begun, waited, end, now, sources);
            self.ready_water.note(self.ready.len());
            if !self.ready.is_empty() || limit.is_some_and(|limit| now >= limit) {
                return Ok(());
            }
            (asked, begun) = (now, now);
        }
    }

    fn next_event(&mut self) -> Option<Event<'_, UringSocket>> {
        self.end_lease();
        loop {
            let cqe = self.ready.pop_front()?;
            match self.handle(cqe) {
                None => {}
                Some(Outcome::Event(event)) => return Some(event),
                Some(Outcome::Bytes(key, buffer, len)) => {
                    self.lease = Some(buffer);
                    return Some(Event::Bytes(key, self.buffers.lend(buffer, len)));
                }
            }
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
        let key = key.with_op(0);
        // A receive of a paused connection may be under way all the same, and is told.
        self.table.holds(key)
            && (self.table.any(key, table::READING)
                || (self.table.any(key, table::IN_LINE) && !self.table.any(key, table::PAUSED)))
    }

    fn adopt(&mut self, key: ConnKey, socket: UringSocket) -> io::Result<()> {
        let key = key.with_op(0);
        if self.table.occupied(key.slot()) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the slot is taken",
            ));
        }
        let target = match socket.into_parts(&self.dropped) {
            Parts::Fd(fd) => Target::from(fd),
            Parts::Slot(slot) => Target::Slot(slot),
            Parts::Foreign(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a socket in a direct slot can be adopted by its own driver only",
                ));
            }
        };
        self.table.insert(key, Some(target), 0);
        self.watch(key);
        Ok(())
    }

    fn refuse(&mut self, socket: UringSocket) {
        match socket.into_parts(&self.dropped) {
            Parts::Fd(fd) => socket::reset_on_close(&fd),
            Parts::Slot(slot) => {
                self.ring
                    .set_option(Target::Slot(slot), &SocketOption::RESET_ON_CLOSE);
                self.close_slot(slot);
            }
            Parts::Foreign(socket) => drop(socket),
        }
    }

    fn connect(&mut self, key: ConnKey, options: &ConnectOptions) -> io::Result<()> {
        self.start_connect(key.with_op(0), options)
    }

    fn send(&mut self, key: ConnKey, chunks: &[Chunk]) -> SendStatus {
        let Some(key) = self
            .live(key)
            .filter(|key| !self.table.any(*key, table::FIN_ASKED))
        else {
            return SendStatus::Gone;
        };
        match self.batches.chunks(chunks) {
            Some(batch) => self.start_send(key, batch),
            None => SendStatus::Done,
        }
    }

    fn send_copy(&mut self, key: ConnKey, bytes: &[u8]) -> SendStatus {
        let Some(key) = self
            .live(key)
            .filter(|key| !self.table.any(*key, table::FIN_ASKED))
        else {
            return SendStatus::Gone;
        };
        match self.batches.copy(bytes) {
            Some(batch) => self.start_send(key, batch),
            None => SendStatus::Done,
        }
    }

    fn unsent_bytes(&self, key: ConnKey) -> usize {
        let Some(key) = self.held(key) else {
            return 0;
        };
        self.table
            .peek(key)
            .and_then(|busy| busy.batch.as_ref())
            .map_or(0, |batch| batch.left())
    }

    fn pinned_bytes(&self, key: ConnKey) -> usize {
        if !self.table.holds(key) {
            return 0;
        }
        let busy = self.table.peek(key);
        let batch = busy.and_then(|busy| busy.batch.as_ref());
        batch.map_or(0, |batch| batch.pinned_bytes() as usize)
    }

    fn each_pinned(&self, visit: &mut dyn FnMut(usize, usize)) {
        let batches = self.table.all_busy().filter_map(|busy| busy.batch.as_ref());
        batches.for_each(|batch| batch.each_pinned(visit));
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(key) = self.live(key) {
            self.table.set(key, table::PAUSED);
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(key) = self.live(key)
            && self.table.any(key, table::PAUSED)
        {
            self.table.clear(key, table::PAUSED);
            self.read(key);
        }
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        if let Some(key) = self.live(key) {
            self.table.set(key, table::FIN_ASKED);
            self.want(key, table::FIN);
        }
    }

    fn close(&mut self, key: ConnKey, mode: CloseMode) {
        if let Some(key) = self.held(key) {
            self.start_close(key, mode);
        }
    }

    fn release(&mut self, key: ConnKey) {
        if let Some(key) = self.live(key) {
            self.start_release(key);
        }
    }

    fn peer_addr(&self, key: ConnKey) -> Option<SocketAddr> {
        let key = self.held(key)?;
        match self.table.target(key)? {
            Target::Fd(fd) => {
                // SAFETY: the table owns the descriptor and is borrowed meanwhile.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                peer_of(fd)
            }
            Target::Slot(_) => None,
        }
    }

    fn tcp_info(&mut self, key: ConnKey) -> Option<TcpInfo> {
        let key = self.held(key)?;
        match self.table.target(key)? {
            Target::Fd(fd) => {
                // SAFETY: the table owns the descriptor and is borrowed meanwhile.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                tcp_info_of(fd)
            }
            Target::Slot(slot) => {
                let fd = self.ring.install_now(slot, key.with_op(LOOK).to_bits())?;
                tcp_info_of(fd.as_fd())
            }
        }
    }

    fn shrink(&mut self) -> usize {
        shrink_queue(&mut self.ready, &mut self.ready_water)
            + shrink_queue(&mut self.line, &mut self.line_water)
            + self.ring.shrink()
            + self.buffers.release_idle()
            + self.table.shrink()
            + self.batches.shrink()
    }

    fn stats(&self) -> DriverStats {
        DriverStats {
            open: self.table.live(),
            stale: self.stale.get(),
            pinned_bytes: self.batches.pinned_bytes(),
            ..self.stats
        }
    }
}

/// When so many completions come at once, more are probably ready.
const ROUND_COMPLETIONS: usize = 16;

/// Requests of a connection that may complete at one time: watch, receive, send, close; and those of
/// no connection.
const REQUESTS_EACH: u64 = 4;
const REQUESTS_BESIDE: u64 = 1_024;

/// How often one wait asks again, so that the caller goes on.
const ROUNDS_MAX: usize = 16;

/// How long a listener waits that cannot even refuse.
const STUCK_RETRY_NS: u64 = 10_000_000;

/// How often the memory of receive buffers is given back behind bursts, unless each was used in that time:
/// then looking for neighbours and the page faults cost more than it is worth.
const RELEASE_INTERVAL_NS: u64 = 100_000_000;

/// `user_data` of the request that does nothing, and how long it may take.
const PROBE: u64 = 1;
const PROBE_NS: u64 = 1_000_000_000;
