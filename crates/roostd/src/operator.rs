//! What administrators ask of the daemon itself.

use std::time::Duration;

use roost_control::Operator;
use roost_reactor::{Server, Stopper};

use crate::{logging, notify};

/// The daemon, as its control thread sees it.
pub(crate) struct Daemon {
    stopper: Stopper,
    /// As configured.
    drain_ms: u32,
}

impl Daemon {
    pub(crate) fn of(server: &Server, drain_ms: u32) -> Daemon {
        Daemon {
            stopper: server.stopper(),
            drain_ms,
        }
    }
}

impl Operator for Daemon {
    fn set_log_level(&self, level: &str) -> Result<String, String> {
        logging::set_level(level)
    }

    fn drain(&self, timeout_ms: Option<u32>) -> u32 {
        let drain_ms = timeout_ms.unwrap_or(self.drain_ms);
        self.stopper.begin_stop(drain_ms);
        notify::notify("STOPPING=1", NOTIFY_WAIT);
        drain_ms
    }
}

/// How long the control thread waits for a service manager whose socket is full.
const NOTIFY_WAIT: Duration = Duration::from_millis(100);
