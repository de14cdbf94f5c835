//! Up to when a driver has asked the kernel for input, and when the process was last held up.
//!
//! A caller that judges silence by the clock alone is wrong after a pause (SIGSTOP, a debugger, a
//! virtual machine that stood still): the time is over, and what came meanwhile has not been read.
//! So each wait says how it ended, and only a wait that has taken all there was moves
//! [`InputClock::polled_until`].

use std::time::Duration;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// A signal: nothing was asked, or it is not known what.
    Interrupted,
    /// The timeout was over and the kernel, asked once more then, had nothing.
    TimedOut,
    /// The kernel reported `count` things. `all`: it had no more.
    Reported { count: u64, all: bool },
}

/// The times of a driver, in nanoseconds of [`crate::clock`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct InputClock {
    now: u64,
    polled_until: u64,
    resumed_at: u64,
    /// When the kernel began to have more than one wait takes, and how much it may have had then.
    behind: Option<(u64, u64)>,
}

impl InputClock {
    pub(crate) fn new(now: u64) -> InputClock {
        InputClock {
            now,
            polled_until: now,
            resumed_at: 0,
            behind: None,
        }
    }

    /// When the last wait returned.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// See [`crate::Driver::polled_until`].
    #[inline]
    pub(crate) fn polled_until(&self) -> u64 {
        self.polled_until
    }

    /// See [`crate::Driver::resumed_at`].
    #[inline]
    pub(crate) fn resumed_at(&self) -> u64 {
        self.resumed_at
    }

    /// A wait of at most `timeout` that began at `asked` or later has returned at `now`. The kernel
    /// could report `sources` things at most, each once before another is reported again.
    #[inline]
    pub(crate) fn note_wait(
        &mut self,
        asked: u64,
        timeout: Option<Duration>,
        end: WaitEnd,
        now: u64,
        sources: u64,
    ) {
        self.now = now;
        if let WaitEnd::Reported { all: true, .. } = end
            && now <= asked.saturating_add(PAUSE_NS_MIN)
        {
            // Nearly every wait: its timeout cannot have been over for so long.
            return self.caught_up(asked);
        }
        self.note_rare_wait(asked, timeout, end, sources);
    }

    #[cold]
    fn note_rare_wait(
        &mut self,
        asked: u64,
        timeout: Option<Duration>,
        end: WaitEnd,
        sources: u64,
    ) {
        let now = self.now;
        let timeout = timeout.map_or(u64::MAX, |timeout| {
            u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)
        });
        let until = asked.saturating_add(timeout);
        let mut due = until;
        match end {
            WaitEnd::Interrupted => due = asked,
            WaitEnd::TimedOut => self.caught_up(until.min(now)),
            WaitEnd::Reported { all: true, .. } => self.caught_up(asked),
            WaitEnd::Reported { count, all: false } => self.fell_behind(asked, count, sources),
        }
        if now > due.saturating_add(PAUSE_NS_MIN) {
            self.resumed_at = now;
        }
    }

    #[inline]
    fn caught_up(&mut self, until: u64) {
        self.polled_until = self.polled_until.max(until);
        self.behind = None;
    }

    /// The kernel reports in the order in which things happened: when it has reported as many as there
    /// can have been, all of then has been reported.
    fn fell_behind(&mut self, asked: u64, count: u64, sources: u64) {
        match &mut self.behind {
            Some((since, left)) if *left <= count => {
                self.polled_until = self.polled_until.max(*since);
                self.behind = Some((asked, sources));
            }
            Some((_, left)) => *left -= count,
            None => self.behind = Some((asked, sources)),
        }
    }
}

/// A wait that is late by more than this was held up: below, a busy machine explains it.
const PAUSE_NS_MIN: u64 = 250_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Option<Duration> = Some(Duration::from_secs(1));
    const S: u64 = 1_000_000_000;

    #[test]
    fn an_interrupted_wait_has_read_nothing() {
        let mut clock = InputClock::new(5 * S);
        clock.note_wait(5 * S, SECOND, WaitEnd::Interrupted, 9 * S, 10);
        assert_eq!(clock.now(), 9 * S);
        assert_eq!(clock.polled_until(), 5 * S);
        assert_eq!(clock.resumed_at(), 9 * S);
    }

    #[test]
    fn a_wait_that_timed_out_before_a_pause_has_not_read_what_came_in_it() {
        let mut clock = InputClock::new(0);
        clock.note_wait(0, SECOND, WaitEnd::TimedOut, 7 * S, 10);
        assert_eq!(clock.polled_until(), S);
        assert_eq!(clock.resumed_at(), 7 * S);
        clock.note_wait(7 * S, SECOND, WaitEnd::TimedOut, 8 * S + 2_000_000, 10);
        assert_eq!(clock.polled_until(), 8 * S);
        assert_eq!(clock.resumed_at(), 7 * S, "a wait on time is no pause");
    }

    #[test]
    fn one_that_never_takes_all_still_comes_to_an_end() {
        let mut clock = InputClock::new(0);
        let some = WaitEnd::Reported {
            count: 10,
            all: false,
        };
        for iteration in 1..=10 {
            clock.note_wait(iteration, SECOND, some, iteration, 35);
        }
        // 35 things of iteration 1: reported by iteration 5; those of 5 by 9.
        assert_eq!(clock.polled_until(), 5);
        let all = WaitEnd::Reported {
            count: 3,
            all: true,
        };
        clock.note_wait(11, SECOND, all, 12, 35);
        assert_eq!(clock.polled_until(), 11);
    }

    #[test]
    fn a_long_quiet_wait_is_no_pause() {
        let mut clock = InputClock::new(0);
        let one = WaitEnd::Reported {
            count: 1,
            all: true,
        };
        clock.note_wait(0, None, one, 100 * S, 10);
        assert_eq!((clock.polled_until(), clock.resumed_at()), (0, 0));
    }
}
