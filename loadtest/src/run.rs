//! Carries out a plan: starts the rings, leads them through the phases, watches, and writes down
//! what was found.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use roost_net::clock::now_ns;
use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::uring::{UringDriver, UringOptions};
use roost_net::{Driver, Waker};

use crate::machine::{self, Kernel, Machine};
use crate::output::{
    AfterResult, Deliveries, Document, FORMAT, KernelGrowth, PhaseResult, Sample, Slope,
};
use crate::plan::{After, Phase, Plan, Role, Step};
use crate::preflight::{self, Preflight};
use crate::progress::Progress;
use crate::ring::{Command, Results, Ring, Share};
use crate::shared::Shared;
use crate::stats;

/// Looks whether the machine allows the plan and carries it out. `progress` shows how it goes.
///
/// # Errors
/// When the plan contradicts itself, cannot fit here, or a ring cannot run.
pub fn run(plan: &Plan, progress: &mut Progress) -> Result<Document, String> {
    plan.check()?;
    let machine = Machine::read();
    let mut plan = plan.clone();
    let connections = plan.connections();
    plan.target.spread(connections, machine.ports);
    let preflight = preflight::look(&plan, &machine);
    progress.say(&preflight.facts);
    if !preflight.obstacles.is_empty() {
        let text = preflight.obstacles.join("\n");
        if !plan.settings.force {
            return Err(format!("{text}\n(--force runs all the same)"));
        }
        progress.say(&preflight.obstacles);
    }
    let mut run = Run::start(Arc::new(plan), machine, &preflight)?;
    for phase in run.plan.phases.clone() {
        run.carry_out(&phase, progress)?;
    }
    run.finish(progress)
}

struct Run {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    rings: Vec<Handle>,
    /// Connections of all rings before each, to deal out numbers.
    prefix: Vec<u64>,
    began: u64,
    kernel_before: Kernel,
    document: Document,
    sampled_at: u64,
    watched_at: u64,
}

/// A ring's thread.
struct Handle {
    commands: Sender<Command>,
    waker: Waker,
    thread: JoinHandle<io::Result<()>>,
}

