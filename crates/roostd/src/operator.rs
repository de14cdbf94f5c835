//! What administrators ask of the daemon itself.

use std::sync::Arc;

use roost_control::{DrainAsked, Operator, Reloaded};
use roost_reactor::{Pace, Server, Stopper};

use crate::logging;
use crate::pace::{self, Paces};
use crate::reload::Reloader;

/// The daemon, as its control thread sees it.
pub(crate) struct Daemon {
    stopper: Stopper,
    paces: Arc<Paces>,
    reloader: Reloader,
}

impl Daemon {
    pub(crate) fn of(server: &Server, paces: Arc<Paces>, reloader: Reloader) -> Daemon {
        Daemon {
            stopper: server.stopper(),
            paces,
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

    fn drain(&self, asked: DrainAsked) -> Pace {
        let pace = self.paces.for_drain(asked, self.stopper.is_watched());
        pace::begin(&self.stopper, pace);
        pace
    }
}
