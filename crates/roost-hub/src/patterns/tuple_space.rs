//! Patterns of levels, found by tuple space search: all that have their wildcards at the same levels
//! stand in a hash table by the levels that are left, and a name is looked up once for each
//! arrangement that could match it.

use crate::names::{Name, NameHash, NameHasher};
use crate::patterns::pattern::{Level, PATTERN_LEVELS_MAX, Pattern, PatternKind};
use crate::patterns::shapes::Shape;
use crate::patterns::shards::Shards;
use crate::patterns::universal;

/// All patterns of one kind that has levels.
///
/// A pattern's hash is the sum of what its literal levels contribute, each times a secret number of
/// its place. So that of a name for any arrangement is the sum over its first levels less those under
/// a wildcard, of which there are [`PATTERN_WILDCARDS_MAX`](super::PATTERN_WILDCARDS_MAX) at most.
#[derive(Debug)]
pub(crate) struct TupleSpace {
    kind: PatternKind,
    keys: Keys,
    /// The arrangements there are, those of fewer levels first.
    tuples: Vec<Tuple>,
    entries: Shards<Entry>,
    /// Of the name that is looked up.
    name: Parts,
}

/// Secret numbers.
#[derive(Debug)]
struct Keys {
    /// Where a level's polynomial is evaluated.
    point: u64,
    /// By place.
    levels: [u64; PATTERN_LEVELS_MAX],
}

/// An arrangement that some patterns have.
#[derive(Debug)]
struct Tuple {
    shape: Shape,
    /// How many have it.
    patterns: u32,
}

#[derive(Debug)]
struct Entry {
    text: Name,
    sum: u64,
    number: u32,
}

const _: () = assert!(size_of::<Entry>() <= 32);

/// A name, cut into levels.
#[derive(Debug)]
struct Parts {
    /// How many levels; one more than there can be stands for any number that is too high.
    levels: usize,
    /// Where each begins; behind them, where the next would.
    begins: [usize; PATTERN_LEVELS_MAX + 2],
    /// What each contributes, and the sum of all before it; for the first `hashed` of them.
    terms: [u64; PATTERN_LEVELS_MAX],
    sums: [u64; PATTERN_LEVELS_MAX + 1],
    hashed: usize,
}

impl TupleSpace {
    pub(crate) fn new(kind: PatternKind, hasher: NameHasher) -> Self {
        let secret = |number: usize| {
            let number = u8::try_from(number).expect("fewer than 256 levels");
            universal::point(hasher.pattern_secret(number))
        };
        TupleSpace {
            kind,
            keys: Keys {
                point: secret(0),
                levels: std::array::from_fn(|level| secret(1 + level)),
            },
            tuples: Vec::new(),
            entries: Shards::new(),
            name: Parts::new(),
        }
    }

    /// Adds a pattern that is not there yet.
    pub(crate) fn insert(&mut self, pattern: Pattern<'_>, number: u32) {
        let (shape, sum) = self.keys.hash(pattern);
        let entry = Entry {
            text: Name::from(pattern.text()),
            sum,
            number,
        };
        let rehash = rehash(self.kind);
        self.entries.insert(bucket(shape, sum), entry, rehash);
        match self
            .tuples
            .binary_search_by_key(&shape, |tuple| tuple.shape)
        {
            Ok(at) => self.tuples[at].patterns += 1,
            Err(at) => self.tuples.insert(at, Tuple { shape, patterns: 1 }),
        }
    }

    /// The number of a pattern.
    pub(crate) fn find(&self, pattern: Pattern<'_>) -> Option<u32> {
        let (shape, sum) = self.keys.hash(pattern);
        let is_it = |entry: &Entry| entry.sum == sum && entry.text == pattern.text();
        let entry = self.entries.find(bucket(shape, sum), is_it)?;
        Some(entry.number)
    }

