//! Patterns that match what begins with them: one look-up for each length there is.

use std::collections::BTreeMap;

use crate::names::{Name, NameHash, NameHasher};
use crate::patterns::shards::Shards;

/// All prefixes.
///
/// They are hashed by a polynomial at a secret point, whose value for each beginning of a name comes
/// out of one pass over its bytes.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// Where the polynomial is evaluated, below [`PRIME`].
    point: u64,
    entries: Shards<Entry>,
    /// How many have so many bytes.
    lengths: BTreeMap<usize, u32>,
}

#[derive(Debug)]
struct Entry {
    text: Name,
    hash: u64,
    number: u32,
}

/// 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

impl Prefixes {
    pub(crate) fn new(hasher: NameHasher) -> Self {
        Prefixes {
            point: hasher.prefix_point() % PRIME,
            entries: Shards::new(),
            lengths: BTreeMap::new(),
        }
    }

    /// Adds a prefix that is not there yet.
    pub(crate) fn insert(&mut self, text: &str, number: u32) {
        let hash = self.hash(text);
        let entry = Entry {
            text: Name::from(text),
            hash,
            number,
        };
        self.entries
            .insert(spread(hash), entry, |one| spread(one.hash));
        *self.lengths.entry(text.len()).or_insert(0) += 1;
    }

    /// The number of a prefix.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.find_hashed(self.hash(text), text)
    }

    pub(crate) fn remove(&mut self, text: &str) -> Option<u32> {
        let hash = spread(self.hash(text));
        let is_it = |one: &Entry| one.text == text;
        let entry = self.entries.remove(hash, is_it, |one| spread(one.hash))?;
        let count = self.lengths.get_mut(&text.len()).expect("it is counted");
        *count -= 1;
        if *count == 0 {
            self.lengths.remove(&text.len());
        }
        Some(entry.number)
    }

    /// Adds the numbers of those that a name begins with and that have `guarded_bytes` at least.
    /// Returns how many were looked up.
    pub(crate) fn collect(&self, name: &str, guarded_bytes: usize, found: &mut Vec<u32>) -> usize {
        let (mut steps, mut hash, mut at) = (0, 0, 0);
        for &len in self.lengths.keys().take_while(|&&len| len <= name.len()) {
            for &byte in &name.as_bytes()[at..len] {
                hash = self.advance(hash, byte);
            }
            at = len;
            if len >= guarded_bytes
                && let Some(beginning) = name.get(..len)
            {
                found.extend(self.find_hashed(hash, beginning));
                steps += 1;
            }
        }
        steps
    }

    /// All, with their numbers.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (String, u32)> {
        let entries = self.entries.iter();
        entries.map(|one| (one.text.as_str().to_owned(), one.number))
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let texts = self.entries.iter().map(|one| one.text.len());
        let texts: usize = texts.filter(|&len| len > 15).map(|len| len + 16).sum();
        texts + self.entries.memory_bytes() + self.lengths.len() * size_of::<(usize, u32)>() * 4 / 3
    }

    pub(crate) fn check_invariants(&self) {
        let counted: u32 = self.lengths.values().sum();
        assert_eq!(counted as usize, self.entries.iter().count());
        for one in self.entries.iter() {
            assert_eq!(self.find(&one.text), Some(one.number));
        }
    }

    fn find_hashed(&self, hash: u64, text: &str) -> Option<u32> {
        let entry = self.entries.find(spread(hash), |one| one.text == text)?;
        Some(entry.number)
    }

    fn hash(&self, text: &str) -> u64 {
        text.bytes().fold(0, |hash, byte| self.advance(hash, byte))
    }

    /// Horner's rule, modulo [`PRIME`].
    #[expect(clippy::cast_possible_truncation, reason = "cut at 61 bits")]
    fn advance(&self, hash: u64, byte: u8) -> u64 {
        let sum = u128::from(hash) * u128::from(self.point) + u128::from(byte) + 1;
        let folded = (sum as u64 & PRIME) + (sum >> 61) as u64;
        if folded >= PRIME {
            folded - PRIME
        } else {
            folded
        }
    }
}

/// The polynomial's value for a hash table, which looks at few of its bits.
fn spread(hash: u64) -> NameHash {
    NameHash::of_bits(hash)
}