impl Handle {
    fn tell(&self, command: Command) {
        // A ring that has ended is found out by its missing answer.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

impl Run {
    fn start(plan: Arc<Plan>, machine: Machine, preflight: &Preflight) -> Result<Run, String> {
        let kernel_before = Kernel::read();
        let shared = Arc::new(Shared::new(&plan, preflight.rings));
        let layout = lay_out(&plan, preflight.rings, machine.cores);
        let mut prefix = vec![0];
        for shares in &layout {
            let here: u64 = shares.iter().map(|share| u64::from(share.count)).sum();
            if preflight.uring && here > u64::from(preflight.slots) {
                return Err(format!(
                    "a ring would have to hold {here} connections: --rings"
                ));
            }
            prefix.push(prefix[prefix.len() - 1] + here);
        }
        let mut rings = Vec::new();
        for (id, shares) in layout.into_iter().enumerate() {
            let world = (Arc::clone(&plan), Arc::clone(&shared));
            let slots = preflight.slots;
            let started = if preflight.uring {
                start_ring(id, world, shares, move || {
                    UringDriver::new(&UringOptions {
                        direct_slots: Some(slots),
                        ..UringOptions::default()
                    })
                })
            } else {
                start_ring(id, world, shares, || {
                    EpollDriver::new(&EpollOptions::default())
                })
            };
            rings.push(started.map_err(|error| format!("ring {id}: {error}"))?);
        }
        let wakers = rings.iter().map(|ring| ring.waker.clone()).collect();
        if shared.wakers.set(wakers).is_err() {
            unreachable!("wakers are set once");
        }
        let mut document = Document {
            format: FORMAT.to_owned(),
            name: plan.name.clone(),
            command: std::env::args().collect(),
            began_unix_s: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            settings: settings_of(&plan, preflight),
            server_before: plan.settings.server_pid.and_then(machine::process),
            machine,
            ..Document::default()
        };
        if let Some(pid) = plan.settings.server_pid
            && document.server_before.is_none()
        {
            return Err(format!(
                "--server-pid {pid}: no such process, or not readable"
            ));
        }
        if plan.settings.server_stats {
            document.counters_before = Some(stats::fetch(&plan.target)?);
        }
        Ok(Run {
            plan,
            shared,
            rings,
            prefix,
            began: now_ns(),
            kernel_before,
            document,
            sampled_at: 0,
            watched_at: 0,
        })
    }

    // Phases.

    fn carry_out(&mut self, phase: &Phase, progress: &mut Progress) -> Result<(), String> {
        progress.phase(&phase.name, self.plan.connections());
        let before = Before::read(self);
        let mut traffic_ns = 0;
        match phase.step {
            Step::Open(upto) => self.open(upto, progress)?,
            Step::Hold(how_long) => self.wait_for(how_long, progress)?,
            Step::Traffic(how_long, loss) => {
                self.tell_all(|| Command::Traffic(true));
                let start = now_ns();
                if let Some(loss) = loss {
                    self.tell_all(|| Command::Drop(loss));
                }
                self.wait_for(how_long, progress)?;
                if loss.is_some() {
                    self.wait_opened(progress)?;
                }
                self.tell_all(|| Command::Traffic(false));
                traffic_ns = now_ns() - start;
                self.drain(progress)?;
            }
            Step::PublishEach(messages) => {
                let start = now_ns();
                self.tell_all(|| Command::PublishEach(messages));
                self.drain(progress)?;
                traffic_ns = now_ns() - start;
            }
            Step::Reconnect(loss) => {
                self.tell_all(|| Command::Drop(loss));
                self.wait_opened(progress)?;
            }
            Step::Close => {
                self.tell_all(|| Command::Close);
                self.wait_until(progress, CLOSE_STUCK, |shared| {
                    let live = shared.sum(|gauges| &gauges.live);
                    (live == 0, live)
                })?;
            }
        }
        let seconds = (now_ns() - before.at) as f64 / 1e9;
        self.document_phase(phase, &before, seconds, traffic_ns, progress)
    }

    fn open(&mut self, upto: Option<u32>, progress: &mut Progress) -> Result<(), String> {
        let all = self.plan.connections();
        let upto = upto.map_or(all, u64::from).min(all);
        let rings = self.rings.len() as f64;
        let rate = self.plan.settings.connect_rate.map(|rate| rate / rings);
        for (id, ring) in self.rings.iter().enumerate() {
            let mine = |n: usize| self.prefix[n] * upto / all;
            let upto = u32::try_from(mine(id + 1) - mine(id)).unwrap_or(u32::MAX);
            ring.tell(Command::Open { upto, rate });
        }
        self.wait_opened(progress)
    }

    /// Until every connection that should be open is held or has failed.
    fn wait_opened(&mut self, progress: &mut Progress) -> Result<(), String> {
        self.missing()?; // all rings have obeyed
        let stuck = self.plan.settings.connect_timeout + OPEN_STUCK;
        self.wait_until(progress, stuck, |shared| {
            let left = shared.sum(|g| &g.opening) + shared.sum(|g| &g.unfinished);
            (left == 0, left)
        })
    }

    fn wait_for(&mut self, how_long: Duration, progress: &mut Progress) -> Result<(), String> {
        let end = now_ns() + nanos(how_long);
        while now_ns() < end {
            let left = Duration::from_nanos(end.saturating_sub(now_ns()));
            thread::sleep(left.min(TICK));
            self.watch(progress)?;
        }
        Ok(())
    }

    /// Until everything that was sent has come, or nothing comes any more.
    fn drain(&mut self, progress: &mut Progress) -> Result<(), String> {
        let mut last = (u64::MAX, now_ns());
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                return Ok(());
            }
            if missing != last.0 {
                last = (missing, now_ns());
            } else if now_ns() - last.1 > nanos(DRAIN_QUIET) {
                return Ok(());
            }
            thread::sleep(TICK / 2);
            self.watch(progress)?;
        }
    }

