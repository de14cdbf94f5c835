//! One driver's state: the connection table, the events gathered, the rules of the contract.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod calls;
mod conn;

use roost_random::SplitMix64;

use super::ids::{DriverIndex, ListenerIndex, SockId};
use super::kernel::{Attempt, Kernel};
use super::link::Owner;
use super::options::SimOptions;
use crate::input_clock::{InputClock, WaitEnd};
use crate::waker::Wake;
use crate::{CloseCause, ConnKey, DriverStats, ListenerId};
use conn::{Batch, Conn, Phase, Shutdown, Slot};

/// A driver as the net keeps it. [`SimDriver`](super::SimDriver) is the handle to it.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) index: DriverIndex,
    pub(super) options: SimOptions,
    pub(super) rng: SplitMix64,
    pub(super) stats: DriverStats,
    pub(super) clock: InputClock,
    /// Whether the last wait would have blocked, and not returned at once.
    blocked: bool,
    /// When the caller wants to be called again whatever happens.
    due: Option<u64>,
    /// When the wait that blocks was asked for, and its timeout.
    asked: (u64, Option<u64>),
    /// How the last wait ended, of a user that was stopped before it could return.
    stopped: Option<WaitEnd>,
    pub(super) wake: Arc<SimWake>,
    /// When a wake held back takes effect.
    woken_at: Option<u64>,
    slots: Vec<Slot>,
    /// Connections to look at in the next iteration.
    ready: VecDeque<ConnKey>,
    /// Connections that wait for a receive buffer.
    starved: VecDeque<ConnKey>,
    queue: VecDeque<Queued>,
    buffers_free: Vec<Vec<u8>>,
    /// Buffers in `queue` or lent to the caller.
    buffers_used: usize,
    /// Whether the caller has one.
    lent: bool,
    listeners: Vec<ListenerIndex>,
    accepting: bool,
    parked: Parked,
}

/// Remembers a wake until the driver looks.
#[derive(Debug, Default)]
pub(super) struct SimWake(AtomicBool);

impl Wake for SimWake {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// An event before the caller takes it.
#[derive(Debug)]
pub(super) enum Queued {
    Accepted(ListenerId, SockId, Option<SocketAddr>),
    Connected(ConnKey),
    Bytes(ConnKey, Vec<u8>, usize),
    ReadClosed(ConnKey),
    Sent(ConnKey),
    Closed(ConnKey, CloseCause),
    Released(ConnKey, SockId),
    Woken,
}

impl Queued {
    pub(super) fn key(&self) -> Option<ConnKey> {
        match self {
            Queued::Accepted(..) | Queued::Woken => None,
            Queued::Connected(key)
            | Queued::Bytes(key, ..)
            | Queued::ReadClosed(key)
            | Queued::Sent(key)
            | Queued::Closed(key, _)
            | Queued::Released(key, _) => Some(*key),
        }
    }
}

/// Why nothing is accepted just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parked {
    No,
    /// Until a descriptor is free.
    Full,
    /// Until then: somebody else had the last descriptor.
    Until(u64),
}

impl Port {
    pub(super) fn new(index: DriverIndex, options: SimOptions, rng: SplitMix64) -> Port {
        Port {
            index,
            options,
            rng,
            stats: DriverStats::default(),
            clock: InputClock::new(0),
            blocked: false,
            due: Some(0),
            asked: (0, None),
            stopped: None,
            wake: Arc::default(),
            woken_at: None,
            slots: Vec::new(),
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            queue: VecDeque::new(),
            buffers_free: Vec::new(),
            buffers_used: 0,
            lent: false,
            listeners: Vec::new(),
            accepting: true,
            parked: Parked::No,
        }
    }

    // The iteration.

