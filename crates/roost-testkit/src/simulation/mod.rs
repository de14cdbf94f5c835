//! Whole servers of several reactors on a simulated network, with hundreds of peers that connect,
//! subscribe, publish, stall and vanish; at the end all that they saw is checked against the model.
//!
//! Everything follows from one seed. What is promised and checked:
//!
//! - every subscriber of a channel sees the same order, and each publisher's own order in it;
//! - nothing published between subscribe-acknowledged and the end of the subscription is missing
//!   or doubled;
//! - a subscription begins behind all that its reactor had delivered when it was asked for;
//! - a subscription to a pattern gets all that is published to each channel that matches, as one to
//!   the channel does;
//! - an acknowledged publication was delivered, is acknowledged once, and comes before all that is
//!   published after the acknowledgement;
//! - no publisher receives its own message unless it asked for it, and no peer receives anything after
//!   a close frame;
//! - a peer that reads misses nothing, except with `latest` what a later message replaced; a slow
//!   consumer misses what its namespace's policy drops, and no more than finds no room;
//! - all connections together hold no more than the budget, and the largest are closed for it;
//! - no connection, good or hostile, pins more than a constant and twice what it has sent, or makes
//!   more work than a constant for each byte of it (debug builds count that);
//! - a reactor with nothing to do sleeps, and one with something to do is woken;
//! - a control thread that does not read its answers, or ends, changes none of this, and is answered
//!   as long as it reads;
//! - what the control thread publishes is delivered once and in order if it was given a place, and not
//!   at all if it was refused; of publications with one idempotency key one is;
//! - no client subscribes, publishes, calls or registers where it may not, or receives what it may not or
//!   what another may not have said, and who does not know a secret is not let in (on a quarter of the
//!   seeds);
//! - events are numbered without holes, and say of each connection and channel what has happened by turns,
//!   or that something is missing (`journal.rs`, on some seeds);
//! - each plain HTTP request gets one answer, in order, however it is cut and whatever follows it;
//! - each SOAP request has one answer, or its connection ends, and what SOAP subscribers get are
//!   envelopes;
//! - no peer that answers is closed for silence, though the server, one of its reactors or the clock
//!   stands still for a while (on some seeds);
//! - a client of an event stream that comes back gets all that it has missed, once and in order, or is
//!   told that something is missing;
//! - settings that change in the middle of the script change none of this (on a third of the seeds);
//! - a listener serves its dialects and lets in its origins, and no others (several listeners, one of
//!   them a unix socket, on half of the seeds);
//! - a peer that comes over TLS sees all of this as others do, no record of it is altered or sealed
//!   twice under one key and number, and close_notify goes before FIN (on a quarter of the seeds);
//! - a drain reaches every peer with 1001, and leaves no slot, buffer, channel or socket behind.
//!
//! On half of the seeds the network is reliable: it breaks no connection. Then also: every connection
//! that ended has ended for a stated reason, all others answer, the server's counts of what it holds
//! equal those of its peers, and what it counts as dropped is what they missed.

mod api;
mod askers;
mod behavior;
mod budget;
mod calls;
mod canary;
mod centrifugo;
mod centrifugo_peer;
mod centrifugo_streams;
mod clients;
mod closes;
mod control;
mod costs;
mod deliveries;
mod encrypted;
mod ending;
mod gaps;
mod guarded;
mod hostile;
mod hostile_bytes;
mod hostile_tls;
mod http;
mod journal;
mod lanes;
mod listeners;
mod pauses;
mod peer;
mod peers;
mod plan;
mod presence;
mod pusher;
mod pusher_app;
mod records;
mod recovering;
mod recovering_client;
mod recovering_sockets;
mod recovering_streams;
mod reloads;
mod report;
mod serializers;
mod soap;
mod starts;
mod strangers;
mod subscriptions;
mod users;
mod web_socket;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use roost_net::sim::{SimDriver, SimNet, SimOptions, SimRng};
use roost_reactor::{Iteration, Reactor, Shared};

