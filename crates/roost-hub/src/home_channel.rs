//! A channel as its home knows it: where its order stands, and the reactors that want it.

use std::slice;

use crate::encoding::{Encoding, EncodingSet};
use crate::histories::HistoryIndex;
use crate::ids::{HomeIndex, NamespaceId, ReactorId};
use crate::item::LocalRef;
use crate::names::{Name, Named};
use crate::offset::NamespacedOffset;
use crate::state::HomeChannelState;

/// Lives while a reactor wants it, or while its history is remembered.
#[derive(Debug)]
pub(crate) struct HomeChannel {
    /// A long one is the allocation of the reactor that came first.
    name: Name,
    last: NamespacedOffset,
    interests: Interests,
}

const _: () = assert!(size_of::<HomeChannel>() <= 40);

/// A reactor that wants a channel, and where it wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest<E> {
    pub(crate) local: LocalRef,
    pub(crate) reactor: ReactorId,
    /// One, or a set.
    pub(crate) encodings: E,
}

/// The reactors that want a channel, ascending, one entry each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Audience<'a> {
    /// None wants more than one encoding.
    Single(&'a [Interest<Encoding>]),
    /// Some want several.
    Several(&'a [Interest<EncodingSet>]),
    /// The channel keeps history; who wants it stands inside.
    Kept(&'a Kept),
}

/// Owns an [`Audience`].
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a bare Vec would make every record 8 bytes larger"
)]
enum Interests {
    /// Nearly always.
    One(Interest<Encoding>),
    /// None, or two reactors and more.
    Single(Box<Vec<Interest<Encoding>>>),
    /// Some reactor wants more than one encoding.
    Several(Box<Vec<Interest<EncodingSet>>>),
    /// The channel keeps history. Here, and not beside: so it costs the others nothing, not even to
    /// be asked.
    Kept(Box<Kept>),
}

/// The interests in a channel that keeps history.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Never again such.
    interests: Interests,
    history: HistoryIndex,
}

const _: () = assert!(size_of::<Interests>() <= 16);
const _: () = assert!(size_of::<Interest<Encoding>>() <= 12);

impl Named for HomeChannel {
    fn name(&self) -> &Name {
        &self.name
    }
}

impl HomeChannel {
    /// A channel that one reactor wants. Its offsets go on behind `offset`.
    pub(crate) fn new(
        name: Name,
        namespace: NamespaceId,
        offset: u64,
        first: Interest<EncodingSet>,
    ) -> Self {
        HomeChannel {
            name,
            last: NamespacedOffset::new(offset, namespace),
            interests: match first.narrowed() {
                Some(single) => Interests::One(single),
                None => Interests::Several(Box::new(vec![first])),
            },
        }
    }

    /// A channel that no reactor wants, and whose history begins.
    pub(crate) fn unwanted(name: Name, namespace: NamespaceId, offset: u64) -> Self {
        HomeChannel {
            name,
            last: NamespacedOffset::new(offset, namespace),
            interests: Interests::Single(Box::default()),
        }
    }

    /// The channel keeps history from now on.
    pub(crate) fn keep(&mut self, history: HistoryIndex) {
        debug_assert!(self.history().is_none(), "one history");
        let interests = std::mem::replace(&mut self.interests, Interests::Single(Box::default()));
        self.interests = Interests::Kept(Box::new(Kept { interests, history }));
    }

    /// Its history, if it keeps one.
    pub(crate) fn history(&self) -> Option<HistoryIndex> {
        match &self.interests {
            Interests::Kept(kept) => Some(kept.history),
            _ => None,
        }
    }

    /// Whether any reactor wants it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.audience().is_empty()
    }

    /// Adds or replaces the interest of a reactor.
    pub(crate) fn set_interest(&mut self, interest: Interest<EncodingSet>) {
        self.interests.set(interest);
    }

    /// Takes a reactor out, if its interest is the one meant.
    pub(crate) fn remove_interest(&mut self, reactor: ReactorId, local: LocalRef) -> bool {
        self.interests.remove(reactor, local)
    }

    /// Gives the next offset.
    pub(crate) fn advance(&mut self) -> u64 {
        self.last.advance()
    }

    /// The offset of the last publication.
    pub(crate) fn offset(&self) -> u64 {
        self.last.offset()
    }

    pub(crate) fn set_namespace(&mut self, namespace: NamespaceId) {
        self.last.set_namespace(namespace);
    }

    pub(crate) fn namespace(&self) -> NamespaceId {
        self.last.namespace()
    }

    pub(crate) fn audience(&self) -> Audience<'_> {
        self.interests.audience()
    }

    /// Nothing keeps the channel.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_wanted() && self.history().is_none()
    }

    /// Heap bytes; the name counts where its subscribers are.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.interests.memory_bytes()
    }

    /// Takes the record apart, field by field.
    pub(crate) fn into_state(self, index: HomeIndex) -> HomeChannelState {
        let HomeChannel {
            name,
            last,
            interests,
        } = self;
        let apart = |interest| {
            let Interest {
                local,
                reactor,
                encodings,
            } = interest;
            (reactor, local, encodings)
        };
        HomeChannelState {
            index,
            name,
            namespace: last.namespace(),
            offset: last.offset(),
            interests: interests.audience().iter().map(apart).collect(),
        }
    }

    /// The record of a state, and its number.
    pub(crate) fn from_state(state: HomeChannelState) -> (HomeIndex, Self) {
        let HomeChannelState {
            index,
            name,
            namespace,
            offset,
            interests,
        } = state;
        let interests = interests.into_iter();
        let interests = interests.map(|(reactor, local, encodings)| Interest {
            local,
            reactor,
            encodings,
        });
        let record = HomeChannel {
            name,
            last: NamespacedOffset::new(offset, namespace),
            interests: Interests::of(interests.collect()),
        };
        (index, record)
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            !self.is_idle(),
            "a home channel lives while it is wanted or remembered"
        );
        let interests: Vec<_> = self.audience().iter().collect();
        let ascending = interests.is_sorted_by(|a, b| a.reactor < b.reactor);
        assert!(ascending, "reactors ascend");
        let named = interests.iter().all(|one| !one.encodings.is_empty());
        assert!(named, "interest is never empty");
        let several = interests.iter().any(|one| one.encodings.only().is_none());
        let interests = match &self.interests {
            Interests::Kept(kept) => &kept.interests,
            other => other,
        };
        let is_right = match interests {
            Interests::One(_) => true, // it holds no more
            Interests::Single(list) => list.len() != 1,
            Interests::Several(_) => several,
            Interests::Kept(_) => false,
        };
        assert!(is_right, "the smallest form is chosen");
    }
}

