//! Whole reactors, several of them, on the simulated network, with hundreds of peers that connect,
//! subscribe, publish, stall and vanish; at the end a verdict against the model.
//!
//! Everything follows from one seed. What is promised and checked:
//!
//! - every subscriber of a channel sees the same order, and each publisher's own order in it;
//! - nothing published between subscribe-acknowledged and the end of the subscription is missing
//!   or doubled;
//! - a subscription begins behind all that its reactor had delivered when it was asked for;
//! - an acknowledged publication was delivered, is acknowledged once, and comes before all that is
//!   published after the acknowledgement;
//! - nobody hears itself who did not ask to, and nobody hears anything after a close frame;
//! - who reads misses nothing, but of `latest` what a later message replaced; who does not misses
//!   what his namespace's policy drops, and no more of it than finds no room;
//! - all together hold no more than the budget, and those close for it who hold most;
//! - no connection, good or hostile, pins more than a constant and twice what it has sent, or makes
//!   more work than a constant for each byte of it (debug builds count that);
//! - a reactor with nothing to do sleeps, and one with something to do is woken;
//! - a slow side that asks, does not read its answers and ends changes none of this, and is answered
//!   as long as it reads;
//! - nobody that answers is closed for silence, though the server, one of its reactors or the clock
//!   stands still for a while (on some days);
//! - a drain reaches every peer with 1001, and leaves no slot, buffer, channel or socket behind.
//!
//! On calm days (half of the seeds) the network breaks no connection. Then also: every connection
//! that ended has ended for a stated reason, all others answer, the server's counts of what it holds
//! are those of its peers, and what it counts as dropped is what they missed.

mod control;
mod costs;
mod crowd;
mod ends;
mod gaps;
mod hostile;
mod pauses;
mod peer;
mod plan;
mod starts;
mod verdict;

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use roost_net::sim::{SimDriver, SimNet, SimOptions};
use roost_reactor::{Reactor, Shared, Turn};

use control::Control;
pub use control::ControlReport;
pub use costs::Costs;
use crowd::Crowd;
use hostile::Hostiles;
pub use pauses::{Pause, Stopped};
pub use plan::Plan;

/// What a simulation did, for a test to see that something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Peers whose WebSocket opened.
    pub opened: usize,
    /// Publications sent by peers.
    pub published: usize,
    /// Publications received by peers.
    pub received: usize,
    /// Subscription windows compared with their channel's order.
    pub windows: usize,
    /// Of those, how many began when their reactor had delivered something of the channel.
    pub begun_later: usize,
    /// Of those that did not read, how many were told so, with 1013.
    pub told_slow: usize,
    /// Peers closed as slow consumers.
    pub slow_consumers: u64,
    /// Messages dropped for those that did not read, by namespace.
    pub dropped: [u64; 4],
    /// Namespaces whose drops were all found missing at a peer, and no others.
    pub drops_compared: u64,
    /// Connections closed because all together held too much.
    pub budget_closes: u64,
    /// Pings sent by the server.
    pub pings: u64,
    /// Publishers not read because a reactor's ring was full.
    pub paused: u64,
    /// Times a channel's publishers were asked to wait.
    pub congestions: u64,
    /// Publishes beyond what may come in a second.
    pub inflow_limited: u64,
    /// Pauses.
    pub pauses: u64,
    /// Connections cut for silence on days with pauses: for no answer to a ping, to a close frame, or
    /// for a request that was not finished.
    pub timeouts: u64,
    /// Connections closed as idle.
    pub idle: u64,
    /// The longest way of a publication on a calm day, in nanoseconds.
    pub delay_ns: u64,
    /// What the slow side has seen, on days that have one.
    pub control: ControlReport,
    /// What the dearest connections cost.
    pub costs: Costs,
    /// Turns of all reactors.
    pub turns: u64,
    /// Hash over all events: equal seeds give equal traces.
    pub trace: u64,
}

/// A promise that was not kept.
#[derive(Debug)]
pub struct Broken {
    /// The seed that shows it.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} (ROOST_SEED={} replays it)",
            self.seed, self.what, self.seed
        )
    }
}

