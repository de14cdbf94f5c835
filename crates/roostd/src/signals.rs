//! What each signal does. Signals that mean nothing here are ignored:
//! [`roost_net::process::ignore_stray_signals`].

use std::io;
use std::time::Duration;

use roost_control::DrainAsked;
use roost_metrics::Registry;
use roost_reactor::Stopper;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing::info;

use crate::logging;
use crate::pace::{self, Paces};
use crate::reload::Reloader;

/// From here on these signals are kept until [`handle`] reads them.
pub(crate) fn catch() -> io::Result<Signals> {
    Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1])
}

/// Does what signals ask for, for ever. The first one to stop drains, the second ends the process
/// at once, whatever hangs.
pub(crate) fn handle(
    signals: &mut Signals,
    stopper: &Stopper,
    registry: &Registry,
    reloader: &Reloader,
    paces: &Paces,
) {
    let mut is_draining = false;
    for signal in signals.forever() {
        match signal {
            SIGHUP => reloader.signal(),
            SIGUSR1 => log_counters(registry),
            _ if is_draining => {
                info!("a second signal: stopped at once");
                logging::finish(LOG_WAIT);
                std::process::exit(EXIT_SECOND_SIGNAL);
            }
            _ => {
                is_draining = true;
                begin_stop(signal, stopper, paces);
            }
        }
    }
}

/// A stop that is under way goes on as it was asked for. A person at a terminal waits for no balancer.
fn begin_stop(signal: i32, stopper: &Stopper, paces: &Paces) {
    if stopper.is_stopping() {
        info!("stopping already; once more to stop at once");
        return;
    }
    let is_watched = signal == SIGTERM && stopper.is_watched();
    let pace = paces.for_drain(DrainAsked::default(), is_watched);
    let (delay_ms, timeout_ms) = (pace.delay_ms, pace.timeout_ms);
    info!(delay_ms, timeout_ms, "stopping; once more to stop at once");
    pace::begin(stopper, pace);
}

/// The counters that say how a server is, as one line.
fn log_counters(registry: &Registry) {
    let sum = |name| registry.sum(name).unwrap_or_default();
    info!(
        connections_open = sum("connections_open"),
        websockets_open = sum("websockets_open"),
        handshakes_in_flight = sum("handshakes_in_flight"),
        connections_accepted_total = sum("connections_accepted_total"),
        handshakes_refused_total = sum("handshakes_refused_total"),
        channels = sum("channels"),
        subscriptions = sum("subscriptions"),
        publishes_total = sum("publishes_total"),
        deliveries_total = sum("deliveries_total"),
        outboxes = sum("connections_backlogged"),
        outbox_bytes = sum("outbox_bytes"),
        slow_consumers_total = sum("slow_consumers_total"),
        received_bytes_total = sum("received_bytes_total"),
        sent_bytes_total = sum("sent_bytes_total"),
        log_lines_dropped_total = sum("log_lines_dropped_total"),
        "counters"
    );
}

const EXIT_SECOND_SIGNAL: i32 = 130;
/// How long the second signal waits for the log.
const LOG_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #[test]
    fn every_counter_of_the_line_exists() {
        let source = include_str!("signals.rs");
        let registry = roost_metrics::Registry::new(1);
        let names = source
            .split("sum(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        let names: Vec<&str> = names.filter(|name| !name.contains(')')).collect();
        assert!(names.len() >= 15, "{names:?}");
        for name in names {
            assert!(registry.sum(name).is_some(), "no counter is called {name}");
        }
    }
}
