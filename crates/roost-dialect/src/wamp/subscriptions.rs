//! The subscriptions of one session, found by channel and by the id the client knows.

use std::collections::BTreeMap;

use roost_hub::ChannelId;

/// A set of channels, each with its topic's number once that is confirmed.
///
/// A list is searched while it is short, which is nearly always: one subscription costs 9 bytes.
/// Beyond [`LIST_MAX`] two indices join it, so that a client with a million subscriptions costs a
/// logarithm for each message and not a walk.
#[derive(Debug)]
pub(super) enum Subscriptions {
    /// In no order.
    Short(Vec<Entry>),
    /// More than [`LIST_MAX`], or there have been since there were none.
    Long(Box<Indexed>),
}

const _: () = assert!(size_of::<Subscriptions>() == 24);

impl Default for Subscriptions {
    fn default() -> Subscriptions {
        Subscriptions::Short(Vec::new())
    }
}

/// A list in no order, with its indices.
#[derive(Debug)]
pub(super) struct Indexed {
    list: Vec<Entry>,
    index: Index,
}

/// In bytes, so that nothing is lost to alignment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    channel: [u8; 4],
    /// 0 while the subscribe is under way.
    topic: [u8; 5],
}

const _: () = assert!(size_of::<Entry>() == 9);

impl Entry {
    /// One whose subscribe is under way.
    fn new(channel: ChannelId) -> Entry {
        Entry {
            channel: channel.0.to_le_bytes(),
            topic: [0; 5],
        }
    }

    fn channel(&self) -> ChannelId {
        ChannelId(u32::from_le_bytes(self.channel))
    }

    fn topic(&self) -> u64 {
        let [a, b, c, d, e] = self.topic;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }

    /// Returns the topic before.
    ///
    /// # Panics
    /// At 2^40, which a home with 2^32 channels might come to.
    fn set_topic(&mut self, topic: u64) -> u64 {
        let before = self.topic();
        let [a, b, c, d, e, rest @ ..] = topic.to_le_bytes();
        assert_eq!(rest, [0; 3], "a topic's number is below 2^40");
        self.topic = [a, b, c, d, e];
        before
    }
}

/// Places in the list.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_channel: BTreeMap<ChannelId, usize>,
    /// Confirmed entries only.
    by_topic: BTreeMap<u64, usize>,
}

impl Subscriptions {
    /// All channels with their topics' numbers, 0 while the subscribe is under way.
    pub(super) fn into_list(self) -> Vec<(ChannelId, u64)> {
        let list = match self {
            Subscriptions::Short(list) => list,
            Subscriptions::Long(indexed) => {
                let Indexed {
                    list,
                    index: _, // made again
                } = *indexed;
                list
            }
        };
        let apart = |entry: Entry| (entry.channel(), entry.topic());
        list.into_iter().map(apart).collect()
    }