/// Runs the simulation of `seed`.
///
/// # Errors
/// The first promise found broken.
pub fn run(seed: u64) -> Result<Report, Broken> {
    run_plan(&Plan::from_seed(seed))
}

/// Runs a given plan.
///
/// # Errors
/// The first promise found broken. A panic is one too, so that it comes with its seed.
pub fn run_plan(plan: &Plan) -> Result<Report, Broken> {
    let run = AssertUnwindSafe(|| live_through(plan)); // nothing of the world outlives it
    let ended = catch_unwind(run).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Broken {
            seed: plan.seed,
            what: format!("panicked: {}", said.unwrap_or("without a word")),
        })
    });
    ended.map_err(|mut broken| {
        for pause in plan.pauses.iter().chain(&plan.drain_pause) {
            broken.what.push_str(&format!("; {pause:?}"));
        }
        broken
    })
}

fn live_through(plan: &Plan) -> Result<Report, Broken> {
    let mut world = World::new(plan);
    let broken = |what: String| Broken {
        seed: plan.seed,
        what,
    };
    // Witnesses first, so that each channel's order is seen from its beginning.
    world.crowd.dial_witnesses();
    world.run_until(plan.start_ns);
    world.crowd.schedule_script();
    world.run_until(plan.end_ns);
    world.cuts_before = world.net.counts().cuts;
    world.crowd.rest();
    world.hostiles.hang_up();
    let rest_ns = plan.end_ns + plan.rest_ns();
    world.run_until(rest_ns + SETTLE_NS);
    world.crowd.roll_call(world.net.now());
    if plan.calm {
        world.crowd.dial_latecomers();
    }
    world.run_until(rest_ns + SETTLE_NS + SETTLE_NS / 3);
    let (mut report, gaps) = verdict::on_deliveries(&world.crowd, plan).map_err(broken)?;
    world.count_drops(&mut report);
    if plan.calm {
        for (namespace, &dropped) in report.dropped.iter().enumerate() {
            let equal = gaps.check(namespace, dropped).map_err(broken)?;
            report.drops_compared += u64::from(equal);
        }
        ends::on_calm(&world.crowd, plan, world.net.now()).map_err(broken)?;
        ends::on_books(&world.crowd, plan, |name| world.count(name)).map_err(broken)?;
        if !plan.holds_up() && plan.pauses.is_empty() {
            report.delay_ns = ends::on_delays(&world.crowd).map_err(broken)?;
        }
    }
    world.drain(plan).map_err(broken)?;
    world.verdict_on_end().map_err(broken)?;
    report.trace = world.net.trace_hash();
    report.costs = world.costs;
    report.control = world
        .control
        .as_ref()
        .map(Control::report)
        .unwrap_or_default();
    report.costs.hostile_bytes = world.hostiles.sent_bytes();
    report.slow_consumers = world.count("slow_consumers_total");
    report.told_slow = world.crowd.told_slow();
    report.pings = world.count("pings_sent_total");
    report.paused = world.count("publishers_paused_total");
    report.congestions = world.count("channel_backpressure_total");
    report.budget_closes = world.count("closed_memory_limit_total");
    report.pauses = world.pauses_begun;
    if report.pauses > 0 {
        report.timeouts = world.count("ping_timeouts_total")
            + world.count("handshake_timeouts_total")
            + world.count("close_timeouts_total");
    }
    report.idle = world.count("idle_timeouts_total");
    report.turns = world.count("loop_iterations_total");
    Ok(report)
}

struct World {
    net: SimNet,
    shared: Shared,
    reactors: Vec<Option<Reactor<SimDriver>>>,
    /// When which reactor does not run, though it has something to do: its core is taken.
    kept: Vec<(Range<u64>, usize)>,
    /// What is still to stop, the first last.
    pauses: Vec<Pause>,
    pauses_begun: u64,
    /// When the last of those that have begun is over.
    paused_until: u64,
    crowd: Crowd,
    hostiles: Hostiles,
    control: Option<Control>,
    costs: Costs,
    /// Channels whose home had no connection, and ended before them.
    stopped_early: u64,
    /// Connections that had gone silent when the script ended.
    cuts_before: u64,
    /// Connections that each reactor had accepted when they were last looked at.
    accepted: Vec<u64>,
    /// What a turn takes.
    turn: Duration,
    /// Which reactors have had a turn since all together held too much.
    over_budget: Vec<usize>,
    /// Turns left before the reactors are said to spin.
    turns_left: u64,
}

