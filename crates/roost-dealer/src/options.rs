//! How a dealer is set up, and what it counts.

use roost_hub::{Prefixes, ReactorId};

/// How a dealer is set up.
#[derive(Debug, Clone)]
pub struct DealerOptions {
    /// The reactor this dealer belongs to; below `reactors`.
    pub me: ReactorId,
    /// How many reactors there are; the same for all dealers.
    pub reactors: u16,
    /// Key of the names' hash, which chooses the home; the same for all dealers, unknown to peers.
    pub hash_key: [u8; 16],
    /// Start of the choices of [`crate::Policy::Random`].
    pub seed: u64,
    /// Beginnings of names that no pattern matches but one that begins so itself: those of realms. The
    /// same for all dealers.
    pub apart: Prefixes,
    /// Most procedures a client may have registered, those not yet acknowledged included.
    pub registrations_max: u32,
    /// Most open calls a client may have.
    pub calls_max: u32,
    /// Most open invocations a client may have.
    pub invocations_max: u32,
}

/// What of it may change while the dealer runs.
#[derive(Debug, Clone, Copy)]
pub struct DealerLimits {
    /// [`DealerOptions::registrations_max`]
    pub registrations_max: u32,
    /// [`DealerOptions::calls_max`]
    pub calls_max: u32,
    /// [`DealerOptions::invocations_max`]
    pub invocations_max: u32,
}

/// Sizes for statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DealerCounts {
    /// Clients here that have called or registered something.
    pub clients: usize,
    /// Procedures whose home is here: each once, however many callees it has.
    pub procedures: usize,
    /// Registrations of clients here.
    pub registrations: usize,
    /// Open calls of clients here.
    pub calls: usize,
    /// Open invocations of clients here.
    pub invocations: usize,
}