    /// The set of such a list.
    pub(super) fn from_list(list: Vec<(ChannelId, u64)>) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        for (channel, topic) in list {
            match topic {
                0 => subscriptions.add(channel),
                topic => subscriptions.confirm(channel, topic),
            }
        }
        subscriptions
    }

    /// Adds a channel whose subscribe is under way; nothing if it is here already.
    pub(super) fn add(&mut self, channel: ChannelId) {
        self.entry(channel);
        self.check_invariants();
    }

    /// Gives a channel its topic's number, adding it if need be. Idempotent.
    pub(super) fn confirm(&mut self, channel: ChannelId, topic: u64) {
        debug_assert!(topic != 0, "a topic's number is from 1 on");
        let at = self.entry(channel);
        let (list, index) = self.parts_mut();
        let before = list[at].set_topic(topic);
        if let Some(index) = index {
            if before != 0 {
                index.by_topic.remove(&before);
            }
            index.by_topic.insert(topic, at);
        }
        self.check_invariants();
    }

    /// Removes the confirmed subscription with this number.
    pub(super) fn remove_topic(&mut self, topic: u64) -> Option<ChannelId> {
        let (list, index) = self.parts();
        let at = match index {
            // Entries under way have 0, which is no session's number.
            _ if topic == 0 => None,
            Some(index) => index.by_topic.get(&topic).copied(),
            None => list.iter().position(|entry| entry.topic() == topic),
        }?;
        Some(self.remove_at(at))
    }

    /// Removes a confirmed channel; the number of its subscription.
    pub(super) fn remove_confirmed(&mut self, channel: ChannelId) -> Option<u64> {
        let at = self.position(channel)?;
        let topic = self.list()[at].topic();
        (topic != 0).then(|| self.remove_at(at))?;
        Some(topic)
    }

    /// Removes a channel, confirmed or not.
    pub(super) fn remove(&mut self, channel: ChannelId) {
        if let Some(at) = self.position(channel) {
            self.remove_at(at);
        }
    }

    /// Removes and returns the last of the list.
    pub(super) fn pop(&mut self) -> Option<ChannelId> {
        let last = self.len().checked_sub(1)?;
        Some(self.remove_at(last))
    }

    pub(super) fn contains(&self, channel: ChannelId) -> bool {
        self.position(channel).is_some()
    }

    /// Whether a channel's subscription is confirmed.
    pub(super) fn is_confirmed(&self, channel: ChannelId) -> bool {
        let at = self.position(channel);
        at.is_some_and(|at| self.list()[at].topic() != 0)
    }

    pub(super) fn len(&self) -> usize {
        self.list().len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ChannelId> {
        self.list().iter().map(Entry::channel)
    }

    /// Heap bytes, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        let (list, index) = self.parts();
        let index = index.map_or(0, |index| {
            // A B-tree's nodes are on average three quarters full.
            size_of::<Indexed>() + (index.by_channel.len() * 12 + index.by_topic.len() * 16) * 4 / 3
        });
        list.capacity() * size_of::<Entry>() + index
    }

    /// Where the channel stands, after adding it if need be.
    fn entry(&mut self, channel: ChannelId) -> usize {
        if let Some(at) = self.position(channel) {
            return at;
        }
        let (list, index) = self.parts_mut();
        let at = list.len();
        if at < GROW_EXACT_MAX {
            list.reserve_exact(1);
        }
        list.push(Entry::new(channel));
        if let Some(index) = index {
            index.by_channel.insert(channel, at);
        } else if list.len() > LIST_MAX {
            let list = std::mem::take(list);
            let index = Index::of(&list);
            *self = Subscriptions::Long(Box::new(Indexed { list, index }));
        }
        at
    }

    fn list(&self) -> &[Entry] {
        self.parts().0
    }

    fn parts(&self) -> (&Vec<Entry>, Option<&Index>) {
        match self {
            Subscriptions::Short(list) => (list, None),
            Subscriptions::Long(indexed) => (&indexed.list, Some(&indexed.index)),
        }
    }

    fn parts_mut(&mut self) -> (&mut Vec<Entry>, Option<&mut Index>) {
        match self {
            Subscriptions::Short(list) => (list, None),
            Subscriptions::Long(indexed) => (&mut indexed.list, Some(&mut indexed.index)),
        }
    }

    fn position(&self, channel: ChannelId) -> Option<usize> {
        match self.parts() {
            (_, Some(index)) => index.by_channel.get(&channel).copied(),
            (list, None) => list.iter().position(|entry| entry.channel() == channel),
        }
    }

    /// The last entry takes the removed one's place.
    fn remove_at(&mut self, at: usize) -> ChannelId {
        let (list, index) = self.parts_mut();
        let removed = list.swap_remove(at);
        if let Some(index) = index {
            index.by_channel.remove(&removed.channel());
            index.by_topic.remove(&removed.topic());
            if let Some(moved) = list.get(at) {
                index.by_channel.insert(moved.channel(), at);
                if moved.topic() != 0 {
                    index.by_topic.insert(moved.topic(), at);
                }
            }
        }
        if list.is_empty() {
            *self = Subscriptions::default();
        }
        self.check_invariants();
        removed.channel()
    }

    fn check_invariants(&self) {
        // Looks at everything: only in this crate's tests, where lists are short.
        #[cfg(test)]
        {
            let (list, index) = self.parts();
            assert!(
                index.is_some() || list.len() <= LIST_MAX,
                "long lists have indices"
            );
            let Some(index) = index else { return };
            let expected = Index::of(list);
            assert_eq!(
                index.by_channel, expected.by_channel,
                "every channel is indexed"
            );
            assert_eq!(
                index.by_topic, expected.by_topic,
                "every confirmed topic is indexed"
            );
        }
    }
}

