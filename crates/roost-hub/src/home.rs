//! The channels whose home is here: their order and the reactors that want them.

use std::slice;

use crate::ids::{
    EncodingMask, EventIds, HomeIndex, NamespaceId, Position, ReactorId, Snapshot, topic,
};
use crate::item::{LocalRef, Target};
use crate::names::{Name, NameHash, NameHasher, Named, Names};
use crate::random::PublicationIds;

/// All channels whose home is this reactor.
#[derive(Debug)]
pub(crate) struct Home {
    me: ReactorId,
    hasher: NameHasher,
    channels: Names<HomeChannel>,
    publications: PublicationIds,
    epoch: u64,
    /// No channel that has gone had a higher offset: where the next one begins.
    floor: u64,
}

/// Lives while a reactor wants it. History, when it comes, is one more field here (a boxed record,
/// absent in most channels) and one more reason to live: see [`HomeChannel::is_idle`].
#[derive(Debug)]
struct HomeChannel {
    /// A long one is the allocation of the reactor that came first.
    name: Name,
    top: Top,
    interests: Interests,
}

/// A channel's last offset, and its namespace: 48 and 16 bits. At a million publications a second
/// the offset lasts for nine years.
#[derive(Debug, Clone, Copy)]
struct Top(u64);

impl Top {
    fn new(offset: u64, namespace: NamespaceId) -> Top {
        debug_assert!(offset < 1 << 48, "an offset has 48 bits");
        Top(offset << 16 | u64::from(namespace.0))
    }

    fn offset(self) -> u64 {
        self.0 >> 16
    }

    fn namespace(self) -> NamespaceId {
        NamespaceId(self.0 as u16)
    }

    /// Gives the next offset.
    fn advance(&mut self) -> u64 {
        self.0 += 1 << 16;
        self.offset()
    }
}

const _: () = assert!(size_of::<HomeChannel>() <= 40);

/// A reactor that wants a channel, and where it wants it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interest {
    pub(crate) local: LocalRef,
    pub(crate) reactor: ReactorId,
    pub(crate) encodings: EncodingMask,
}

/// Ascending by reactor, one entry each.
#[derive(Debug)]
enum Interests {
    One(Interest),
    /// None, or two and more.
    #[expect(
        clippy::box_collection,
        reason = "a bare Vec would make every record 8 bytes larger"
    )]
    List(Box<Vec<Interest>>),
}

const _: () = assert!(size_of::<Interests>() <= 16);

impl Named for HomeChannel {
    fn name(&self) -> &Name {
        &self.name
    }
}

impl Home {
    pub(crate) fn new(me: ReactorId, hasher: NameHasher, publications: PublicationIds) -> Self {
        Home {
            me,
            hasher,
            channels: Names::new(hasher),
            publications,
            epoch: hasher.epoch(me),
            floor: 0,
        }
    }

    /// A reactor wants a channel in exactly these encodings from now on.
    pub(crate) fn interest(
        &mut self,
        name: &Name,
        namespace: NamespaceId,
        interest: Interest,
    ) -> (HomeIndex, Snapshot) {
        let hash = self.hasher.hash(name);
        let index = match self.channels.find(hash, name) {
            Some(index) => {
                let channel = self.channels.get_mut(index).expect("found just now");
                channel.interests.set(interest);
                index
            }
            None => self.channels.insert(
                hash,
                HomeChannel {
                    name: name.clone(),
                    top: Top::new(self.floor, namespace),
                    interests: Interests::One(interest),
                },
            ),
        };
        let index = HomeIndex(index);
        (index, self.snapshot(index).expect("it lives"))
    }

    /// A living channel as a subscription that begins now finds it.
    pub(crate) fn snapshot(&self, index: HomeIndex) -> Option<Snapshot> {
        let channel = self.channels.get(index.0)?;
        let position = Position {
            epoch: self.epoch,
            offset: channel.top.offset(),
        };
        Some(Snapshot { position })
    }

    /// A reactor no longer wants a channel. False if it did not want it (by another cookie).
    pub(crate) fn uninterest(&mut self, from: ReactorId, target: &Target, local: LocalRef) -> bool {
        let Some(index) = self.resolve(target) else {
            return false;
        };
        let Some(channel) = self.channels.get_mut(index.0) else {
            return false;
        };
        let removed = channel.interests.remove(from, local);
        if channel.is_idle() {
            self.floor = self.floor.max(channel.top.offset());
            self.channels.remove(index.0);
        }
        removed
    }

    /// Where a channel stands, if it lives.
    pub(crate) fn find(&self, hash: NameHash, name: &str) -> Option<HomeIndex> {
        self.channels.find(hash, name).map(HomeIndex)
    }

