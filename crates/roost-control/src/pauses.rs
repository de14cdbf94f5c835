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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime of timers")
    }

    /// Whether nothing is done for a while behind the next line.
    fn rests(pauses: &mut Pauses) -> bool {
        let line = pin!(pauses.after_line());
        line.poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending
    }

    fn work() {
        let begun = Instant::now();
        while begun.elapsed() < 2 * WORK {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_rest_follows_the_line_at_which_the_clock_is_looked_at_and_work_begins_anew_behind_it() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let mut pauses = Pauses::new();
        for _ in 0..2 {
            work();
            assert!((1..LINES).all(|_| !rests(&mut pauses)));
            let begun = Instant::now();
            runtime.block_on(pauses.after_line());
            assert!(begun.elapsed() >= REST, "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn lines_that_are_quickly_written_follow_each_other() {
        let runtime = runtime();
        let _entered = runtime.enter();
        // The machine may hold a round up for longer than lines are written without a rest.
        let is_quick = |_| {
            let mut pauses = Pauses::new();
            work();
            assert!((1..LINES).all(|_| !rests(&mut pauses)));
            runtime.block_on(pauses.after_line()); // from here on anew
            let has_rested = (0..LINES).any(|_| rests(&mut pauses));
            let took = pauses.begun.elapsed();
            assert!(!has_rested || took >= WORK, "a rest after {took:?}");
            !has_rested
        };
        assert!((0..200).any(is_quick));
    }
}
