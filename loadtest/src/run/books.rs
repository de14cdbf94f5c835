//! Writing down what a phase brought.

use std::collections::BTreeMap;

use roost_net::clock::now_ns;

use crate::machine::{self, Kernel};
use crate::output::{Deliveries, KernelGrowth, PhaseResult, Sample, Slope};
use crate::plan::{Phase, Plan, Step};
use crate::preflight::Preflight;
use crate::progress::Progress;
use crate::ring::Results;
use crate::stats;

use super::Run;

impl Run {
    pub(super) fn sample(&self, now: u64) -> Sample {
        let sum = |of: fn(&crate::shared::Gauges) -> &crate::shared::Gauge| self.shared.sum(of);
        Sample {
            s: (now - self.began) as f64 / 1e9,
            held: sum(|g| &g.held),
            opening: sum(|g| &g.opening),
            lost: sum(|g| &g.failed) + sum(|g| &g.lost),
            sent: sum(|g| &g.sent),
            received: sum(|g| &g.received),
            pings: sum(|g| &g.pings),
            ..Sample::default()
        }
    }

    pub(super) fn look_at_memory(&self, sample: &mut Sample) -> Result<(), String> {
        let slab = machine::slab_bytes() as i64;
        sample.slab_grown_bytes = Some(slab - self.kernel_before.slab_bytes as i64);
        sample.client_pss_bytes = machine::own_pss_bytes();
        let Some(pid) = self.plan.settings.server_pid else {
            return Ok(());
        };
        let process = machine::process(pid).ok_or_else(|| format!("the server {pid} is gone"))?;
        sample.pss_bytes = Some(process.pss_bytes);
        sample.cpu_seconds = Some(process.cpu_seconds);
        Ok(())
    }

    pub(super) fn document_phase(
        &mut self,
        phase: &Phase,
        before: &Before,
        seconds: f64,
        traffic: Traffic,
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
        self.look_at_memory(&mut sample)?;
        self.document.samples.push(sample);
        let kernel = Kernel::read();
        let counters = self.counters();
        let result = PhaseResult {
            name: phase.name.clone(),
            began_s: (before.at - self.began) as f64 / 1e9,
            seconds,
            begun: self.shared.sum(|g| &g.begun) - before.begun,
            held_before: Some(before.held),
            held: sample.held,
            failed: self.shared.sum(|g| &g.failed) - before.failed,
            lost: self.shared.sum(|g| &g.lost) - before.lost,
            dropped: results.dropped,
            closed: results.closed,
            sent: sample.sent - before.sent,
            received: sample.received - before.received,
            pings: self.shared.sum(|g| &g.pings) - before.pings,
            traffic_seconds: traffic.sending_ns as f64 / 1e9,
            receiving_seconds: traffic.receiving_ns as f64 / 1e9,
            unsent: results.unsent,
            unsent_overdue: results.unsent_overdue,
            stalls: results.stalls,
            paused_seconds: results.paused_ns as f64 / 1e9,
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
        let admin = self.plan.settings.server_stats.as_deref()?;
        match stats::fetch(admin) {
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
        if result.unsent_overdue > 0 {
            let (late, all) = (result.unsent_overdue, result.unsent);
            problem(format!(
                "{late} messages of {all} unsent were due for longer than an interval"
            ));
        }
        for (why, count) in &result.losses {
            if why.starts_with("closing") {
                problem(format!("{count} connections: {why}"));
            }
        }
    }
}

/// How long messages went, from the first on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    /// Until none was sent any more.
    pub(super) sending_ns: u64,
    /// Until the last had come.
    pub(super) receiving_ns: u64,
}

/// What there was when a phase began.
pub(super) struct Before {
    pub(super) at: u64,
    held: u64,
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
    pub(super) fn read(run: &Run) -> Before {
        let shared = &run.shared;
        let server = run.plan.settings.server_pid.and_then(machine::process);
        Before {
            held: shared.sum(|g| &g.held),
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

fn latencies(results: &Results) -> BTreeMap<String, crate::histogram::Summary> {
    let last = results.last_receipts();
    [
        ("connect", &results.connect),
        ("recover", &results.recover),
        ("delivery", &results.delivery),
        ("delivery_rest", &results.delivery_rest),
        ("delivery_returned", &results.delivery_returned),
        ("last_receipt", &last),
        ("echo", &results.echo),
        ("echo_from_sent", &results.echo_sent),
    ]
    .into_iter()
    .filter_map(|(name, all)| Some((name.to_owned(), all.summary()?)))
    .collect()
}

/// Over the phases that opened connections, from the last beginning.
pub(super) fn slope(plan: &Plan, phases: &[PhaseResult]) -> Option<Slope> {
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

pub(super) fn settings_of(plan: &Plan, preflight: &Preflight) -> BTreeMap<String, String> {
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

const CACHES_SHOWN: usize = 12;