    /// Where a channel stands, if it lives.
    pub(crate) fn resolve(&self, target: &Target) -> Option<HomeIndex> {
        match target {
            Target::Name(name) => self.find(self.hasher.hash(name), name),
            Target::Home(index) => Some(*index),
        }
    }

    /// Gives a publication its number and, in a living channel, its place in the order and those
    /// who want it. This is the one moment that orders a channel.
    pub(crate) fn order(&mut self, channel: Option<HomeIndex>) -> Ordered<'_> {
        let publication = self.publications.next_id();
        let found = channel.and_then(|index| Some((index, self.channels.get_mut(index.0)?)));
        debug_assert_eq!(
            channel.is_some(),
            found.is_some(),
            "a place at home is used only while it is held"
        );
        let Some((index, channel)) = found else {
            return Ordered {
                publication,
                audience: None,
            };
        };
        let ids = EventIds {
            topic: topic(self.me, index),
            publication,
            offset: channel.top.advance(),
        };
        Ordered {
            publication,
            audience: Some((ids, channel.interests.as_slice())),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Heap bytes; names count where their subscribers are.
    pub(crate) fn memory_bytes(&self) -> usize {
        let lists: usize = self
            .channels
            .iter()
            .map(|(_, channel)| channel.interests.memory_bytes())
            .sum();
        lists + self.channels.memory_bytes()
    }

    /// All channels that some reactor wants, by place.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (HomeIndex, HomeState<'_>)> {
        let channels = self.channels.iter();
        channels.map(|(index, channel)| (HomeIndex(index), channel.state()))
    }

    pub(crate) fn check_invariants(&self) {
        self.channels.check_invariants();
        for (_, channel) in self.channels.iter() {
            let interests = channel.interests.as_slice();
            assert!(
                !channel.is_idle(),
                "a home channel lives while it is wanted"
            );
            let ascending = interests.is_sorted_by(|a, b| a.reactor < b.reactor);
            assert!(ascending, "reactors ascend");
            let named = interests.iter().all(|interest| interest.encodings != 0);
            assert!(named, "interest is never empty");
        }
    }
}

/// A publication that has its place.
pub(crate) struct Ordered<'a> {
    pub(crate) publication: u64,
    /// None if nobody wants the channel.
    pub(crate) audience: Option<(EventIds, &'a [Interest])>,
}

/// A home's record of a channel, taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HomeState<'a> {
    pub(crate) name: &'a Name,
    pub(crate) namespace: NamespaceId,
    pub(crate) offset: u64,
    pub(crate) interests: &'a [Interest],
}

impl HomeChannel {
    /// The one place that takes the record apart: who adds a field decides here what becomes of it
    /// when the channel is handed over.
    fn state(&self) -> HomeState<'_> {
        let HomeChannel {
            name,
            top,
            interests,
        } = self;
        HomeState {
            name,
            namespace: top.namespace(),
            offset: top.offset(),
            interests: interests.as_slice(),
        }
    }

    /// Nothing keeps the channel: nobody wants it.
    fn is_idle(&self) -> bool {
        self.interests.as_slice().is_empty()
    }
}

impl Interests {
    /// Adds or replaces the interest of a reactor.
    fn set(&mut self, interest: Interest) {
        match self {
            Interests::One(one) if one.reactor == interest.reactor => *one = interest,
            Interests::One(one) => {
                let mut list = vec![*one, interest];
                list.sort_by_key(|interest| interest.reactor);
                *self = Interests::List(Box::new(list));
            }
            Interests::List(list) => {
                match list.binary_search_by_key(&interest.reactor, |interest| interest.reactor) {
                    Ok(at) => list[at] = interest,
                    Err(at) => list.insert(at, interest),
                }
            }
        }
    }

    /// Takes a reactor out, if its interest is the one meant.
    fn remove(&mut self, reactor: ReactorId, local: LocalRef) -> bool {
        let meant = |interest: &Interest| interest.reactor == reactor && interest.local == local;
        match self {
            Interests::One(one) if meant(one) => {
                *self = Interests::List(Box::default());
                true
            }
            Interests::One(_) => false,
            Interests::List(list) => {
                let before = list.len();
                list.retain(|interest| !meant(interest));
                let removed = list.len() < before;
                if let [one] = list[..] {
                    *self = Interests::One(one);
                }
                removed
            }
        }
    }

    fn as_slice(&self) -> &[Interest] {
        match self {
            Interests::One(one) => slice::from_ref(one),
            Interests::List(list) => list,
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Interests::One(_) => 0,
            Interests::List(list) => {
                size_of::<Vec<Interest>>() + list.capacity() * size_of::<Interest>()
            }
        }
    }
}
