//! What administrators ask of the daemon itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roost_control::{Operator, Reloaded};
use roost_reactor::{Server, Stopper};

use crate::reload::Reloader;
use crate::{logging, notify};

/// The daemon, as its control thread sees it.
pub(crate) struct Daemon {
    stopper: Stopper,
    /// As configured.
    drain_ms: Arc<AtomicU32>,
    reloader: Reloader,
}

impl Daemon {
    pub(crate) fn of(server: &Server, drain_ms: Arc<AtomicU32>, reloader: Reloader) -> Daemon {
        Daemon {
            stopper: server.stopper(),
            drain_ms,
            reloader,
        }
    }
}

impl Operator for Daemon {
    fn set_log_level(&self, level: &str) -> Result<String, String> {
        logging::set_level(level)
    }

    fn reload(&self, is_check: bool) -> Reloaded {
        self.reloader.ask(is_check)
    }

    fn drain(&self, timeout_ms: Option<u32>) -> u32 {
        let drain_ms = timeout_ms.unwrap_or_else(|| self.drain_ms.load(Ordering::Relaxed));
        self.stopper.begin_stop(drain_ms);
        notify::notify("STOPPING=1", NOTIFY_WAIT);
        drain_ms
    }
}

/// How long the control thread waits for a service manager whose socket is full.
const NOTIFY_WAIT: Duration = Duration::from_millis(100);
