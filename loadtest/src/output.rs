//! What a run found, as one document: JSON for scripts, a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::histogram::Summary;
use crate::machine::{Machine, Process};
use crate::preflight::mebibytes;

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// `roost-load/1`.
    pub format: String,
    /// The subcommand, or the scenario's name.
    pub name: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it began, in seconds since 1970 (UTC).
    pub began_unix_s: u64,
    /// What was asked for.
    pub settings: BTreeMap<String, String>,
    /// Where it ran.
    pub machine: Machine,
    /// The server's process before anything was opened.
    pub server_before: Option<Process>,
    /// The server's counters before anything was opened.
    pub counters_before: Option<BTreeMap<String, u64>>,
    /// What happened, in order.
    pub phases: Vec<PhaseResult>,
    /// The server when all was over.
    pub after: Option<AfterResult>,
    /// Bytes of the server's memory per connection, over the phases that opened some.
    pub slope: Option<Slope>,
    /// What coming back with what was missed has cost, where connections left and returned.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// The run as it went.
    pub samples: Vec<Sample>,
    /// A signal ended it before its last phase.
    #[serde(default)]
    pub interrupted: bool,
    /// Everything that was not as it should be. Empty: the run held what it says.
    pub problems: Vec<String>,
}

/// The server when all was over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AfterResult {
    /// How long it took until it was as it had been, or until that was given up, in seconds.
    pub seconds: f64,
    /// Its process.
    pub server: Option<Process>,
    /// Counters that had to come back: name, before, after.
    pub counters: Vec<(String, u64, u64)>,
}

/// One phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseResult {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the run's beginning.
    pub began_s: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Connections begun in it.
    pub begun: u64,
    /// Connections held at its beginning.
    #[serde(default)]
    pub held_before: Option<u64>,
    /// Connections held at its end.
    pub held: u64,
    /// Connections that did not open.
    pub failed: u64,
    /// Connections that ended unasked.
    pub lost: u64,
    /// Connections dropped by us, to come again.
    pub dropped: u64,
    /// Connections closed with the closing handshake.
    pub closed: u64,
    /// Why connections did not open.
    pub failures: BTreeMap<String, u64>,
    /// Why connections ended.
    pub losses: BTreeMap<String, u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Pings answered.
    pub pings: u64,
    /// Seconds in which messages were sent; 0 without traffic.
    pub traffic_seconds: f64,
    /// Seconds from the first message sent until the last that came; 0 without traffic.
    #[serde(default)]
    pub receiving_seconds: f64,
    /// Connections that came back with their positions and were told of no loss.
    #[serde(default)]
    pub recovered: u64,
    /// Channels of connections of which the server said that messages are lost.
    #[serde(default)]
    pub told: u64,
    /// Messages that had been published and had not come when it said so: they are not in `deliveries`.
    #[serde(default)]
    pub told_messages: u64,
    /// Publishes that the server acknowledged, in a dialect that does that.
    #[serde(default)]
    pub acknowledged: u64,
    /// Publishes that it did not.
    #[serde(default)]
    pub unacknowledged: u64,
    /// Messages that were due by a schedule and not sent when the phase ended.
    #[serde(default)]
    pub unsent: u64,
    /// Those of them that had been due for longer than one interval explains.
    #[serde(default)]
    pub unsent_overdue: u64,
    /// Times a publisher waited a second in vain for deliveries.
    pub stalls: u64,
    /// The longest time, in seconds, that this program stood still in the phase (it was stopped, or the
    /// machine slept): latencies contain it, and a server may have closed clients that did not answer.
    #[serde(default)]
    pub paused_seconds: f64,
    /// What became of messages to subscribers.
    pub deliveries: Deliveries,
    /// What became of messages that should come back.
    pub echoes: Deliveries,
    /// Distributions: `connect`, `recover`, `caught_up`, `delivery`, `last_receipt`, `echo`, `echo_from_sent`;
    /// where some were dropped, the deliveries of the others (`delivery_rest`) and of those that came
    /// back (`delivery_returned`) beside those of all; with TLS, what of `connect` was waiting here
    /// (`tls_wait`), and how long one step of a handshake took (`tls_step`).
    pub latencies: BTreeMap<String, Summary>,
    /// The server's process at the end.
    pub server: Option<Process>,
    /// The server's CPU time in this phase, in seconds.
    pub server_cpu_seconds: Option<f64>,
    /// The server's counters at the end.
    pub counters: Option<BTreeMap<String, u64>>,
    /// CPU time of this process in this phase, in seconds.
    pub client_cpu_seconds: f64,
    /// The kernel's memory at the end.
    pub kernel: KernelGrowth,
}

