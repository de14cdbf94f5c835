//! Long answers, made some lines at a time.
//!
//! A page of some thousand connections takes the thread milliseconds, and a list of a million a processor
//! for seconds. Other requests and reactors come first: after a quarter of a millisecond of lines nothing
//! is done for one or two.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Rests between lines.
pub(crate) struct Pauses {
    /// Since the last rest.
    lines: u32,
    begun: Instant,
}

impl Pauses {
    pub(crate) fn new() -> Pauses {
        Pauses {
            lines: 0,
            begun: Instant::now(),
        }
    }

    /// A line is written.
    pub(crate) async fn after_line(&mut self) {
        self.lines += 1;
        if self.lines.is_multiple_of(LINES) && self.begun.elapsed() >= WORK {
            sleep(REST).await;
            *self = Pauses::new();
        }
    }
}

/// Lines from one look at the clock to the next.
const LINES: u32 = 16;
/// How long lines are written.
const WORK: Duration = Duration::from_micros(250);
/// How long none are then. The runtime's clock has milliseconds, and rounds up.
const REST: Duration = Duration::from_millis(1);