use api::Subscribers;
use askers::Askers;
use budget::{Budget, check_outboxes};
use centrifugo::CentrifugoPeers;
use control::Control;
pub use control::ControlReport;
pub use costs::Costs;
use guarded::Guarded;
use hostile::Hostiles;
use http::HttpPeers;
pub use pauses::{Pause, Stopped};
use peers::Peers;
pub use plan::Plan;
use pusher::PusherPeers;
use recovering::Recovering;
pub use recovering_client::Told;
use reloads::Reloads;
pub use report::Report;
use soap::SoapPeers;
use strangers::Strangers;

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
    let _watch = roost_tls::nonces::watch();
    let run = AssertUnwindSafe(|| run_scenario(plan)); // nothing of the simulation outlives it
    let ended = catch_unwind(run).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Broken {
            seed: plan.seed,
            what: format!("panicked: {}", message.unwrap_or("without a word")),
        })
    });
    ended.map_err(|mut broken| {
        for pause in plan.pauses.iter().chain(&plan.drain_pause) {
            broken.what.push_str(&format!("; {pause:?}"));
        }
        broken
    })
}

fn run_scenario(plan: &Plan) -> Result<Report, Broken> {
    let mut simulation = Simulation::new(plan);
    let broken = |what: String| Broken {
        seed: plan.seed,
        what,
    };
    // Witnesses first, so that each channel's order is seen from its beginning.
    simulation.peers.dial_witnesses();
    simulation.run_until(plan.start_ns);
    simulation.peers.schedule_script();
    simulation.run_until(plan.end_ns);
    simulation.cuts_before = simulation.net.counts().cuts;
    simulation.peers.end_script();
    simulation.hostiles.abort_all();
    let http_answers = simulation.end_http(plan).map_err(broken)?;
    let soap = simulation.end_soap(plan).map_err(broken)?;
    let asked = simulation.end_askers(plan).map_err(broken)?;
    // Members of presence channels have gone when those of Centrifugo's are counted.
    let pusher = simulation.end_pusher(plan).map_err(broken)?;
    let centrifugo = simulation.end_centrifugo(plan).map_err(broken)?;
    simulation.end_api(plan).map_err(broken)?;
    let told = simulation.end_recovering(plan).map_err(broken)?;
    let guarded_answers = simulation.end_guarded(plan).map_err(broken)?;
    let rest_ns = plan.end_ns + plan.rest_ns();
    simulation.run_until(rest_ns + QUIESCE_NS);
    simulation.peers.send_final_pings(simulation.net.now());
    if plan.reliable {
        simulation.peers.dial_late_peers();
    }
    simulation.run_until(rest_ns + QUIESCE_NS + QUIESCE_NS / 3);
    let (mut report, gaps) = deliveries::check(&simulation.peers, plan).map_err(broken)?;
    simulation.count_drops(&mut report);
    report.calls_answered =
        closes::check_calls(&simulation.peers, plan.reliable).map_err(broken)?;
    simulation.check_strangers(plan).map_err(broken)?;
    if plan.reliable {
        for (namespace, &dropped) in report.dropped.iter().enumerate() {
            let equal = gaps.check(namespace, dropped).map_err(broken)?;
            report.drops_compared += u64::from(equal);
        }
        closes::check(&simulation.peers, plan, simulation.net.now()).map_err(broken)?;
        let now = simulation.net.now();
        closes::check_counters(&simulation.peers, plan, now, |name| simulation.count(name))
            .map_err(broken)?;
        if !plan.has_publish_limits() && plan.pauses.is_empty() {
            report.delay_ns = closes::check_delays(&simulation.peers).map_err(broken)?;
        }
    }
    simulation.drain(plan).map_err(broken)?;
    simulation.check_end_state().map_err(broken)?;
    report.http_answers = http_answers;
    (report.soap_answers, report.soap_received) = soap;
    (report.asked, report.retained) = asked;
    [
        report.centrifugo_answers,
        report.centrifugo_received,
        report.centrifugo_deltas,
    ] = centrifugo;
    (report.pusher_answers, report.pusher_received) = pusher;
    report.guarded_answers = guarded_answers;
    report.told = told;
    simulation.write_counts(&mut report);
    Ok(report)
}

