//! Writing down what a phase brought.

use std::collections::BTreeMap;

use roost_net::clock::now_ns;

use crate::machine::{self, CpuTimes, Kernel};
use crate::output::{Deliveries, KernelGrowth, PhaseResult, Sample};
use crate::plan::{Phase, Step};
use crate::progress::Progress;
use crate::stats;

use super::Run;
use super::measures::{Before, Traffic, latencies};

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
        let cpu = self.plan.settings.server_pid.and_then(CpuTimes::read);
        let client_cpu = machine::own_cpu_seconds();
        let results = self.results()?;
        if !matches!(phase.step, Step::Traffic(..)) {
            self.wait_for(self.plan.settings.memory_wait, progress)?;
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
            recovered: results.resumed.saturating_sub(results.told),
            told: results.told,
            told_messages: results.told_messages,
            acknowledged: results.acknowledged,
            unacknowledged: results.unacknowledged,
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
                .zip(before.server_cpu.as_ref())
                .map(|(now, before)| now.since(before)),
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
        if result.unacknowledged > 0 {
            let (missing, all) = (result.unacknowledged, result.sent);
            problem(format!(
                "{missing} publishes of {all} were not acknowledged"
            ));
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

const CACHES_SHOWN: usize = 12;
