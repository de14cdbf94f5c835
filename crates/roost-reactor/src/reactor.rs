//! The loop of one reactor.

#[cfg(test)]
mod backpressure_tests;
#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod pauses;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use roost_dialect::dialect::Event as DialectEvent;
use roost_dialect::{Dialects, Replies};
use roost_hub::{Homes, Hub, HubOptions, ReactorId};
use roost_metrics::Registry;
use roost_net::{CloseMode, ConnKey, Driver, Event, ListenOptions, Waker};
use roost_wire::{CloseCode, Limits as WireLimits};
use tracing::{Level, debug, field, info};

use crate::admission::{Admission, Refused};
use crate::backlog::BacklogReport;
use crate::budget::{Budget, Reported};
use crate::congestion::Congestion;
use crate::conn::{Conn, Flags, Index, NEVER, Phase};
use crate::contexts::Contexts;
use crate::control::{ControlPeer, REACTORS_MAX, control_id};
use crate::control_requests::Listings;
use crate::core::{Core, DriverOp, PeerMessage, Rng, TICK_MS, ticks};
use crate::cost_probe::{ConnCost, CostProbe};
use crate::encoding::Codec;
use crate::fanout::Fanout;
use crate::flush::Scratch;
use crate::inflow::Inflow;
use crate::inputs::Inputs;
use crate::links::{Lane, Links, Mesh};
use crate::outboxes::Outboxes;
use crate::paused::Paused;
use crate::settings::Settings;
use crate::sweep::Sweep;
use crate::table::Table;
use crate::trim::MemoryTrimmer;
use crate::turn_output::TurnOutput;

/// What the reactors of one server have in common.
#[derive(Clone)]
pub struct Shared {
    settings: Arc<Settings>,
    registry: Registry,
    budget: Arc<Budget>,
    inflow: Arc<Inflow>,
    backlog_report: Arc<BacklogReport>,
    mesh: Arc<Mesh<PeerMessage>>,
    /// Connections of the process.
    process: Arc<AtomicU32>,
    switch: Arc<Switch>,
    /// Whether the slow side has taken its place in the mesh.
    has_control: Arc<AtomicBool>,
    seed: u64,
}

/// How the reactors are told to stop.
struct Switch {
    state: AtomicU8,
    drain_ms: AtomicU32,
}

const RUN: u8 = 0;
const DRAIN: u8 = 1;

impl Shared {
    /// For a server of `reactors` reactors, 1 to [`REACTORS_MAX`]. `seed` makes channel hashes unknown to
    /// peers and the numbers of sessions and publications differ between runs; equal seeds, in a
    /// simulation, give equal runs.
    ///
    /// # Panics
    /// When there are none or more reactors.
    pub fn new(settings: Settings, reactors: usize, seed: u64) -> Shared {
        assert!(
            (1..=REACTORS_MAX).contains(&reactors),
            "1 to {REACTORS_MAX} reactors, not {reactors}"
        );
        let switch = Switch {
            state: AtomicU8::new(RUN),
            drain_ms: AtomicU32::new(0),
        };
        let budget = Arc::new(Budget::new(settings.limits.buffered_bytes_max, reactors));
        let inflow = Arc::new(Inflow::new(&settings.channels));
        Shared {
            registry: Registry::with_namespaces(reactors, settings.channels.names()),
            settings: Arc::new(settings),
            mesh: Arc::new(Mesh::new(reactors + 1)), // and the slow side
            budget,
            inflow,
            backlog_report: Arc::new(BacklogReport::new(reactors)),
            process: Arc::default(),
            switch: Arc::new(switch),
            has_control: Arc::default(),
            seed,
        }
    }

    /// The slow side's end of the reactors' mesh; `waker` wakes it. A server has one in its life:
    /// from then on `None`.
    pub fn control_peer(&self, waker: Waker) -> Option<ControlPeer> {
        if self.has_control.swap(true, Ordering::AcqRel) {
            return None;
        }
        let reactors = self.registry.reactors();
        let homes = Homes::new(&self.hash_key(), reactors as u16);
        Some(ControlPeer::new(self.mesh.clone(), reactors, homes, waker))
    }