impl World {
    fn new(plan: &Plan) -> World {
        let net = SimNet::new(plan.seed, plan.faults.clone());
        let shared = Shared::new(plan.settings.clone(), plan.reactors, plan.seed);
        let listeners = plan.settings.listeners.iter();
        let mut addresses: Vec<_> = listeners.map(|one| one.address.clone()).collect();
        let mut reactors = Vec::new();
        for id in 0..plan.reactors {
            let driver = net.driver(plan.driver.clone());
            let mut reactor = Reactor::new(driver, id as u8, shared.clone());
            addresses = reactor
                .listen(addresses)
                .expect("a simulated address is free");
            reactors.push(Some(reactor));
        }
        let address = addresses[0].tcp().expect("a day's peers connect by TCP");
        let crowd = Crowd::new(plan, net.driver(SimOptions::default()), address, net.rng());
        let driver = net.driver(SimOptions::default());
        let hostiles = Hostiles::new(plan, driver, address, net.rng());
        let control = Control::new(plan, &shared, || net.driver(SimOptions::default()));
        let kept = plan.floods.iter();
        let kept = kept.map(|&(at, reactor)| (at..at + plan.kept_ns, reactor));
        let mut pauses = plan.pauses.clone();
        pauses.sort_by_key(|pause| std::cmp::Reverse(pause.at_ns));
        World {
            net,
            shared,
            reactors,
            kept: kept.collect(),
            pauses,
            pauses_begun: 0,
            paused_until: 0,
            crowd,
            hostiles,
            control,
            costs: Costs::default(),
            stopped_early: 0,
            cuts_before: 0,
            accepted: vec![0; plan.reactors],
            turn: Duration::from_nanos(plan.turn_ns),
            over_budget: Vec::new(),
            turns_left: TURNS_MAX,
        }
    }

    /// Lets whoever has something to do take a turn, in an order of chance, until `until_ns`.
    fn run_until(&mut self, until_ns: u64) {
        loop {
            while self.one_turn() {}
            // Not `step`, which goes on to the next turn however late it comes.
            let now = self.net.now();
            let next = match self.net.next_due() {
                // Only a kept one has to do.
                Some(due) if due <= now && now < self.paused_until => Some(now + PAUSE_STEP_NS),
                Some(due) if due <= now => Some(now + KEPT_STEP_NS),
                due => due,
            };
            let pause = self.pauses.last().map(|pause| pause.at_ns.max(now));
            let next = next.into_iter().chain(pause).min();
            let next = next.filter(|&due| due <= until_ns);
            let left = next.unwrap_or(until_ns).saturating_sub(now);
            self.net.advance(Duration::from_nanos(left));
            if next.is_none() {
                return;
            }
        }
    }

    /// False when nobody who may run has something to do.
    fn one_turn(&mut self) -> bool {
        self.begin_pauses();
        let now = self.net.now();
        let kept = |index| {
            let mut kept = self.kept.iter();
            kept.any(|(time, reactor)| *reactor == index && time.contains(&now))
        };
        let mut due: Vec<usize> = Vec::new();
        for (index, reactor) in self.reactors.iter().enumerate() {
            let reactor = reactor.as_ref();
            if reactor.is_some_and(|reactor| reactor.driver().is_due()) && !kept(index) {
                due.push(index);
            }
        }
        if self.crowd.is_due() {
            due.push(CROWD);
        }
        if self.hostiles.is_due() {
            due.push(HOSTILES);
        }
        if self.control.as_ref().is_some_and(Control::is_due) {
            due.push(CONTROL);
        }
        if due.is_empty() {
            return false;
        }
        match due[self.net.choose(due.len())] {
            CROWD => self.crowd.turn(),
            HOSTILES => self.hostiles.turn(),
            CONTROL => {
                let control = self.control.as_mut();
                control.expect("only one that is there is due").turn(now);
            }
            index => {
                self.turns_left = self.turns_left.checked_sub(1).expect("the reactors spin");
                let reactor = self.reactors[index].as_mut();
                let reactor = reactor.expect("only those that run are due");
                let turn = reactor.turn().expect("a simulated wait does not fail");
                self.costs.check(reactor, &self.crowd, &self.hostiles);
                let counters = self.shared.registry().reactor(index);
                let accepted = counters.connections_accepted_total.get();
                if std::mem::replace(&mut self.accepted[index], accepted) != accepted {
                    self.crowd.note_reactor(index, reactor);
                }
                if turn == Turn::Stopped {
                    self.reactors[index] = None;
                }
                self.net.advance(self.turn);
                self.check_outboxes(index);
                self.check_budget(index);
            }
        }
        true
    }

