//! The subscriptions of one session.

use std::collections::BTreeMap;

use roost_hub::ChannelId;

/// A set of channels, each with the number of the command that subscribes to it while that is under way. One
/// costs nothing beside the session's record, which nearly all have.
#[derive(Debug)]
pub(super) struct Subscriptions {
    first: Entry,
    #[expect(
        clippy::box_collection,
        reason = "8 bytes in each record instead of 24: few have more than one"
    )]
    more: Option<Box<BTreeMap<ChannelId, u32>>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    channel: ChannelId,
    pending: u32,
}

const _: () = assert!(size_of::<Subscriptions>() <= 16);

/// No command: the subscription is confirmed.
pub(super) const CONFIRMED: u32 = 0;

impl Default for Subscriptions {
    fn default() -> Subscriptions {
        Subscriptions {
            first: Entry::NONE,
            more: None,
        }
    }
}

impl Entry {
    /// Of no channel: none has this number.
    const NONE: Entry = Entry {
        channel: ChannelId(u32::MAX),
        pending: CONFIRMED,
    };

    fn is_some(self) -> bool {
        self.channel != Entry::NONE.channel
    }
}

impl Subscriptions {
    /// Adds a channel whose subscribe is under way. False if it is here already.
    #[must_use]
    pub(super) fn add(&mut self, channel: ChannelId, pending: u32) -> bool {
        if self.pending(channel).is_some() {
            return false;
        }
        if self.first.is_some() {
            self.more.get_or_insert_default().insert(channel, pending);
        } else {
            self.first = Entry { channel, pending };
        }
        true
    }

    /// The command that subscribes to a channel, [`CONFIRMED`] if it has done so; `None` if the channel is not
    /// here.
    pub(super) fn pending(&self, channel: ChannelId) -> Option<u32> {
        if self.first.is_some() && self.first.channel == channel {
            return Some(self.first.pending);
        }
        self.more.as_ref()?.get(&channel).copied()
    }

    /// The subscribe with this number is done. False if that is not what the channel waits for.
    #[must_use]
    pub(super) fn confirm(&mut self, channel: ChannelId, pending: u32) -> bool {
        let entry = match &mut self.first {
            first if first.is_some() && first.channel == channel => Some(&mut first.pending),
            _ => self.more.as_mut().and_then(|more| more.get_mut(&channel)),
        };
        match entry {
            Some(entry) if *entry == pending && pending != CONFIRMED => {
                *entry = CONFIRMED;
                true
            }
            _ => false,
        }
    }

    /// Removes a channel; returns what [`Subscriptions::pending`] would have said.
    pub(super) fn remove(&mut self, channel: ChannelId) -> Option<u32> {
        if self.first.is_some() && self.first.channel == channel {
            let Entry { pending, .. } = std::mem::replace(&mut self.first, Entry::NONE);
            return Some(pending);
        }
        let more = self.more.as_mut()?;
        let removed = more.remove(&channel);
        if more.is_empty() {
            self.more = None;
        }
        removed
    }

    /// Removes and returns one of them.
    pub(super) fn pop(&mut self) -> Option<ChannelId> {
        if self.first.is_some() {
            let Entry { channel, .. } = std::mem::replace(&mut self.first, Entry::NONE);
            return Some(channel);
        }
        let more = self.more.as_mut()?;
        let popped = more.pop_first();
        if more.is_empty() {
            self.more = None;
        }
        popped.map(|(channel, _)| channel)
    }

    /// Names each channel once.
    pub(super) fn each(&self, visit: &mut dyn FnMut(ChannelId)) {
        if self.first.is_some() {
            visit(self.first.channel);
        }
        self.more
            .iter()
            .flat_map(|more| more.keys())
            .copied()
            .for_each(visit);
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    /// All channels with what they wait for.
    pub(super) fn into_list(self) -> Vec<(ChannelId, u32)> {
        let Subscriptions { first, more } = self;
        let Entry { channel, pending } = first;
        let first_entry = first.is_some().then_some((channel, pending));
        let more = more.into_iter().flat_map(|more| *more);
        first_entry.into_iter().chain(more).collect()
    }

    /// The set of such a list.
    pub(super) fn from_list(list: Vec<(ChannelId, u32)>) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        for (channel, pending) in list {
            let _ = subscriptions.add(channel, pending);
        }
        subscriptions
    }

    /// Heap bytes, nearly: nodes of a B-tree are three quarters full at a guess.
    pub(super) fn heap_bytes(&self) -> usize {
        let more = self.more.as_ref();
        more.map_or(0, |more| {
            size_of::<BTreeMap<ChannelId, u32>>() + more.len() * 8 * 4 / 3
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Add(u32, u32),
        Confirm(u32, u32),
        Remove(u32),
        Pop,
        HandOver,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let (channel, number) = (0..6u32, 1..4u32);
        let step = prop_oneof![
            4 => (channel.clone(), number.clone()).prop_map(|(c, n)| Step::Add(c, n)),
            4 => (channel.clone(), number).prop_map(|(c, n)| Step::Confirm(c, n)),
            3 => channel.prop_map(Step::Remove),
            1 => Just(Step::Pop),
            1 => Just(Step::HandOver),
        ];
        prop::collection::vec(step, 0..100)
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in steps()) {
            let mut subject = Subscriptions::default();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Add(channel, number) => {
                        let is_new = !model.contains_key(&channel);
                        prop_assert_eq!(subject.add(ChannelId(channel), number), is_new);
                        model.entry(channel).or_insert(number);
                    }
                    Step::Confirm(channel, number) => {
                        let waits = model.get(&channel) == Some(&number);
                        prop_assert_eq!(subject.confirm(ChannelId(channel), number), waits);
                        if waits {
                            model.insert(channel, CONFIRMED);
                        }
                    }
                    Step::Remove(channel) => {
                        let removed = model.remove(&channel);
                        prop_assert_eq!(subject.remove(ChannelId(channel)), removed);
                    }
                    Step::Pop => match subject.pop() {
                        Some(channel) => prop_assert!(model.remove(&channel.0).is_some()),
                        None => prop_assert!(model.is_empty()),
                    },
                    Step::HandOver => subject = Subscriptions::from_list(subject.into_list()),
                }
                prop_assert_eq!(subject.len(), model.len());
                for channel in 0..6 {
                    let expected = model.get(&channel).copied();
                    prop_assert_eq!(subject.pending(ChannelId(channel)), expected);
                }
            }
        }
    }
}