struct Simulation {
    net: SimNet,
    shared: Shared,
    reactors: Vec<Option<Reactor<SimDriver>>>,
    /// When which reactor does not run although it has work: its core is taken.
    suspended: Vec<(Range<u64>, usize)>,
    /// Pauses to come, the next one last.
    pauses: Vec<Pause>,
    pauses_begun: u64,
    /// When the last pause that has begun is over.
    paused_until: u64,
    reloads: Reloads,
    peers: Peers,
    hostiles: Hostiles,
    strangers: Option<Strangers>,
    http: Option<HttpPeers>,
    soap: Option<SoapPeers>,
    askers: Option<Askers>,
    centrifugo: Option<CentrifugoPeers>,
    pusher: Option<PusherPeers>,
    guarded: Option<Guarded>,
    recovering: Recovering,
    control: Option<Control>,
    subscribers: Option<Subscribers>,
    costs: Costs,
    /// Channels whose home had ended when there were still subscribers on other reactors.
    ended_homes: u64,
    /// Connections that had gone silent when the script ended.
    cuts_before: u64,
    /// Connections that each reactor had accepted when they were last looked at.
    accepted: Vec<u64>,
    budget: Budget,
    /// How long a loop iteration takes.
    iteration: Duration,
    /// Loop iterations left before a reactor counts as spinning.
    iterations_left: u64,
}

/// The reactors, and where each listener is reached.
fn listen(
    plan: &Plan,
    net: &SimNet,
    shared: &Shared,
) -> (Vec<Option<Reactor<SimDriver>>>, Vec<SocketAddr>) {
    let listeners = plan.settings.listeners.iter();
    let mut addresses: Vec<_> = listeners.map(|one| one.address.clone()).collect();
    let mut reactors = Vec::new();
    for id in 0..plan.reactors {
        let driver = net.driver(plan.driver.clone());
        let mut reactor = Reactor::new(driver, id as u8, shared.clone());
        reactor.seed_secrets(plan.seed.rotate_left(id as u32));
        addresses = reactor
            .listen(addresses)
            .expect("a simulated address is free");
        reactors.push(Some(reactor));
    }
    let addresses: Vec<_> = addresses.iter().map(listeners::address_of).collect();
    let listeners = plan.settings.listeners.iter().zip(&addresses);
    for (_, &address) in listeners.filter(|(listener, _)| listener.tls.is_some()) {
        net.trace_lengths_at(address); // its keys are random, and the lengths are not
    }
    (reactors, addresses)
}

/// When which reactor stands still while others flood it.
fn suspensions_of(plan: &Plan) -> Vec<(Range<u64>, usize)> {
    let floods = plan.floods.iter();
    let times = floods.map(|&(at, reactor)| (at..at + plan.suspended_ns, reactor));
    times.collect()
}

/// The plan's pauses, the next one last.
fn pauses_of(plan: &Plan) -> Vec<Pause> {
    let mut pauses = plan.pauses.clone();
    pauses.sort_by_key(|pause| std::cmp::Reverse(pause.at_ns));
    pauses
}

/// The clients of namespaces that not all may use.
fn guarded_of(plan: &Plan, net: &SimNet, address: SocketAddr) -> Guarded {
    let wamp = &plan.settings.dialects.wamp;
    let has_own_realms = !wamp.own_realms.prefixes().is_empty();
    let driver = net.driver(SimOptions::default());
    Guarded::new(
        (
            plan.seed,
            plan.guarded,
            plan.settings.auth.is_on,
            has_own_realms,
        ),
        plan.start_ns..plan.end_ns,
        driver,
        address,
    )
}