    /// Until `done` says so; given up when its count has not changed for `stuck`.
    fn wait_until(
        &mut self,
        progress: &mut Progress,
        stuck: Duration,
        done: impl Fn(&Shared) -> (bool, u64),
    ) -> Result<(), String> {
        let mut last = (u64::MAX, now_ns());
        loop {
            let (is_done, count) = done(&self.shared);
            if is_done {
                return Ok(());
            }
            if count != last.0 {
                last = (count, now_ns());
            } else if now_ns() - last.1 > nanos(stuck) {
                let text = format!("{count} connections made no progress for {stuck:?}");
                self.document.problems.push(text);
                return Ok(());
            }
            thread::sleep(TICK);
            self.watch(progress)?;
        }
    }

    /// Messages that should still come, over all rings.
    fn missing(&self) -> Result<u64, String> {
        let replies: Vec<_> = self
            .rings
            .iter()
            .map(|ring| {
                let (reply, answer) = mpsc::channel();
                ring.tell(Command::Missing(reply));
                answer
            })
            .collect();
        let mut missing = 0;
        for answer in replies {
            missing += answer.recv().map_err(|_| RING_ENDED.to_owned())?;
        }
        Ok(missing)
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for ring in &self.rings {
            ring.tell(command());
        }
    }

    fn results(&self) -> Result<Results, String> {
        let mut all = Results::new(self.plan.publishers_end() as usize);
        for ring in &self.rings {
            // One after the other: only one set of books is kept beside the sum.
            let (reply, answer) = mpsc::channel();
            ring.tell(Command::Report(reply));
            all.add(answer.recv().map_err(|_| RING_ENDED.to_owned())?);
        }
        Ok(all)
    }

    // Watching.

    fn watch(&mut self, progress: &mut Progress) -> Result<(), String> {
        let now = now_ns();
        if self.rings.iter().any(|ring| ring.thread.is_finished()) {
            return Err(RING_ENDED.to_owned());
        }
        if now < self.sampled_at + SAMPLE_NS && self.sampled_at > 0 {
            return Ok(());
        }
        self.sampled_at = now;
        let mut sample = self.sample(now);
        if now >= self.watched_at + WATCH_NS {
            self.watched_at = now;
            self.look_at_server(&mut sample)?;
        }
        progress.show(&sample);
        self.document.samples.push(sample);
        Ok(())
    }

    fn sample(&self, now: u64) -> Sample {
        let sum = |of: fn(&crate::shared::Gauges) -> &crate::shared::Gauge| self.shared.sum(of);
        Sample {
            s: (now - self.began) as f64 / 1e9,
            held: sum(|g| &g.held),
            opening: sum(|g| &g.opening),
            lost: sum(|g| &g.failed) + sum(|g| &g.lost),
            sent: sum(|g| &g.sent),
            received: sum(|g| &g.received),
            pss_bytes: None,
            cpu_seconds: None,
        }
    }

    fn look_at_server(&self, sample: &mut Sample) -> Result<(), String> {
        let Some(pid) = self.plan.settings.server_pid else {
            return Ok(());
        };
        let process = machine::process(pid).ok_or_else(|| format!("the server {pid} is gone"))?;
        sample.pss_bytes = Some(process.pss_bytes);
        sample.cpu_seconds = Some(process.cpu_seconds);
        Ok(())
    }

    // Writing down.

