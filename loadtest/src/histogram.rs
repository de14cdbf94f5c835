//! Latencies: recorded in nanoseconds with an error of at most 0.1 %, merged over threads, written
//! as arrays of percentiles.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A distribution of times.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(Histogram::new(3).expect("three digits are within the bounds"))
    }
}

impl Latencies {
    /// Records one time.
    pub fn record(&mut self, ns: u64) {
        // A histogram that grows takes any value.
        let _ = self.0.record(ns.max(1));
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Latencies) {
        let _ = self.0.add(&other.0);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that `percentile` percent of the records do not exceed, in nanoseconds.
    pub fn percentile_ns(&self, percentile: f64) -> u64 {
        self.0.value_at_percentile(percentile)
    }

    /// The distribution as written to files; `None` when nothing was recorded.
    pub fn summary(&self) -> Option<Summary> {
        if self.0.is_empty() {
            return None;
        }
        let percentiles = PERCENTILES
            .iter()
            .map(|&percentile| (percentile, self.0.value_at_percentile(percentile)))
            .collect();
        Some(Summary {
            count: self.0.len(),
            mean_ns: self.0.mean(),
            max_ns: self.0.max(),
            percentiles,
        })
    }
}

/// A distribution as written to files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many were recorded.
    pub count: u64,
    /// Their mean, in nanoseconds.
    pub mean_ns: f64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Pairs of percentile and nanoseconds, rising.
    pub percentiles: Vec<(f64, u64)>,
}

impl Summary {
    /// The time at one of the percentiles written, in nanoseconds.
    pub fn at(&self, percentile: f64) -> Option<u64> {
        self.percentiles
            .iter()
            .find(|(p, _)| (p - percentile).abs() < 1e-9)
            .map(|&(_, ns)| ns)
    }
}

/// The percentiles written: enough to draw the tail.
const PERCENTILES: &[f64] = &[
    0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0,
    97.5, 98.0, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100.0,
];
