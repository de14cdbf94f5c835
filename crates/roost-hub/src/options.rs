//! How a hub is set up, and what it counts.

use crate::history::HistoryOptions;
use crate::ids::ReactorId;
use crate::patterns::PatternOptions;
use crate::presence::PresenceOptions;

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
    /// Length of a channel's name, and of a pattern's text, in bytes. Longer ones are refused.
    pub channel_name_bytes_max: u32,
    /// Patterns: how many, and what they do not match.
    pub patterns: PatternOptions,
    /// Which channels keep history.
    pub history: HistoryOptions,
    /// Which channels keep presence.
    pub presence: PresenceOptions,
}

/// What of it may change while the hub runs.
#[derive(Debug, Clone)]
pub struct HubLimits {
    /// [`HubOptions::channels_max`]
    pub channels_max: u32,
    /// [`HubOptions::channel_name_bytes_max`]
    pub channel_name_bytes_max: u32,
    /// [`HubOptions::patterns`]
    pub patterns: PatternOptions,
}

/// Sizes for statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// Channels with subscribers here.
    pub local_channels: usize,
    /// Channels whose home is here.
    pub home_channels: usize,
    /// Patterns with subscribers here.
    pub local_patterns: usize,
    /// Patterns of all reactors, as this home knows them.
    pub home_patterns: usize,
    /// Publications given to a pattern's subscribers on some reactor since the start: one for
    /// each pattern that matched and each reactor that wanted it.
    pub matches: u64,
    /// Subscriptions here: one for each subscriber, encoding and channel or pattern.
    pub subscriptions: usize,
    /// Subscribe requests that wait for a home's answer.
    pub waiting: usize,
    /// Channels at home here that keep history, or would.
    pub history_channels: usize,
    /// Publications that they keep.
    pub history_messages: usize,
    /// Bytes of that, as [`HistoryOptions::bytes_max`] counts them: payloads, 56 bytes for each, and
    /// 256 for each channel that is remembered.
    pub history_bytes: u64,
    /// Histories dropped since the start because all together held too much.
    pub histories_evicted: u64,
    /// Channels at home here that have members, or had until just now.
    pub presence_channels: usize,
    /// Members that they list.
    pub presence_members: usize,
    /// Members that they only count, because there was no room for more.
    pub presence_unlisted: u64,
    /// Bytes of that, as [`PresenceOptions::bytes_max`] counts them: 72 for each member and what stands
    /// beside it, and 256 for each channel.
    pub presence_bytes: u64,
    /// Items dropped since the start because their channel here, or its last subscriber in that
    /// encoding, had gone: normal after an unsubscribe.
    pub stale_items: u64,
}