impl Index {
    fn of(list: &[Entry]) -> Index {
        let mut index = Index::default();
        for (at, entry) in list.iter().enumerate() {
            index.by_channel.insert(entry.channel(), at);
            if entry.topic() != 0 {
                index.by_topic.insert(entry.topic(), at);
            }
        }
        index
    }
}

/// Longest list that is searched: 576 bytes.
const LIST_MAX: usize = 64;

/// Up to this length the list grows by one: most sessions have few subscriptions.
const GROW_EXACT_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use roost_hub::ChannelId;

    use super::Subscriptions;

    #[derive(Debug, Clone)]
    enum Step {
        Add(u32),
        Confirm(u32),
        RemoveTopic(u32),
        Remove(u32),
        HandOver,
        Take,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let channel = 0..150u32;
        let step = prop_oneof![
            4 => channel.clone().prop_map(Step::Add),
            8 => channel.clone().prop_map(Step::Confirm),
            3 => channel.clone().prop_map(Step::RemoveTopic),
            1 => channel.prop_map(Step::Remove),
        ];
        let rare = prop_oneof![200 => step, 4 => Just(Step::HandOver), 1 => Just(Step::Take)];
        prop::collection::vec(rare, 0..400)
    }

    /// Unrelated to the channel's order, never 0.
    fn topic(channel: u32) -> u64 {
        u64::from(channel.wrapping_mul(2_654_435_761)) + 1
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in steps()) {
            let mut subject = Subscriptions::default();
            // Channel -> confirmed.
            let mut model = BTreeMap::<u32, bool>::new();
            for step in steps {
                match step {
                    Step::Add(channel) => {
                        subject.add(ChannelId(channel));
                        model.entry(channel).or_insert(false);
                    }
                    Step::Confirm(channel) => {
                        subject.confirm(ChannelId(channel), topic(channel));
                        model.insert(channel, true);
                    }
                    Step::RemoveTopic(channel) => {
                        let expected = model.get(&channel) == Some(&true);
                        let removed = subject.remove_topic(topic(channel));
                        prop_assert_eq!(removed, expected.then_some(ChannelId(channel)));
                        if expected {
                            model.remove(&channel);
                        }
                        prop_assert_eq!(subject.remove_topic(0), None);
                    }
                    Step::Remove(channel) => {
                        subject.remove(ChannelId(channel));
                        model.remove(&channel);
                        prop_assert!(!subject.contains(ChannelId(channel)));
                    }
                    Step::HandOver => {
                        let list = subject.into_list();
                        for &(channel, number) in &list {
                            let confirmed = model.get(&channel.0) == Some(&true);
                            prop_assert_eq!(number, if confirmed { topic(channel.0) } else { 0 });
                        }
                        subject = Subscriptions::from_list(list);
                    }
                    Step::Take => {
                        let mut taken: Vec<_> =
                            std::iter::from_fn(|| subject.pop()).map(|channel| channel.0).collect();
                        taken.sort_unstable();
                        let expected: Vec<_> = std::mem::take(&mut model).into_keys().collect();
                        prop_assert_eq!(taken, expected);
                    }
                }
                let mut listed: Vec<_> = subject.iter().map(|channel| channel.0).collect();
                listed.sort_unstable();
                prop_assert_eq!(listed, model.keys().copied().collect::<Vec<_>>());
                prop_assert_eq!(subject.len(), model.len());
                prop_assert!(model.keys().all(|&channel| subject.contains(ChannelId(channel))));
            }
        }
    }
}