    /// Takes a pattern out.
    pub(crate) fn remove(&mut self, pattern: Pattern<'_>) -> Option<u32> {
        let (shape, sum) = self.keys.hash(pattern);
        let is_it = |entry: &Entry| entry.sum == sum && entry.text == pattern.text();
        let rehash = rehash(self.kind);
        let entry = self.entries.remove(bucket(shape, sum), is_it, rehash)?;
        let at = self
            .tuples
            .binary_search_by_key(&shape, |tuple| tuple.shape);
        let at = at.expect("each pattern's arrangement is counted");
        self.tuples[at].patterns -= 1;
        if self.tuples[at].patterns == 0 {
            self.tuples.remove(at);
        }
        Some(entry.number)
    }

    /// Adds the numbers of the patterns that match a name, each once. No wildcard matches a level that
    /// begins within the first `guarded_bytes`. Returns how many look-ups it took.
    ///
    /// One for each arrangement that fits: see [`PATTERN_SHAPES_MAX`](super::PATTERN_SHAPES_MAX).
    pub(crate) fn collect(
        &mut self,
        name: &str,
        guarded_bytes: usize,
        found: &mut Vec<u32>,
    ) -> usize {
        let parts = &mut self.name;
        parts.cut(name, self.kind.separator().expect("there are levels"));
        let guarded_levels = parts.count_before(guarded_bytes);
        let levels_beyond = usize::from(!self.kind.tail_may_be_empty());
        let mut steps = 0;
        for Tuple { shape, .. } in &self.tuples {
            let levels = shape.levels();
            if levels > parts.levels {
                break; // as all that follow
            }
            let fits = if shape.has_tail() {
                levels + levels_beyond <= parts.levels && levels >= guarded_levels
            } else {
                levels == parts.levels
            };
            if !fits || shape.has_wildcard_before(guarded_levels) {
                continue;
            }
            steps += 1;
            let sum = parts.sum(name, *shape, &self.keys);
            let is_it = |entry: &Entry| {
                entry.sum == sum && parts.match_levels(name, entry.pattern(self.kind), *shape)
            };
            let entry = self.entries.find(bucket(*shape, sum), is_it);
            found.extend(entry.map(|entry| entry.number));
        }
        steps
    }

    /// All patterns, with their numbers.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (String, u32)> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.text.as_str().to_owned(), entry.number))
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let texts = self.entries.iter().map(|entry| entry.text.len());
        let texts: usize = texts.filter(|&len| len > 15).map(|len| len + 16).sum();
        texts + self.entries.memory_bytes() + self.tuples.capacity() * size_of::<Tuple>()
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.tuples.is_sorted_by(|a, b| a.shape < b.shape));
        let mut counted = 0;
        for tuple in &self.tuples {
            assert!(tuple.patterns > 0, "an arrangement is some pattern's");
            counted += tuple.patterns as usize;
        }
        assert_eq!(counted, self.entries.iter().count());
        for entry in self.entries.iter() {
            let pattern = entry.pattern(self.kind);
            assert_eq!(self.find(pattern), Some(entry.number));
            assert_eq!(self.keys.hash(pattern).1, entry.sum);
        }
    }
}

impl Keys {
    /// A pattern's arrangement, and the sum of its literal levels.
    fn hash(&self, pattern: Pattern<'_>) -> (Shape, u64) {
        let mut sum = 0;
        for (level, key) in pattern.levels().zip(self.levels.iter().chain([&0])) {
            if let Level::Literal(text) = level {
                let range = (0, text.len());
                sum = universal::add(sum, self.term(text.as_bytes(), range, *key));
            }
        }
        (Shape::of(pattern), sum)
    }

    /// What a level contributes. The empty one contributes 1 times its key, which no word is.
    #[inline]
    fn term(&self, text: &[u8], range: (usize, usize), key: u64) -> u64 {
        let hash = universal::hash(text, range, self.point);
        universal::multiply(hash.max(1), key)
    }
}

impl Entry {
    fn pattern(&self, kind: PatternKind) -> Pattern<'_> {
        Pattern::stored(kind, &self.text)
    }
}

impl Parts {
    fn new() -> Parts {
        Parts {
            levels: 0,
            begins: [0; PATTERN_LEVELS_MAX + 2],
            terms: [0; PATTERN_LEVELS_MAX],
            sums: [0; PATTERN_LEVELS_MAX + 1],
            hashed: 0,
        }
    }

