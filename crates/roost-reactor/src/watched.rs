//! A value that remembers whether it may have changed.

use std::ops::{Deref, DerefMut};

/// Remembers every mutable borrow, so that what is derived from the value (its gauges) is brought up to
/// date when it may have changed, and not in each loop iteration. One byte; a mutable borrow is one store.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    value: T,
    changed: bool,
}

impl<T> Watched<T> {
    /// Counts as changed.
    pub(crate) fn new(value: T) -> Watched<T> {
        let changed = true;
        Watched { value, changed }
    }

    /// Whether it was borrowed mutably since the last call.
    #[inline]
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Watched<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::Watched;

    #[test]
    fn mutable_borrow_is_remembered_once_and_shared_borrow_is_not() {
        let mut value = Watched::new(Vec::new());
        assert!(value.take_changed(), "a new value has not been looked at");
        assert!(value.is_empty() && !value.take_changed());
        value.push(1);
        assert!(value.take_changed());
        assert!(!value.take_changed());
    }
}