    /// Stops what is due to stop.
    fn begin_pauses(&mut self) {
        let now = self.net.now();
        while let Some(pause) = self.pauses.pop_if(|pause| pause.at_ns <= now) {
            self.pauses_begun += 1;
            for (index, reactor) in self.reactors.iter().enumerate() {
                let stops = match pause.what {
                    Stopped::Process | Stopped::All => true,
                    Stopped::Reactor(stopped) => stopped == index,
                };
                if let (true, Some(reactor)) = (stops, reactor) {
                    self.net.stop(reactor.driver().id());
                    self.kept.push((now..now + pause.length_ns, index));
                }
            }
            match pause.what {
                Stopped::All => self.net.advance(Duration::from_nanos(pause.length_ns)),
                Stopped::Process | Stopped::Reactor(_) => {
                    self.paused_until = self.paused_until.max(now + pause.length_ns);
                }
            }
        }
    }

    /// What waits for a connection has a limit, or is one frame.
    fn check_outboxes(&self, index: usize) {
        let settings = self.shared.settings();
        let each = settings.limits.outbox_bytes_max.max(FRAME_BYTES_MAX) + PONG_BYTES_MAX;
        let counters = self.shared.registry().reactor(index);
        let (bytes, outboxes) = (
            counters.outbox_bytes.get(),
            counters.connections_backlogged.get(),
        );
        assert!(
            bytes <= outboxes * each as u64,
            "{outboxes} outboxes hold {bytes} bytes, each at most {each}"
        );
    }

    /// What all connections make the reactors hold is within a small budget, but for what turns add.
    /// Of several reactors each closes its part in a turn of its own: until all have had one, those
    /// that have hold no more than the budget by themselves.
    fn check_budget(&mut self, index: usize) {
        let budget = self.shared.settings().limits.buffered_bytes_max;
        if budget >= 1 << 30 {
            return;
        }
        let running = self.reactors.iter().enumerate();
        let running = running.filter_map(|(n, reactor)| Some((n, reactor.as_ref()?.memory_held())));
        let all: Vec<(usize, u64)> = running.collect();
        let held: u64 = all.iter().map(|(_, held)| held).sum();
        if held <= budget + TURN_BYTES_MAX {
            self.over_budget.clear();
        } else if !self.over_budget.contains(&index) {
            self.over_budget.push(index);
        }
        let have_closed = all.iter().filter(|(n, _)| self.over_budget.contains(n));
        let (closed, left) = have_closed.fold((0, 0), |(n, sum), (_, held)| (n + 1, sum + held));
        let may_be_over = closed < all.len()
            && left <= budget + TURN_BYTES_MAX
            && held <= budget + OVER_BYTES_MAX;
        assert!(
            held <= budget + TURN_BYTES_MAX || may_be_over,
            "{held} bytes are held, of {budget}: {all:?} after a turn of {index}, beyond since turns \
             of {:?}",
            self.over_budget
        );
        let per_mille = held * 1_000 / budget;
        self.costs.held_per_mille = self.costs.held_per_mille.max(per_mille);
    }

    /// Counts what slow receivers have cost each namespace.
    fn count_drops(&self, report: &mut Report) {
        for index in 0..self.reactors.len() {
            let namespaces = self.shared.registry().namespaces(index);
            for (sum, counters) in report.dropped.iter_mut().zip(&namespaces[1..]) {
                report.inflow_limited += counters.publish_rate_limited_total.get();
                *sum += counters.dropped_oldest_total.get()
                    + counters.dropped_newest_total.get()
                    + counters.replaced_total.get();
            }
        }
    }