    /// The key of channel names' hashes.
    fn hash_key(&self) -> [u8; 16] {
        let mut hash_key = [0; 16];
        hash_key[..8].copy_from_slice(&self.seed.to_le_bytes());
        hash_key[8..].copy_from_slice(&self.seed.rotate_left(29).wrapping_mul(ODD).to_le_bytes());
        hash_key
    }

    /// The connections for which most waits, brought up to date once a second: a JSON array.
    pub fn slow_to_json(&self) -> String {
        self.backlog_report.to_json()
    }

    /// Whether the reactors were told to close all connections.
    pub fn is_draining(&self) -> bool {
        self.switch.state.load(Ordering::Acquire) == DRAIN
    }

    /// The counters of all reactors.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Tells all reactors to close every connection with 1001 and to stop; what is left after
    /// `drain_ms` is cut. Each reactor sees it when it next wakes: wake it.
    pub fn begin_drain(&self, drain_ms: u32) {
        self.switch.drain_ms.store(drain_ms, Ordering::Relaxed);
        self.switch.state.store(DRAIN, Ordering::Release);
    }
}

/// Whether there will be another turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Call again.
    Running,
    /// Drained: no connection is left.
    Stopped,
}

/// One reactor: a driver and everything it serves.
pub struct Reactor<D: Driver> {
    pub(crate) driver: D,
    pub(crate) core: Core,
    pub(crate) scratch: Scratch,
    shared: Shared,
    accepting: bool,
    /// Where in a tick of the clock this reactor's ticks begin: no two reactors wake for their
    /// deadlines together, each delaying the others' busy connections.
    tick_shift_ns: u64,
    /// TurnOutput at which draining ends by force.
    drain_until: u32,
    /// That was put off once, for input that was known and not read.
    drain_put_off: bool,
}

impl<D: Driver> Reactor<D> {
    /// Reactor `id` of a server, on `driver`. Does not listen yet.
    pub fn new(driver: D, id: u8, shared: Shared) -> Reactor<D> {
        let settings = shared.settings.clone();
        let limits = &settings.limits;
        let reactors = shared.registry.reactors();
        let seed = shared.seed ^ (u64::from(id) + 1).wrapping_mul(ODD);
        let hub = Hub::new(HubOptions {
            me: ReactorId(id),
            reactors: reactors as u16,
            hash_key: shared.hash_key(),
            seed,
            channels_max: limits.channels_max,
            channel_name_bytes_max: limits.channel_name_bytes_max as u32,
        });
        let process = shared.process.clone();
        let core = Core {
            wire_limits: WireLimits {
                frame_bytes_max: limits.frame_bytes_max,
                message_bytes_max: limits.message_bytes_max,
            },
            counters: shared.registry.reactor(usize::from(id)).clone(),
            namespaces: shared.registry.namespaces(usize::from(id)).clone(),
            table: Table::new(),
            hub,
            links: Links::new(id, shared.mesh.clone(), driver.waker()),
            turn_output: TurnOutput::new(),
            fanout: Fanout::default(),
            congestion: Congestion::default(),
            codec: Codec::new(
                settings.deflate.map(|deflate| deflate.threshold_bytes),
                settings.deflate.map_or(1, |deflate| deflate.level),
                limits.fragment_bytes,
            ),
            contexts: Contexts::new(
                settings.deflate,
                settings
                    .deflate
                    .map_or(0, |deflate| deflate.context_bytes_max / reactors),
                limits.fragment_bytes,
            ),
            sweep: Sweep::new(),
            trimmer: MemoryTrimmer::new(),
            admission: Admission::new(
                settings.connections_max,
                limits.connections_per_address_max,
                process,
            ),
            inputs: Inputs::default(),
            outboxes: Outboxes::default(),
            budget: shared.budget.clone(),
            reported: Reported::new(&shared.budget),
            output_bytes_total: 0,
            backlog_report: shared.backlog_report.clone(),
            backlog_due: 0,
            backlog_listed: false,
            control: control_id(reactors),
            listings: Listings::default(),
            dialects: Dialects::new(&settings.dialects),
            outputs: Vec::new(),
            driver_ops: Vec::new(),
            early_data: Vec::new(),
            paused: Paused::default(),
            inflow: shared.inflow.clone(),
            replies: Replies::default(),
            rng: Rng::new(seed.rotate_left(17)),
            cost_probe: CostProbe::default(),
            turn_bytes: 0,
            now: 0,
            input_until: 0,
            resumed_at: 0,
            draining: false,
            drained: 0,
            settings,
        };
        Reactor {
            driver,
            core,
            scratch: Scratch::default(),
            shared,
            accepting: true,
            tick_shift_ns: TICK_NS * u64::from(id) / reactors as u64,
            drain_until: NEVER,
            drain_put_off: false,
        }
    }

