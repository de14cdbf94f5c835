//! A channel as the reactor of its subscribers knows it.

use crate::encoding::{ENCODINGS_MAX, Encoding, EncodingSet};
use crate::ids::{ChannelId, HomeIndex, NamespaceId, ReactorId, Subscriber, topic};
use crate::item::{LocalRef, Target};
use crate::names::{Name, Named};
use crate::offset::NamespacedOffset;
use crate::patterns::is_pattern;
use crate::set::SubscriberSet;
use crate::state::LocalChannelState;

/// Lives while it has a subscriber.
///
/// What the home delivers follows what is wanted here (`wanted()`) at a distance: `announced`
/// is the last `Interest` sent, `acked` is what the home is known to deliver now. Wider interest
/// is announced at once. Narrower interest waits until nothing is unanswered: thus whatever comes
/// after an answer only widens, and the answer's encodings hold until the next one.
///
/// A pattern has such a record too, under a name of its own. Its home is the register, which gives
/// it its number; then each interest goes to all homes, and is answered once all have. Nothing is
/// announced while something is unanswered, so what is wanted may be more than what is announced.
/// It has no offset.
#[derive(Debug)]
pub(crate) struct LocalChannel {
    name: Name,
    members: Members,
    /// What the home has delivered last, once it has answered: where the next subscription here
    /// begins. Beside it the namespace.
    offset: NamespacedOffset,
    /// Its number at home; `NO_INDEX` until the home has answered.
    home_index: HomeIndex,
    /// The home in the low byte. Above it, what tells this channel from others that had its number.
    cookie_and_home: u32,
}

const _: () = assert!(size_of::<LocalChannel>() <= 48);

const NO_INDEX: HomeIndex = HomeIndex(u32::MAX);

/// Cookies are below this.
pub(crate) const COOKIE_END: u32 = 1 << 24;

#[derive(Debug)]
enum Members {
    /// Nearly always: all subscribers have one encoding, which is what was announced. The home has
    /// answered if `home_index` is known, else one `Interest` is unanswered.
    Uniform(SubscriberSet),
    /// All other cases.
    Mixed(Box<Mixed>),
}

#[derive(Debug)]
struct Mixed {
    /// Ascending by encoding; none is empty.
    sets: Vec<SubscriberSet>,
    announced: EncodingSet,
    acked: EncodingSet,
    /// What those want that wait to recover: they are in no set yet.
    held: EncodingSet,
    /// `Interest`s the home has not answered. At most 65: one that narrows, and one for each
    /// encoding.
    unacked: u8,
}

impl Named for LocalChannel {
    fn name(&self) -> &Name {
        &self.name
    }
}

impl LocalChannel {
    /// A channel with its first subscriber, and an `Interest` on its way to the home.
    pub(crate) fn new(
        name: Name,
        namespace: NamespaceId,
        home: ReactorId,
        cookie: u32,
        first: (Encoding, Subscriber),
    ) -> Self {
        debug_assert!(cookie < COOKIE_END, "a cookie has 24 bits");
        let (encoding, who) = first;
        let mut set = SubscriberSet::new(encoding);
        set.insert(who);
        LocalChannel {
            name,
            members: Members::Uniform(set),
            offset: NamespacedOffset::new(0, namespace),
            home_index: NO_INDEX,
            cookie_and_home: cookie << 8 | u32::from(home.0),
        }
    }

    /// The same without a subscriber yet: one waits to recover in this encoding.
    pub(crate) fn held(
        name: Name,
        namespace: NamespaceId,
        home: ReactorId,
        cookie: u32,
        encoding: Encoding,
    ) -> Self {
        debug_assert!(cookie < COOKIE_END, "a cookie has 24 bits");
        LocalChannel {
            name,
            members: Members::Mixed(Box::new(Mixed {
                sets: Vec::new(),
                announced: EncodingSet::of(encoding),
                acked: EncodingSet::EMPTY,
                held: EncodingSet::of(encoding),
                unacked: 1,
            })),
            offset: NamespacedOffset::new(0, namespace),
            home_index: NO_INDEX,
            cookie_and_home: cookie << 8 | u32::from(home.0),
        }
    }