/// Counts of messages, as [`crate::account::Tally`] has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliveries {
    /// Once, as expected.
    pub received: u64,
    /// Not at all.
    pub lost: u64,
    /// Once more.
    pub doubled: u64,
    /// After a later one.
    pub reordered: u64,
    /// Not as sent.
    pub corrupt: u64,
    /// To the wrong one.
    pub misrouted: u64,
}

impl From<&crate::account::Tally> for Deliveries {
    fn from(tally: &crate::account::Tally) -> Deliveries {
        Deliveries {
            received: tally.received,
            lost: tally.lost,
            doubled: tally.doubled,
            reordered: tally.reordered,
            corrupt: tally.corrupt,
            misrouted: tally.misrouted,
        }
    }
}

/// The kernel's memory since the run's beginning. On loopback it is that of both ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelGrowth {
    /// Slab, in bytes, now.
    pub slab_bytes: u64,
    /// Slab more than at the beginning, in bytes.
    pub slab_grown_bytes: i64,
    /// TCP sockets in use now.
    pub tcp_sockets: u64,
    /// The caches that grew most: name, objects more, bytes more.
    pub caches: Vec<(String, u64, u64)>,
}

/// Memory of the server per connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// Connections held and the server's PSS in bytes.
    pub points: Vec<(u64, u64)>,
    /// From the first of them to the last, in bytes per connection.
    pub bytes_per_connection: f64,
}

/// What it cost to come back with what was missed: a value a round, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Connections that came back to what they had missed, of all rounds.
    pub connections: u64,
    /// Those that were told of a loss instead.
    pub told: u64,
    /// Messages that were recovered.
    pub messages: u64,
    /// From the return's beginning until the last connection had all that it had missed.
    pub all_back_seconds: Vec<f64>,
    /// The server's CPU time while connections came back to what they had missed.
    pub cpu_seconds: Vec<f64>,
    /// The same where nothing had been published meanwhile.
    pub nothing_missed_cpu_seconds: Vec<f64>,
    /// The server's CPU time of one publish of the same bytes to all of them.
    pub publish_cpu_seconds: Vec<f64>,
}

/// One moment of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the beginning.
    pub s: f64,
    /// Connections held.
    pub held: u64,
    /// Connections opening.
    pub opening: u64,
    /// Connections that failed or were lost so far.
    pub lost: u64,
    /// Messages sent so far.
    pub sent: u64,
    /// Messages received so far.
    pub received: u64,
    /// Pings answered so far.
    #[serde(default)]
    pub pings: u64,
    /// The server's PSS, in bytes.
    pub pss_bytes: Option<u64>,
    /// This process's own PSS, in bytes.
    #[serde(default)]
    pub client_pss_bytes: Option<u64>,
    /// The kernel's slab more than at the beginning, in bytes.
    #[serde(default)]
    pub slab_grown_bytes: Option<i64>,
    /// The server's CPU time so far, in seconds.
    pub cpu_seconds: Option<f64>,
}

/// The mark of this format.
pub const FORMAT: &str = "roost-load/1";

impl PhaseResult {
    /// The server's CPU time per message received by clients, in nanoseconds.
    pub fn server_ns_per_message(&self) -> Option<f64> {
        let cpu = self.server_cpu_seconds?;
        (self.received > 0).then(|| cpu * 1e9 / self.received as f64)
    }

    /// The server's CPU time per connection and second, in microseconds. Only of a phase that held
    /// the same connections from its beginning to its end.
    pub fn server_us_per_connection_second(&self) -> Option<f64> {
        let cpu = self.server_cpu_seconds?;
        let unchanged = self.begun + self.lost + self.dropped + self.closed == 0
            && self.held_before == Some(self.held);
        (unchanged && self.held > 0 && self.seconds > 0.0)
            .then(|| cpu * 1e6 / self.held as f64 / self.seconds)
    }