fn askers_of(plan: &Plan, net: &SimNet, address: SocketAddr) -> Askers {
    let driver = net.driver(SimOptions::default());
    let own_realms = &plan.settings.dialects.wamp.own_realms;
    let realms = 1 + usize::from(!own_realms.prefixes().is_empty());
    let time = plan.start_ns..plan.end_ns;
    Askers::new((plan.seed, plan.askers, realms), time, driver, address)
}

impl Simulation {
    fn new(plan: &Plan) -> Simulation {
        let net = SimNet::new(plan.seed, plan.faults.clone());
        let shared = Shared::new(plan.settings.clone(), plan.reactors, plan.seed);
        let (reactors, addresses) = listen(plan, &net, &shared);
        let (driver, rng) = (net.driver(SimOptions::default()), net.rng());
        let peers = Peers::new(plan, driver, addresses.clone(), rng);
        let driver = net.driver(SimOptions::default());
        let hostiles = Hostiles::new(plan, driver, &addresses, net.rng());
        let strangers = (plan.strangers > 0).then(|| {
            let driver = net.driver(SimOptions::default());
            Strangers::new(plan, driver, addresses.clone(), net.rng())
        });
        let control = Control::new(plan, &shared, || net.driver(SimOptions::default()));
        let http = (plan.http_peers > 0).then(|| {
            let driver = net.driver(SimOptions::default());
            HttpPeers::new(plan, driver, addresses[0], net.rng())
        });
        let soap = (plan.soap_peers > 0).then(|| {
            let driver = net.driver(SimOptions::default());
            SoapPeers::new(plan, driver, addresses[0], net.rng())
        });
        let askers = (plan.askers > 0).then(|| askers_of(plan, &net, addresses[0]));
        let centrifugo = (plan.centrifugo_peers > 0).then(|| {
            let driver = net.driver(SimOptions::default());
            CentrifugoPeers::new(plan, driver, addresses[0], net.rng())
        });
        let pusher = (plan.pusher_peers > 0).then(|| {
            let driver = net.driver(SimOptions::default());
            PusherPeers::new(plan, driver, addresses[0], SimRng::new(plan.seed ^ 0x5055))
        });
        let subscribers = control.is_some().then(|| {
            let driver = net.driver(SimOptions::default());
            Subscribers::new(driver, addresses[0])
        });
        let guarded = (plan.guarded > 0).then(|| guarded_of(plan, &net, addresses[0]));
        let driver = net.driver(SimOptions::default());
        let rng = SimRng::new(plan.seed ^ 0x6261_636b);
        let recovering = Recovering::new(plan.start_ns..plan.end_ns, driver, addresses[0], rng);
        Simulation {
            net,
            shared,
            reactors,
            suspended: suspensions_of(plan),
            pauses: pauses_of(plan),
            pauses_begun: 0,
            paused_until: 0,
            reloads: Reloads::new(plan),
            peers,
            hostiles,
            strangers,
            http,
            soap,
            askers,
            centrifugo,
            pusher,
            guarded,
            recovering,
            control,
            subscribers,
            costs: Costs::default(),
            ended_homes: 0,
            cuts_before: 0,
            accepted: vec![0; plan.reactors],
            budget: Budget::new(plan.reactors),
            iteration: Duration::from_nanos(plan.iteration_ns),
            iterations_left: ITERATIONS_MAX,
        }
    }