    /// Listens on `addr`; all reactors of a server may listen on the same. Returns the address
    /// with its port.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let settings = &self.core.settings;
        let options = ListenOptions {
            addr,
            backlog: settings.backlog,
            reuse_port: true,
            exclusive: self.core.links.me() == 0,
            sharers: self.shared.registry.reactors() as u16,
            // Asking costs a new connection something, and a quiet one nothing.
            want_peer: settings.limits.connections_per_address_max > 0
                || tracing::enabled!(Level::DEBUG),
        };
        Ok(self.driver.listen(&options)?.1)
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
        self.core.conn_costs(&self.driver)
    }

    /// Memory that the connections here make this reactor hold, in bytes, for tests: counted anew.
    #[doc(hidden)]
    pub fn memory_held(&self) -> u64 {
        self.core.count_memory(&self.driver)
    }

    /// Runs until drained.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? == Turn::Running {}
        Ok(())
    }

    /// One loop iteration: read messages of other reactors, go on with paused publishers, dispatch
    /// events, sweep deadlines, flush, a piece of the incremental fan-outs, wait.
    ///
    /// Messages of other reactors come first: where a piece has made room for more publications,
    /// publishers here would take it again before any of those were read, and other reactors' would
    /// wait for ever.
    ///
    /// It ends with the wait: between two iterations the reactor sleeps, and its wake flag says so.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.wake_up();
        self.read_peer_messages();
        self.read_paused();
        self.dispatch();
        self.sweep();
        self.flush();
        self.fan_out();
        self.shrink();
        if self.end_turn() == Turn::Stopped {
            return Ok(Turn::Stopped);
        }
        let timeout = self.timeout();
        self.driver.wait(timeout)?;
        Ok(Turn::Running)
    }

    fn wake_up(&mut self) {
        self.core.links.unpark();
        self.core.now = self.tick_of(self.driver.now());
        self.core.input_until = self.tick_of(self.driver.polled_until());
        self.core.resumed_at = match self.driver.resumed_at() {
            0 => 0,
            at => self.tick_of(at),
        };
        self.core.turn_bytes = 0;
        self.core.counters.loop_iterations_total.inc();
    }

    /// How long there is nothing to do unless something happens.
    fn timeout(&mut self) -> Option<Duration> {
        if !self.core.fanout.is_empty()
            || self.core.has_paused_to_read()
            || !self.core.listings.is_empty()
        {
            return Some(Duration::ZERO);
        }
        if self.core.links.spilled() > 0 {
            return Some(SPILL_RETRY);
        }
        if !self.core.links.try_park(true) {
            return Some(Duration::ZERO);
        }
        if self.core.draining && self.core.drained < self.core.table.slots() {
            return Some(Duration::ZERO);
        }
        let due = self.core.sweep.due().min(self.drain_until);
        let due = due
            .min(self.core.backlog_report_due())
            .min(self.core.paused.due())
            .min(self.core.trimmer.due());
        if due == NEVER {
            return None;
        }
        Some(Duration::from_nanos(
            (u64::from(due) * TICK_NS).saturating_sub(self.driver.now() + self.tick_shift_ns),
        ))
    }

    /// The tick of a time of the driver's clock.
    fn tick_of(&self, ns: u64) -> u32 {
        ((ns + self.tick_shift_ns) / TICK_NS) as u32
    }

    fn dispatch(&mut self) {
        let core = &mut self.core;
        for _ in 0..EVENTS_MAX {
            if core.has_done_enough() {
                break;
            }
            let Some(event) = self.driver.next_event() else {
                break;
            };
            core.trimmer.note(core.now, core.table.len());
            match event {
                Event::Bytes(key, lease) => core.handle_bytes(key, lease),
                Event::Sent(key) => core.on_sent(&mut self.driver, &mut self.scratch, key),
                Event::ReadClosed(key) => core.handle_read_closed(key),
                Event::Closed(key, cause) => {
                    debug!(connection = %core.id(key), ?cause, "closed");
                    core.remove(key);
                }
                Event::Accepted {
                    listener: _,
                    socket,
                    peer,
                } => match core.handle_accepted(peer) {
                    Ok(key) => {
                        if let Err(error) = self.driver.adopt(key, socket) {
                            debug!(connection = %core.id(key), %error, "adopt failed");
                            core.remove(key);
                        }
                    }
                    Err(_) => self.driver.refuse(socket),
                },
                Event::Woken | Event::Connected(_) | Event::Released(..) => {}
            }
            core.apply_pending();
            run_driver_ops(core, &mut self.driver);
        }
    }

    /// Lets paused publishers go on, as far as there is room.
    fn read_paused(&mut self) {
        if self.core.has_paused_to_read() {
            self.core.read_paused();
            run_driver_ops(&mut self.core, &mut self.driver);
        }
    }

    fn read_peer_messages(&mut self) {
        // While more is under way than may be, messages wait in their rings, and the reactors that write them
        // wait in turn. What is under way needs no message of others to go on.
        for _ in 0..BATCHES_MAX {
            if self.core.fanout.is_full() || self.core.links.at_batch_limit(Lane::Plain) {
                break;
            }
            let with_publishes = self.core.links.spilled() == 0;
            let Some((from, batch)) = self.core.links.next_batch(with_publishes) else {
                break;
            };
            let core = &mut self.core;
            core.trimmer.note(core.now, core.table.len());
            core.handle_peer_messages(from, batch);
        }
        run_driver_ops(&mut self.core, &mut self.driver); // before events say who has gone meanwhile
    }

    fn sweep(&mut self) {
        self.core.sweep(&self.driver);
        if self.core.draining {
            self.core.drain_slice();
            if self.core.input_until >= self.drain_until {
                self.end_drain();
            }
        }
    }

    /// The time to say goodbye is over, unless the reactor was held up in it, or answers lie unread:
    /// see [`crate::sweep`].
    fn end_drain(&mut self) {
        let anew = self.core.resumed_at.saturating_add(self.drain_ticks());
        if self.core.resumed_at > 0 && anew > self.core.input_until {
            self.drain_until = anew;
        } else if !self.drain_put_off && self.core.has_unread(&self.driver) {
            self.drain_put_off = true;
            self.drain_until = self.core.input_until + UNREAD_TICKS;
        } else {
            self.core.cut_all();
            self.drain_until = NEVER;
        }
    }

    fn drain_ticks(&self) -> u32 {
        ticks(self.shared.switch.drain_ms.load(Ordering::Relaxed)).max(1)
    }

    fn flush(&mut self) {
        self.core.apply_pending();
        self.core.flush(&mut self.driver, &mut self.scratch);
        self.core.apply_pending(); // a slow consumer left its channels
        run_driver_ops(&mut self.core, &mut self.driver);
        self.core.links.flush();
    }

    /// Goes on with the fan-outs to many, by so much that nobody else notices.
    fn fan_out(&mut self) {
        for _ in 0..FAN_OUT_PIECES {
            if self.core.fanout.is_empty() {
                return;
            }
            self.core.fan_out_piece();
            self.flush();
        }
    }

    fn end_turn(&mut self) -> Turn {
        let core = &mut self.core;
        if !core.draining && self.shared.switch.state.load(Ordering::Acquire) == DRAIN {
            self.begin_drain();
        }
        let core = &mut self.core;
        let handshakes = core.counters.handshakes_in_flight.get();
        let accept = handshakes < u64::from(core.settings.limits.handshakes_in_flight_max);
        if accept != self.accepting && !core.draining {
            self.accepting = accept;
            self.driver.set_accepting(accept);
        }
        core.publish_gauges(&self.driver);
        if core.keep_budget(&self.driver) {
            self.flush(); // what it said to those it closes leaves now
        }
        let core = &mut self.core;
        core.report_backlog(&self.driver);
        core.list_slice(&self.driver);
        core.check_invariants();
        if core.draining && core.table.len() == 0 && core.links.spilled() == 0 {
            return Turn::Stopped;
        }
        Turn::Running
    }

    fn begin_drain(&mut self) {
        let drain_ms = self.shared.switch.drain_ms.load(Ordering::Relaxed);
        let (reactor, connections) = (self.core.links.me(), self.core.table.len());
        info!(reactor, connections, drain_ms, "draining");
        self.driver.stop_listening();
        self.core.draining = true;
        self.core.drained = 0;
        self.drain_until = self.core.now.saturating_add(self.drain_ticks());
    }
}

