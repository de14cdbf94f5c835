//! What a peer keeps of its publications and subscriptions, for what came to be compared with.

/// A publication: its publisher's index, and its number among that publisher's publications.
pub(super) type PubId = (usize, u32);

/// A publication, as its publisher remembers it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) channel: usize,
    /// When it was handed to the network.
    pub(super) at: u64,
    pub(super) receives_own: bool,
    /// Bytes of its frame to a raw subscriber.
    pub(super) frame_bytes: u64,
    pub(super) binary: bool,
}

/// One subscription to one channel, or to a pattern that it matches, from its acknowledgement on.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) of_pattern: bool,
    pub(super) channel: usize,
    /// When the request left that the acknowledgement answers.
    pub(super) asked_at: u64,
    pub(super) acked_at: u64,
    pub(super) received: Vec<PubId>,
    /// When each of them came.
    pub(super) times: Vec<u64>,
    /// Asked to end, or the connection ended: what comes last is not known.
    pub(super) ended: bool,
}
