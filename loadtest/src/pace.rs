//! Schedules: when a message is due, whatever became of the one before.
//!
//! A client that waits for a slow answer before it sends the next message asks a slow server less
//! often, and its average looks better than what its users saw (coordinated omission). So the
//! schedule is fixed beforehand, and a latency counts from the time a message was due.

use std::collections::VecDeque;

/// Equal steps from a start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    taken: u64,
}

impl Schedule {
    /// Member `index` of `members` that together make `rate` steps a second, evenly interleaved.
    pub fn share(start_ns: u64, rate: f64, index: u64, members: u64) -> Schedule {
        let step = 1e9 / rate;
        Schedule {
            start_ns: start_ns + (step * index as f64) as u64,
            interval_ns: step * members as f64,
            taken: 0,
        }
    }

    /// When the next step is due, in nanoseconds.
    pub fn next_due(&self) -> u64 {
        // From the start each time: rounding does not add up.
        self.start_ns + (self.interval_ns * self.taken as f64) as u64
    }

    /// From one step of this member to its next, in nanoseconds.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns as u64
    }

    /// Takes the next step if it is due at `now`, and says when it was.
    pub fn take_due(&mut self, now: u64) -> Option<u64> {
        let due = self.next_due();
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }
}

/// Requests of one connection, a bounded number of them in flight: those that are due and may not
/// go yet keep their due time.
#[derive(Debug, Clone)]
pub struct Window {
    in_flight: u32,
    in_flight_max: u32,
    waiting: VecDeque<u64>,
}

impl Window {
    /// Nothing in flight, at most `in_flight_max`.
    pub fn new(in_flight_max: u32) -> Window {
        Window {
            in_flight: 0,
            in_flight_max,
            waiting: VecDeque::new(),
        }
    }

    /// A request is due; it waits until [`Window::send_next`] gives it out.
    pub fn push_due(&mut self, due_ns: u64) {
        self.waiting.push_back(due_ns);
    }

    /// The due time of the next request that may be sent now.
    pub fn send_next(&mut self) -> Option<u64> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let due = self.waiting.pop_front()?;
        self.in_flight += 1;
        Some(due)
    }

    /// An answer has come.
    pub fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Forgets what is due and not sent, and says when each of that was due.
    pub fn drop_waiting(&mut self) -> VecDeque<u64> {
        std::mem::take(&mut self.waiting)
    }

    /// Forgets all: the connection is gone or the traffic over.
    pub fn clear(&mut self) {
        self.in_flight = 0;
        self.waiting.clear();
    }
}