impl Core {
    /// Bytes from the driver, lent.
    fn handle_bytes(&mut self, key: ConnKey, lease: &mut [u8]) {
        let now = self.now;
        let Some(conn) = self.table.get_mut(key) else {
            self.counters.stale_completions_total.inc();
            return;
        };
        conn.last_seen = now;
        let was_pinged = conn.flags.clear(Flags::PING_SENT);
        let bytes = conn.transport.open(lease);
        self.cost_probe.receive(key.slot(), bytes.len());
        match conn.phase {
            Phase::Open | Phase::Closing => self.handle_frame_bytes(key, bytes),
            Phase::Handshake => self.handle_head_bytes(key, bytes),
            Phase::Joining => self.handle_early_bytes(key, bytes),
            Phase::Lingering | Phase::Closed => {}
        }
        if was_pinged {
            self.arm_ping(key.slot());
        }
        if self
            .table
            .get(key)
            .is_none_or(|conn| conn.partial == Index::NONE)
        {
            self.cost_probe.finish(key.slot());
        }
    }

    /// The peer will send no more.
    fn handle_read_closed(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            self.counters.stale_completions_total.inc();
            return;
        };
        conn.flags.set(Flags::PEER_FIN);
        if conn.flags.has(Flags::WEBSOCKET) && !conn.flags.has(Flags::PEER_CLOSED) {
            self.counters.abnormal_closes_total.inc();
        }
        if conn.flags.has(Flags::FIN_SENT) {
            self.cut(key, CloseMode::Graceful);
        } else if conn.phase < Phase::Lingering {
            self.linger(key); // what is queued still goes out, then our FIN
        }
    }

    fn handle_accepted(&mut self, peer: Option<SocketAddr>) -> Result<ConnKey, Refused> {
        self.counters.connections_accepted_total.inc();
        let address = if self.draining {
            Err(Refused::Draining)
        } else {
            self.admission.enter(peer.map(|peer| peer.ip()))
        };
        match address {
            Err(refused) => {
                match refused {
                    Refused::Draining => self.counters.refused_draining_total.inc(),
                    Refused::ConnectionsMax => self.counters.refused_connections_max_total.inc(),
                    Refused::PerAddressMax => self.counters.refused_per_address_total.inc(),
                }
                Err(refused)
            }
            Ok(address) => {
                let mut conn = Conn::new(self.now);
                conn.address = address;
                conn.flags.set(Flags::HANDSHAKE);
                let key = self.table.insert(conn);
                self.cost_probe.open(key.slot());
                let peer = peer.map(field::display); // no field where it is not known
                debug!(connection = %self.id(key), peer, "accepted");
                self.counters.handshakes_in_flight.inc();
                self.counters.connections_open.set(self.table.len() as u64);
                self.set_deadline(key.slot(), self.settings.limits.handshake_timeout_ms);
                Ok(key)
            }
        }
    }

    /// Sends the next slice of connections away.
    fn drain_slice(&mut self) {
        let end = self
            .drained
            .saturating_add(DRAIN_SLICE)
            .min(self.table.slots());
        for slot in self.drained..end {
            let Some(key) = self.table.key_at(slot) else {
                continue;
            };
            let Some(conn) = self.table.get(key) else {
                continue;
            };
            match conn.phase {
                // A client that has not sent a byte waits for no answer, and none is waited for.
                Phase::Handshake if conn.partial == Index::NONE => {
                    self.cut(key, CloseMode::Graceful);
                }
                Phase::Handshake | Phase::Joining => self.refuse(key, 503, GOING_DOWN),
                Phase::Open => {
                    self.notify_dialect(key, DialectEvent::Draining);
                    self.start_close(key, CloseCode::GOING_AWAY, GOING_DOWN);
                }
                Phase::Closing | Phase::Lingering | Phase::Closed => {}
            }
        }
        self.drained = end;
    }

    /// Whether input of some connection is known and not read.
    fn has_unread<D: Driver>(&self, driver: &D) -> bool {
        let mut keys = (0..self.table.slots()).filter_map(|slot| self.table.key_at(slot));
        keys.any(|key| driver.has_unread(key))
    }

    /// The time to say goodbye is over.
    fn cut_all(&mut self) {
        for slot in 0..self.table.slots() {
            if let Some(key) = self.table.key_at(slot) {
                self.cut(key, CloseMode::Abort);
            }
        }
    }

    /// Brings the gauges that live elsewhere up to date.
    fn publish_gauges<D: Driver>(&self, driver: &D) {
        let counters = &self.counters;
        let stats = driver.stats();
        counters.accept_limit_total.set(stats.accept_limit);
        counters.received_bytes_total.set(stats.received_bytes);
        counters.sent_bytes_total.set(stats.sent_bytes);
        counters.sends_total.set(stats.sends);
        counters.receives_total.set(stats.receives);
        counters.in_flight_bytes.set(stats.pinned_bytes);
        counters
            .buffers_exhausted_total
            .set(stats.buffers_exhausted);
        counters.input_buffered_bytes.set(self.inputs.bytes());
        counters
            .connections_backlogged
            .set(self.outboxes.len() as u64);
        counters.outbox_bytes.set(self.outboxes.held().bytes);
        let hub = self.hub.counts();
        counters.channels.set(hub.local_channels as u64);
        counters.home_channels.set(hub.home_channels as u64);
        counters.subscriptions.set(hub.subscriptions as u64);
        counters
            .cross_reactor_batches_total
            .set(self.links.batches_sent);
        counters.cross_reactor_wakeups_total.set(self.links.wakes);
        counters
            .cross_reactor_backlog
            .set(self.links.spilled() as u64);
    }
}

