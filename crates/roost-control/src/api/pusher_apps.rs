//! The applications of Pusher's, whose requests the API takes.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use roost_auth::PusherApp;

use super::replays::Replays;

/// The applications, and the requests that they have made lately. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct PusherApps {
    all: Arc<RwLock<Arc<[Arc<PusherApp>]>>>,
    replays: Arc<Mutex<Replays>>,
}

impl PusherApps {
    pub(crate) fn new(apps: Vec<PusherApp>) -> PusherApps {
        let all = PusherApps::default();
        all.set(apps);
        all
    }

    /// Requests that come from now on are signed by one of these.
    pub(crate) fn set(&self, apps: Vec<PusherApp>) {
        let apps = apps.into_iter().map(Arc::new).collect();
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = apps;
    }

    pub(super) fn get(&self) -> Arc<[Arc<PusherApp>]> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// Whether a request with this signature may be carried out now.
    pub(super) fn admits(&self, signature: u128, now_ms: u64) -> bool {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.admit(signature, now_ms)
    }
}
