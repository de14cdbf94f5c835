//! How a stop goes: as configured, as it was asked for, and what the service manager is told of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roost_config as config;
use roost_control::DrainAsked;
use roost_reactor::{Pace, Stopper};

use crate::notify;

/// As configured; reloads change it.
pub(crate) struct Paces(Mutex<Pace>);

impl Paces {
    pub(crate) fn new(from: &config::Server) -> Paces {
        Paces(Mutex::new(pace_of(from)))
    }

    pub(crate) fn set(&self, from: &config::Server) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pace_of(from);
    }

    fn get(&self) -> Pace {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As configured, but for what was asked. Nothing is waited for that no balancer would see.
    pub(crate) fn for_drain(&self, asked: DrainAsked, is_watched: bool) -> Pace {
        let configured = self.get();
        let DrainAsked {
            delay_ms,
            timeout_ms,
            per_second,
        } = asked;
        let usual_delay_ms = if is_watched { configured.delay_ms } else { 0 };
        Pace {
            delay_ms: delay_ms.unwrap_or(usual_delay_ms),
            timeout_ms: timeout_ms.unwrap_or(configured.timeout_ms),
            per_second: per_second.unwrap_or(configured.per_second),
        }
    }
}

/// Begins to stop, and tells the service manager for how long that may take, so that it does not cut it
/// short.
pub(crate) fn begin(stopper: &Stopper, pace: Pace) {
    stopper.begin_paced_stop(pace);
    let Pace {
        delay_ms,
        timeout_ms,
        per_second: _,
    } = pace;
    let whole = Duration::from_millis(u64::from(delay_ms) + u64::from(timeout_ms)) + END;
    // sd_notify(3): the timeout of a stop is extended to this at least.
    let state = format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", whole.as_micros());
    notify::notify(&state, NOTIFY_WAIT);
}

fn pace_of(from: &config::Server) -> Pace {
    Pace {
        delay_ms: from.drain_delay_ms,
        timeout_ms: from.drain_timeout_ms,
        per_second: from.drain_connections_per_second_max,
    }
}

/// What the end takes behind the drain, at most.
const END: Duration = Duration::from_secs(10);
/// How long a stop waits for a service manager whose socket is full.
const NOTIFY_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_goes_before_what_is_configured_and_nothing_is_waited_for_unseen() {
        let configured = Pace {
            delay_ms: 5_000,
            timeout_ms: 10_000,
            per_second: 7,
        };
        let paces = Paces(Mutex::new(configured));
        assert_eq!(paces.for_drain(DrainAsked::default(), true), configured);
        let unseen = paces.for_drain(DrainAsked::default(), false);
        assert_eq!(
            unseen,
            Pace {
                delay_ms: 0,
                ..configured
            }
        );
        let asked = DrainAsked {
            delay_ms: Some(1),
            timeout_ms: Some(2),
            per_second: Some(3),
        };
        let pace = Pace {
            delay_ms: 1,
            timeout_ms: 2,
            per_second: 3,
        };
        assert_eq!(paces.for_drain(asked, false), pace);
    }
}