impl Kept {
    pub(crate) fn audience(&self) -> Audience<'_> {
        self.interests.audience()
    }

    pub(crate) fn history(&self) -> HistoryIndex {
        self.history
    }
}

impl Audience<'_> {
    pub(crate) fn iter(self) -> impl Iterator<Item = Interest<EncodingSet>> {
        let (single, several) = match self.plain() {
            Audience::Single(list) => (list, &[][..]),
            Audience::Several(list) => (&[][..], list),
            Audience::Kept(_) => (&[][..], &[][..]),
        };
        let several = several.iter().copied();
        single.iter().copied().map(Interest::widened).chain(several)
    }

    fn is_empty(self) -> bool {
        match self.plain() {
            Audience::Single(list) => list.is_empty(),
            Audience::Several(list) => list.is_empty(),
            Audience::Kept(_) => true,
        }
    }

    /// Whether history is kept or not.
    fn plain(self) -> Self {
        match self {
            Audience::Kept(kept) => kept.audience(),
            plain => plain,
        }
    }
}

impl Interest<Encoding> {
    fn widened(self) -> Interest<EncodingSet> {
        Interest {
            local: self.local,
            reactor: self.reactor,
            encodings: EncodingSet::of(self.encodings),
        }
    }
}

impl Interest<EncodingSet> {
    /// The same, if it is in one encoding.
    fn narrowed(self) -> Option<Interest<Encoding>> {
        Some(Interest {
            local: self.local,
            reactor: self.reactor,
            encodings: self.encodings.only()?,
        })
    }
}

impl Interests {
    /// In the smallest form.
    fn of(list: Vec<Interest<EncodingSet>>) -> Self {
        let single: Option<Vec<_>> = list.iter().copied().map(Interest::narrowed).collect();
        match single {
            Some(single) if single.len() == 1 => Interests::One(single[0]),
            Some(single) => Interests::Single(Box::new(single)),
            None => Interests::Several(Box::new(list)),
        }
    }

    fn set(&mut self, interest: Interest<EncodingSet>) {
        if let Interests::Kept(kept) = self {
            return kept.interests.set(interest);
        }
        match (&mut *self, interest.narrowed()) {
            (Interests::One(one), Some(single)) if one.reactor == single.reactor => *one = single,
            (Interests::Single(list), Some(single)) if !list.is_empty() => put(list, single),
            (Interests::Several(list), None) => put(list, interest),
            _ => {
                let mut list: Vec<_> = self.audience().iter().collect();
                put(&mut list, interest);
                *self = Interests::of(list);
            }
        }
    }

    fn remove(&mut self, reactor: ReactorId, local: LocalRef) -> bool {
        match self {
            Interests::One(one) if (one.reactor, one.local) == (reactor, local) => {
                *self = Interests::Single(Box::default());
                true
            }
            Interests::One(_) => false,
            Interests::Single(list) => {
                let removed = take(list, reactor, local);
                if let [one] = list[..] {
                    *self = Interests::One(one);
                }
                removed
            }
            Interests::Several(list) => {
                let removed = take(list, reactor, local);
                *self = Interests::of(std::mem::take(list));
                removed
            }
            Interests::Kept(kept) => kept.interests.remove(reactor, local),
        }
    }

    fn audience(&self) -> Audience<'_> {
        match self {
            Interests::One(one) => Audience::Single(slice::from_ref(one)),
            Interests::Single(list) => Audience::Single(list),
            Interests::Several(list) => Audience::Several(list),
            Interests::Kept(kept) => Audience::Kept(kept),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Interests::One(_) => 0,
            Interests::Single(list) => list_bytes(list),
            Interests::Several(list) => list_bytes(list),
            Interests::Kept(kept) => size_of::<Kept>() + kept.interests.memory_bytes(),
        }
    }
}

/// Adds or replaces the interest of a reactor.
fn put<E>(list: &mut Vec<Interest<E>>, interest: Interest<E>) {
    match list.binary_search_by_key(&interest.reactor, |one| one.reactor) {
        Ok(at) => list[at] = interest,
        Err(at) => list.insert(at, interest),
    }
}

/// Takes a reactor out, if its interest is the one meant.
fn take<E>(list: &mut Vec<Interest<E>>, reactor: ReactorId, local: LocalRef) -> bool {
    let before = list.len();
    list.retain(|one| (one.reactor, one.local) != (reactor, local));
    list.len() < before
}

fn list_bytes<E>(list: &Vec<Interest<E>>) -> usize {
    size_of::<Vec<Interest<E>>>() + list.capacity() * size_of::<Interest<E>>()
}