    /// Those that wait to recover want these encodings from now on.
    pub(crate) fn hold(&mut self, encodings: EncodingSet) {
        if encodings != self.held_encodings() {
            self.mixed().held = encodings;
            self.compact();
        }
    }

    /// What those want that wait to recover.
    pub(crate) fn held_encodings(&self) -> EncodingSet {
        match &self.members {
            Members::Uniform(_) => EncodingSet::EMPTY,
            Members::Mixed(mixed) => mixed.held,
        }
    }

    /// Adds a subscriber; false if it was there.
    pub(crate) fn insert(&mut self, encoding: Encoding, who: Subscriber) -> bool {
        if let Members::Uniform(set) = &mut self.members
            && set.encoding() == encoding
        {
            return set.insert(who);
        }
        let sets = &mut self.mixed().sets;
        match sets.binary_search_by_key(&encoding, SubscriberSet::encoding) {
            Ok(at) => sets[at].insert(who),
            Err(at) => {
                sets.reserve_exact(1);
                sets.insert(at, SubscriberSet::new(encoding));
                sets[at].insert(who)
            }
        }
    }

    /// Takes a subscriber out; false if it was not there.
    pub(crate) fn remove(&mut self, encoding: Encoding, who: Subscriber) -> bool {
        match &mut self.members {
            Members::Uniform(set) => set.encoding() == encoding && set.remove(who),
            Members::Mixed(mixed) => {
                let sets = &mut mixed.sets;
                let found = sets.binary_search_by_key(&encoding, SubscriberSet::encoding);
                let Ok(at) = found else {
                    return false;
                };
                let removed = sets[at].remove(who);
                if sets[at].is_empty() {
                    sets.remove(at);
                }
                removed
            }
        }
    }

    /// An `Interest` in these encodings goes to the home.
    pub(crate) fn announce(&mut self, encodings: EncodingSet) {
        let mixed = self.mixed();
        mixed.announced = encodings;
        mixed.acked = mixed.acked.intersection(encodings);
        mixed.unacked += 1;
    }

    /// The home has answered one `Interest`: it delivers these encodings from now on, and what is
    /// behind `offset`.
    pub(crate) fn answered(&mut self, home_index: HomeIndex, encodings: EncodingSet, offset: u64) {
        debug_assert!(!encodings.is_empty(), "interest is never empty");
        debug_assert_ne!(home_index, NO_INDEX, "a table has fewer records");
        debug_assert!(self.unacked() > 0, "each interest is answered once");
        self.home_index = home_index;
        self.offset.set_offset(offset);
        if let Members::Mixed(mixed) = &mut self.members {
            mixed.unacked -= 1;
            mixed.acked = encodings;
            self.compact();
        }
    }

    /// The register has given the pattern its number. Its first interest goes to all homes now, and is still to
    /// be answered.
    pub(crate) fn registered(&mut self, number: HomeIndex) -> EncodingSet {
        debug_assert!(self.home_index().is_none(), "a pattern is registered once");
        let wanted = self.wanted();
        let mixed = self.mixed();
        debug_assert!(mixed.acked.is_empty() && mixed.unacked == 1);
        mixed.announced = wanted;
        self.home_index = number;
        wanted
    }

    /// All homes have answered what was announced of a pattern last.
    pub(crate) fn answered_by_all(&mut self) -> EncodingSet {
        let mixed = self.mixed();
        debug_assert_eq!(mixed.unacked, 1, "nothing else is announced meanwhile");
        mixed.unacked = 0;
        mixed.acked = mixed.announced;
        let acked = mixed.acked;
        self.compact();
        acked
    }

    /// Whether it stands for a pattern.
    pub(crate) fn is_pattern(&self) -> bool {
        is_pattern(&self.name)
    }

    /// The home has delivered up to here.
    pub(crate) fn set_offset(&mut self, offset: u64) {
        self.offset.set_offset(offset);
    }

    /// The encodings that have subscribers.
    pub(crate) fn wanted(&self) -> EncodingSet {
        match &self.members {
            Members::Uniform(set) if set.is_empty() => EncodingSet::EMPTY,
            Members::Uniform(set) => EncodingSet::of(set.encoding()),
            Members::Mixed(mixed) => {
                let sets: EncodingSet = mixed.sets.iter().map(SubscriberSet::encoding).collect();
                sets.union(mixed.held)
            }
        }
    }

