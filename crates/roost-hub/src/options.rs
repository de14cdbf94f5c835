//! How a hub is set up, and what it counts.

use crate::ids::ReactorId;

/// How a hub is set up.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The reactor this hub belongs to; below `reactors`.
    pub me: ReactorId,
    /// How many reactors there are, 1 to 256; the same for all hubs.
    pub reactors: u16,
    /// Key of the names' hash, which chooses the home; the same for all hubs, unknown to peers.
    pub hash_key: [u8; 16],
    /// Start of the publication numbers; give each hub another one.
    pub seed: u64,
    /// Channels with subscribers on this reactor. At the limit a subscription to one more is
    /// refused. Channels at home here are bounded by what the other reactors hold.
    pub channels_max: u32,
    /// Length of a channel's name in bytes. Longer ones are refused.
    pub channel_name_bytes_max: u32,
}

/// Sizes for statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// Channels with subscribers here.
    pub local_channels: usize,
    /// Channels whose home is here.
    pub home_channels: usize,
    /// Subscriptions here: one for each subscriber, encoding and channel.
    pub subscriptions: usize,
    /// Subscribe requests that wait for a home's answer.
    pub waiting: usize,
    /// Items dropped since the start because their channel here, or its last subscriber in that
    /// encoding, had gone: normal after an unsubscribe.
    pub stale_items: u64,
}
