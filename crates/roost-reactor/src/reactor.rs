//! The loop of one reactor.

#[cfg(test)]
mod backpressure_tests;
#[cfg(test)]
mod canary_tests;
#[cfg(test)]
mod client_token_tests;
#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod drain_tests;
#[cfg(test)]
mod event_stream_tests;
#[cfg(test)]
mod grant_tests;
#[cfg(test)]
mod hook_tests;
#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod http_world;
#[cfg(test)]
mod listener_tests;
#[cfg(test)]
mod member_tests;
#[cfg(test)]
mod pauses;
#[cfg(test)]
mod revocation_tests;
#[cfg(test)]
mod served_tests;
#[cfg(test)]
mod stages_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod ticket_tests;
#[cfg(test)]
mod token_tests;
#[cfg(test)]
mod trim_tests;

use std::io;
use std::time::Duration;

use roost_net::{CloseCause, Driver, Event, ListenAddr, ListenOptions, Waker};
use roost_random::SplitMix64;
use tracing::{debug, info};

use crate::channels::Lane;
use crate::clock::{Clock, NEVER, TICK_MS};
use crate::closing::{handle_read_closed, note_end, remove};
use crate::connections::{ConnCost, Scratch, closed_holding, conn_costs, publish_gauges};
use crate::control::{list_slice, sweep_slice};
use crate::core::Core;
use crate::drain::{Drain, Pace};
use crate::flush::{flush, on_sent};
use crate::governor::{Trimmed, count_memory};
use crate::incidents::EndCause;
use crate::input::{handle_accepted, handle_bytes, read_paused};
use crate::limits::keep_budget;
use crate::listening::{Listening, options};
use crate::messages::apply_pending;
use crate::peer_messages::{handle_peer_messages, is_probe};
use crate::records::handle_next_hello;
use crate::secrets::Secrets;
use crate::session_events::watch_if_wanted;
use crate::session_scans::scan_slice;
use crate::shared::{ListenError, Shared};
use crate::subscription_waits::end_waits;
use crate::timeouts::keep_deadlines;
use crate::waits::{keep_waits, send_to_control, waits_due};

/// What comes after a loop iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iteration {
    /// Call again.
    Running,
    /// Drained: no connection is left.
    Stopped,
}

/// One reactor: a driver and everything it serves.
pub struct Reactor<D: Driver> {
    driver: D,
    core: Core,
    /// For the flush.
    scratch: Scratch,
    shared: Shared,
    listening: Listening,
    /// What [`Shared`] asked for when it was looked at last.
    obeyed_state: u32,
    is_accepting: bool,
    /// Where in a tick of the clock this reactor's ticks begin: no two reactors wake for their
    /// deadlines together, each delaying the others' busy connections.
    tick_shift_ns: u64,
    /// Has the process's allocator give free pages to the kernel; see [`Reactor::trim_heap_by`].
    trim_heap: fn(u64) -> bool,
    /// The end, once it has begun.
    drain: Option<Drain>,
    /// It is over here, and [`Shared`] knows.
    is_counted_empty: bool,
    /// The tick at which something has waited for too long, as the last loop iteration left it.
    waits_due: u32,
}

impl<D: Driver> Reactor<D> {
    /// Reactor `id` of a server, on `driver`. Does not listen yet.
    pub fn new(driver: D, id: u8, shared: Shared) -> Reactor<D> {
        let reactors = shared.registry().reactors() as u64;
        // Before the settings are taken: what is new after that is seen in the first loop iteration.
        let obeyed_state = shared.reloads_state();
        shared.note_obeyed(usize::from(id), obeyed_state);
        Reactor {
            obeyed_state,
            core: shared.core(id, driver.waker()),
            driver,
            scratch: Scratch::default(),
            shared,
            listening: Listening::default(),
            is_accepting: true,
            tick_shift_ns: TICK_NS * u64::from(id) / reactors,
            trim_heap: |_| true,
            drain: None,
            is_counted_empty: false,
            waits_due: NEVER,
        }
    }

    /// What to call when the allocator should give free pages to the kernel, such as
    /// [`roost_net::memory::trim_heap`]: the heap is the process's, not the reactor's. Until it is
    /// given, nothing is done.
    pub fn trim_heap_by(&mut self, trim_heap: fn(u64) -> bool) {
        self.trim_heap = trim_heap;
    }

    /// Names sessions by numbers that follow from a seed and not by secrets, so that a simulation goes the same
    /// way each time.
    #[doc(hidden)]
    pub fn seed_secrets(&mut self, seed: u64) {
        self.core.secrets = Secrets::Seeded(SplitMix64::new(seed));
    }