    /// What the home was told last.
    pub(crate) fn announced(&self) -> EncodingSet {
        match &self.members {
            Members::Uniform(set) => EncodingSet::of(set.encoding()),
            Members::Mixed(mixed) => mixed.announced,
        }
    }

    /// What the home delivers now.
    #[inline]
    pub(crate) fn acked(&self) -> EncodingSet {
        match &self.members {
            Members::Uniform(_) if self.home_index == NO_INDEX => EncodingSet::EMPTY,
            Members::Uniform(set) => EncodingSet::of(set.encoding()),
            Members::Mixed(mixed) => mixed.acked,
        }
    }

    /// How many `Interest`s the home has not answered.
    pub(crate) fn unacked(&self) -> u8 {
        match &self.members {
            Members::Uniform(_) => u8::from(self.home_index == NO_INDEX),
            Members::Mixed(mixed) => mixed.unacked,
        }
    }

    /// The subscribers in one encoding, if there is any.
    #[inline]
    pub(crate) fn set(&self, encoding: Encoding) -> Option<&SubscriberSet> {
        match &self.members {
            Members::Uniform(set) => (set.encoding() == encoding).then_some(set),
            // Few: a search by halves would cost more.
            Members::Mixed(mixed) => mixed.sets.iter().find(|set| set.encoding() == encoding),
        }
    }

    /// Subscribers in all encodings together.
    pub(crate) fn subscriptions(&self) -> usize {
        self.sets().iter().map(SubscriberSet::len).sum()
    }

    /// Its place at home, once the home has answered.
    pub(crate) fn home_index(&self) -> Option<HomeIndex> {
        (self.home_index != NO_INDEX).then_some(self.home_index)
    }

    pub(crate) fn home(&self) -> ReactorId {
        let [home, ..] = self.cookie_and_home.to_le_bytes();
        ReactorId(home)
    }

    #[inline]
    pub(crate) fn cookie(&self) -> u32 {
        self.cookie_and_home >> 8
    }

    pub(crate) fn set_namespace(&mut self, namespace: NamespaceId) {
        self.offset.set_namespace(namespace);
    }

    pub(crate) fn namespace(&self) -> NamespaceId {
        self.offset.namespace()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset.offset()
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
        Some(topic(self.home(), self.home_index()?))
    }

    /// How other reactors name it, given its place in the table.
    pub(crate) fn as_ref(&self, channel: ChannelId) -> LocalRef {
        LocalRef {
            channel,
            cookie: self.cookie(),
        }
    }

    /// Heap bytes of the name and the subscribers.
    pub(crate) fn memory_bytes(&self) -> usize {
        // A long name keeps a count and its capacity before the text.
        let name = match self.name.len() {
            0..=15 => 0,
            len => 2 * size_of::<usize>() + len,
        };
        let mixed = match &self.members {
            Members::Uniform(_) => 0,
            Members::Mixed(mixed) => {
                size_of::<Mixed>() + mixed.sets.capacity() * size_of::<SubscriberSet>()
            }
        };
        let sets = self.sets().iter().map(SubscriberSet::memory_bytes);
        name + mixed + sets.sum::<usize>()
    }

    /// Takes the record apart, field by field.
    pub(crate) fn into_state(mut self, channel: ChannelId) -> LocalChannelState {
        self.mixed();
        let (home, cookie) = (self.home(), self.cookie());
        let home_index = self.home_index();
        let LocalChannel {
            name,
            members,
            offset,
            home_index: _, // said above
            cookie_and_home: _,
        } = self;
        let Members::Mixed(mixed) = members else {
            unreachable!("written out above");
        };
        let Mixed {
            sets,
            announced,
            acked,
            held,
            unacked,
        } = *mixed;
        LocalChannelState {
            channel,
            name,
            namespace: offset.namespace(),
            home,
            cookie,
            home_index,
            offset: offset.offset(),
            announced,
            acked,
            unacked,
            held,
            subscribers: sets.into_iter().map(SubscriberSet::into_state).collect(),
        }
    }

