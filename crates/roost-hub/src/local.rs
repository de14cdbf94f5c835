//! A channel as the reactor of its subscribers knows it.

use crate::ids::{
    ChannelId, ENCODINGS_MAX, Encoding, EncodingMask, HomeIndex, NamespaceId, ReactorId,
    Subscriber, topic,
};
use crate::item::{LocalRef, Target};
use crate::names::{Name, Named};
use crate::set::SubscriberSet;

/// Lives while it has a subscriber.
///
/// What the home delivers follows what is wanted here (`encodings()`) at a distance: `announced`
/// is the last `Interest` sent, `acked` is what the home is known to deliver now. Wider interest
/// is announced at once. Narrower interest waits until nothing is unanswered: thus whatever comes
/// after an answer only widens, and the answer's mask holds until the next one.
#[derive(Debug)]
pub(crate) struct LocalChannel {
    name: Name,
    members: Members,
    /// What the home has delivered last, once `acked` is not empty: where the next subscription
    /// here begins.
    pub(crate) offset: u64,
    /// Tells this channel from others that had its id.
    pub(crate) cookie: u32,
    /// Its place at home, once `acked` is not empty.
    home_index: HomeIndex,
    pub(crate) namespace: NamespaceId,
    pub(crate) home: ReactorId,
    /// The encoding of `Members::Uniform`.
    encoding: Encoding,
    pub(crate) announced: EncodingMask,
    pub(crate) acked: EncodingMask,
    /// `Interest`s the home has not answered. At most nine: one that narrows, and one for each
    /// encoding.
    pub(crate) unacked: u8,
}

const _: () = assert!(size_of::<LocalChannel>() <= 56);

/// Nearly always all subscribers of a channel speak the same encoding.
#[derive(Debug)]
enum Members {
    Uniform(SubscriberSet),
    Mixed(Box<[SubscriberSet; ENCODINGS_MAX]>),
}

impl Named for LocalChannel {
    fn name(&self) -> &Name {
        &self.name
    }
}

impl LocalChannel {
    pub(crate) fn new(name: Name, namespace: NamespaceId, home: ReactorId, cookie: u32) -> Self {
        LocalChannel {
            name,
            members: Members::Uniform(SubscriberSet::new()),
            offset: 0,
            cookie,
            home_index: HomeIndex(0),
            namespace,
            home,
            encoding: Encoding(0),
            announced: 0,
            acked: 0,
            unacked: 0,
        }
    }

    /// Adds a subscriber; false if it was there.
    pub(crate) fn insert(&mut self, encoding: Encoding, who: Subscriber) -> bool {
        match &mut self.members {
            Members::Uniform(set) if set.is_empty() || self.encoding == encoding => {
                self.encoding = encoding;
                set.insert(who)
            }
            Members::Uniform(set) => {
                let mut sets = Box::new([const { SubscriberSet::new() }; ENCODINGS_MAX]);
                sets[self.encoding.index()] = std::mem::take(set);
                sets[encoding.index()].insert(who);
                self.members = Members::Mixed(sets);
                true
            }
            Members::Mixed(sets) => sets[encoding.index()].insert(who),
        }
    }

    /// Takes a subscriber out; false if it was not there.
    pub(crate) fn remove(&mut self, encoding: Encoding, who: Subscriber) -> bool {
        match &mut self.members {
            Members::Uniform(set) => self.encoding == encoding && set.remove(who),
            Members::Mixed(sets) => {
                let removed = sets[encoding.index()].remove(who);
                let mut left = Encoding::all().filter(|e| !sets[e.index()].is_empty());
                if let (Some(only), None) = (left.next(), left.next()) {
                    let set = std::mem::take(&mut sets[only.index()]);
                    self.encoding = only;
                    self.members = Members::Uniform(set);
                }
                removed
            }
        }
    }

    /// The home has answered: it delivers these encodings from now on.
    pub(crate) fn set_acked(&mut self, home: HomeIndex, encodings: EncodingMask) {
        debug_assert_ne!(encodings, 0, "interest is never empty");
        self.home_index = home;
        self.acked = encodings;
    }

    /// The encodings that have subscribers.
    pub(crate) fn encodings(&self) -> EncodingMask {
        match &self.members {
            Members::Uniform(set) if set.is_empty() => 0,
            Members::Uniform(_) => self.encoding.bit(),
            Members::Mixed(sets) => Encoding::all()
                .filter(|encoding| !sets[encoding.index()].is_empty())
                .fold(0, |mask, encoding| mask | encoding.bit()),
        }
    }

    /// The subscribers in one encoding, if there is any.
    pub(crate) fn set(&self, encoding: Encoding) -> Option<&SubscriberSet> {
        match &self.members {
            Members::Uniform(set) => (self.encoding == encoding).then_some(set),
            Members::Mixed(sets) => Some(&sets[encoding.index()]),
        }
    }

    /// Subscribers in all encodings together.
    pub(crate) fn subscriptions(&self) -> usize {
        match &self.members {
            Members::Uniform(set) => set.len(),
            Members::Mixed(sets) => sets.iter().map(SubscriberSet::len).sum(),
        }
    }

    /// Its place at home, once the home has answered.
    pub(crate) fn home_index(&self) -> Option<HomeIndex> {
        (self.acked != 0).then_some(self.home_index)
    }

    /// Its name, shared.
    pub(crate) fn shared_name(&self) -> Name {
        self.name.clone()
    }

    /// How to name it to its home.
    pub(crate) fn target(&self) -> Target {
        match self.home_index() {
            Some(index) => Target::Home(index),
            None => Target::Name(self.name.clone()),
        }
    }

    /// Its number in the whole server, once the home has answered.
    pub(crate) fn topic(&self) -> Option<u64> {
        Some(topic(self.home, self.home_index()?))
    }

    pub(crate) fn name_arc(&self) -> &Name {
        &self.name
    }

    pub(crate) fn name_str(&self) -> &str {
        &self.name
    }

    /// How other reactors name it, given its place in the table.
    pub(crate) fn as_ref(&self, channel: ChannelId) -> LocalRef {
        LocalRef {
            channel,
            cookie: self.cookie,
        }
    }

    /// Heap bytes of the name and the subscribers.
    pub(crate) fn memory_bytes(&self) -> usize {
        // A long name keeps a count and its capacity before the text.
        let name = match self.name.len() {
            0..=15 => 0,
            len => 2 * size_of::<usize>() + len,
        };
        let members = match &self.members {
            Members::Uniform(set) => set.memory_bytes(),
            Members::Mixed(sets) => {
                let heap: usize = sets.iter().map(SubscriberSet::memory_bytes).sum();
                size_of_val(&**sets) + heap
            }
        };
        name + members
    }

    pub(crate) fn check_invariants(&self) {
        let wanted = self.encodings();
        assert_ne!(wanted, 0, "a channel lives while it has a subscriber");
        assert_eq!(wanted & !self.announced, 0, "what is wanted is announced");
        assert_eq!(
            self.acked & !self.announced,
            0,
            "what is acked is announced"
        );
        if self.unacked == 0 {
            assert_eq!(wanted, self.announced, "nothing needless is asked for");
            assert_eq!(self.acked, self.announced, "all is answered");
        }
        assert!(self.unacked <= 5, "few interests are on their way");
        for encoding in Encoding::all() {
            self.set(encoding).inspect(|set| set.check_invariants());
        }
    }
}