    fn document_phase(
        &mut self,
        phase: &Phase,
        before: &Before,
        seconds: f64,
        traffic_ns: u64,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let cpu = self.plan.settings.server_pid.and_then(machine::process);
        let client_cpu = machine::own_cpu_seconds();
        let results = self.results()?;
        if !matches!(phase.step, Step::Traffic(..)) {
            self.wait_for(self.plan.settings.settle, progress)?;
        }
        let now = now_ns();
        let mut sample = self.sample(now);
        self.look_at_server(&mut sample)?;
        self.document.samples.push(sample);
        let kernel = Kernel::read();
        let counters = self.counters();
        let result = PhaseResult {
            name: phase.name.clone(),
            began_s: (before.at - self.began) as f64 / 1e9,
            seconds,
            begun: self.shared.sum(|g| &g.begun) - before.begun,
            held: sample.held,
            failed: self.shared.sum(|g| &g.failed) - before.failed,
            lost: self.shared.sum(|g| &g.lost) - before.lost,
            dropped: results.dropped,
            closed: results.closed,
            sent: sample.sent - before.sent,
            received: sample.received - before.received,
            pings: self.shared.sum(|g| &g.pings) - before.pings,
            traffic_seconds: traffic_ns as f64 / 1e9,
            stalls: results.stalls,
            deliveries: Deliveries::from(&results.deliveries),
            echoes: Deliveries::from(&results.echoes),
            latencies: latencies(&results),
            failures: results.failures,
            losses: results.losses,
            server: self.plan.settings.server_pid.and_then(machine::process),
            server_cpu_seconds: cpu
                .zip(before.server_cpu)
                .map(|(now, before)| now.cpu_seconds - before),
            counters,
            client_cpu_seconds: client_cpu - before.client_cpu,
            kernel: KernelGrowth {
                slab_bytes: kernel.slab_bytes,
                slab_grown_bytes: kernel.slab_bytes as i64 - self.kernel_before.slab_bytes as i64,
                tcp_sockets: kernel.tcp_sockets,
                caches: kernel
                    .grown(&self.kernel_before)
                    .into_iter()
                    .take(CACHES_SHOWN)
                    .collect(),
            },
        };
        self.note_problems(&result, &results.deliveries, &results.echoes);
        self.document.phases.push(result);
        Ok(())
    }

    /// The server's counters, if they are wanted. Not to be told them ends no run.
    fn counters(&mut self) -> Option<BTreeMap<String, u64>> {
        if !self.plan.settings.server_stats {
            return None;
        }
        match stats::fetch(&self.plan.target) {
            Ok(counters) => Some(counters),
            Err(error) => {
                self.document.problems.push(error);
                None
            }
        }
    }

    fn note_problems(
        &mut self,
        result: &PhaseResult,
        deliveries: &crate::account::Tally,
        echoes: &crate::account::Tally,
    ) {
        let mut problem = |text: String| {
            self.document
                .problems
                .push(format!("{}: {text}", result.name));
        };
        if result.failed > 0 {
            problem(format!("{} connections did not open", result.failed));
        }
        if result.lost > 0 {
            problem(format!("{} connections were lost", result.lost));
        }
        if !deliveries.is_clean() {
            problem(format!("deliveries: {deliveries:?}"));
        }
        if !echoes.is_clean() {
            problem(format!("echoes: {echoes:?}"));
        }
        for (why, count) in &result.losses {
            if why.starts_with("closing") {
                problem(format!("{count} connections: {why}"));
            }
        }
    }

    /// Waits until the server is as it was, and says what is not.
    fn look_after(&mut self, progress: &mut Progress) -> Result<(), String> {
        let Some(after) = self.plan.after.clone() else {
            return Ok(());
        };
        progress.phase("after", 0);
        let start = now_ns();
        loop {
            let (result, wrong) = self.after_now(&after)?;
            let waited = now_ns() - start;
            if wrong.is_empty() || waited > nanos(after.within) {
                self.document.after = Some(AfterResult {
                    seconds: waited as f64 / 1e9,
                    ..result
                });
                let wrong = wrong.into_iter().map(|what| format!("after: {what}"));
                self.document.problems.extend(wrong);
                return Ok(());
            }
            self.wait_for(AFTER_TICK, progress)?;
        }
    }

