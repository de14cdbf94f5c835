//! What a run writes down: where a phase began, how long its messages went, how it grew.

use std::collections::BTreeMap;

use roost_net::clock::now_ns;

use crate::machine::{self, CpuTimes};
use crate::output::{PhaseResult, Recovery, Slope};
use crate::plan::{Plan, Step};
use crate::preflight::Preflight;
use crate::ring::Results;

use crate::shared::Shared;
use crate::tls;

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
    pub(super) held: u64,
    pub(super) begun: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) pings: u64,
    pub(super) server_cpu: Option<CpuTimes>,
    pub(super) client_cpu: f64,
}

impl Before {
    pub(super) fn read(shared: &Shared, plan: &Plan) -> Before {
        Before {
            held: shared.sum(|g| &g.held),
            begun: shared.sum(|g| &g.begun),
            failed: shared.sum(|g| &g.failed),
            lost: shared.sum(|g| &g.lost),
            sent: shared.sum(|g| &g.sent),
            received: shared.sum(|g| &g.received),
            pings: shared.sum(|g| &g.pings),
            server_cpu: plan.settings.server_pid.and_then(CpuTimes::read),
            client_cpu: machine::own_cpu_seconds(),
            at: now_ns(),
        }
    }
}

pub(super) fn latencies(results: &Results) -> BTreeMap<String, crate::histogram::Summary> {
    let last = results.last_receipts();
    [
        ("connect", &results.connect),
        ("tls_wait", &results.tls_wait),
        ("tls_step", &results.tls_step),
        ("recover", &results.recover),
        ("caught_up", &results.caught_up),
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

/// What it cost to come back with what was missed, over the phases in which connections returned.
pub(super) fn recovery(plan: &Plan, phases: &[PhaseResult]) -> Option<Recovery> {
    let mut recovery = Recovery::default();
    let mut published = None;
    for (phase, result) in plan.phases.iter().zip(phases) {
        let cpu_seconds = result.server_cpu_seconds;
        if let Some(published) = &mut published {
            *published += result.sent;
        }
        match phase.step {
            Step::Leave(_) => published = Some(0),
            Step::Return if published.take() == Some(0) => {
                recovery.nothing_missed_cpu_seconds.extend(cpu_seconds);
            }
            Step::Return => {
                recovery.cpu_seconds.extend(cpu_seconds);
                recovery.connections += result.recovered;
                recovery.told += result.told;
                recovery.messages += result.deliveries.received;
                let last = result
                    .latencies
                    .get("caught_up")
                    .map_or(0, |all| all.max_ns);
                recovery.all_back_seconds.push(last as f64 / 1e9);
            }
            // Under way to those that are there: what it is compared with.
            Step::PublishEach(1, Some(_)) if published.is_none() => {
                recovery.publish_cpu_seconds.extend(cpu_seconds);
            }
            _ => {}
        }
    }
    (!recovery.all_back_seconds.is_empty()).then_some(recovery)
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
            plan.connects_in_flight_max().to_string(),
        ),
        ("seed".to_owned(), settings.seed.to_string()),
    ]);
    if plan.target.tls {
        all.insert("tls".to_owned(), tls::text(settings));
    }
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