    /// Listens on the addresses of all listeners, in their order: those of the settings, or what the
    /// first reactor of the server has made of them. Returns the bound addresses, with their ports
    /// and sockets, for the other reactors.
    ///
    /// # Errors
    /// The first listener that cannot listen.
    pub fn listen(&mut self, addresses: Vec<ListenAddr>) -> Result<Vec<ListenAddr>, ListenError> {
        let is_first = self.core.channels.me().0 == 0;
        let reactors = usize::from(self.shared.reactors());
        let settings = &self.core.settings;
        let driver = &mut self.driver;
        let listeners = addresses.into_iter().enumerate();
        listeners
            .map(|(listener, addr)| {
                let options = ListenOptions {
                    addr,
                    exclusive: is_first,
                    ..options(settings, &settings.listeners[listener], reactors)
                };
                let bound = self.listening.listen(driver, listener, &options);
                bound.map_err(|error| ListenError { listener, error })
            })
            .collect()
    }

    /// Wakes the loop out of its wait.
    pub fn waker(&self) -> Waker {
        self.driver.waker()
    }

    /// The driver, to look at.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// What each connection has sent and what it costs, for tests. Counted in debug builds only.
    #[doc(hidden)]
    pub fn conn_costs(&self) -> impl Iterator<Item = ConnCost> {
        conn_costs(&self.core.connections, &self.driver)
    }

    /// The slots of connections closed for the memory budget, until others have them, and what each held
    /// then, for tests. Known in debug builds only.
    #[doc(hidden)]
    pub fn closed_holding(&self) -> impl Iterator<Item = (u32, u64)> {
        closed_holding(&self.core.connections)
    }

    /// Memory that the connections here make this reactor hold, in bytes, for tests: counted anew.
    #[doc(hidden)]
    pub fn memory_held(&self) -> u64 {
        count_memory(&self.core.connections, &self.driver)
    }

