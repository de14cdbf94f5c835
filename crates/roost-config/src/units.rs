//! Sizes of the limits, in bytes.

/// 2^10 bytes.
pub(crate) const KIB: usize = 1 << 10;
/// 2^20 bytes.
pub(crate) const MIB: usize = 1 << 20;
/// 2^30 bytes.
pub(crate) const GIB: usize = 1 << 30;
