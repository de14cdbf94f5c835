//! The home's side: the channels whose home is here, and their order.

use crate::encoding::EncodingSet;
use crate::error::StateError;
use crate::home_channel::{Audience, HomeChannel, Interest};
use crate::ids::{EventIds, HomeIndex, NamespaceId, Position, ReactorId, Snapshot, topic};
use crate::item::{LocalRef, Target};
use crate::names::{Name, NameHash, NameHasher, Names};
use crate::random::PublicationIds;
use crate::state::HomeState;

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
        interest: Interest<EncodingSet>,
    ) -> (HomeIndex, Snapshot) {
        let hash = self.hasher.hash(name);
        let index = match self.channels.find(hash, name) {
            Some(index) => {
                let channel = self.channels.get_mut(index).expect("found just now");
                channel.set_interest(interest);
                index
            }
            None => {
                let record = HomeChannel::new(name.clone(), namespace, self.floor, interest);
                self.channels.insert(hash, record)
            }
        };
        let index = HomeIndex(index);
        (index, self.snapshot(index).expect("it lives"))
    }

    /// A living channel.
    pub(crate) fn get(&self, index: HomeIndex) -> Option<&HomeChannel> {
        self.channels.get(index.0)
    }

    /// A living channel as a subscription that begins now finds it.
    fn snapshot(&self, index: HomeIndex) -> Option<Snapshot> {
        let channel = self.get(index)?;
        let position = Position {
            epoch: self.epoch,
            offset: channel.offset(),
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
        let removed = channel.remove_interest(from, local);
        if channel.is_idle() {
            self.floor = self.floor.max(channel.offset());
            self.channels.remove(index.0);
        }
        removed
    }

    /// Where a channel stands, if it lives.
    pub(crate) fn find(&self, hash: NameHash, name: &str) -> Option<HomeIndex> {
        self.channels.find(hash, name).map(HomeIndex)
    }

    /// Where a channel stands, if it lives.
    fn resolve(&self, target: &Target) -> Option<HomeIndex> {
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
            offset: channel.advance(),
        };
        Ordered {
            publication,
            audience: Some((ids, channel.audience())),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Heap bytes; names count where their subscribers are.
    pub(crate) fn memory_bytes(&self) -> usize {
        let channels = self.channels.iter();
        let lists = channels.map(|(_, channel)| channel.memory_bytes());
        lists.sum::<usize>() + self.channels.memory_bytes()
    }

    /// All channels that some reactor wants, by place.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (HomeIndex, &HomeChannel)> {
        let channels = self.channels.iter();
        channels.map(|(index, channel)| (HomeIndex(index), channel))
    }

    /// Takes the home apart.
    pub(crate) fn into_state(self) -> HomeState {
        let Home {
            me: _, // as the hub is set up
            hasher: _,
            channels,
            publications,
            epoch: _, // follows from the two
            floor,
        } = self;
        let channels = channels.into_records();
        let channels = channels.map(|(index, channel)| channel.into_state(HomeIndex(index)));
        HomeState {
            channels: channels.collect(),
            floor,
            publications: publications.into_state(),
        }
    }

    /// The home of a state.
    pub(crate) fn from_state(
        me: ReactorId,
        hasher: NameHasher,
        state: HomeState,
    ) -> Result<Self, StateError> {
        let HomeState {
            channels,
            floor,
            publications,
        } = state;
        let mut home = Home::new(me, hasher, PublicationIds::new(publications));
        home.floor = floor;
        for channel in channels {
            let wanted = channel.interests.iter();
            if channel.interests.is_empty() || wanted.into_iter().any(|one| one.2.is_empty()) {
                return Err(StateError::Empty(channel.name.into()));
            }
            let (index, record) = HomeChannel::from_state(channel);
            home.channels.insert_at(index.0, record)?;
        }
        Ok(home)
    }

    pub(crate) fn check_invariants(&self) {
        self.channels.check_invariants();
        for (_, channel) in self.channels.iter() {
            channel.check_invariants();
        }
    }
}

/// A publication that has its place.
pub(crate) struct Ordered<'a> {
    pub(crate) publication: u64,
    /// None if no reactor wants the channel.
    pub(crate) audience: Option<(EventIds, Audience<'a>)>,
}