    /// Runs until drained.
    ///
    /// # Errors
    /// What the driver's wait fails with. The other reactors do not wait for this one then.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            match self.run_once() {
                Ok(Iteration::Running) => {}
                Ok(Iteration::Stopped) => return Ok(()),
                Err(error) => {
                    self.count_as_empty();
                    return Err(error);
                }
            }
        }
    }

    /// One loop iteration: read messages of other reactors, go on with paused publishers, dispatch
    /// events, keep deadlines, flush, a piece of the incremental fan-outs, wait.
    ///
    /// Messages of other reactors come first: where a piece has made room for more publications,
    /// publishers here would take it again before any of those were read, and other reactors' would
    /// wait for ever.
    ///
    /// It ends with the wait: between two iterations the reactor sleeps, and its wake flag says so.
    pub fn run_once(&mut self) -> io::Result<Iteration> {
        self.wake_up();
        self.read_peer_messages();
        self.sweep();
        self.read_paused();
        self.dispatch();
        self.handle_client_hello();
        self.keep_deadlines();
        if self.core.has_for_control {
            send_to_control(&mut self.core);
        }
        self.flush();
        self.fan_out();
        self.trim_memory();
        if self.end_iteration() == Iteration::Stopped {
            return Ok(Iteration::Stopped);
        }
        let timeout = self.timeout();
        if self
            .core
            .counters
            .loop_iterations_total
            .get()
            .is_multiple_of(MEASURE_EACH)
        {
            self.measure();
        }
        self.driver.wait(timeout)?;
        Ok(Iteration::Running)
    }

    fn wake_up(&mut self) {
        self.core.channels.links().unpark();
        let resumed_at = match self.driver.resumed_at() {
            0 => 0,
            at => self.tick_of(at),
        };
        self.core.connections.set_clock(Clock {
            now: self.tick_of(self.driver.now()),
            input_until: self.tick_of(self.driver.polled_until()),
            resumed_at,
        });
        self.core.handled_bytes = 0;
        self.core.counters.loop_iterations_total.inc();
    }

    /// Counts how long this loop iteration has taken. Not of each: the clock is not free.
    #[cold]
    fn measure(&self) {
        let taken_ns = self.driver.read_clock().saturating_sub(self.driver.now());
        let me = usize::from(self.core.channels.me().0);
        let timings = self.shared.registry().timings(me);
        timings.loop_iteration.record(taken_ns);
    }

    /// How long there is nothing to do unless something happens.
    fn timeout(&mut self) -> Option<Duration> {
        let core = &mut self.core;
        self.waits_due = waits_due(core);
        if core.channels.is_fanning_out()
            || core
                .channels
                .has_paused_to_read(core.connections.clock().now)
            || !core.sweeps.is_empty()
            || !core.session_queries.is_idle()
            || !core.entry_queries.is_idle()
            || core.channels.hub().is_numbering()
            || !core.ended_waits.is_empty()
            || core.connections.hellos() > 0
        {
            return Some(Duration::ZERO);
        }
        if core.has_for_control {
            send_to_control(core); // what has come up since, for it is the last chance for a while
            self.waits_due = waits_due(core);
        }
        if core.channels.links().spilled() > 0
            || core.has_for_control
                && (core.token_checks.has_unsent() || core.hook_calls.has_unsent())
        {
            return Some(SPILL_RETRY);
        }
        if !core.channels.links_mut().try_park(true) {
            return Some(Duration::ZERO);
        }
        let mut due = match core.has_for_control {
            true => core.now() + 1, // events: nothing waits for them
            false => NEVER,
        };
        if let Some(drain) = &self.drain {
            if drain.has_more(core, self.shared.drain_per_second()) {
                return Some(Duration::ZERO);
            }
            due = due.min(drain.due(core));
            if self.is_counted_empty {
                due = core.now() + 1; // neither others nor the control thread are waited for without end
            }
        }
        let due = due
            .min(core.connections.deadlines_due())
            .min(core.connections.identities().due(core.now()))
            .min(core.channels.paused_due())
            .min(self.waits_due)
            .min(core.governor.due(&core.connections));
        let due = (due != NEVER).then(|| {
            let due_ns = u64::from(due) * TICK_NS;
            Duration::from_nanos(due_ns.saturating_sub(self.driver.now() + self.tick_shift_ns))
        });
        if core.listings.is_empty() {
            return due;
        }
        let slice = core.listings.due_in(self.driver.read_clock());
        Some(due.map_or(slice, |due| due.min(slice)))
    }

    /// The tick of a time of the driver's clock.
    fn tick_of(&self, ns: u64) -> u32 {
        let ticks = (ns + self.tick_shift_ns) / TICK_NS;
        u32::try_from(ticks).expect("13 years of uptime")
    }

    fn read_peer_messages(&mut self) {
        let core = &mut self.core;
        watch_if_wanted(core);
        // While more is under way than may be, messages wait in their rings, and the reactors that write them
        // wait in turn. What is under way needs no message of others to go on.
        for _ in 0..BATCHES_MAX {
            let links = core.channels.links_mut();
            let is_full = links.at_batch_limit(Lane::Plain);
            if is_full || core.channels.is_fan_out_full() {
                break;
            }
            let links = core.channels.links_mut();
            let with_publishes = links.spilled() == 0;
            let Some((from, batch)) = links.next_batch(with_publishes) else {
                break;
            };
            if !is_probe(core, from, &batch) {
                core.governor.note_activity(&core.connections);
            }
            handle_peer_messages(core, from, batch);
        }
        self.run_driver_ops(); // before events report what has closed meanwhile
    }

    /// Goes on with what the control thread asks of users and tokens: before their next messages are read,
    /// where there are few.
    fn sweep(&mut self) {
        if !self.core.sweeps.is_empty() {
            sweep_slice(&mut self.core);
            self.run_driver_ops();
        }
        if !self.core.session_queries.is_idle() {
            scan_slice(&mut self.core);
            apply_pending(&mut self.core);
            self.run_driver_ops();
        }
        if !self.core.entry_queries.is_idle() {
            crate::entry_scans::scan_slice(&mut self.core);
            apply_pending(&mut self.core);
            self.run_driver_ops();
        }
    }

    /// Lets paused publishers go on, as far as there is room.
    fn read_paused(&mut self) {
        let now = self.core.now();
        if self.core.channels.has_paused_to_read(now) {
            read_paused(&mut self.core);
            self.run_driver_ops();
        }
    }

    fn dispatch(&mut self) {
        let core = &mut self.core;
        // What a reactor is woken for counts by itself.
        let (mut events, mut woken) = (0, 0);
        while events < EVENTS_MAX && !core.has_done_enough() {
            let Some(event) = self.driver.next_event() else {
                break;
            };
            events += 1;
            match event {
                Event::Bytes(key, lease) => handle_bytes(core, key, lease),
                Event::Sent(key) => on_sent(core, &mut self.driver, &mut self.scratch, key),
                Event::ReadClosed(key) => handle_read_closed(core, key),
                Event::Closed(key, cause) => {
                    debug!(connection = %core.id(key), ?cause, "closed");
                    if cause != CloseCause::Requested {
                        note_end(core, key, EndCause::Reset, "");
                    }
                    remove(core, key);
                }
                Event::Accepted {
                    listener,
                    socket,
                    peer,
                } => match handle_accepted(core, self.listening.number(listener), peer) {
                    Ok(key) => {
                        if let Err(error) = self.driver.adopt(key, socket) {
                            debug!(connection = %core.id(key), %error, "adopt failed");
                            remove(core, key);
                        }
                    }
                    Err(_) => self.driver.refuse(socket),
                },
                Event::Woken => woken += 1,
                Event::Connected(_) | Event::Released(..) => {}
            }
            apply_pending(core);
            core.connections.run_driver_ops(&mut self.driver);
        }
        if events > woken {
            core.governor.note_activity(&core.connections);
        }
    }

    /// Handles one ClientHello of those that wait.
    fn handle_client_hello(&mut self) {
        if self.core.connections.hellos() > 0 {
            handle_next_hello(&mut self.core);
            self.run_driver_ops();
        }
    }

    fn keep_deadlines(&mut self) {
        keep_deadlines(&mut self.core, &self.driver);
        // What has begun to wait in this iteration is not due in it.
        if self.waits_due <= self.core.now() {
            keep_waits(&mut self.core);
        }
        if let Some(drain) = &mut self.drain {
            let per_second = self.shared.drain_per_second();
            drain.go_on(&mut self.core, &mut self.driver, per_second);
        }
    }

    fn flush(&mut self) {
        apply_pending(&mut self.core);
        if !self.core.ended_waits.is_empty() {
            end_waits(&mut self.core);
        }
        flush(&mut self.core, &mut self.driver, &mut self.scratch);
        apply_pending(&mut self.core); // a slow consumer left its channels
        self.run_driver_ops();
        self.core.channels.links_mut().flush();
    }

    fn run_driver_ops(&mut self) {
        self.core.connections.run_driver_ops(&mut self.driver);
    }

    /// Goes on with the incremental fan-outs, by so much that other channels keep their latency.
    fn fan_out(&mut self) {
        for _ in 0..FAN_OUT_PIECES {
            if !self.core.channels.is_fanning_out() {
                return;
            }
            let core = &mut self.core;
            core.channels
                .fan_out_piece(&mut core.connections, &core.sessions);
            self.flush();
        }
    }

    /// Frees memory that is no longer needed, if it is time.
    fn trim_memory(&mut self) {
        let core = &mut self.core;
        let now = core.now();
        let Some(trim) = core.governor.begin_trim(now) else {
            return;
        };
        let pages = trim.pages_freed_ns;
        let is_heap_trimmed = pages.is_some_and(self.trim_heap);
        core.channels.expire_histories(now);
        let mut freed_bytes = core.shrink() + self.driver.shrink();
        if !trim.is_active {
            freed_bytes += core.shrink_scratch();
            self.scratch = Scratch::default();
        }
        let trimmed = Trimmed {
            is_heap_trimmed,
            freed_bytes,
            connections: core.connections.len(),
            table_bytes: core.connections.table_bytes(),
            next_due: core.channels.hub().history_due(),
        };
        let now_ns = self.driver.now();
        core.governor.end_trim(&trim, &trimmed, now, now_ns);
    }

    fn end_iteration(&mut self) -> Iteration {
        let state = self.shared.state();
        if state != self.obeyed_state {
            self.obey(state);
        }
        if self.core.channels.hub().is_numbering() {
            self.core.channels.hub_mut().number_some();
        }
        let core = &mut self.core;
        let handshakes = core.counters.handshakes_in_flight.get();
        let accepts = handshakes < u64::from(core.settings.limits.handshakes_in_flight_max)
            && core.connections.hellos() < HELLOS_MAX;
        if accepts != self.is_accepting && !core.is_draining {
            self.is_accepting = accepts;
            if !accepts {
                core.counters.accept_pauses_total.inc();
            }
            self.driver.set_accepting(accepts);
        }
        self.publish_gauges();
        if keep_budget(&mut self.core, &self.driver) {
            self.flush(); // the close frames leave now
        }
        let core = &mut self.core;
        core.governor
            .report_backlog(&core.connections, &self.driver);
        if !core.listings.is_empty() {
            list_slice(core, &mut self.driver);
        }
        core.check_revocations();
        core.connections.check_invariants();
        core.hook_calls.check_invariants();
        core.history_asks.check_invariants();
        core.check_for_control();
        let is_empty = core.connections.len() == 0 && core.channels.links().spilled() == 0;
        let is_over = is_empty && self.drain.as_ref().is_some_and(Drain::has_begun);
        match is_over && !self.holds_up_end() {
            true => {
                self.core.channels.send_heard(); // it would have waited for the next tick
                Iteration::Stopped
            }
            false => Iteration::Running,
        }
    }

    /// Whether a drain that is over here waits: for other reactors, whose last connections have channels at
    /// home here, and for the control thread to take what is to be told.
    #[cold]
    fn holds_up_end(&mut self) -> bool {
        // The count comes behind the messages: what others have sent is seen once they are counted.
        self.count_as_empty();
        let core = &mut self.core;
        let awaits_others = !self.shared.are_all_empty() || core.channels.links_mut().has_unread();
        let now = core.now();
        let drain = self.drain.as_mut();
        if awaits_others && drain.is_some_and(|drain| drain.waits_for_others(now)) {
            return true;
        }
        if !core.journal.is_on() {
            return false;
        }
        send_to_control(core);
        core.journal.holds_up_end(now)
    }

    /// Tells the other reactors, once, that none of its own clients needs them any more.
    fn count_as_empty(&mut self) {
        if std::mem::replace(&mut self.is_counted_empty, true) {
            return;
        }
        if self.shared.note_empty() {
            self.core.channels.links().wake_others();
        }
    }

    /// Does what all reactors are asked for.
    #[cold]
    fn obey(&mut self, state: u32) {
        self.obeyed_state = state;
        let me = usize::from(self.core.channels.me().0);
        let (current, opened) = self.shared.take(me); // first: its namespaces have been named by then
        let namespaces = self.shared.registry().grow_namespaces(me);
        self.core.configure(&current, &namespaces);
        if self.drain.is_none() {
            let settings = &self.core.settings;
            self.listening
                .change(&mut self.driver, settings, (me, opened));
        }
        self.shared.note_obeyed(me, state);
        if self.drain.is_none()
            && let Some(pace) = self.shared.pace()
        {
            self.begin_drain(pace);
        }
    }

    fn begin_drain(&mut self, pace: Pace) {
        let (reactor, connections) = (self.core.channels.me().0, self.core.connections.len());
        let Pace {
            delay_ms,
            timeout_ms,
            per_second,
        } = pace;
        info!(
            reactor,
            connections, delay_ms, timeout_ms, per_second, "draining"
        );
        self.drain = Some(Drain::new(&mut self.core, &mut self.driver, pace));
    }

    /// Brings the gauges that live elsewhere up to date.
    fn publish_gauges(&mut self) {
        let counters = &self.core.counters;
        let stats = self.driver.stats();
        counters.accept_limit_total.set(stats.accept_limit);
        counters.received_bytes_total.set(stats.received_bytes);
        counters.sent_bytes_total.set(stats.sent_bytes);
        counters.sends_total.set(stats.sends);
        counters.receives_total.set(stats.receives);
        counters.in_flight_bytes.set(stats.pinned_bytes);
        let exhausted = stats.buffers_exhausted;
        counters.buffers_exhausted_total.set(exhausted);
        let checks = self.core.token_checks.open();
        publish_gauges(&self.core.connections, checks);
        self.core.channels.publish_gauges();
        self.core.calls.publish_gauges();
        let waiting = self.core.hook_calls.waiting() as u64;
        counters.connections_awaiting_hooks.set(waiting);
    }
}

