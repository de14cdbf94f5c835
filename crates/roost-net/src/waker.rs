//! Waking a driver from another thread.

use std::fmt;
use std::sync::Arc;

/// Wakes a driver out of [`Driver::wait`](crate::Driver::wait). Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

/// What a backend does to be woken.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self);
}

impl Waker {
    pub(crate) fn new(wake: Arc<dyn Wake>) -> Waker {
        Waker(wake)
    }

    /// Makes the current or next `wait` return with [`Event::Woken`](crate::Event::Woken).
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}
