//! What each signal does. Signals that mean nothing here are ignored:
//! [`roost_net::process::ignore_stray_signals`].

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roost_metrics::Registry;
use roost_reactor::Stopper;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing::info;

use crate::reload::Reloader;
use crate::{logging, notify};

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
    drain_ms: &AtomicU32,
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
                let drain_ms = drain_ms.load(Ordering::Relaxed);
                info!(drain_ms, "stopping; once more to stop at once");
                stopper.begin_stop(drain_ms);
                notify::notify("STOPPING=1", NOTIFY_WAIT);
            }
        }
    }
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
/// How long a stop waits for a service manager whose socket is full.
const NOTIFY_WAIT: Duration = Duration::from_millis(100);

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
