//! Time as a reactor sees it: in ticks, so that a deadline is four bytes of a connection's record.

use std::num::NonZeroU32;

/// The time of one loop iteration, in ticks of [`TICK_MS`].
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Clock {
    /// The time.
    pub(crate) now: u32,
    /// The tick until which input is known ([`roost_net::Driver::polled_until`]): silence is judged
    /// by this.
    pub(crate) input_until: u32,
    /// The tick at which this reactor had last been held up; 0 if it never was.
    pub(crate) resumed_at: u32,
}

/// Milliseconds in ticks, rounded up.
pub(crate) fn ticks(ms: u32) -> u32 {
    ms.div_ceil(TICK_MS)
}

/// `ms` after `from`; never when `ms` is 0.
pub(crate) fn deadline(from: u32, ms: u32) -> u32 {
    match ms {
        0 => NEVER,
        ms => from.saturating_add(ticks(ms)),
    }
}

/// Length of a tick. Deadlines are kept to about this.
pub(crate) const TICK_MS: u32 = 100;
/// A deadline that does not come.
pub(crate) const NEVER: u32 = u32::MAX;

/// The tick so many milliseconds from now.
pub(crate) fn tick_in(now: u32, ms: u64) -> NonZeroU32 {
    let ticks = u32::try_from(ms / u64::from(TICK_MS)).unwrap_or(NEVER);
    let tick = now.saturating_add(ticks).min(NEVER - 1);
    NonZeroU32::new(tick).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_tick_that_comes() {
        assert_eq!(tick_in(10, 1_000).get(), 20);
        assert_eq!(tick_in(0, 0).get(), 1);
        assert_eq!(tick_in(10, u64::MAX).get(), NEVER - 1);
    }
}