    /// The sum over all reactors of a counter.
    fn count(&self, name: &str) -> u64 {
        let sum = self.shared.registry().sum(name);
        sum.expect("a counter of this name")
    }

    fn drain(&mut self, plan: &Plan) -> Result<(), String> {
        let drain_ms = plan.drain_ms;
        let open = self.crowd.open();
        for index in 0..self.reactors.len() {
            let counters = self.shared.registry().reactor(index);
            // It stops at once, before the others can tell it that they have left its channels.
            if counters.connections_open.get() == 0 {
                self.stopped_early += counters.home_channels.get();
            }
        }
        let pause = plan.drain_pause.map(|pause| Pause {
            at_ns: self.net.now() + pause.at_ns,
            ..pause
        });
        self.pauses.extend(pause);
        self.shared.begin_drain(drain_ms);
        for reactor in self.reactors.iter().flatten() {
            reactor.waker().wake();
        }
        // A close frame may take its time to be answered, and then the peer's FIN.
        let limit_ms = drain_ms.min(2 * plan.settings.limits.close_timeout_ms);
        let mut until = self.net.now() + u64::from(limit_ms + DRAIN_SLACK_MS) * 1_000_000;
        if let Some(pause) = pause {
            until += pause.end_ns() - self.net.now() + u64::from(limit_ms) * 1_000_000;
        }
        self.run_until(until);
        let running = self.reactors.iter().flatten().count();
        if running > 0 {
            return Err(format!("{running} reactors still run after the drain"));
        }
        self.run_until(self.net.now() + SETTLE_NS);
        // One that went silent shortly before may not have been found out yet.
        let cuts = self.net.counts().cuts - self.cuts_before;
        ends::on_drain(&self.crowd, plan, &open, cuts)
    }

    fn verdict_on_end(&mut self) -> Result<(), String> {
        for name in EMPTY_AT_END {
            let mut left = self.count(name);
            if *name == "home_channels" {
                left = left.saturating_sub(self.stopped_early);
            }
            if left != 0 {
                return Err(format!("{name} is {left} at the end"));
            }
        }
        self.crowd.hang_up();
        let until = self.net.now() + SETTLE_NS;
        self.run_until(until);
        self.net.settle();
        self.net.check_invariants();
        let leaks = self.net.leaks();
        if !leaks.is_none() {
            return Err(format!("the network still holds {leaks:?}"));
        }
        Ok(())
    }
}

/// Who takes turns beside the reactors.
const CROWD: usize = usize::MAX;
const HOSTILES: usize = usize::MAX - 1;
const CONTROL: usize = usize::MAX - 2;

/// Counters that must be zero when all is over.
const EMPTY_AT_END: &[&str] = &[
    "connections_open",
    "websockets_open",
    "handshakes_in_flight",
    "channels",
    "home_channels",
    "subscriptions",
    "connections_backlogged",
    "outbox_bytes",
    "input_buffered_bytes",
    "cross_reactor_backlog",
];

/// A simulated day takes a few thousand turns.
const TURNS_MAX: u64 = 100_000;
/// The largest frame of the script: 5,000 bytes of raw payload as a WAMP event, in base64.
const FRAME_BYTES_MAX: usize = 7_000;
/// What a turn may add before the budget is looked at.
const TURN_BYTES_MAX: u64 = 16 << 10;
/// What turns of several reactors may: a flood fills the outboxes of each in one turn.
const OVER_BYTES_MAX: u64 = 64 << 10;
/// RFC 6455 §5.5: a control frame's payload has at most 125 bytes.
const PONG_BYTES_MAX: usize = 127;
/// How often a kept reactor's time is looked at.
const KEPT_STEP_NS: u64 = 50_000;
const PAUSE_STEP_NS: u64 = 500_000;
/// The grain of ticks and the way to the peers.
const DRAIN_SLACK_MS: u32 = 500;
/// Time for everything under way to arrive: a few round trips of the slowest link, and well below
/// the deadlines that would wake a sleeping reactor by chance.
const SETTLE_NS: u64 = 3_000_000_000;
