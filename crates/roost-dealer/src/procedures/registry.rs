//! All procedures whose home is here, and the patterns if this is their home.
//!
//! A call goes to one registration: the one of its very name, else the longest prefix, else the
//! wildcard pattern that is literal longest, seen from the left (WAMP, "Pattern-based
//! Registrations"). Exact names are hashed with the process's key, for they come from the network.

use std::collections::BTreeMap;
use std::ops::Bound;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use roost_hub::{Name, Prefixes, ReactorId};
use roost_random::SplitMix64;
use siphasher::sip::SipHasher13;

use super::callees::{Callee, Callees, Chosen};
use super::wildcards::{Form, Forms};
use crate::ids::registration_number;
use crate::item::{Match, Policy, Procedure, RegisterError};
use crate::options::DealerOptions;
use crate::state::{RegistrationState, StateError};

/// Who may be called.
#[derive(Debug)]
pub(crate) struct Registry {
    me: ReactorId,
    hasher: SipHasher13,
    exact: HashTable<Callees>,
    prefixes: BTreeMap<Name, Callees>,
    wildcards: BTreeMap<Name, Callees>,
    /// All of them by number.
    numbers: BTreeMap<u64, Procedure>,
    /// Of the wildcards.
    forms: Forms,
    /// How names begin that only patterns match which begin so themselves.
    apart: Prefixes,
    /// Counts the seats that were given; the first of a registration numbers it.
    seats: u64,
    random: SplitMix64,
}

/// A callee's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) registration: u64,
    pub(crate) seat: u64,
    /// Whether it is the registration's first.
    pub(crate) is_first: bool,
}

/// What has left a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) session: u64,
    /// Whether it was the last callee: the registration has gone.
    pub(crate) is_last: bool,
}

impl Registry {
    pub(crate) fn new(options: &DealerOptions) -> Registry {
        Registry {
            me: options.me,
            hasher: SipHasher13::new_with_key(&options.hash_key),
            exact: HashTable::new(),
            prefixes: BTreeMap::new(),
            wildcards: BTreeMap::new(),
            numbers: BTreeMap::new(),
            forms: Forms::default(),
            apart: options.apart.clone(),
            seats: 0,
            random: SplitMix64::new(options.seed),
        }
    }

    /// Takes all apart, ascending by number; and how many seats were given.
    pub(crate) fn into_state(self) -> (Vec<RegistrationState>, u64) {
        let Registry {
            me: _, // as the dealer is set up
            hasher: _,
            exact,
            prefixes,
            wildcards,
            numbers: _, // made again, with the next
            forms: _,
            apart: _, // as the dealer is set up
            seats,
            random: _, // begins anew
        } = self;
        let exact = exact.into_iter().map(|one| one.into_state(Match::Exact));
        let prefixes = prefixes.into_values();
        let prefixes = prefixes.map(|one| one.into_state(Match::Prefix));
        let wildcards = wildcards.into_values();
        let wildcards = wildcards.map(|one| one.into_state(Match::Wildcard));
        let mut all: Vec<_> = exact.chain(prefixes).chain(wildcards).collect();
        all.sort_unstable_by_key(|one| one.number);
        (all, seats)
    }

    /// The procedures of a state.
    pub(crate) fn from_state(
        options: &DealerOptions,
        (registrations, seats): (Vec<RegistrationState>, u64),
    ) -> Result<Registry, StateError> {
        let mut registry = Registry::new(options);
        registry.seats = seats;
        for state in registrations {
            let (number, procedure) = (state.number, state.procedure.clone());
            let (matching, callees) = Callees::from_state(state);
            let is_new = registry.find(&procedure).is_none();
            let inserted = is_new && !callees.is_empty();
            if !inserted || registry.insert(matching, callees).is_err() {
                return Err(StateError::Registration(number));
            }
            if registry.numbers.insert(number, procedure).is_some() {
                return Err(StateError::Registration(number));
            }
        }
        Ok(registry)
    }

