//! Time as a reactor sees it: in ticks, so that a deadline is four bytes of a connection's record.

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
