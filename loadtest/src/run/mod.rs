//! Carries out a plan: starts the rings, leads them through the phases, watches, and writes down
//! what was found.

mod after;
mod measures;
mod record;
mod rings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use roost_net::clock::now_ns;
use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::uring::{UringDriver, UringOptions};

use crate::machine::{self, Kernel, Machine};
use crate::output::{Document, FORMAT};
use crate::plan::{Phase, Plan, Step};
use crate::preflight::{self, Preflight};
use crate::progress::Progress;
use crate::ring::{Command, Results};
use crate::shared::Shared;
use crate::stats;
use crate::tls;

use measures::{Before, Traffic, recovery, settings_of, slope};
use rings::{Handle, lay_out, start_ring};

///
/// # Errors
/// When the plan contradicts itself, cannot fit here, or a ring cannot run.
pub fn run(plan: &Plan, progress: &mut Progress) -> Result<Document, String> {
    run_until(plan, progress, &Arc::new(AtomicBool::new(false)))
}

/// Carries out a plan until `stop` is set: then the phase under way is the last, and the document
/// says so.
///
/// # Errors
/// When the plan contradicts itself, cannot fit here, or a ring cannot run.
pub fn run_until(
    plan: &Plan,
    progress: &mut Progress,
    stop: &Arc<AtomicBool>,
) -> Result<Document, String> {
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
    let mut run = Run::start(Arc::new(plan), machine, &preflight, Arc::clone(stop))?;
    for phase in run.plan.phases.clone() {
        run.carry_out(&phase, progress)?;
        if let Some(why) = run.none_opened() {
            return Err(why);
        }
        if run.is_stopped() {
            run.document.interrupted = true;
            let text = format!("{}: interrupted", phase.name);
            run.document.problems.push(text);
            break;
        }
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
    /// Set from elsewhere when the run is to end.
    stop: Arc<AtomicBool>,
}

impl Run {
    /// What to say when the first connections were begun and not one of them opened: what would
    /// follow are figures of nothing.
    fn none_opened(&self) -> Option<String> {
        let [first] = &self.document.phases[..] else {
            return None;
        };
        if first.begun == 0 || first.failed < first.begun {
            return None;
        }
        let target = &self.plan.target;
        let mut text = format!(
            "none of {} connections to {} opened:",
            first.begun, target.authority
        );
        for (why, count) in first.failures.iter().take(FAILURES_SHOWN) {
            text.push_str(&format!("\n  {count} × {why}"));
        }
        text.push_str("\nIs a server listening there, and does it serve this path?");
        Some(text)
    }

    fn start(
        plan: Arc<Plan>,
        machine: Machine,
        preflight: &Preflight,
        stop: Arc<AtomicBool>,
    ) -> Result<Run, String> {
        let kernel_before = Kernel::read();
        let tls = tls::client_setup(&plan)?;
        let shared = Arc::new(Shared::new(&plan, preflight.rings, tls));
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
        if let Some(admin) = &plan.settings.server_stats {
            document.counters_before = Some(stats::fetch(admin)?);
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
            stop,
        })
    }

    // Phases.

    fn carry_out(&mut self, phase: &Phase, progress: &mut Progress) -> Result<(), String> {
        progress.phase(&phase.name, self.plan.connections());
        let before = Before::read(&self.shared, &self.plan);
        let mut traffic = Traffic::default();
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
                traffic.sending_ns = now_ns() - start;
                traffic.receiving_ns = self.drain(progress)? - start;
            }
            Step::PublishEach(messages, size) => {
                let start = now_ns();
                self.tell_all(|| Command::PublishEach(messages, size));
                traffic.receiving_ns = self.drain(progress)? - start;
                traffic.sending_ns = traffic.receiving_ns;
            }
            Step::Reconnect(loss) => {
                self.tell_all(|| Command::Drop(loss));
                self.wait_opened(progress)?;
            }
            Step::Leave(loss) => {
                self.shared.leave();
                self.tell_all(|| Command::Leave(loss));
                self.wait_opened(progress)?; // until all of them have left
            }
            Step::Return => {
                let start = now_ns();
                self.tell_all(|| Command::Return);
                self.wait_opened(progress)?;
                traffic.receiving_ns = self.drain(progress)? - start;
                self.shared.come_back();
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
        self.document_phase(phase, &before, seconds, traffic, progress)
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
        while now_ns() < end && !self.is_stopped() {
            let left = Duration::from_nanos(end.saturating_sub(now_ns()));
            thread::sleep(left.min(TICK));
            self.watch(progress)?;
        }
        Ok(())
    }

    /// Until everything that was sent has come, or nothing comes any more. Returns when the last
    /// of it came.
    fn drain(&mut self, progress: &mut Progress) -> Result<u64, String> {
        let start = now_ns();
        let mut last = (u64::MAX, start);
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                return Ok(now_ns());
            }
            if missing != last.0 {
                last = (missing, now_ns());
            }
            let since = if self.is_stopped() { start } else { last.1 };
            if now_ns() - since > nanos(DRAIN_QUIET) {
                return Ok(last.1);
            }
            if rest(TICK / 2) {
                last.1 = now_ns(); // the server may not have run either
            }
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
            if is_done || self.is_stopped() {
                return Ok(());
            }
            if count != last.0 {
                last = (count, now_ns());
            } else if now_ns() - last.1 > nanos(stuck) {
                let text = format!("{count} connections made no progress for {stuck:?}");
                self.document.problems.push(text);
                return Ok(());
            }
            if rest(TICK) {
                last.1 = now_ns();
            }
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
            // One after the other: only one set of results is kept beside the sum.
            let (reply, answer) = mpsc::channel();
            ring.tell(Command::Report(reply));
            all.add(answer.recv().map_err(|_| RING_ENDED.to_owned())?);
        }
        Ok(all)
    }

    // Watching.

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

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
            self.look_at_memory(&mut sample)?;
        }
        progress.show(&sample);
        self.document.samples.push(sample);
        Ok(())
    }

    fn finish(mut self, progress: &mut Progress) -> Result<Document, String> {
        if !self.document.interrupted {
            self.look_after(progress)?;
        }
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
        self.document.recovery = recovery(&self.plan, &self.document.phases);
        Ok(self.document)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps. True if that took so much longer that this program was stopped meanwhile.
fn rest(time: Duration) -> bool {
    let begun = now_ns();
    thread::sleep(time);
    now_ns() - begun > nanos(time + PAUSE_MIN)
}

/// A busy machine explains less.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const RING_ENDED: &str = "a ring ended too early";
const TICK: Duration = Duration::from_millis(10);
const SAMPLE_NS: u64 = 250_000_000;
/// How often the server's process is looked at: the kernel walks its page tables for that.
const WATCH_NS: u64 = 1_000_000_000;
/// Reasons that are named when no connection opened.
const FAILURES_SHOWN: usize = 8;
/// Opening is given up when nothing has moved for this long beyond the timeout of one connection.
const OPEN_STUCK: Duration = Duration::from_secs(10);
const CLOSE_STUCK: Duration = Duration::from_secs(60);
/// What has not come when nothing has come for this long is lost.
const DRAIN_QUIET: Duration = Duration::from_secs(5);
