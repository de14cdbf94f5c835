//! Which patterns match a name, remembered until a pattern comes or goes.

use crate::ids::HomeIndex;

/// Answers of the table for the channels of one home, by their place.
#[derive(Debug)]
pub(crate) struct MatchCache {
    /// What is known was found in this epoch, else it is not valid. None has 0.
    epoch: u32,
    /// By place at home, 8 bytes each, as far as channels were published to.
    channels: Vec<Known>,
    /// Lists of this epoch: a length and so many patterns' numbers. The empty list stands at 0.
    lists: Vec<u32>,
}

/// Where a channel's list stands, if it is of this epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    epoch: u32,
    at: u32,
}

/// A list in the cache. Good until the cache is told of another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListAt(u32);

/// Numbers in all lists, 4 bytes each, beyond which all lists are forgotten.
const LISTED_MAX: usize = 1 << 18;

impl MatchCache {
    pub(crate) fn new() -> Self {
        MatchCache {
            epoch: 1,
            channels: Vec::new(),
            lists: vec![0],
        }
    }

    /// A pattern has come or gone: nothing that is known is right.
    pub(crate) fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // Once in 2^32 changes what is as old might look new.
            *self = MatchCache::new();
        }
        self.lists.truncate(1);
        if self.lists.capacity() > LISTED_MAX / 4 {
            self.lists.shrink_to(LISTED_MAX / 4);
        }
    }

    /// Another channel has this place.
    pub(crate) fn forget_channel(&mut self, index: HomeIndex) {
        if let Some(known) = self.channels.get_mut(index.0 as usize) {
            *known = Known::default();
        }
    }

    pub(crate) fn of_channel(&self, index: HomeIndex) -> Option<ListAt> {
        let known = self.channels.get(index.0 as usize)?;
        (known.epoch == self.epoch).then_some(ListAt(known.at))
    }

    pub(crate) fn set_channel(&mut self, index: HomeIndex, list: &[u32]) -> ListAt {
        let known = self.add(list);
        let place = index.0 as usize;
        if place >= self.channels.len() {
            self.channels.resize(place + 1, Known::default());
        }
        self.channels[place] = known;
        ListAt(known.at)
    }

    /// The numbers in a list.
    pub(crate) fn list(&self, at: ListAt) -> &[u32] {
        let at = at.0 as usize;
        let len = self.lists[at] as usize;
        &self.lists[at + 1..][..len]
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.channels.capacity() * size_of::<Known>() + self.lists.capacity() * size_of::<u32>()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are LISTED_MAX numbers, or one list of fewer than 2^32"
    )]
    fn add(&mut self, list: &[u32]) -> Known {
        if list.is_empty() {
            let (epoch, at) = (self.epoch, 0);
            return Known { epoch, at };
        }
        if self.lists.len() > LISTED_MAX {
            self.forget();
        }
        let at = self.lists.len() as u32;
        self.lists.push(list.len() as u32);
        self.lists.extend_from_slice(list);
        let epoch = self.epoch;
        Known { epoch, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_forgotten_when_a_pattern_comes() {
        let mut cache = MatchCache::new();
        let (a, b) = (HomeIndex(7), HomeIndex(6));
        assert_eq!(cache.of_channel(a), None);
        let at = cache.set_channel(a, &[3, 5]);
        assert_eq!(cache.list(at), [3, 5]);
        let at = cache.set_channel(b, &[]);
        assert_eq!(cache.list(at), []);
        let known = cache.of_channel(a).map(|at| cache.list(at));
        assert_eq!(known, Some(&[3, 5][..]));
        assert_eq!(cache.of_channel(HomeIndex(5)), None);
        cache.forget_channel(a);
        assert_eq!(cache.of_channel(a), None);
        assert_eq!(cache.of_channel(b), Some(at));
        cache.set_channel(a, &[1]);
        cache.forget();
        assert_eq!((cache.of_channel(a), cache.of_channel(b)), (None, None));
        // Too many lists: the oldest are no longer known, the newest is.
        let long = vec![0; 1000];
        for index in 0..300 {
            let at = cache.set_channel(HomeIndex(index), &long);
            assert_eq!(cache.list(at).len(), 1000);
        }
        assert_eq!(cache.of_channel(HomeIndex(0)), None);
        assert!(cache.of_channel(HomeIndex(299)).is_some());
        assert!(cache.memory_bytes() < 3 * LISTED_MAX * size_of::<u32>());
    }

    #[test]
    fn an_epoch_that_comes_again_is_not_taken_for_the_first() {
        let mut cache = MatchCache::new();
        cache.set_channel(HomeIndex(0), &[1]);
        cache.epoch = u32::MAX;
        cache.forget();
        assert_eq!(cache.epoch, 1);
        assert_eq!(cache.of_channel(HomeIndex(0)), None);
    }
}
