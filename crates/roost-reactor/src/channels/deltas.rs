//! Which subscribers have the publication that a delta is against: all that have been given the one before in
//! their encoding, but those listed here. Who is listed gets the next publication whole.
//!
//! There is an entry from the first publication that a channel's subscribers with deltas get here, until the last
//! of them has gone.

use std::collections::{BTreeSet, HashMap};

use roost_dialect::Publication;
use roost_hub::{ChannelId, Encoding, EncodingSet, Hub, Subscriber};
use roost_net::ConnKey;

use crate::connections::{Connections, has_deltas};
use crate::image::Image;

/// The channels of one reactor whose subscribers get deltas.
#[derive(Default)]
pub(super) struct Deltas {
    channels: HashMap<ChannelId, ChannelDeltas>,
}

/// What is known of a channel's subscribers.
#[derive(Default)]
pub(super) struct ChannelDeltas {
    /// The encodings in which subscribers have been given something.
    begun: EncodingSet,
    /// Slots of those that have not the publication before: they have subscribed since, or it was not for them,
    /// or was dropped.
    without: BTreeSet<u32>,
}

impl Deltas {
    /// A subscriber has come to a channel.
    pub(super) fn join(&mut self, channel: ChannelId, encoding: Encoding, slot: u32) {
        if has_deltas(encoding)
            && let Some(deltas) = self.channels.get_mut(&channel)
        {
            deltas.without.insert(slot);
        }
    }

    /// A subscriber has gone from a channel. `is_last`: in its encoding.
    pub(super) fn leave(
        &mut self,
        channel: ChannelId,
        encoding: Encoding,
        slot: u32,
        is_last: bool,
    ) {
        let Some(deltas) = self.channels.get_mut(&channel) else {
            return;
        };
        deltas.without.remove(&slot);
        if is_last {
            let others = deltas.begun.iter().filter(|&other| other != encoding);
            deltas.begun = others.collect();
            if deltas.begun.is_empty() {
                self.channels.remove(&channel);
            }
        }
    }

    /// Something of these channels was dropped that was for these connections.
    pub(super) fn note_lost(
        &mut self,
        lost: &[(ConnKey, u64)],
        hub: &Hub<Publication, Image>,
        connections: &Connections,
    ) {
        for &(key, channel) in lost {
            let Ok(channel) = u32::try_from(channel).map(ChannelId) else {
                continue; // it was of a pattern
            };
            let Some(deltas) = self.channels.get_mut(&channel) else {
                continue;
            };
            let who = Subscriber(key.slot());
            let is_one = |encoding| hub.is_subscribed(who, encoding, channel);
            if connections.get(key).is_some() && deltas.begun.iter().any(is_one) {
                deltas.lose(key.slot());
            }
        }
    }

    /// A publication goes to the channel's subscribers in this encoding. True if those that are not listed have
    /// the one before.
    pub(super) fn begin(&mut self, channel: ChannelId, encoding: Encoding) -> bool {
        let deltas = self.channels.entry(channel).or_default();
        let has_begun = deltas.begun.contains(encoding);
        deltas.begun = deltas.begun.union(EncodingSet::of(encoding));
        has_begun
    }

    /// Of a channel that has begun.
    pub(super) fn of(&mut self, channel: ChannelId) -> Option<&mut ChannelDeltas> {
        self.channels.get_mut(&channel)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }
}

impl ChannelDeltas {
    /// A publication is not given to a subscriber, or was dropped.
    pub(super) fn lose(&mut self, slot: u32) {
        self.without.insert(slot);
    }

    /// A publication is given to a subscriber: whether it has the one before.
    pub(super) fn give(&mut self, slot: u32) -> bool {
        self.without.is_empty() || !self.without.remove(&slot)
    }
}
