//! From figures to ratios with their spread, from ratios to a table.

use std::fmt::Write as _;

use crate::output::duration;
use crate::preflight::mebibytes;

use super::outcome::{Comparison, Figures};

/// One server over all rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it held; `None` when it held no round.
    pub medians: Option<Figures>,
    /// Messages per CPU second as a multiple of each of [`Comparison::against`], over rounds that
    /// both held.
    pub ratios: Vec<Option<Spread>>,
    /// Rounds that were not held: which, from 1, and why.
    pub faults: Vec<(usize, String)>,
}

/// A median and its extremes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of some values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        Some(Spread {
            min: values.iter().copied().reduce(f64::min)?,
            median: median(values)?,
            max: values.iter().copied().reduce(f64::max)?,
        })
    }
}

/// The middle value, or the mean of the two in the middle; `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(f64::midpoint(sorted[low], sorted[high]))
}

/// The servers in the order they were given.
pub fn rows(comparison: &Comparison) -> Vec<Row> {
    let figures = |server: usize, round: usize| {
        let mut runs = comparison.runs.iter();
        let run = runs.find(|run| run.server == server && run.round == round)?;
        Some(&run.figures)
    };
    let held = |server, round| figures(server, round).filter(|figures| figures.held());
    let rounds = comparison.runs.iter().map(|run| run.round + 1).max();
    let rounds = 0..rounds.unwrap_or(0);
    let row = |(server, (name, _)): (usize, &(String, String))| {
        let good: Vec<_> = rounds
            .clone()
            .filter_map(|round| held(server, round))
            .collect();
        let ratio = |&base: &usize| {
            let within = |round| {
                let (own, base) = (held(server, round)?, held(base, round)?);
                Some(own.per_cpu_second / base.per_cpu_second)
            };
            Spread::of(&rounds.clone().filter_map(within).collect::<Vec<_>>())
        };
        Row {
            name: name.clone(),
            medians: medians(&good),
            ratios: comparison.against.iter().map(ratio).collect(),
            faults: rounds
                .clone()
                .filter_map(|round| Some((round + 1, figures(server, round)?)))
                .filter(|(_, figures)| !figures.held())
                .map(|(round, figures)| (round, figures.faults.join(", ")))
                .collect(),
        }
    };
    comparison.servers.iter().enumerate().map(row).collect()
}

fn medians(good: &[&Figures]) -> Option<Figures> {
    let of = |value: &dyn Fn(&Figures) -> f64| {
        let values: Vec<f64> = good.iter().map(|figures| value(figures)).collect();
        median(&values)
    };
    let latency = |index: usize| Some(of(&|figures| figures.latency_ns[index] as f64)? as u64);
    Some(Figures {
        messages: of(&|figures| figures.messages as f64)? as u64,
        cpu_seconds: of(&|figures| figures.cpu_seconds)?,
        per_cpu_second: of(&|figures| figures.per_cpu_second)?,
        latency_ns: [latency(0)?, latency(1)?, latency(2)?],
        pss_bytes: of(&|figures| figures.pss_bytes as f64)? as u64,
        faults: Vec::new(),
    })
}

impl Comparison {
    /// True when every round was held.
    pub fn is_clean(&self) -> bool {
        self.runs.iter().all(|run| run.figures.held())
    }

    /// The table a person reads: Markdown, medians over the rounds that were held.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let rows = rows(self);
        // Writing to a String cannot fail.
        let _ = write!(out, "| {} | per CPU second | µs each |", self.name);
        for row in self.against.iter().filter_map(|&base| rows.get(base)) {
            let _ = write!(out, " × {} (min…max) |", row.name);
        }
        let _ = writeln!(out, " p50 | p99 | p99.9 | memory |");
        let _ = writeln!(out, "|---{}", "|---:".repeat(6 + self.against.len()) + "|");
        for row in &rows {
            let Some(medians) = &row.medians else {
                let empty = " |".repeat(5 + self.against.len());
                let _ = writeln!(out, "| {} | not held |{empty}", row.name);
                continue;
            };
            let _ = write!(
                out,
                "| {} | {:.0} | {:.2} |",
                row.name,
                medians.per_cpu_second,
                1e6 / medians.per_cpu_second,
            );
            for ratio in &row.ratios {
                let _ = match ratio {
                    None => write!(out, " |"),
                    Some(Spread { min, median, max }) => {
                        write!(out, " {median:.2} ({min:.2}…{max:.2}) |")
                    }
                };
            }
            let [p50, p99, p999] = medians.latency_ns.map(duration);
            let memory = mebibytes(medians.pss_bytes);
            let _ = writeln!(out, " {p50} | {p99} | {p999} | {memory} |");
        }
        out.push('\n');
        for (row, (_, version)) in rows.iter().zip(&self.servers) {
            let _ = writeln!(out, "{}: {version}", row.name);
        }
        for row in &rows {
            for (round, why) in &row.faults {
                let _ = writeln!(out, "NOT HELD {}, round {round}: {why}", row.name);
            }
        }
        out
    }
}
