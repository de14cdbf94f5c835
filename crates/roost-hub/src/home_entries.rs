//! The channels and patterns at home here, as those see them who ask which there are.

use crate::encoding::EncodingSet;
use crate::home::{Home, Place};
use crate::ids::{HomeIndex, ReactorId, topic};
use crate::names::{NameHasher, Named};
use crate::patterns::is_pattern;

/// What is at home here.
#[derive(Debug)]
pub struct HomeEntries<'a> {
    pub(crate) me: ReactorId,
    pub(crate) hasher: NameHasher,
    pub(crate) home: &'a mut Home,
}

/// A channel or a pattern at home here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeEntry<'a> {
    /// The name of its record: of a pattern, see [`Pattern::of_name`](crate::Pattern::of_name).
    pub name: &'a str,
    /// Its number in the whole server.
    pub topic: u64,
    /// The encodings that reactors want it in: none if it only keeps history.
    pub encodings: EncodingSet,
}

impl HomeEntries<'_> {
    /// Above all places.
    pub fn end(&self) -> u32 {
        self.home.end()
    }

    /// The one at a place. All patterns are at that of [`ReactorId::REGISTER`].
    pub fn at(&self, place: u32) -> Option<HomeEntry<'_>> {
        let index = HomeIndex(place);
        let channel = self.home.get(index)?;
        let wanted = channel.audience().iter().map(|one| one.encodings);
        Some(HomeEntry {
            name: channel.name().as_str(),
            topic: topic(self.me, index),
            encodings: wanted.fold(EncodingSet::EMPTY, EncodingSet::union),
        })
    }

    /// The one whose record has this name.
    pub fn named(&self, name: &str) -> Option<HomeEntry<'_>> {
        let index = self.home.find(self.hasher.hash(name), name)?;
        self.at(index.0)
    }

    /// The one of this number in the whole server.
    pub fn numbered(&self, number: u64) -> Option<HomeEntry<'_>> {
        let place = u32::try_from(number.checked_sub(1)? >> 8).ok()?;
        self.at(place).filter(|entry| entry.topic == number)
    }

    /// The numbers of the patterns that match a channel whose home is here, ascending.
    pub fn matching(&mut self, channel: &str) -> Vec<u64> {
        if is_pattern(channel) {
            return Vec::new();
        }
        let index = self.home.find(self.hasher.hash(channel), channel);
        let place = index.map_or(Place::Unknown(channel), Place::Known);
        let Some(matches) = self.home.find_matches(place) else {
            return Vec::new();
        };
        let wanted = self.home.wanted(matches).flatten();
        let mut numbers: Vec<u64> = wanted
            .map(|one| topic(ReactorId::REGISTER, one.number))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}