fn run_driver_ops<D: Driver>(core: &mut Core, driver: &mut D) {
    for op in core.driver_ops.drain(..) {
        match op {
            DriverOp::Pause(key) => driver.pause(key),
            DriverOp::Resume(key) => driver.resume(key),
            DriverOp::Close(key, mode) => driver.close(key, mode),
            DriverOp::Fin(key) => driver.shutdown_write(key),
        }
    }
}

/// Length of a tick, in nanoseconds.
const TICK_NS: u64 = TICK_MS as u64 * 1_000_000;
/// Events handled before messages are read and output flushed.
const EVENTS_MAX: usize = 1024;
/// Batches of other reactors handled before output is flushed.
const BATCHES_MAX: usize = 64;
/// Pieces of fan-outs in one turn. A delivery to one of a million takes 8 to 10 µs, for nothing of
/// it is in a cache: 2 × 64 of them are about a millisecond, which others wait at most.
const FAN_OUT_PIECES: usize = 2;
/// Time to read what lies unread when a drain would end.
const UNREAD_TICKS: u32 = 250 / TICK_MS;
/// Connections sent away in one turn of a drain.
const DRAIN_SLICE: u32 = 4096;
/// How soon a batch that found its ring full is tried again.
const SPILL_RETRY: Duration = Duration::from_millis(1);
/// Spreads seeds; the odd part of the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
const GOING_DOWN: &str = "server is going down";