    /// Finds a name's levels, up to one more than a pattern has.
    fn cut(&mut self, name: &str, separator: char) {
        let name = name.as_bytes();
        let everywhere = u64::from(separator as u32) * EACH_BYTE;
        self.hashed = 0;
        let (mut levels, mut at) = (0, 0);
        while at < name.len() && levels <= PATTERN_LEVELS_MAX {
            // A byte is 0 where a separator stands; then only its highest bit is set.
            let differs = universal::eight_bytes(name, at) ^ everywhere;
            let low = (differs & !HIGHEST_BITS) + !HIGHEST_BITS;
            let mut hits = !(low | differs | !HIGHEST_BITS);
            while hits != 0 && levels <= PATTERN_LEVELS_MAX {
                levels += 1;
                self.begins[levels] = at + hits.trailing_zeros() as usize / 8 + 1;
                hits &= hits - 1;
            }
            at += 8;
        }
        if levels <= PATTERN_LEVELS_MAX {
            levels += 1;
            self.begins[levels] = name.len() + 1;
        }
        self.levels = levels;
    }

    /// How many levels begin within the first bytes, of those that a pattern can have.
    fn count_before(&self, bytes: usize) -> usize {
        if bytes == 0 {
            return 0;
        }
        let begins = self.begins[..self.levels].iter();
        begins.take_while(|&&begin| begin < bytes).count()
    }

    /// The sum that a pattern of this arrangement has if it matches.
    #[inline]
    fn sum(&mut self, name: &str, shape: Shape, keys: &Keys) -> u64 {
        let levels = shape.levels();
        while self.hashed < levels {
            let level = self.hashed;
            let range = (self.begins[level], self.begins[level + 1] - 1);
            let term = keys.term(name.as_bytes(), range, keys.levels[level]);
            self.terms[level] = term;
            self.sums[level + 1] = universal::add(self.sums[level], term);
            self.hashed += 1;
        }
        let wildcards = shape.wildcards();
        wildcards.fold(self.sums[levels], |sum, level| {
            universal::subtract(sum, self.terms[level])
        })
    }

    /// Whether a pattern has this arrangement, and the name's levels at all other places.
    fn match_levels(&self, name: &str, pattern: Pattern<'_>, shape: Shape) -> bool {
        let literal = |(level, place): (Level<'_>, usize)| match level {
            Level::Literal(text) => {
                let range = self.begins[place]..self.begins[place + 1] - 1;
                name.as_bytes()[range] == *text.as_bytes()
            }
            Level::One | Level::Tail => true,
        };
        Shape::of(pattern) == shape && pattern.levels().zip(0..).all(literal)
    }
}

/// Where the patterns of an arrangement and a sum stand.
#[inline]
fn bucket(shape: Shape, sum: u64) -> NameHash {
    NameHash::of_bits(sum ^ shape.bits())
}

/// What the table of entries asks for when a shard changes its size.
fn rehash(kind: PatternKind) -> impl Fn(&Entry) -> NameHash {
    move |entry| bucket(Shape::of(entry.pattern(kind)), entry.sum)
}

/// 1 in each byte.
const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
const HIGHEST_BITS: u64 = 0x80 * EACH_BYTE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_at_each_separator() {
        let mut parts = Parts::new();
        for name in [
            "",
            ".",
            "a",
            "com.example.room.000123",
            "...........",
            "a./b/.c",
            "abcdefg.hijklmno.p",
            "é.ü.\u{2e2e}.x",
        ] {
            for separator in ['.', '/'] {
                parts.cut(name, separator);
                let levels: Vec<&str> = name.split(separator).collect();
                assert_eq!(parts.levels, levels.len(), "{name:?}");
                for (level, text) in levels.into_iter().enumerate() {
                    let range = parts.begins[level]..parts.begins[level + 1] - 1;
                    assert_eq!(&name[range], text, "{name:?}");
                }
            }
        }
        for levels in 30..70 {
            parts.cut(&vec!["ab"; levels].join("."), '.');
            assert_eq!(parts.levels, levels.min(PATTERN_LEVELS_MAX + 1));
            assert_eq!(parts.begins[parts.levels], 3 * parts.levels);
        }
    }
}