    /// A real wait blocks until there is news or its time is over. This one returns at once; with
    /// nothing to tell it is taken to block, until [`Port::return_from_wait`].
    pub(super) fn wait(&mut self, k: &mut Kernel, timeout_ns: Option<u64>) {
        if self.stopped.is_some() {
            return self.return_from_wait(k);
        }
        let over = self.blocked && self.due.is_some_and(|due| due <= k.now);
        self.gather(k);
        self.asked = (k.now, timeout_ns);
        // As the caller reckons: what it did since the last one returned is a part of this.
        let begun = self.clock.now();
        let end = self.end_of_wait(true);
        self.note_wait(k, begun, Some(0), end);
        self.blocked = !over && self.queue.is_empty();
        if !self.blocked {
            self.due = Some(k.now);
            return;
        }
        self.due = timeout_ns.map(|ns| k.now.saturating_add(ns));
        if timeout_ns != Some(0) && self.rng.per_mille(k.faults.spurious_wakes_per_mille) {
            let early = k.now + self.rng.between(1, SPURIOUS_WAKE_NS_MAX);
            if self.due.is_none_or(|due| early < due) {
                self.due = Some(early);
                k.counts.spurious_wakes += 1;
            }
        }
    }

    /// Ends a wait that blocks if there is something to tell or its time is over.
    pub(super) fn return_from_wait(&mut self, k: &mut Kernel) {
        if let Some(end) = self.stopped.take() {
            self.note_wait(k, self.asked.0, self.asked.1, end);
            self.stay_awake(k);
        } else if self.blocked && self.is_due(k) {
            let timed_out = self.is_timed_out(k);
            self.gather(k);
            let end = self.end_of_wait(timed_out);
            self.note_wait(k, self.asked.0, self.asked.1, end);
            self.stay_awake(k);
        }
    }

    /// Stops the user, who may be called again later: a wait that blocks ends, by a signal or as it
    /// was about to end anyway, and returns when the user is next called.
    pub(super) fn stop(&mut self, k: &mut Kernel) {
        if !self.blocked || self.stopped.is_some() {
            return;
        }
        let end = if self.is_due(k) {
            let timed_out = self.is_timed_out(k);
            self.gather(k);
            self.end_of_wait(timed_out)
        } else {
            WaitEnd::Interrupted
        };
        self.stopped = Some(end);
    }

    fn is_timed_out(&self, k: &Kernel) -> bool {
        let (asked, timeout) = self.asked;
        timeout.is_some_and(|ns| asked.saturating_add(ns) <= k.now)
    }

    fn end_of_wait(&self, timed_out: bool) -> WaitEnd {
        match self.queue.len() {
            0 if timed_out => WaitEnd::TimedOut,
            // It may have woken for nothing that is an event.
            count => WaitEnd::Reported {
                count: count as u64,
                all: true,
            },
        }
    }

    fn note_wait(&mut self, k: &Kernel, asked: u64, timeout_ns: Option<u64>, end: WaitEnd) {
        let timeout = timeout_ns.map(Duration::from_nanos);
        self.clock
            .note_wait(asked, timeout, end, k.now, self.stats.open);
    }

    /// Known and not reported. What has arrived and was not looked for is not known, as with a real
    /// kernel.
    pub(super) fn has_unread(&self, key: ConnKey) -> bool {
        let waits = |conn: &Conn| (conn.ready || conn.starved) && !conn.paused;
        self.conn(key).is_some_and(waits) || self.queue.iter().any(|e| e.key() == Some(key))
    }

    /// Who does something is awake, and will wait again before long, with the timeout that suits
    /// what he has done.
    pub(super) fn stay_awake(&mut self, k: &Kernel) {
        self.blocked = false;
        self.due = Some(k.now);
    }

