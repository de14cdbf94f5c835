//! Patterns by number, and which of them match a name.

use std::sync::Arc;

use crate::names::NameHasher;
use crate::patterns::pattern::{Guards, Pattern, PatternKind};
use crate::patterns::prefixes::Prefixes;
use crate::patterns::tuple_space::TupleSpace;
use crate::table::Table;

/// Patterns of all kinds, each with a record.
#[derive(Debug)]
pub(crate) struct PatternTable<T> {
    hasher: NameHasher,
    guards: Guards,
    records: Table<T>,
    /// Each is there while it has a pattern.
    prefixes: Option<Box<Prefixes>>,
    components: Option<Box<TupleSpace>>,
    tokens: Option<Box<TupleSpace>>,
    levels: Option<Box<TupleSpace>>,
    /// How many patterns each of the four has, in this order.
    counts: [usize; 4],
}

impl<T> PatternTable<T> {
    pub(crate) fn new(hasher: NameHasher, protected: Arc<[String]>) -> Self {
        PatternTable {
            hasher,
            guards: Guards::new(protected),
            records: Table::new(),
            prefixes: None,
            components: None,
            tokens: None,
            levels: None,
            counts: [0; 4],
        }
    }

    /// See [`super::HomePatterns::protect`].
    pub(crate) fn protect(&mut self, protected: Arc<[String]>) {
        self.guards = Guards::new(protected);
    }

    /// The number of a pattern.
    pub(crate) fn find(&self, pattern: Pattern<'_>) -> Option<u32> {
        match pattern.kind() {
            PatternKind::Prefix => self.prefixes.as_ref()?.find(pattern.text()),
            kind => self.space(kind).as_ref()?.find(pattern),
        }
    }

    /// Adds a pattern that is not there yet.
    pub(crate) fn insert(&mut self, pattern: Pattern<'_>, record: T) -> u32 {
        debug_assert_eq!(self.find(pattern), None, "a pattern is stored once");
        let number = self.records.insert(record);
        let (hasher, kind) = (self.hasher, pattern.kind());
        if kind == PatternKind::Prefix {
            let prefixes = self
                .prefixes
                .get_or_insert_with(|| Box::new(Prefixes::new(hasher)));
            prefixes.insert(pattern.text(), number);
        } else {
            let space = self.space_mut(kind);
            let space = space.get_or_insert_with(|| Box::new(TupleSpace::new(kind, hasher)));
            space.insert(pattern, number);
        }
        self.counts[place(kind)] += 1;
        number
    }

    /// Takes a pattern out.
    pub(crate) fn remove(&mut self, pattern: Pattern<'_>) -> Option<T> {
        let kind = pattern.kind();
        let number = match kind {
            PatternKind::Prefix => self.prefixes.as_mut()?.remove(pattern.text()),
            kind => self.space_mut(kind).as_mut()?.remove(pattern),
        }?;
        self.counts[place(kind)] -= 1;
        if self.counts[place(kind)] == 0 {
            match kind {
                PatternKind::Prefix => self.prefixes = None,
                kind => *self.space_mut(kind) = None,
            }
        }
        self.records.remove(number)
    }

    /// Replaces what is in `found` by the numbers of the patterns that match a name, ascending, each once. Returns
    /// the work: how often something was looked up.
    pub(crate) fn collect(&mut self, name: &str, found: &mut Vec<u32>) -> usize {
        found.clear();
        let guarded_bytes = self.guards.guarded_bytes(name);
        let mut steps = 0;
        // Most names match none: whether one can be named is asked of the others.
        if let Some(prefixes) = &self.prefixes {
            steps += prefixes.collect(name, guarded_bytes, found);
            if !found.is_empty() && !PatternKind::Prefix.can_name(name) {
                found.clear();
            }
        }
        for kind in LEVELLED {
            let before = found.len();
            if let Some(space) = self.space_mut(kind) {
                steps += space.collect(name, guarded_bytes, found);
                if found.len() > before && !kind.can_name(name) {
                    found.truncate(before);
                }
            }
        }
        found.sort_unstable();
        steps
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.records.get(number)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.records.get_mut(number)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.len() == 0
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = &T> {
        self.records.iter().map(|(_, record)| record)
    }

    /// All patterns, by kind, text and number.
    pub(crate) fn patterns(&self) -> Vec<(PatternKind, String, u32)> {
        let prefixes = self
            .prefixes
            .iter()
            .flat_map(|prefixes| prefixes.patterns());
        let prefixes = prefixes.map(|(text, number)| (PatternKind::Prefix, text, number));
        let spaces = LEVELLED.into_iter().flat_map(|kind| {
            let patterns = self.space(kind).iter().flat_map(|space| space.patterns());
            patterns.map(move |(text, number)| (kind, text, number))
        });
        prefixes.chain(spaces).collect()
    }

    /// Heap bytes, without what the records own.
    pub(crate) fn memory_bytes(&self) -> usize {
        let prefixes = self.prefixes.iter().map(|prefixes| prefixes.memory_bytes());
        let spaces = LEVELLED
            .into_iter()
            .filter_map(|kind| self.space(kind).as_ref());
        let spaces = spaces.map(|space| space.memory_bytes());
        prefixes.chain(spaces).sum::<usize>() + self.records.memory_bytes()
    }

    pub(crate) fn check_invariants(&self) {
        let counted: usize = self.counts.iter().sum();
        assert_eq!(counted, self.records.len(), "a record for each pattern");
        let patterns = self.patterns();
        assert_eq!(patterns.len(), self.records.len());
        for (kind, text, number) in &patterns {
            let pattern = Pattern::new(*kind, text, u32::MAX).expect("checked when it came");
            assert_eq!(self.find(pattern), Some(*number));
            assert!(self.records.get(*number).is_some());
        }
        if let Some(prefixes) = &self.prefixes {
            prefixes.check_invariants();
        }
        for space in LEVELLED
            .into_iter()
            .filter_map(|kind| self.space(kind).as_ref())
        {
            space.check_invariants();
        }
    }

    fn space(&self, kind: PatternKind) -> &Option<Box<TupleSpace>> {
        match kind {
            PatternKind::Components => &self.components,
            PatternKind::Tokens => &self.tokens,
            PatternKind::Levels => &self.levels,
            PatternKind::Prefix => unreachable!("a prefix has no levels"),
        }
    }

    fn space_mut(&mut self, kind: PatternKind) -> &mut Option<Box<TupleSpace>> {
        match kind {
            PatternKind::Components => &mut self.components,
            PatternKind::Tokens => &mut self.tokens,
            PatternKind::Levels => &mut self.levels,
            PatternKind::Prefix => unreachable!("a prefix has no levels"),
        }
    }
}

/// The kinds that have levels.
const LEVELLED: [PatternKind; 3] = [
    PatternKind::Components,
    PatternKind::Tokens,
    PatternKind::Levels,
];

fn place(kind: PatternKind) -> usize {
    usize::from(kind as u8 - 1)
}