    /// A callee offers a procedure.
    pub(crate) fn register(
        &mut self,
        procedure: &Procedure,
        policy: Policy,
        callee: Callee,
        now: u32,
    ) -> Result<Place, RegisterError> {
        let seat = self.seats + 1;
        let (registration, is_first) = match self.find_mut(procedure) {
            Some(callees) => {
                callees.add(policy, seat, callee)?;
                (callees.registration(), false)
            }
            None => {
                let registration = registration_number(self.me, seat);
                let name = procedure.name.clone();
                let callees = Callees::new(name, registration, policy, (seat, callee), now);
                self.insert(procedure.matching, callees)?;
                self.numbers.insert(registration, procedure.clone());
                (registration, true)
            }
        };
        self.seats = seat;
        Ok(Place {
            registration,
            seat,
            is_first,
        })
    }

    /// A callee has gone. `None` if it was not there.
    pub(crate) fn unregister(&mut self, procedure: &Procedure, seat: u64) -> Option<Left> {
        let callees = self.find_mut(procedure)?;
        let session = callees.remove(seat)?;
        let (registration, is_last) = (callees.registration(), callees.is_empty());
        if is_last {
            self.numbers.remove(&registration);
            self.remove(procedure);
        }
        Some(Left { session, is_last })
    }

    /// The registration of this very name or pattern.
    pub(crate) fn find(&self, procedure: &Procedure) -> Option<&Callees> {
        let name = &procedure.name;
        match procedure.matching {
            Match::Exact => self.find_exact(name),
            Match::Prefix => self.prefixes.get(name),
            Match::Wildcard => self.wildcards.get(name),
        }
    }

    /// The registration that a call of this very name goes to.
    pub(crate) fn find_matching(&self, name: &str) -> Option<&Callees> {
        if let Some(exact) = self.find_exact(name) {
            return Some(exact);
        }
        let start = self.apart.of(name).map_or("", |(start, _)| start);
        let longest = longest_prefix(&self.prefixes, name);
        if let Some(prefix) = longest.filter(|prefix| prefix.len() >= start.len()) {
            return self.prefixes.get(prefix);
        }
        self.forms.find(name, |pattern| {
            let is_near = pattern.starts_with(start);
            is_near.then(|| self.wildcards.get(pattern)).flatten()
        })
    }

    /// A registration by its number.
    pub(crate) fn numbered(&self, registration: u64) -> Option<(&Procedure, &Callees)> {
        let procedure = self.numbers.get(&registration)?;
        Some((procedure, self.find(procedure)?))
    }

    /// The registrations behind a number, ascending.
    pub(crate) fn numbers_behind(
        &self,
        registration: u64,
    ) -> impl Iterator<Item = (u64, &Procedure)> {
        let range = (Bound::Excluded(registration), Bound::Unbounded);
        let numbers = self.numbers.range(range);
        numbers.map(|(&number, procedure)| (number, procedure))
    }

    fn find_exact(&self, name: &str) -> Option<&Callees> {
        let hash = self.hasher.hash(name.as_bytes());
        self.exact.find(hash, |callees| callees.name() == name)
    }