    /// The record of a state, and its number.
    pub(crate) fn from_state(state: LocalChannelState) -> (ChannelId, Self) {
        let LocalChannelState {
            channel,
            name,
            namespace,
            home,
            cookie,
            home_index,
            offset,
            announced,
            acked,
            unacked,
            held,
            subscribers,
        } = state;
        let sets = subscribers.iter();
        let sets = sets.map(|(encoding, list)| SubscriberSet::from_state(*encoding, list));
        let mut record = LocalChannel {
            name,
            members: Members::Mixed(Box::new(Mixed {
                sets: sets.collect(),
                announced,
                acked,
                held,
                unacked,
            })),
            offset: NamespacedOffset::new(offset, namespace),
            home_index: home_index.unwrap_or(NO_INDEX),
            cookie_and_home: cookie << 8 | u32::from(home.0),
        };
        record.compact();
        (channel, record)
    }

    pub(crate) fn check_invariants(&self) {
        let (wanted, announced, acked) = (self.wanted(), self.announced(), self.acked());
        assert!(
            !wanted.is_empty(),
            "a channel lives while it has a subscriber"
        );
        let is_waiting = self.is_pattern() && self.unacked() > 0;
        assert!(
            is_waiting || wanted.is_subset(announced),
            "what is wanted is announced"
        );
        assert!(acked.is_subset(announced), "what is acked is announced");
        assert!(
            is_waiting || acked.is_empty() == self.home_index().is_none(),
            "once answered, something is delivered"
        );
        assert!(
            !self.is_pattern()
                || self.unacked() <= 1 && (acked.is_empty() || self.home_index().is_some()),
            "a pattern asks for one thing at a time, and for its number first"
        );
        if self.unacked() == 0 {
            assert_eq!(wanted, announced, "nothing needless is asked for");
            assert_eq!(acked, announced, "all is answered");
        }
        if let Members::Mixed(mixed) = &self.members {
            let sets = &mixed.sets;
            assert!(usize::from(mixed.unacked) <= ENCODINGS_MAX + 1);
            assert!(sets.is_sorted_by(|a, b| a.encoding() < b.encoding()));
            let is_uniform = mixed.is_uniform(self.home_index().is_some());
            assert!(is_waiting || !is_uniform, "a uniform channel has no list");
        }
        for set in self.sets() {
            assert!(!set.is_empty(), "an encoding is wanted by someone");
            set.check_invariants();
        }
    }

    /// The subscribers, a set for each encoding.
    fn sets(&self) -> &[SubscriberSet] {
        match &self.members {
            Members::Uniform(set) => std::slice::from_ref(set),
            Members::Mixed(mixed) => &mixed.sets,
        }
    }

    /// Writes out what a uniform channel implies.
    fn mixed(&mut self) -> &mut Mixed {
        if let Members::Uniform(set) = &mut self.members {
            let encoding = set.encoding();
            let announced = EncodingSet::of(encoding);
            let is_answered = self.home_index != NO_INDEX;
            self.members = Members::Mixed(Box::new(Mixed {
                sets: vec![std::mem::replace(set, SubscriberSet::new(encoding))],
                announced,
                acked: if is_answered {
                    announced
                } else {
                    EncodingSet::EMPTY
                },
                held: EncodingSet::EMPTY,
                unacked: u8::from(!is_answered),
            }));
        }
        match &mut self.members {
            Members::Mixed(mixed) => mixed,
            Members::Uniform(_) => unreachable!("written out above"),
        }
    }

    /// Leaves out what a uniform channel implies.
    fn compact(&mut self) {
        let is_known = self.home_index != NO_INDEX;
        if let Members::Mixed(mixed) = &mut self.members
            && mixed.is_uniform(is_known)
            && let Some(set) = mixed.sets.pop()
        {
            self.members = Members::Uniform(set);
        }
    }
}

impl Mixed {
    /// Whether one set, and whether its home has answered, say it all.
    fn is_uniform(&self, is_known: bool) -> bool {
        let [set] = &self.sets[..] else {
            return false;
        };
        if !self.held.is_empty() {
            return false;
        }
        let only = EncodingSet::of(set.encoding());
        let is_answered = is_known && self.acked == only && self.unacked == 0;
        let is_new = !is_known && self.acked.is_empty() && self.unacked == 1;
        self.announced == only && (is_answered || is_new)
    }
}