    fn gather(&mut self, k: &mut Kernel) {
        self.gather_wake(k);
        self.gather_accepts(k);
        while let Some(key) = k.take_news(self.index) {
            self.make_ready(key);
        }
        if self.buffers_used < self.options.buffers {
            for key in std::mem::take(&mut self.starved) {
                if let Some(conn) = self.conn_mut(key) {
                    conn.starved = false;
                    self.make_ready(key);
                }
            }
        }
        let n = self.ready.len().min(self.options.events_max);
        let mut looked_at: Vec<ConnKey> = self.ready.drain(..n).collect();
        if k.faults.reorder && self.rng.shuffle(&mut looked_at) {
            k.counts.reordered += 1;
        }
        for key in looked_at {
            if self.conn(key).is_none() {
                continue;
            }
            if self.rng.per_mille(k.faults.held_back_per_mille) {
                k.counts.held_back += 1;
                self.ready.push_back(key);
                continue;
            }
            let slot = &mut self.slots[key.slot() as usize];
            let mut conn = slot.conn.take().expect("just looked up");
            conn.ready = false;
            self.progress(k, &mut conn);
            self.slots[key.slot() as usize].conn = Some(conn);
        }
    }

    fn gather_wake(&mut self, k: &mut Kernel) {
        if self.woken_at.is_some_and(|at| at <= k.now) {
            self.woken_at = None;
            self.queue.push_back(Queued::Woken);
        }
        if self.wake.0.swap(false, Ordering::Acquire) && self.woken_at.is_none() {
            if self.rng.per_mille(k.faults.late_wakes_per_mille) {
                k.counts.late_wakes += 1;
                self.woken_at = Some(k.now + self.rng.between(1, LATE_WAKE_NS_MAX));
            } else {
                self.queue.push_back(Queued::Woken);
            }
        }
    }