    /// Panics where it contradicts itself. Looks at everything.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.numbers.len(), self.len(), "each has a number");
        for (&number, procedure) in &self.numbers {
            let callees = self.find(procedure).expect("a number is a registration's");
            assert_eq!(callees.registration(), number);
            assert!(!callees.is_empty(), "a registration has callees");
        }
    }

    /// Whom a call of this very name goes to.
    pub(crate) fn choose(&mut self, name: &str) -> Option<Chosen> {
        let hash = self.hasher.hash(name.as_bytes());
        let callees = self
            .exact
            .find_mut(hash, |callees| callees.name() == name)?;
        Some(callees.choose(&mut self.random))
    }

    /// Whom a call that no exact name matches goes to.
    pub(crate) fn choose_by_pattern(&mut self, name: &str) -> Option<Chosen> {
        let start = self.apart.of(name).map_or("", |(start, _)| start);
        let longest = longest_prefix(&self.prefixes, name);
        // Both begin the name: the longer one begins with the other.
        if let Some(prefix) = longest.filter(|prefix| prefix.len() >= start.len()) {
            let prefix = prefix.clone(); // without an allocation
            let callees = self.prefixes.get_mut(&prefix)?;
            return Some(callees.choose(&mut self.random));
        }
        let Registry {
            wildcards,
            forms,
            random,
            ..
        } = self;
        forms.find(name, |pattern| {
            if !pattern.starts_with(start) {
                return None;
            }
            let callees = wildcards.get_mut(pattern)?;
            Some(callees.choose(random))
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.prefixes.len() + self.wildcards.len()
    }

    fn find_mut(&mut self, procedure: &Procedure) -> Option<&mut Callees> {
        let name = &procedure.name;
        match procedure.matching {
            Match::Exact => {
                let hash = self.hasher.hash(name.as_bytes());
                self.exact.find_mut(hash, |callees| callees.name() == name)
            }
            Match::Prefix => self.prefixes.get_mut(name),
            Match::Wildcard => self.wildcards.get_mut(name),
        }
    }

    /// A procedure that is not there yet.
    fn insert(&mut self, matching: Match, callees: Callees) -> Result<(), RegisterError> {
        let name = callees.name().clone();
        match matching {
            Match::Exact => {
                let hasher = self.hasher;
                let rehash = move |callees: &Callees| hasher.hash(callees.name().as_bytes());
                self.exact.insert_unique(rehash(&callees), callees, rehash);
            }
            Match::Prefix => {
                self.prefixes.insert(name, callees);
            }
            Match::Wildcard => {
                self.forms.add(Form::of(&name)?)?;
                self.wildcards.insert(name, callees);
            }
        }
        Ok(())
    }

    fn remove(&mut self, procedure: &Procedure) {
        let name = &procedure.name;
        match procedure.matching {
            Match::Exact => {
                let hasher = self.hasher;
                let rehash = move |callees: &Callees| hasher.hash(callees.name().as_bytes());
                let hash = self.hasher.hash(name.as_bytes());
                let entry = self
                    .exact
                    .entry(hash, |callees| callees.name() == name, rehash);
                if let Entry::Occupied(entry) = entry {
                    entry.remove();
                }
                let is_sparse = self.exact.len() < self.exact.capacity() / 4;
                if is_sparse && self.exact.capacity() > EXACT_KEPT {
                    self.exact.shrink_to(self.exact.len() * 2, rehash);
                }
            }
            Match::Prefix => {
                self.prefixes.remove(name);
            }
            Match::Wildcard => {
                self.wildcards.remove(name);
                if let Ok(form) = Form::of(name) {
                    self.forms.remove(form);
                }
            }
        }
    }
}

/// The longest key that a name begins with. Each step looks at the greatest key that is not above
/// what is left of the name: it is a prefix, or no key is one that is longer than what both have in
/// common. So there are at most as many steps as the name has bytes.
fn longest_prefix<'a>(prefixes: &'a BTreeMap<Name, Callees>, name: &str) -> Option<&'a Name> {
    let mut rest = name;
    loop {
        let range = (Bound::Unbounded, Bound::Included(rest));
        let (key, _) = prefixes.range::<str, _>(range).next_back()?;
        if rest.starts_with(key.as_str()) {
            return Some(key);
        }
        let shared = rest.bytes().zip(key.bytes()).take_while(|(a, b)| a == b);
        let mut len = shared.count();
        while !rest.is_char_boundary(len) {
            len -= 1;
        }
        rest = &rest[..len];
    }
}

