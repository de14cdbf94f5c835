//! Whole reactors, several of them, on the simulated network, with hundreds of peers that connect,
//! subscribe, publish, stall and vanish; at the end a verdict against the model.
//!
//! Everything follows from one seed. What is promised and checked:
//!
//! - every subscriber of a channel sees the same order, and each publisher's own order in it;
//! - nothing published between subscribe-acknowledged and the end of the subscription is missing
//!   or doubled;
//! - an acknowledged publication was delivered, and is acknowledged once;
//! - a drain reaches every peer with 1001, and leaves no slot, buffer, channel or socket behind.

mod crowd;
mod peer;
mod plan;
mod verdict;

use std::fmt;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimNet, SimOptions};
use roost_reactor::{Reactor, Shared, Turn};

use crowd::Crowd;
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
    /// Peers closed as slow consumers.
    pub slow_consumers: u64,
    /// Pings sent by the server.
    pub pings: u64,
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
/// The first promise found broken.
pub fn run_plan(plan: &Plan) -> Result<Report, Broken> {
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
    world.crowd.rest();
    world.run_until(plan.end_ns + SETTLE_NS);
    world.crowd.roll_call();
    world.run_until(plan.end_ns + SETTLE_NS + SETTLE_NS / 3);
    let mut report = verdict::on_deliveries(&world.crowd).map_err(broken)?;
    world.drain(plan);
    world.verdict_on_end().map_err(broken)?;
    report.trace = world.net.trace_hash();
    let registry = world.shared.registry();
    let count = |name| registry.sum(name).expect("a counter of this name");
    report.slow_consumers = count("slow_consumers_total");
    report.pings = count("pings_sent_total");
    report.turns = count("turns_total");
    Ok(report)
}

struct World {
    net: SimNet,
    shared: Shared,
    reactors: Vec<Option<Reactor<SimDriver>>>,
    crowd: Crowd,
}

impl World {
    fn new(plan: &Plan) -> World {
        let net = SimNet::new(plan.seed, plan.faults.clone());
        let shared = Shared::new(plan.settings.clone(), plan.reactors, plan.seed);
        let mut address = plan.settings.address;
        let mut reactors = Vec::new();
        for id in 0..plan.reactors {
            let driver = net.driver(plan.driver.clone());
            let mut reactor = Reactor::new(driver, id as u8, shared.clone());
            address = reactor
                .listen(address)
                .expect("a simulated address is free");
            reactors.push(Some(reactor));
        }
        let crowd = Crowd::new(plan, net.driver(SimOptions::default()), address, net.rng());
        World {
            net,
            shared,
            reactors,
            crowd,
        }
    }

    /// Lets whoever has something to do take a turn, in an order of chance, until `until_ns`.
    fn run_until(&mut self, until_ns: u64) {
        loop {
            while !self.net.due().is_empty() {
                self.one_turn();
            }
            // Not `step`, which goes on to the next turn however late it comes.
            let next = self.net.next_due().filter(|&due| due <= until_ns);
            let left = next.unwrap_or(until_ns).saturating_sub(self.net.now());
            self.net.advance(Duration::from_nanos(left));
            if next.is_none() {
                return;
            }
        }
    }

    fn one_turn(&mut self) {
        let mut due: Vec<usize> = Vec::new();
        for (index, reactor) in self.reactors.iter().enumerate() {
            if reactor
                .as_ref()
                .is_some_and(|reactor| reactor.driver().is_due())
            {
                due.push(index);
            }
        }
        if self.crowd.is_due() {
            due.push(usize::MAX);
        }
        match due[self.net.choose(due.len())] {
            usize::MAX => self.crowd.turn(),
            index => {
                let reactor = self.reactors[index]
                    .as_mut()
                    .expect("only those that run are due");
                let turn = reactor.turn().expect("a simulated wait does not fail");
                if turn == Turn::Stopped {
                    self.reactors[index] = None;
                }
            }
        }
    }

    fn drain(&mut self, plan: &Plan) {
        let drain_ms = plan.drain_ms;
        self.crowd.expect_drain();
        self.shared.begin_drain(drain_ms);
        for reactor in self.reactors.iter().flatten() {
            reactor.waker().wake();
        }
        let until = self.net.now() + u64::from(drain_ms) * 1_000_000 + SETTLE_NS;
        self.run_until(until);
    }

    fn verdict_on_end(&mut self) -> Result<(), String> {
        let running = self.reactors.iter().flatten().count();
        if running > 0 {
            return Err(format!("{running} reactors still run after the drain"));
        }
        verdict::on_drain(&self.crowd)?;
        let registry = self.shared.registry();
        for name in EMPTY_AT_END {
            let left = registry.sum(name).expect("a counter of this name");
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

/// Counters that must be zero when all is over.
const EMPTY_AT_END: &[&str] = &[
    "connections_open",
    "websockets_open",
    "handshakes_in_flight",
    "channels",
    "home_channels",
    "subscriptions",
    "outboxes",
    "outbox_bytes",
    "partial_bytes",
    "mail_spilled",
];

/// Time for everything under way to arrive: a few round trips of the slowest link, and well below
/// the deadlines that would wake a sleeping reactor by chance.
const SETTLE_NS: u64 = 3_000_000_000;