    /// Messages that came each second, until the last of them had come: a backlog that comes when
    /// nothing is sent any more took its time, too.
    pub fn received_per_second(&self) -> f64 {
        self.received as f64 / self.receiving_seconds.max(self.traffic_seconds).max(1e-9)
    }

    /// Connections opened each second.
    pub fn opened_per_second(&self) -> f64 {
        self.opened() as f64 / self.seconds.max(1e-9)
    }

    fn opened(&self) -> u64 {
        self.latencies.get("connect").map_or(0, |all| all.count)
    }
}

impl Recovery {
    /// The CPU time of recovery, without that of coming back, as a multiple of a publish of the same bytes to
    /// all: the median over the rounds. `None` if one of them was not measured.
    pub fn ratio(&self) -> Option<f64> {
        let back = median(&self.nothing_missed_cpu_seconds)?;
        let recovery = median(&self.cpu_seconds)? - back;
        let publish = median(&self.publish_cpu_seconds)?;
        (publish > 0.0).then(|| recovery / publish)
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

impl Document {
    /// The table a person reads.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        for phase in &self.phases {
            let _ = writeln!(out, "{} ({:.1} s)", phase.name, phase.seconds);
            phase_lines(phase, &mut out);
        }
        if let Some(slope) = &self.slope {
            let _ = writeln!(out, "memory of the server");
            for (held, pss) in &slope.points {
                let _ = writeln!(out, "  {held:>9} held      {} PSS", mebibytes(*pss));
            }
            let _ = writeln!(
                out,
                "  slope               {:.1} bytes per connection",
                slope.bytes_per_connection
            );
        }
        if let Some(recovery) = &self.recovery {
            recovery_lines(recovery, &mut out);
        }
        if let Some(after) = &self.after {
            let _ = writeln!(out, "after ({:.1} s)", after.seconds);
            if let (Some(before), Some(now)) = (&self.server_before, &after.server) {
                let _ = writeln!(
                    out,
                    "  server's memory     {} PSS; {} before the first connection",
                    mebibytes(now.pss_bytes),
                    mebibytes(before.pss_bytes)
                );
            }
            for (name, before, now) in &after.counters {
                let _ = writeln!(out, "  {name:<19} {now}; {before} before");
            }
        }
        match &self.problems[..] {
            [] => out.push_str("no connection and no message was lost\n"),
            problems => {
                out.push_str("NOT AS IT SHOULD BE\n");
                for problem in problems {
                    let _ = writeln!(out, "  {problem}");
                }
            }
        }
        out
    }
}

fn recovery_lines(recovery: &Recovery, out: &mut String) {
    let _ = writeln!(out, "recovery ({} rounds)", recovery.all_back_seconds.len());
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:<19} {text}");
    };
    let Recovery {
        connections,
        told,
        messages,
        ..
    } = recovery;
    line(
        "recovered",
        format!("{connections} connections, {messages} messages; {told} told of a loss"),
    );
    let seconds = |values: &[f64]| {
        let each: Vec<_> = values.iter().map(|value| format!("{value:.3}")).collect();
        format!("{} s", each.join(", "))
    };
    line("all back after", seconds(&recovery.all_back_seconds));
    if recovery.cpu_seconds.is_empty() {
        return;
    }
    line("server's CPU time", seconds(&recovery.cpu_seconds));
    line(
        "  nothing missed",
        seconds(&recovery.nothing_missed_cpu_seconds),
    );
    line("  publish to all", seconds(&recovery.publish_cpu_seconds));
    if let Some(ratio) = recovery.ratio() {
        line(
            "ratio",
            format!("{ratio:.2} × a publish of the same bytes to all"),
        );
    }
}

fn phase_lines(phase: &PhaseResult, out: &mut String) {
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:<19} {text}");
    };
    connection_lines(phase, &mut line);
    traffic_lines(phase, &mut line);
    server_lines(phase, &mut line);
}