    fn after_now(&self, after: &After) -> Result<(AfterResult, Vec<String>), String> {
        let mut wrong = Vec::new();
        let mut result = AfterResult {
            server: self.plan.settings.server_pid.and_then(machine::process),
            ..AfterResult::default()
        };
        let base = match &after.memory_of {
            None => self.document.server_before,
            Some(name) => {
                let phase = self
                    .document
                    .phases
                    .iter()
                    .find(|phase| phase.name == *name);
                phase.and_then(|phase| phase.server)
            }
        };
        if let (Some(before), Some(now)) = (base, result.server)
            && now.pss_bytes as f64 > before.pss_bytes as f64 * (1.0 + after.memory_within)
        {
            wrong.push(format!(
                "the server's memory was {} and is {}",
                preflight::mebibytes(before.pss_bytes),
                preflight::mebibytes(now.pss_bytes)
            ));
        }
        if let Some(before) = &self.document.counters_before {
            let now = match stats::fetch(&self.plan.target) {
                Ok(now) => now,
                Err(error) => {
                    wrong.push(error);
                    return Ok((result, wrong));
                }
            };
            for name in &after.counters_return {
                let value = |of: &BTreeMap<String, u64>| of.get(name).copied();
                let (Some(before), Some(now)) = (value(before), value(&now)) else {
                    wrong.push(format!("the server has no counter {name}"));
                    continue;
                };
                if before != now {
                    wrong.push(format!("{name} was {before} and is {now}"));
                }
                result.counters.push((name.clone(), before, now));
            }
        }
        Ok((result, wrong))
    }

    fn finish(mut self, progress: &mut Progress) -> Result<Document, String> {
        self.look_after(progress)?;
        for ring in &self.rings {
            ring.tell(Command::Quit);
        }
        for ring in self.rings {
            match ring.thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self
                    .document
                    .problems
                    .push(format!("a ring ended: {error}")),
                Err(_) => self.document.problems.push("a ring panicked".to_owned()),
            }
        }
        progress.end();
        self.document.slope = slope(&self.plan, &self.document.phases);
        Ok(self.document)
    }
}

/// What there was when a phase began.
struct Before {
    at: u64,
    begun: u64,
    failed: u64,
    lost: u64,
    sent: u64,
    received: u64,
    pings: u64,
    server_cpu: Option<f64>,
    client_cpu: f64,
}

impl Before {
    fn read(run: &Run) -> Before {
        let shared = &run.shared;
        let server = run.plan.settings.server_pid.and_then(machine::process);
        Before {
            begun: shared.sum(|g| &g.begun),
            failed: shared.sum(|g| &g.failed),
            lost: shared.sum(|g| &g.lost),
            sent: shared.sum(|g| &g.sent),
            received: shared.sum(|g| &g.received),
            pings: shared.sum(|g| &g.pings),
            server_cpu: server.map(|process| process.cpu_seconds),
            client_cpu: machine::own_cpu_seconds(),
            at: now_ns(),
        }
    }
}

/// Deals the groups out to rings: listeners to all of them, those with something to do to as many
/// rings as there are cores, so that their latencies are not those of waiting for a core.
pub(crate) fn lay_out(plan: &Plan, rings: usize, cores: usize) -> Vec<Vec<Share>> {
    let mut layout = vec![Vec::new(); rings];
    let mut slots = vec![0u32; rings];
    for (index, group) in plan.groups.iter().enumerate() {
        let over = match group.role {
            Role::Listen => rings,
            Role::Publish(_) | Role::Echo(_) => rings.min(cores.max(1)),
        } as u64;
        let count = u64::from(group.count);
        for ring in 0..over {
            let (start, end) = (count * ring / over, count * (ring + 1) / over);
            let ring = ring as usize;
            if end > start {
                let here = (end - start) as u32;
                layout[ring].push(Share {
                    group: index,
                    slot: slots[ring],
                    count: here,
                    member: start as u32,
                });
                slots[ring] += here;
            }
        }
    }
    layout
}