    fn gather_accepts(&mut self, k: &mut Kernel) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.can_accept(k) {
                return;
            }
            self.parked = Parked::No;
            if k.descriptors(self.index) >= self.options.sockets_max {
                self.stats.accept_limit += 1;
                // A spare descriptor lets the driver reset the new connection; without it the connection waits.
                if self.options.reset_at_limit {
                    let (sock, _) = self.accept(k).expect("can_accept saw one").1;
                    k.abort(sock);
                    self.stats.accept_reset += 1;
                    continue;
                }
                self.parked = Parked::Full;
                return;
            }
            if self.rng.per_mille(k.faults.accept_limits_per_mille) {
                k.counts.accept_limits += 1;
                self.stats.accept_limit += 1;
                self.parked = Parked::Until(k.now + self.rng.between(1, PARKED_NS_MAX));
                return;
            }
            let (id, (sock, peer)) = self.accept(k).expect("can_accept saw one");
            self.stats.accepted += 1;
            self.queue.push_back(Queued::Accepted(id, sock, peer));
        }
    }

    fn accept(&mut self, k: &mut Kernel) -> Option<(ListenerId, (SockId, Option<SocketAddr>))> {
        let n = self.listeners.len().max(1);
        let first = self.rng.below(n as u64) as usize;
        (0..n).map(|i| (first + i) % n).find_map(|i| {
            let listener = *self.listeners.get(i)?;
            Some((ListenerId(i as u32), k.accept(listener)?))
        })
    }

    /// Lets one connection do what it can: one step in each direction.
    fn progress(&mut self, k: &mut Kernel, conn: &mut Conn) {
        match conn.phase {
            Phase::Ended => return,
            Phase::Ending(cause) => return self.tell_closed(conn, cause),
            Phase::Connecting => match k.attempt(conn.sock()) {
                Attempt::Underway => return,
                Attempt::Failed(errno) => {
                    return self.end(k, conn, CloseCause::ConnectFailed(errno));
                }
                Attempt::Established => {
                    conn.phase = Phase::Open;
                    self.queue.push_back(Queued::Connected(conn.key));
                }
            },
            Phase::Open | Phase::Closing => {}
        }
        if let Some(errno) = k.error(conn.sock()) {
            let reads_on = conn.phase == Phase::Open && !conn.paused && !conn.releasing;
            if reads_on && k.readable(conn.sock()) > 0 {
                self.read(k, conn);
                self.ready_again(conn);
            } else {
                self.end(k, conn, cause_of(conn.phase, errno));
            }
            return;
        }
        // The two directions know nothing of each other.
        if self.rng.per_mille(500) {
            self.read(k, conn);
            self.write(k, conn);
        } else {
            self.write(k, conn);
            self.read(k, conn);
        }
        if conn.batch.is_none() {
            self.leave(k, conn);
        }
    }

    fn read(&mut self, k: &mut Kernel, conn: &mut Conn) {
        if conn.paused || conn.phase != Phase::Open || conn.starved {
            return;
        }
        let sock = conn.sock();
        let readable = k.readable(sock);
        if conn.releasing {
            // While the batch goes out a backend may read on or not. To read none at all would
            // keep two ends apart for ever that are both released with full windows.
            if conn.batch.is_none() || readable == 0 {
                return;
            }
            if self.rng.per_mille(500) {
                self.ready_again(conn);
                return;
            }
        }
        if readable == 0 {
            if k.at_end(sock) && !conn.read_closed_reported {
                conn.read_closed_reported = true;
                self.queue.push_back(Queued::ReadClosed(conn.key));
            }
            return;
        }
        self.stats.receives += 1;
        if self.rng.per_mille(k.faults.buffers_exhausted_per_mille) {
            k.counts.buffers_exhausted += 1;
            self.stats.buffers_exhausted += 1;
            self.ready_again(conn);
            return;
        }
        if self.buffers_used >= self.options.buffers {
            self.stats.buffers_exhausted += 1;
            conn.starved = true;
            self.starved.push_back(conn.key);
            return;
        }
        let size = self.options.read_buffer_bytes;
        let mut n = readable.min(size);
        if n > 1 && self.rng.per_mille(k.faults.short_reads_per_mille) {
            k.counts.short_reads += 1;
            n = self.rng.between(1, n as u64 - 1) as usize;
        }
        let mut buffer = self.buffers_free.pop().unwrap_or_else(|| vec![0; size]);
        self.buffers_used += 1;
        let n = k.read(sock, &mut buffer[..n]);
        self.stats.received_bytes += n as u64;
        self.queue.push_back(Queued::Bytes(conn.key, buffer, n));
        if k.readable(sock) > 0 || k.at_end(sock) {
            self.ready_again(conn);
        }
    }

    fn write(&mut self, k: &mut Kernel, conn: &mut Conn) {
        let sock = conn.sock();
        let Some(batch) = &mut conn.batch else { return };
        let room = k.room(sock);
        if room == 0 {
            k.want_write(sock);
            return;
        }
        let mut n = batch.unsent.min(room);
        if n > 1 && self.rng.per_mille(k.faults.short_writes_per_mille) {
            k.counts.short_writes += 1;
            n = self.rng.between(1, n as u64 - 1) as usize;
        }
        self.stats.sends += 1;
        self.stats.sent_bytes += n as u64;
        batch.write(k, sock, n);
        if batch.unsent == 0 {
            conn.batch = None;
            // Rule 6: after close nothing but Closed.
            if conn.phase != Phase::Closing {
                self.queue.push_back(Queued::Sent(conn.key));
            }
        } else {
            k.counts.full_windows += u64::from(k.room(sock) == 0);
            k.want_write(sock);
        }
    }

    /// What waited for the batch to be out.
    fn leave(&mut self, k: &mut Kernel, conn: &mut Conn) {
        let sock = conn.sock();
        if conn.shutdown == Shutdown::Wanted {
            conn.shutdown = Shutdown::Done;
            k.shutdown(sock);
        }
        if conn.phase == Phase::Closing {
            self.end(k, conn, CloseCause::Requested);
        } else if conn.releasing {
            conn.sock = None;
            conn.phase = Phase::Ended;
            k.set_owner(sock, Owner::Handle(self.index));
            self.queue.push_back(Queued::Released(conn.key, sock));
        }
    }

    /// Closes the socket and queues the last event.
    fn end(&mut self, k: &mut Kernel, conn: &mut Conn, cause: CloseCause) {
        conn.batch = None;
        if let Some(sock) = conn.sock.take() {
            k.close(sock);
        }
        // Rule 7: events that wait may be dropped, or not.
        if cause != CloseCause::Requested && self.rng.per_mille(250) {
            self.purge(conn.key);
        }
        self.tell_closed(conn, cause);
    }

    fn tell_closed(&mut self, conn: &mut Conn, cause: CloseCause) {
        conn.phase = Phase::Ended;
        self.queue.push_back(Queued::Closed(conn.key, cause));
    }

    /// Drops the events that wait for `key`, except the last.
    fn purge(&mut self, key: ConnKey) {
        let waiting = |event: &Queued| {
            let last = matches!(event, Queued::Closed(..) | Queued::Released(..));
            event.key() == Some(key) && !last
        };
        if !self.queue.iter().any(waiting) {
            return;
        }
        for event in std::mem::take(&mut self.queue) {
            match event {
                event if !waiting(&event) => self.queue.push_back(event),
                Queued::Bytes(_, buffer, _) => self.shrink(buffer),
                _ => {}
            }
        }
    }

    /// The next event; the slot of a last event is free from now on.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let event = self.queue.pop_front()?;
        match &event {
            Queued::Sent(key) => {
                if let Some(conn) = self.conn_mut(*key) {
                    conn.in_flight = false;
                }
            }
            Queued::Bytes(..) => self.lent = true,
            Queued::Closed(key, _) | Queued::Released(key, _) => {
                self.slots[key.slot() as usize].conn = None;
                self.stats.open -= 1;
            }
            _ => {}
        }
        Some(event)
    }

    /// The caller's lease is over.
    pub(super) fn end_lease(&mut self, buffer: Vec<u8>) {
        self.lent = false;
        self.shrink(buffer);
    }

    fn shrink(&mut self, buffer: Vec<u8>) {
        self.buffers_used -= 1;
        self.buffers_free.push(buffer);
    }

    // Looking up.

    pub(super) fn is_due(&self, k: &Kernel) -> bool {
        let gathered = !self.queue.is_empty() || !self.ready.is_empty();
        let waiting = !self.starved.is_empty() || k.has_news(self.index);
        let woken = self.woken_at.is_none() && self.wake.0.load(Ordering::Acquire);
        gathered
            || self.stopped.is_some()
            || waiting
            || woken
            || self.next_due(k).is_some_and(|at| at <= k.now)
            || self.can_accept(k)
    }

    /// When this driver has something to do by itself.
    pub(super) fn next_due(&self, k: &Kernel) -> Option<u64> {
        let parked = match self.parked {
            Parked::Until(at) if self.has_backlog(k) => Some(at),
            _ => None,
        };
        [self.due, self.woken_at, parked]
            .into_iter()
            .flatten()
            .min()
    }

    fn has_backlog(&self, k: &Kernel) -> bool {
        self.accepting && self.listeners.iter().any(|&l| k.has_backlog(l))
    }

    fn can_accept(&self, k: &Kernel) -> bool {
        let may = match self.parked {
            Parked::No => true,
            Parked::Full => k.descriptors(self.index) < self.options.sockets_max,
            Parked::Until(at) => at <= k.now,
        };
        may && self.has_backlog(k)
    }

    fn conn(&self, key: ConnKey) -> Option<&Conn> {
        let slot = self.slots.get(key.slot() as usize)?;
        slot.conn.as_ref().filter(|conn| conn.key == key)
    }

    fn conn_mut(&mut self, key: ConnKey) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(key.slot() as usize)?;
        slot.conn.as_mut().filter(|conn| conn.key == key)
    }

    fn make_ready(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn_mut(key)
            && !std::mem::replace(&mut conn.ready, true)
        {
            self.ready.push_back(key);
        }
    }

    /// [`Port::make_ready`] for a connection that is out of its slot.
    fn ready_again(&mut self, conn: &mut Conn) {
        if !std::mem::replace(&mut conn.ready, true) {
            self.ready.push_back(conn.key);
        }
    }

    /// Batches the driver holds, and their unsent bytes.
    pub(super) fn batches(&self) -> (usize, usize) {
        let conns = self.slots.iter().filter_map(|slot| slot.conn.as_ref());
        let unsent = conns.filter_map(|conn| Some(conn.batch.as_ref()?.unsent));
        unsent.fold((0, 0), |(n, bytes), unsent| (n + 1, bytes + unsent))
    }

    /// Bytes that the batch of `key` holds until the last of each chunk is gone.
    pub(super) fn pinned_bytes(&self, key: ConnKey) -> usize {
        let batch = self.conn(key).and_then(|conn| conn.batch.as_ref());
        batch.map_or(0, Batch::pinned_bytes)
    }

    /// The same of all.
    pub(super) fn all_pinned_bytes(&self) -> usize {
        let conns = self.slots.iter().filter_map(|slot| slot.conn.as_ref());
        let batches = conns.filter_map(|conn| conn.batch.as_ref());
        batches.map(Batch::pinned_bytes).sum()
    }

    /// By reference, as the others have it: a message that is in many batches is there once.
    pub(super) fn each_pinned(&self, visit: &mut dyn FnMut(usize, usize)) {
        let conns = self.slots.iter().filter_map(|slot| slot.conn.as_ref());
        let chunks = conns.filter_map(|conn| conn.batch.as_ref());
        let chunks = chunks.flat_map(|batch| &batch.chunks);
        chunks.for_each(|chunk| visit(chunk.address(), chunk.held_bytes()));
    }

    pub(super) fn check_invariants(&self, k: &Kernel) {
        let queued = |of: fn(&Queued) -> bool| self.queue.iter().filter(|e| of(e)).count();
        let holding = queued(|event| matches!(event, Queued::Bytes(..)));
        let used = holding + usize::from(self.lent);
        assert_eq!(self.buffers_used, used, "buffers miscounted");
        assert!(
            self.buffers_used <= self.options.buffers,
            "more buffers than there are"
        );
        let mut open = 0;
        for conn in self.slots.iter().filter_map(|slot| slot.conn.as_ref()) {
            open += 1;
            conn.check_invariants();
            if let Some(sock) = conn.sock {
                assert_eq!(
                    k.owner(sock),
                    Some(Owner::Conn(self.index, conn.key)),
                    "{:?} holds a socket that is not its own",
                    conn.key
                );
            }
            let is = |e: &&Queued| {
                e.key() == Some(conn.key) && matches!(e, Queued::Closed(..) | Queued::Released(..))
            };
            assert_eq!(
                self.queue.iter().filter(is).count(),
                usize::from(conn.phase == Phase::Ended),
                "{:?} must have one last event",
                conn.key
            );
            let listed = |list: &VecDeque<ConnKey>| list.contains(&conn.key);
            assert!(!conn.ready || listed(&self.ready), "ready but not listed");
            assert!(
                !conn.starved || listed(&self.starved),
                "starved, not listed"
            );
        }
        assert_eq!(self.stats.open, open, "open connections miscounted");
    }
}

/// What ends a connection on which the kernel reports `errno`.
fn cause_of(phase: Phase, errno: i32) -> CloseCause {
    match (phase, errno) {
        (Phase::Closing, _) => CloseCause::Requested,
        (_, libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => CloseCause::Reset,
        (_, errno) => CloseCause::Error(errno),
    }
}

/// Accepts in one iteration; the rest wait for the next.
const ACCEPTS_PER_TURN: usize = 16;
/// Rule 8 allows 10 ms; the iteration itself takes some.
const PARKED_NS_MAX: u64 = 9_000_000;
const LATE_WAKE_NS_MAX: u64 = 1_000_000;
const SPURIOUS_WAKE_NS_MAX: u64 = 10_000_000;