/// Room for so many procedures is kept.
const EXACT_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Address, Client};

    fn registry() -> Registry {
        registry_with(Prefixes::default())
    }

    fn registry_with(apart: Prefixes) -> Registry {
        Registry::new(&DealerOptions {
            me: ReactorId(3),
            reactors: 4,
            hash_key: [5; 16],
            seed: 1,
            apart,
            registrations_max: 1,
            calls_max: 1,
            invocations_max: 1,
        })
    }

    fn procedure(matching: Match, name: &str) -> Procedure {
        Procedure {
            name: Name::from(name),
            matching,
        }
    }

    fn callee(client: u64) -> Callee {
        Callee {
            address: Address {
                reactor: ReactorId(1),
                client: Client(client),
            },
            session: client + 1000,
        }
    }

    fn chosen(registry: &mut Registry, name: &str) -> Option<u64> {
        let exact = registry.choose(name);
        let chosen = exact.or_else(|| registry.choose_by_pattern(name));
        chosen.map(|chosen| chosen.callee.client.0)
    }

    /// WAMP, "Calls matching multiple registrations", with `c44` for `c33`: by "Prefix Matching",
    /// and at the peers, a prefix ends anywhere, so that `a1.b2.c3` is one of `a1.b2.c33`.
    #[test]
    fn the_example_of_the_specification() {
        let mut registry = registry();
        let procedures = [
            (Match::Exact, "a1.b2.c3.d4.e55"),
            (Match::Prefix, "a1.b2.c3"),
            (Match::Prefix, "a1.b2.c3.d4"),
            (Match::Wildcard, "a1.b2..d4.e5"),
            (Match::Wildcard, "a1.b2.c44..e5"),
            (Match::Wildcard, "a1.b2..d4.e5..g7"),
            (Match::Wildcard, "a1.b2..d4..f6.g7"),
        ];
        for ((matching, name), number) in procedures.into_iter().zip(1..) {
            let place = registry.register(
                &procedure(matching, name),
                Policy::Single,
                callee(number),
                0,
            );
            assert!(place.is_ok(), "{name}");
        }
        for (name, expected) in [
            ("a1.b2.c3.d4.e55", Some(1)),
            ("a1.b2.c3.d98.e74", Some(2)),
            ("a1.b2.c3.d4.e325", Some(3)),
            ("a1.b2.c55.d4.e5", Some(4)),
            ("a1.b2.c33.d4.e5", Some(2)),
            ("a1.b2.c44.d4.e5", Some(5)),
            ("a1.b2.c88.d4.e5.f6.g7", Some(6)),
            ("a2.b2.c2.d2.e2", None),
        ] {
            assert_eq!(chosen(&mut registry, name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_may_be_registered_once_for_each_kind_of_match() {
        let mut registry = registry();
        let mut places = Vec::new();
        for matching in [Match::Exact, Match::Prefix, Match::Wildcard] {
            let procedure = procedure(matching, "a.b");
            let place = registry.register(&procedure, Policy::Single, callee(1), 0);
            places.push((procedure.clone(), place.expect("free")));
            let again = registry.register(&procedure, Policy::Single, callee(2), 0);
            assert_eq!(again, Err(RegisterError::AlreadyExists));
        }
        assert_eq!(registry.len(), 3);
        for (procedure, place) in &places {
            assert!(registry.unregister(procedure, place.seat + 100).is_none());
            assert!(registry.unregister(procedure, place.seat).is_some());
            assert!(registry.unregister(procedure, place.seat).is_none());
        }
        assert_eq!(registry.len(), 0);
        assert_eq!(chosen(&mut registry, "a.b"), None);
    }

    #[test]
    fn names_apart_are_matched_by_patterns_that_begin_so() {
        let apart = [("acme.".into(), 1), ("org.b.".into(), 2)];
        let mut registry = registry_with(Prefixes::new(apart));
        let patterns = [
            (Match::Prefix, ""),
            (Match::Prefix, "acm"),
            (Match::Wildcard, "..x"),
            (Match::Wildcard, "org..x"),
            (Match::Wildcard, "acme..y"),
            (Match::Prefix, "org.b."),
        ];
        for ((matching, name), number) in patterns.into_iter().zip(1..) {
            let place = registry.register(
                &procedure(matching, name),
                Policy::Single,
                callee(number),
                0,
            );
            assert!(place.is_ok(), "{name}");
        }
        for (name, expected) in [
            ("acme.a.x", None),
            ("acme.a.y", Some(5)),
            ("acmes.a.x", Some(2)),
            ("org.b.x", Some(6)),
            ("org.a.x", Some(1)),
        ] {
            assert_eq!(chosen(&mut registry, name), expected, "{name}");
        }
        // Without the prefixes the wildcards are asked.
        for at in [0, 1, 5] {
            let (matching, name) = patterns[at];
            let seat = at as u64 + 1;
            assert!(
                registry
                    .unregister(&procedure(matching, name), seat)
                    .is_some()
            );
        }
        for (name, expected) in [
            ("acme.a.x", None),
            ("org.b.x", None),
            ("org.a.x", Some(4)),
            ("b.a.x", Some(3)),
        ] {
            assert_eq!(chosen(&mut registry, name), expected, "{name}");
        }
    }

    #[test]
    fn the_table_shrinks() {
        let mut registry = registry();
        let name = |n: u64| procedure(Match::Exact, &format!("procedure.{n}"));
        let places: Vec<_> = (0..5000)
            .map(|n| {
                registry
                    .register(&name(n), Policy::Single, callee(n), 0)
                    .expect("free")
            })
            .collect();
        for (n, place) in (0..5000).zip(places) {
            assert_eq!(chosen(&mut registry, &name(n).name), Some(n));
            assert!(registry.unregister(&name(n), place.seat).is_some());
            assert_eq!(chosen(&mut registry, &name(n).name), None);
        }
        assert!(registry.exact.capacity() <= 2 * EXACT_KEPT);
    }

    /// The best of all patterns, by looking at each.
    fn best(patterns: &[(Match, String)], name: &str) -> Option<usize> {
        let matches = |&(_, (matching, pattern)): &(usize, &(Match, String))| match matching {
            Match::Exact => pattern == name,
            Match::Prefix => name.starts_with(pattern.as_str()),
            Match::Wildcard => {
                pattern.split('.').count() == name.split('.').count()
                    && pattern
                        .split('.')
                        .zip(name.split('.'))
                        .all(|(p, n)| if p.is_empty() { !n.is_empty() } else { p == n })
            }
        };
        let rank = |&(_, (matching, pattern)): &(usize, &(Match, String))| match matching {
            Match::Exact => (0, 0, vec![]),
            Match::Prefix => (1, usize::MAX - pattern.len(), vec![]),
            Match::Wildcard => (
                2,
                0,
                pattern.split('.').map(str::is_empty).collect::<Vec<_>>(),
            ),
        };
        let found = patterns.iter().enumerate().filter(matches);
        found.min_by_key(rank).map(|(at, _)| at)
    }

    fn names() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["", "a", "b", "ab", "é", "è"], 1..4)
            .prop_map(|c| c.join("."))
    }

    proptest! {
        #[test]
        fn the_best_match_is_chosen(
            patterns in proptest::collection::vec((0..3u8, names()), 0..24),
            calls in proptest::collection::vec(names(), 1..12),
            removed in proptest::collection::vec(any::<bool>(), 24),
        ) {
            let mut registry = registry();
            let mut kept = Vec::new();
            let mut places = Vec::new();
            for (matching, name) in patterns {
                let matching = [Match::Exact, Match::Prefix, Match::Wildcard][usize::from(matching)];
                let procedure = procedure(matching, &name);
                if let Ok(place) = registry.register(&procedure, Policy::Single, callee(kept.len() as u64), 0) {
                    kept.push((matching, name));
                    places.push((procedure, place.seat));
                }
            }
            for name in &calls {
                let expected = best(&kept, name).map(|at| at as u64);
                prop_assert_eq!(chosen(&mut registry, name), expected, "{}", name);
            }
            let mut left = Vec::new();
            for (at, (procedure, seat)) in places.iter().enumerate() {
                if removed[at] {
                    prop_assert!(registry.unregister(procedure, *seat).is_some());
                } else {
                    left.push((at as u64, kept[at].clone()));
                }
            }
            let patterns: Vec<_> = left.iter().map(|(_, pattern)| pattern.clone()).collect();
            for name in &calls {
                let expected = best(&patterns, name).map(|at| left[at].0);
                prop_assert_eq!(chosen(&mut registry, name), expected, "{}", name);
            }
        }
    }
}