fn start_ring<D, F>(
    id: usize,
    (plan, shared): (Arc<Plan>, Arc<Shared>),
    shares: Vec<Share>,
    make_driver: F,
) -> io::Result<Handle>
where
    D: Driver,
    F: FnOnce() -> io::Result<D> + Send + 'static,
{
    let (commands, orders) = mpsc::channel();
    let (started, start) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(format!("ring-{id}"))
        .spawn(move || {
            let driver = match make_driver() {
                Ok(driver) => driver,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return Ok(());
                }
            };
            let _ = started.send(Ok(driver.waker()));
            Ring::new(driver, id, plan, shared, shares, orders).run()
        })?;
    let waker = start
        .recv()
        .map_err(|_| io::Error::other("the thread ended at its start"))??;
    Ok(Handle {
        commands,
        waker,
        thread,
    })
}

fn latencies(results: &Results) -> BTreeMap<String, crate::histogram::Summary> {
    let last = results.last_receipts();
    [
        ("connect", &results.connect),
        ("recover", &results.recover),
        ("delivery", &results.delivery),
        ("last_receipt", &last),
        ("echo", &results.echo),
        ("echo_from_sent", &results.echo_sent),
    ]
    .into_iter()
    .filter_map(|(name, all)| Some((name.to_owned(), all.summary()?)))
    .collect()
}

/// Over the phases that opened connections, from the last beginning.
fn slope(plan: &Plan, phases: &[PhaseResult]) -> Option<Slope> {
    let (mut points, mut last) = (Vec::new(), Vec::new());
    for (phase, result) in plan.phases.iter().zip(phases) {
        match (phase.step, result.server) {
            (Step::Open(_), Some(server)) => points.push((result.held, server.pss_bytes)),
            (Step::Close, _) => last = std::mem::take(&mut points),
            _ => {}
        }
    }
    if points.is_empty() {
        points = last;
    }
    let (first, last) = (points.first()?, points.last()?);
    if last.0 <= first.0 {
        return None;
    }
    let bytes_per_connection = (last.1 as f64 - first.1 as f64) / (last.0 - first.0) as f64;
    Some(Slope {
        points,
        bytes_per_connection,
    })
}

fn settings_of(plan: &Plan, preflight: &Preflight) -> BTreeMap<String, String> {
    let settings = &plan.settings;
    let mut all = BTreeMap::from([
        ("authority".to_owned(), plan.target.authority.clone()),
        (
            "addresses".to_owned(),
            plan.target.addresses.len().to_string(),
        ),
        ("rings".to_owned(), preflight.rings.to_string()),
        (
            "driver".to_owned(),
            if preflight.uring { "io_uring" } else { "epoll" }.to_owned(),
        ),
        (
            "connects_in_flight_max".to_owned(),
            settings.connects_in_flight_max.to_string(),
        ),
        ("seed".to_owned(), settings.seed.to_string()),
    ]);
    if let Some(rate) = settings.connect_rate {
        all.insert("connect_rate".to_owned(), rate.to_string());
    }
    for topic in &plan.topics {
        let text = format!("{} channel(s)", topic.channels);
        all.insert(format!("topic {}", topic.name), text);
    }
    for group in &plan.groups {
        let text = format!(
            "{} × {}, {:?}",
            group.count,
            group.dialect.name(),
            group.role
        );
        all.insert(format!("group {}", group.name), text);
    }
    all
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const RING_ENDED: &str = "a ring ended too early";
const TICK: Duration = Duration::from_millis(10);
const SAMPLE_NS: u64 = 250_000_000;
/// How often the server's process is looked at: the kernel walks its page tables for that.
const WATCH_NS: u64 = 1_000_000_000;
/// Opening is given up when nothing has moved for this long beyond the timeout of one connection.
const OPEN_STUCK: Duration = Duration::from_secs(10);
const CLOSE_STUCK: Duration = Duration::from_secs(60);
/// What has not come when nothing has come for this long is lost.
const DRAIN_QUIET: Duration = Duration::from_secs(5);
/// How often the server is looked at when all is over.
const AFTER_TICK: Duration = Duration::from_millis(500);
const CACHES_SHOWN: usize = 12;
