use std::sync::{Arc, Mutex, PoisonError};

use crate::handshake::server::ServerSetup;

/// What a listener does handshakes with at present. Another one can be put in its place while it is
/// used: connections that come then are served by that.
#[derive(Debug)]
pub struct SharedSetup(Mutex<Arc<ServerSetup>>);

impl SharedSetup {
    /// Begins with this one.
    pub fn new(setup: ServerSetup) -> Self {
        Self(Mutex::new(Arc::new(setup)))
    }

    /// The present one. The lock is held for as long as it takes to count a reference.
    pub fn current(&self) -> Arc<ServerSetup> {
        let setup = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&setup)
    }

    /// Puts another one in its place.
    pub fn replace(&self, setup: ServerSetup) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
    }
}
