//! The patterns of all reactors, as each home keeps them: what matches what is published here.

use std::sync::Arc;

use crate::ids::{HomeIndex, ReactorId};
use crate::item::LocalRef;
use crate::names::NameHasher;
use crate::patterns::cache::{ListAt, MatchCache};
use crate::patterns::pattern::Pattern;
use crate::patterns::table::PatternTable;
use crate::patterns::wanted::{PatternInterest, Wanted};
use crate::state::PatternState;

/// Made when the first pattern comes, and dropped with the last.
#[derive(Debug)]
pub(crate) struct HomePatterns {
    table: PatternTable<Wanted>,
    cache: MatchCache,
    /// Of a look-up; reused.
    found: Vec<u32>,
}

/// The patterns that match a publication, one at least. Good until the next look-up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Matches {
    /// In the cache.
    Cached(ListAt),
    /// Found just now.
    Found,
}

impl HomePatterns {
    pub(crate) fn new(hasher: NameHasher, protected: Arc<[String]>) -> Self {
        HomePatterns {
            table: PatternTable::new(hasher, protected),
            cache: MatchCache::new(),
            found: Vec::new(),
        }
    }

    /// From now on no wildcard matches these beginnings of names.
    pub(crate) fn protect(&mut self, protected: Arc<[String]>) {
        self.table.protect(protected);
        self.cache.forget();
    }

    /// A reactor wants a pattern in exactly these encodings from now on.
    pub(crate) fn interest(&mut self, pattern: Pattern<'_>, interest: PatternInterest) {
        match self.table.find(pattern) {
            Some(number) => {
                let wanted = self.table.get_mut(number).expect("found just now");
                wanted.set(interest);
            }
            None => {
                self.table.insert(pattern, Wanted::One(interest));
                self.cache.forget();
            }
        }
    }

    /// A reactor no longer wants a pattern. False if it did not want it (by another cookie).
    pub(crate) fn uninterest(
        &mut self,
        pattern: Pattern<'_>,
        reactor: ReactorId,
        local: LocalRef,
    ) -> bool {
        let number = self.table.find(pattern);
        let Some(wanted) = number.and_then(|number| self.table.get_mut(number)) else {
            return false;
        };
        let removed = wanted.remove(reactor, local);
        if wanted.interests().is_empty() {
            self.table.remove(pattern);
            self.cache.forget();
        }
        removed
    }

    /// Another channel has this place.
    pub(crate) fn forget_channel(&mut self, index: HomeIndex) {
        self.cache.forget_channel(index);
    }

    /// What matches a channel that has a record; none is `None`.
    pub(crate) fn of_channel(&mut self, index: HomeIndex, name: &str) -> Option<Matches> {
        let at = self.cache.of_channel(index).unwrap_or_else(|| {
            self.table.collect(name, &mut self.found);
            self.cache.set_channel(index, &self.found)
        });
        (!self.cache.list(at).is_empty()).then_some(Matches::Cached(at))
    }

    /// What matches a name that has none. Not remembered: looking it up takes about as long as a
    /// cache that knows it, and a name that comes once would take much longer.
    pub(crate) fn of_name(&mut self, name: &str) -> Option<Matches> {
        self.table.collect(name, &mut self.found);
        (!self.found.is_empty()).then_some(Matches::Found)
    }

    /// The reactors that want each pattern that matches, a pattern after the other.
    pub(crate) fn wanted(&self, matches: Matches) -> impl Iterator<Item = &[PatternInterest]> {
        let numbers = match matches {
            Matches::Cached(at) => self.cache.list(at),
            Matches::Found => &self.found,
        };
        numbers.iter().map(|&number| {
            let wanted = self.table.get(number);
            wanted.expect("a list knows living patterns").interests()
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Heap bytes, nearly.
    pub(crate) fn memory_bytes(&self) -> usize {
        let lists = self.table.records().map(Wanted::memory_bytes);
        let found = self.found.capacity() * size_of::<u32>();
        size_of::<HomePatterns>()
            + lists.sum::<usize>()
            + self.table.memory_bytes()
            + self.cache.memory_bytes()
            + found
    }

    /// All patterns with the reactors that want them.
    pub(crate) fn into_state(self) -> Vec<PatternState> {
        let HomePatterns {
            table,
            cache: _, // found again
            found: _,
        } = self;
        let mut states: Vec<PatternState> = Vec::new();
        for (kind, text, number) in table.patterns() {
            let wanted = table.get(number).expect("each pattern has a record");
            let pattern = Pattern::new(kind, &text, u32::MAX).expect("checked when it came");
            let apart = |interest: &PatternInterest| {
                let PatternInterest {
                    local,
                    number,
                    reactor,
                    encodings,
                } = *interest;
                (reactor, local, number, encodings)
            };
            states.push(PatternState {
                name: pattern.to_name(),
                interests: wanted.interests().iter().map(apart).collect(),
            });
        }
        states.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        states
    }

    pub(crate) fn check_invariants(&self) {
        assert!(!self.is_empty(), "no patterns, no table");
        self.table.check_invariants();
        self.table.records().for_each(Wanted::check_invariants);
    }
}
