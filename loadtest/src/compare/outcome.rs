//! What a comparison found: a run's figures, read from its document, and all runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::output::Document;

/// All runs of a comparison, as written to files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `roost-load-compare/1`.
    pub format: String,
    /// The scenario's name.
    pub name: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it began, in seconds since 1970 (UTC).
    pub began_unix_s: u64,
    /// Where it ran.
    pub machine: Machine,
    /// The servers in the order given, each with what it says of its version.
    pub servers: Vec<(String, String)>,
    /// Those that ratios are to.
    pub against: Vec<usize>,
    /// The runs, in the order they were made.
    pub runs: Vec<Run>,
}

/// One run of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// From 0.
    pub round: usize,
    /// Index among the servers.
    pub server: usize,
    /// What the measured phase amounts to.
    pub figures: Figures,
    /// Everything that was found.
    pub document: Document,
}

impl Comparison {
    /// The documents of all runs, each named after its server and round too.
    pub fn into_documents(self) -> Vec<Document> {
        let named = |run: Run| {
            let name = self.servers.get(run.server).map_or("?", |(name, _)| name);
            Document {
                name: format!("{}: {name}, round {}", self.name, run.round + 1),
                ..run.document
            }
        };
        self.runs.into_iter().map(named).collect()
    }
}

/// What the measured phase of one run amounts to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Deliveries or echoes, each once, in order and whole.
    pub messages: u64,
    /// The server's CPU time, user and system, with its children's, in seconds.
    pub cpu_seconds: f64,
    /// Messages per second of the server's CPU time.
    pub per_cpu_second: f64,
    /// Latencies at 50, 99 and 99.9 per cent, in nanoseconds.
    pub latency_ns: [u64; 3],
    /// The server's PSS at the phase's end, in bytes.
    pub pss_bytes: u64,
    /// Why these figures are not shown. Empty: they were held.
    pub faults: Vec<String>,
}

impl Figures {
    /// Reads phase `measured` of a run that should hold so many connections.
    pub fn of(document: &Document, measured: usize, connections: u64) -> Figures {
        let mut figures = Figures::default();
        let Some(phase) = document.phases.get(measured) else {
            figures.faults.push("it was not measured".to_owned());
            return figures;
        };
        let (tally, latency) = match phase.latencies.get("echo") {
            Some(echo) => (phase.echoes, Some(echo)),
            None => (phase.deliveries, phase.latencies.get("delivery")),
        };
        figures.messages = tally.received;
        figures.cpu_seconds = phase.server_cpu_seconds.unwrap_or(0.0);
        figures.per_cpu_second = tally.received as f64 / figures.cpu_seconds.max(f64::MIN_POSITIVE);
        figures.pss_bytes = phase.server.map_or(0, |server| server.pss_bytes);
        let at = |percentile| latency.and_then(|all| all.at(percentile)).unwrap_or(0);
        figures.latency_ns = [at(50.0), at(99.0), at(99.9)];

        let mut fault = |count: u64, what: &str| {
            if count > 0 {
                figures.faults.push(format!("{count} {what}"));
            }
        };
        for tally in [phase.deliveries, phase.echoes] {
            fault(tally.lost, "lost");
            fault(tally.doubled, "doubled");
            fault(tally.reordered, "reordered");
            fault(tally.corrupt, "corrupt");
            fault(tally.misrouted, "misrouted");
        }
        // Their latencies are missing from the figures, and they would be the longest.
        fault(phase.unsent_overdue, "due and not sent");
        fault(
            connections.saturating_sub(phase.held),
            "connections not held",
        );
        if figures.messages == 0 || figures.cpu_seconds <= 0.0 {
            figures.faults.push("nothing was measured".to_owned());
        }
        let problems = document.phases[..=measured].iter().flat_map(|phase| {
            let why = phase.failures.iter().chain(&phase.losses);
            why.map(|(why, count)| format!("{count} × {why}"))
        });
        figures.faults.extend(problems.take(PROBLEMS_SHOWN));
        figures
    }

    /// Whether they may be shown.
    pub fn held(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.held() {
            return write!(f, "not held: {}", self.faults.join(", "));
        }
        write!(
            f,
            "{:.0} messages per CPU second ({} in {:.2} s)",
            self.per_cpu_second, self.messages, self.cpu_seconds
        )
    }
}

/// The mark of this format.
pub const FORMAT: &str = "roost-load-compare/1";

const PROBLEMS_SHOWN: usize = 3;