/// What has become of the phase's connections.
fn connection_lines(phase: &PhaseResult, line: &mut dyn FnMut(&str, String)) {
    line("held", format!("{} connections", phase.held));
    if phase.begun > 0 {
        line(
            "opened",
            format!(
                "{} of {} begun, {:.0} a second",
                phase.opened(),
                phase.begun,
                phase.opened_per_second()
            ),
        );
    }
    if phase.dropped > 0 {
        line("dropped", phase.dropped.to_string());
    }
    if phase.closed > 0 {
        line("closed cleanly", phase.closed.to_string());
    }
    if phase.failed + phase.lost > 0 {
        line("failed, lost", format!("{}, {}", phase.failed, phase.lost));
    }
    for (why, count) in phase.failures.iter().chain(&phase.losses).take(8) {
        line("", format!("{count} × {why}"));
    }
}

/// What was sent, what came, and when.
fn traffic_lines(phase: &PhaseResult, line: &mut dyn FnMut(&str, String)) {
    if phase.sent > 0 {
        let seconds = phase.traffic_seconds.max(1e-9);
        line("sent", rated(phase.sent, phase.sent as f64 / seconds));
        line(
            "received",
            rated(phase.received, phase.received_per_second()),
        );
    }
    if phase.paused_seconds > 0.0 {
        line(
            "stood still",
            format!(
                "{:.1} s: this program was stopped; latencies contain it, and clients did not answer",
                phase.paused_seconds
            ),
        );
    }
    if phase.unsent > 0 {
        let late = phase.unsent_overdue;
        line(
            "unsent",
            format!("{} due, {late} for longer than an interval", phase.unsent),
        );
    }
    if phase.acknowledged + phase.unacknowledged > 0 {
        line("acknowledged", format!("{} publishes", phase.acknowledged));
    }
    if phase.recovered + phase.told > 0 {
        line(
            "recovered",
            format!(
                "{} connections; {} told of a loss, of {} messages at most",
                phase.recovered, phase.told, phase.told_messages
            ),
        );
    }
    for (name, tally) in [("deliveries", phase.deliveries), ("echoes", phase.echoes)] {
        if tally != Deliveries::default() {
            line(
                name,
                format!(
                    "{} once; {} lost, {} doubled, {} reordered, {} corrupt, {} misrouted",
                    tally.received,
                    tally.lost,
                    tally.doubled,
                    tally.reordered,
                    tally.corrupt,
                    tally.misrouted
                ),
            );
        }
    }
    for (name, summary) in &phase.latencies {
        let at = |percentile| duration(summary.at(percentile).unwrap_or(0));
        line(
            &name.replace('_', " "),
            format!(
                "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
                at(50.0),
                at(90.0),
                at(99.0),
                at(99.9),
                duration(summary.max_ns)
            ),
        );
    }
    if phase.pings > 0 {
        line("pings answered", phase.pings.to_string());
    }
}

/// What it cost the server and its machine.
fn server_lines(phase: &PhaseResult, line: &mut dyn FnMut(&str, String)) {
    if let Some(server) = &phase.server {
        line(
            "server's memory",
            format!("{} PSS", mebibytes(server.pss_bytes)),
        );
    }
    if let Some(cpu) = phase.server_cpu_seconds {
        let mut text = format!("{cpu:.2} s");
        if let Some(ns) = phase.server_ns_per_message() {
            let _ = write!(text, ", {:.2} µs per message received", ns / 1e3);
        } else if let Some(each) = phase.server_us_per_connection_second() {
            let _ = write!(text, ", {each:.3} µs per connection and second");
        }
        line("server's CPU time", text);
    }
    if phase.held > 0 && phase.kernel.slab_grown_bytes > 0 {
        line(
            "kernel's slab",
            format!(
                "{} more than at the beginning: {:.0} bytes per connection",
                mebibytes(phase.kernel.slab_grown_bytes as u64),
                phase.kernel.slab_grown_bytes as f64 / phase.held as f64
            ),
        );
    }
}

fn rated(count: u64, per_second: f64) -> String {
    format!("{count}, {per_second:.0} a second")
}

/// A time as people read it.
pub fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}
