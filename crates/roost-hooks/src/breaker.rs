//! When a hook that fails is left alone: the calls behind it would wait for their timeouts, and the
//! application could not recover under them.

/// Counts outcomes of the last ten seconds. When at least 20 calls have ended and half of them have
/// failed it opens: no call is made for a second, then one. If that one fails too it waits for twice as
/// long, up to 30 s; if it is answered, calls are made as before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// By second: which one, calls ended, and failed.
    window: [Second; WINDOW_SECS],
    /// How often it has opened.
    opened: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// No call until then.
    Open {
        until_ms: u64,
        pause_ms: u64,
    },
    /// One call is under way.
    Probing {
        pause_ms: u64,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Second {
    number: u64,
    ended: u32,
    failed: u32,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// As any.
    Call,
    /// As the one that shows whether others may be.
    Probe,
    /// It may not.
    No,
}

impl Breaker {
    /// Closed.
    pub fn new() -> Breaker {
        Breaker {
            state: State::Closed,
            window: [Second::default(); WINDOW_SECS],
            opened: 0,
        }
    }

    /// Whether calls are made.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// How often it has opened, probes that failed included.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Asks for a call. After [`Permit::Probe`] none is permitted until it has ended.
    pub(crate) fn permit(&mut self, now_ms: u64) -> Permit {
        match self.state {
            State::Closed => Permit::Call,
            State::Open { until_ms, pause_ms } if until_ms <= now_ms => {
                self.state = State::Probing { pause_ms };
                Permit::Probe
            }
            State::Open { .. } | State::Probing { .. } => Permit::No,
        }
    }

    /// Whether [`Breaker::permit`] would refuse.
    pub(crate) fn is_open(&self, now_ms: u64) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { until_ms, .. } => until_ms > now_ms,
            State::Probing { .. } => true,
        }
    }

    /// A call has ended.
    pub(crate) fn on_ended(&mut self, is_probe: bool, has_failed: bool, now_ms: u64) {
        match self.state {
            State::Probing { pause_ms } if is_probe => match has_failed {
                true => self.open((2 * pause_ms).min(PAUSE_MAX_MS), now_ms),
                false => {
                    self.state = State::Closed;
                    self.window = [Second::default(); WINDOW_SECS];
                }
            },
            // Of a time before it opened.
            State::Open { .. } | State::Probing { .. } => {}
            State::Closed => {
                self.count(has_failed, now_ms);
                let (ended, failed) = self.recent(now_ms);
                if ended >= CALLS_MIN && 2 * failed >= ended {
                    self.open(PAUSE_MIN_MS, now_ms);
                }
            }
        }
    }

    fn open(&mut self, pause_ms: u64, now_ms: u64) {
        self.opened += 1;
        let until_ms = now_ms + pause_ms;
        self.state = State::Open { until_ms, pause_ms };
    }

    fn count(&mut self, has_failed: bool, now_ms: u64) {
        let number = now_ms / 1000;
        let second = &mut self.window[number as usize % WINDOW_SECS];
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        second.ended = second.ended.saturating_add(1);
        second.failed = second.failed.saturating_add(u32::from(has_failed));
    }

    /// Calls that have ended in the last ten seconds, and failed.
    fn recent(&self, now_ms: u64) -> (u64, u64) {
        let number = now_ms / 1000;
        let recent = self.window.iter();
        let recent = recent.filter(|second| second.number + WINDOW_SECS as u64 > number);
        recent.fold((0, 0), |(ended, failed), second| {
            (
                ended + u64::from(second.ended),
                failed + u64::from(second.failed),
            )
        })
    }
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker::new()
    }
}

const WINDOW_SECS: usize = 10;
/// Of fewer calls a share says little.
const CALLS_MIN: u64 = 20;
const PAUSE_MIN_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(breaker: &mut Breaker, calls: usize, now_ms: u64) {
        for _ in 0..calls {
            breaker.on_ended(false, true, now_ms);
        }
    }

    #[test]
    fn it_opens_when_half_of_twenty_calls_fail() {
        let mut breaker = Breaker::new();
        failing(&mut breaker, 19, 5_000);
        assert_eq!(breaker.permit(5_000), Permit::Call);
        failing(&mut breaker, 1, 5_000);
        assert_eq!(breaker.permit(5_999), Permit::No);
        let mut mixed = Breaker::new();
        for n in 0..100 {
            mixed.on_ended(false, n % 3 == 0, n * 10);
            assert!(mixed.is_closed());
        }
    }

    #[test]
    fn what_is_older_than_ten_seconds_does_not_count() {
        let mut breaker = Breaker::new();
        failing(&mut breaker, 19, 1_000);
        failing(&mut breaker, 1, 11_000);
        assert!(breaker.is_closed());
        failing(&mut breaker, 18, 11_000);
        assert!(breaker.is_closed());
        failing(&mut breaker, 1, 11_000);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn one_call_shows_whether_others_may_be_made_and_pauses_double() {
        let mut breaker = Breaker::new();
        failing(&mut breaker, 20, 0);
        let mut now = 0;
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(breaker.permit(now + pause - 1), Permit::No, "{pause}");
            now += pause;
            assert_eq!(breaker.permit(now), Permit::Probe);
            assert_eq!(breaker.permit(now), Permit::No, "there is one at a time");
            breaker.on_ended(false, false, now); // of before
            assert!(!breaker.is_closed());
            breaker.on_ended(true, true, now);
        }
        now += 30_000;
        assert_eq!(breaker.permit(now), Permit::Probe);
        breaker.on_ended(true, false, now);
        assert_eq!(breaker.permit(now), Permit::Call);
        failing(&mut breaker, 19, now);
        assert!(breaker.is_closed(), "it counts anew");
    }
}
