//! The clock: the one place that asks the operating system for the time.
//!
//! Everything else takes time as an argument, or reads [`crate::Driver::now`].

use std::sync::OnceLock;

use crate::sys;

/// Nanoseconds since the first call in this process. Never goes back; the same for all threads.
///
/// An iteration of a reactor asks once. In nanoseconds from the beginning it is a subtraction; std's
/// `Instant` counts and checks seconds and nanoseconds apart.
pub fn now_ns() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    let start = START.get_or_init(sys::monotonic_ns);
    sys::monotonic_ns() - start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::monotonic_us;

    #[test]
    fn begins_with_the_process() {
        now_ns();
        let since_boot_us = monotonic_us();
        assert!(now_ns() / 1_000 < since_boot_us);
    }

    #[test]
    fn goes_forward_and_is_shared_by_threads() {
        let first = now_ns();
        let other = std::thread::spawn(now_ns)
            .join()
            .expect("the thread only reads the clock");
        let last = now_ns();
        assert!(first <= other && other <= last, "{first} {other} {last}");
        assert!(last - first < 60_000_000_000, "the threads share one start");
    }
}
