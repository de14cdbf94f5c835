//! Patterns that match what begins with them: one look-up for each length there is.

use crate::names::{Name, NameHash, NameHasher};
use crate::patterns::shards::Shards;
use crate::patterns::universal::{self, WORD_BYTES};

/// All prefixes.
///
/// The hash of each beginning of a name comes out of one pass over its words.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// A secret number: where the polynomial is evaluated.
    point: u64,
    entries: Shards<Entry>,
    /// Which lengths there are, ascending, and how many have each.
    lengths: Vec<(usize, u32)>,
}

#[derive(Debug)]
struct Entry {
    text: Name,
    hash: u64,
    number: u32,
}

impl Prefixes {
    pub(crate) fn new(hasher: NameHasher) -> Self {
        Prefixes {
            point: universal::point(hasher.pattern_secret(0)),
            entries: Shards::new(),
            lengths: Vec::new(),
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
            .insert(bucket(hash), entry, |one| bucket(one.hash));
        let lengths = &mut self.lengths;
        match lengths.binary_search_by_key(&text.len(), |&(len, _)| len) {
            Ok(at) => lengths[at].1 += 1,
            Err(at) => lengths.insert(at, (text.len(), 1)),
        }
    }

    /// The number of a prefix.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.find_hashed(self.hash(text), text)
    }

    pub(crate) fn remove(&mut self, text: &str) -> Option<u32> {
        let hash = bucket(self.hash(text));
        let is_it = |one: &Entry| one.text == text;
        let entry = self.entries.remove(hash, is_it, |one| bucket(one.hash))?;
        let lengths = &mut self.lengths;
        let at = lengths.binary_search_by_key(&text.len(), |&(len, _)| len);
        let at = at.expect("each prefix's length is counted");
        lengths[at].1 -= 1;
        if lengths[at].1 == 0 {
            lengths.remove(at);
        }
        Some(entry.number)
    }

    /// Adds the numbers of those that a name begins with and that have `guarded_bytes` at least.
    /// Returns how many were looked up.
    pub(crate) fn collect(&self, name: &str, guarded_bytes: usize, found: &mut Vec<u32>) -> usize {
        // Of the whole words so far.
        let (mut steps, mut running, mut at) = (0, 0, 0);
        for &(len, _) in &self.lengths {
            if len > name.len() {
                break;
            }
            while at + WORD_BYTES <= len {
                let word = universal::word(name.as_bytes(), at, WORD_BYTES);
                running = universal::append(running, word, self.point);
                at += WORD_BYTES;
            }
            if len >= guarded_bytes
                && let Some(beginning) = name.get(..len)
            {
                let mut whole = running;
                if at < len {
                    let word = universal::word(name.as_bytes(), at, len - at);
                    whole = universal::append(running, word, self.point);
                }
                found.extend(self.find_hashed(universal::finish(whole), beginning));
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
        let lengths = self.lengths.capacity() * size_of::<(usize, u32)>();
        texts + self.entries.memory_bytes() + lengths
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.lengths.is_sorted_by(|a, b| a.0 < b.0));
        let counted: u32 = self.lengths.iter().map(|&(_, count)| count).sum();
        assert_eq!(counted as usize, self.entries.iter().count());
        for one in self.entries.iter() {
            assert_eq!(self.find(&one.text), Some(one.number));
        }
    }

    fn find_hashed(&self, hash: u64, text: &str) -> Option<u32> {
        let is_it = |one: &Entry| one.hash == hash && one.text == text;
        let entry = self.entries.find(bucket(hash), is_it)?;
        Some(entry.number)
    }

    fn hash(&self, text: &str) -> u64 {
        universal::hash(text.as_bytes(), (0, text.len()), self.point)
    }
}

/// The polynomial's value for a hash table, which looks at few of its bits.
fn bucket(hash: u64) -> NameHash {
    NameHash::of_bits(hash)
}