    /// Runs what is due, in random order, until `until_ns`.
    fn run_until(&mut self, until_ns: u64) {
        loop {
            while self.step() {}
            // Not `SimNet::step`, which goes on to the next event however late it comes.
            let now = self.net.now();
            let next = match self.net.next_due() {
                // Only a suspended reactor has work.
                Some(due) if due <= now && now < self.paused_until => Some(now + PAUSE_STEP_NS),
                Some(due) if due <= now => Some(now + SUSPENDED_STEP_NS),
                due => due,
            };
            let pause = self.pauses.last().map(|pause| pause.at_ns.max(now));
            let reload = self.reloads.due().map(|at| at.max(now));
            let next = next.into_iter().chain(pause).chain(reload).min();
            let next = next.filter(|&due| due <= until_ns);
            let left = next.unwrap_or(until_ns).saturating_sub(now);
            self.net.advance(Duration::from_nanos(left));
            if next.is_none() {
                return;
            }
        }
    }

    /// The parts that have something to do.
    fn due(&self, now: u64) -> Vec<usize> {
        let is_suspended = |index| {
            let mut suspended = self.suspended.iter();
            suspended.any(|(time, reactor)| *reactor == index && time.contains(&now))
        };
        let mut due: Vec<usize> = Vec::new();
        for (index, reactor) in self.reactors.iter().enumerate() {
            let reactor = reactor.as_ref();
            if reactor.is_some_and(|reactor| reactor.driver().is_due()) && !is_suspended(index) {
                due.push(index);
            }
        }
        if self.peers.is_due() {
            due.push(PEERS);
        }
        if self.hostiles.is_due() {
            due.push(HOSTILES);
        }
        if self.strangers.as_ref().is_some_and(Strangers::is_due) {
            due.push(STRANGERS);
        }
        if self.http.as_ref().is_some_and(HttpPeers::is_due) {
            due.push(HTTP);
        }
        if self.soap.as_ref().is_some_and(SoapPeers::is_due) {
            due.push(SOAP);
        }
        if self.askers.as_ref().is_some_and(Askers::is_due) {
            due.push(ASKERS);
        }
        let centrifugo = self.centrifugo.as_ref();
        if centrifugo.is_some_and(CentrifugoPeers::is_due) {
            due.push(CENTRIFUGO);
        }
        if self.pusher.as_ref().is_some_and(PusherPeers::is_due) {
            due.push(PUSHER);
        }
        if self.guarded.as_ref().is_some_and(Guarded::is_due) {
            due.push(GUARDED);
        }
        if self.recovering.is_due() {
            due.push(RECOVERING);
        }
        if self.control.as_ref().is_some_and(Control::is_due) {
            due.push(CONTROL);
        }
        if self.subscribers.as_ref().is_some_and(Subscribers::is_due) {
            due.push(SUBSCRIBERS);
        }
        due
    }

    /// Runs one part that is due. False when none is.
    fn step(&mut self) -> bool {
        self.begin_pauses();
        self.begin_reloads();
        let now = self.net.now();
        let due = self.due(now);
        if due.is_empty() {
            return false;
        }
        match due[self.net.choose(due.len())] {
            PEERS => self.peers.run_once(),
            HOSTILES => self.hostiles.run_once(),
            STRANGERS => {
                let strangers = self.strangers.as_mut();
                strangers.expect("only one that is there is due").run_once();
            }
            RECOVERING => self.recovering.run_once(),
            GUARDED => self.guarded.iter_mut().for_each(Guarded::run_once),
            HTTP => self.http.iter_mut().for_each(HttpPeers::run_once),
            SOAP => self.soap.iter_mut().for_each(SoapPeers::run_once),
            ASKERS => self.askers.iter_mut().for_each(Askers::run_once),
            CENTRIFUGO => {
                let centrifugo = self.centrifugo.iter_mut();
                centrifugo.for_each(CentrifugoPeers::run_once);
            }
            PUSHER => self.pusher.iter_mut().for_each(PusherPeers::run_once),
            SUBSCRIBERS => self.subscribers.iter_mut().for_each(Subscribers::run_once),
            CONTROL => {
                let control = self.control.as_mut();
                control
                    .expect("only one that is there is due")
                    .run_once(now);
            }
            index => {
                self.iterations_left = self
                    .iterations_left
                    .checked_sub(1)
                    .expect("the reactors spin");
                let reactor = self.reactors[index].as_mut();
                let reactor = reactor.expect("only those that run are due");
                let iteration = reactor.run_once().expect("a simulated wait does not fail");
                self.costs.check(reactor, &self.peers, &self.hostiles);
                let counters = self.shared.registry().reactor(index);
                let accepted = counters.connections_accepted_total.get();
                if std::mem::replace(&mut self.accepted[index], accepted) != accepted {
                    self.peers.note_reactor(index, reactor);
                }
                if iteration == Iteration::Stopped {
                    self.reactors[index] = None;
                    self.note_ended_homes(index);
                }
                self.net.advance(self.iteration);
                check_outboxes(&self.shared, index);
                let (shared, reactors) = (&self.shared, &self.reactors[..]);
                self.budget
                    .check_closes((shared, reactors), &mut self.peers, index);
                let per_mille = self.budget.check(shared, reactors, index);
                self.costs.held_per_mille = self.costs.held_per_mille.max(per_mille);
            }
        }
        true
    }

