//! Subscriptions that are to end at a time, unless that is put off.

use std::collections::{BTreeSet, HashMap};

use roost_hub::ChannelId;

use crate::clock::NEVER;

/// When which subscriptions end: of those alone that do. Bounded by the connections' subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    by_time: BTreeSet<(u32, u32, ChannelId)>,
    /// The tick, by slot and channel.
    ticks: HashMap<(u32, ChannelId), u32>,
}

impl Expiries {
    /// The subscription of the connection in `slot` ends at this tick; `None`: it does not.
    pub(crate) fn set(&mut self, slot: u32, channel: ChannelId, tick: Option<u32>) {
        self.forget(slot, channel);
        if let Some(tick) = tick {
            self.ticks.insert((slot, channel), tick);
            self.by_time.insert((tick, slot, channel));
        }
    }

    /// It has ended.
    #[inline]
    pub(crate) fn forget(&mut self, slot: u32, channel: ChannelId) {
        if !self.ticks.is_empty() {
            self.remove(slot, channel);
        }
    }

    #[cold]
    fn remove(&mut self, slot: u32, channel: ChannelId) {
        if let Some(tick) = self.ticks.remove(&(slot, channel)) {
            self.by_time.remove(&(tick, slot, channel));
        }
        if self.ticks.is_empty() {
            *self = Expiries::default();
        }
    }

    /// The tick at which the next ends.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        self.by_time.first().map_or(NEVER, |&(tick, ..)| tick)
    }

    /// Takes out the next, if it ends at this tick: the slot, and the channel.
    pub(crate) fn pop_due(&mut self, now: u32) -> Option<(u32, ChannelId)> {
        let &(tick, slot, channel) = self.by_time.first()?;
        if tick > now {
            return None;
        }
        self.forget(slot, channel);
        Some((slot, channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_first_comes_first_and_what_has_ended_does_not() {
        let mut expiries = Expiries::default();
        assert_eq!(expiries.due(), NEVER);
        for (slot, channel, tick) in [(1, 1, 30), (2, 1, 10), (1, 2, 20), (3, 1, 15)] {
            expiries.set(slot, ChannelId(channel), Some(tick));
        }
        expiries.set(1, ChannelId(2), Some(5));
        expiries.set(3, ChannelId(1), None);
        expiries.forget(9, ChannelId(9));
        assert_eq!((expiries.due(), expiries.pop_due(4)), (5, None));
        let ended: Vec<_> = std::iter::from_fn(|| expiries.pop_due(29)).collect();
        assert_eq!(ended, [(1, ChannelId(2)), (2, ChannelId(1))]);
        expiries.forget(1, ChannelId(1));
        assert_eq!(expiries.due(), NEVER);
    }
}
