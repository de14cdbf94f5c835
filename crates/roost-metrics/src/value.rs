//! A counter's value.

use std::sync::atomic::{AtomicU64, Ordering};

/// A value with one writer.
#[derive(Debug, Default)]
pub struct Value(AtomicU64);

impl Value {
    /// Adds `n`. Only the owner calls this: a load and a store, no locked instruction.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Adds one. Only the owner calls this.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes `n` away. Only the owner calls this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_sub(n),
            Ordering::Relaxed,
        );
    }

    /// Sets the value. Only the owner calls this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