    /// A reactor has ended: it waits for the others' connections, but not without end, for another may be
    /// held up. That one's subscribers leave later, and find the home of their channels gone.
    fn note_ended_homes(&mut self, index: usize) {
        let registry = self.shared.registry();
        let running = self.reactors.iter().enumerate();
        let mut running = running.filter(|(_, reactor)| reactor.is_some());
        if running.any(|(other, _)| registry.reactor(other).subscriptions.get() > 0) {
            self.ended_homes += registry.reactor(index).home_channels.get();
        }
    }

    /// Begins the pauses that are due.
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
                    self.suspended.push((now..now + pause.length_ns, index));
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

    /// Gives the reactors the settings that are due.
    fn begin_reloads(&mut self) {
        let now = self.net.now();
        while self.reloads.due().is_some_and(|at| at <= now) {
            let current = self.shared.settings();
            let next = self.reloads.next(now, &current, self.reactors.len());
            let Some((settings, opened)) = next else {
                return;
            };
            self.shared.reload(settings, opened);
            let extra = match self.reloads.is_opening() {
                true => None, // until all reactors listen
                false => self.reloads.extra_address(&self.shared.settings()),
            };
            self.peers.set_extra(extra);
            for reactor in self.reactors.iter().flatten() {
                reactor.waker().wake();
            }
        }
        if self.reloads.is_opening() && self.shared.is_reloaded() {
            let extra = self.reloads.extra_address(&self.shared.settings());
            self.peers.set_extra(extra);
        }
    }

    /// The sum over all reactors of a counter.
    fn count(&self, name: &str) -> u64 {
        let sum = self.shared.registry().sum(name);
        sum.expect("a counter of this name")
    }
}

/// What runs beside the reactors, as an index.
const PEERS: usize = usize::MAX;
const HOSTILES: usize = usize::MAX - 1;
const CONTROL: usize = usize::MAX - 2;
const STRANGERS: usize = usize::MAX - 3;
const HTTP: usize = usize::MAX - 4;
const SOAP: usize = usize::MAX - 5;
const SUBSCRIBERS: usize = usize::MAX - 6;
const GUARDED: usize = usize::MAX - 7;
const CENTRIFUGO: usize = usize::MAX - 8;
const RECOVERING: usize = usize::MAX - 9;
const ASKERS: usize = usize::MAX - 10;
const PUSHER: usize = usize::MAX - 11;

/// A simulation takes a few thousand loop iterations.
const ITERATIONS_MAX: u64 = 100_000;
/// How often a suspended reactor's time is checked.
const SUSPENDED_STEP_NS: u64 = 50_000;
const PAUSE_STEP_NS: u64 = 500_000;
/// Time for everything under way to arrive: a few round trips of the slowest link, and well below
/// the deadlines that would wake a sleeping reactor by chance.
const QUIESCE_NS: u64 = 3_000_000_000;
