//! Counters of the whole process: what no reactor owns, written by any thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Description;

/// A value with any number of writers. Not for the data path: adding is a locked instruction.
#[derive(Debug, Default)]
pub struct SharedValue(AtomicU64);

impl SharedValue {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lines of the log that could not be queued or written.
pub static LOG_LINES_DROPPED: SharedValue = SharedValue(AtomicU64::new(0));

/// Name, meaning and value of each of them.
pub fn values() -> [(Description, u64); 1] {
    let dropped = Description {
        name: "log_lines_dropped_total",
        help: "Log lines lost, because the log's queue was full or its reader gone.",
    };
    [(dropped, LOG_LINES_DROPPED.get())]
}