/// So many ClientHellos wait for their turn before accepting pauses: 25 ms of work. A client
/// that waits longer has often left when its turn comes, and the work is lost.
const HELLOS_MAX: usize = 256;
/// Length of a tick, in nanoseconds.
const TICK_NS: u64 = TICK_MS as u64 * 1_000_000;
/// Of so many loop iterations one is measured.
const MEASURE_EACH: u64 = 64;
/// Events handled before messages are read and output flushed.
const EVENTS_MAX: usize = 1024;
/// Batches of other reactors handled before output is flushed.
const BATCHES_MAX: usize = 64;
/// Pieces of fan-outs in one loop iteration. A delivery to one of a million takes 8 to 10 µs, for
/// nothing of it is in a cache: 2 × 64 of them are about a millisecond, which others wait at most.
const FAN_OUT_PIECES: usize = 2;
/// How soon a batch that found its ring full is tried again.
const SPILL_RETRY: Duration = Duration::from_millis(1);

/// Has a reactor with one listener listen there; returns the address with its port.
#[cfg(test)]
fn listen_at<D: Driver>(
    reactor: &mut Reactor<D>,
    address: std::net::SocketAddr,
) -> std::net::SocketAddr {
    let bound = reactor.listen(vec![address.into()]);
    bound.expect("a free address")[0].tcp().expect("TCP")
}
