//! Many slots in little space, after the manner of Roaring bitmaps: a container for each 65,536
//! slots, which lists its slots while they are few (2 bytes each) and else has a bit for each
//! (8 KiB). No operation touches more than one container, so none takes longer than moving 8 KiB.

use std::slice;

/// A set of slots for hundreds to millions of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bitmap {
    len: usize,
    /// Ascending by `high`; none is empty.
    containers: Vec<Container>,
}

#[derive(Debug, Clone)]
struct Container {
    high: u16,
    lows: Lows,
}

#[derive(Debug, Clone)]
enum Lows {
    /// Ascending.
    List(Vec<u16>),
    Bits {
        words: Box<[u64; WORDS]>,
        len: u32,
    },
}

const _: () = assert!(size_of::<Container>() <= 32);

const WORDS: usize = 65_536 / 64;
/// Where a list is as large as the bits.
const LIST_MAX: usize = LIST_LEN_MAX as usize;
const LIST_LEN_MAX: u32 = 4096;
/// Where bits become a list again; below `LIST_MAX`, so that they do not alternate.
const LIST_AGAIN: usize = 3072;

impl Bitmap {
    /// Adds a slot; false if it was there.
    pub(crate) fn insert(&mut self, slot: u32) -> bool {
        let (high, low) = split(slot);
        let added = match self.find(high) {
            Ok(at) => self.containers[at].lows.insert(low),
            Err(at) => {
                let lows = Lows::List(vec![low]);
                // At most 65,536 containers, and slots are dense: sixteen hold a million.
                self.containers.insert(at, Container { high, lows });
                true
            }
        };
        self.len += usize::from(added);
        added
    }

    /// Takes a slot out; false if it was not there.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        let (high, low) = split(slot);
        let Ok(at) = self.find(high) else {
            return false;
        };
        let lows = &mut self.containers[at].lows;
        let removed = lows.remove(low);
        if lows.len() == 0 {
            self.containers.remove(at);
        }
        self.len -= usize::from(removed);
        removed
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        let (high, low) = split(slot);
        match self.find(high).map(|at| &self.containers[at].lows) {
            Ok(Lows::List(list)) => list.binary_search(&low).is_ok(),
            Ok(Lows::Bits { words, .. }) => words[word(low)] & bit(low) != 0,
            Err(_) => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slots at or above `first`, ascending.
    pub(crate) fn iter_from(&self, first: u32) -> BitmapIter<'_> {
        let (high, low) = split(first);
        let at = match self.find(high) {
            Ok(at) | Err(at) => at,
        };
        let mut containers = self.containers[at..].iter();
        let current = match containers.next() {
            Some(container) if container.high == high => Cursor::new(container, low),
            Some(container) => Cursor::new(container, 0),
            None => Cursor::end(),
        };
        BitmapIter {
            current,
            containers,
        }
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let lows: usize = self
            .containers
            .iter()
            .map(|container| match &container.lows {
                Lows::List(list) => list.capacity() * size_of::<u16>(),
                Lows::Bits { .. } => size_of::<[u64; WORDS]>(),
            })
            .sum();
        lows + self.containers.capacity() * size_of::<Container>()
    }

    pub(crate) fn check_invariants(&self) {
        let mut len = 0;
        for container in &self.containers {
            let counted = match &container.lows {
                Lows::List(list) => {
                    assert!(list.len() <= LIST_MAX, "a long list is bits");
                    list.len()
                }
                Lows::Bits { words, len } => {
                    assert!(*len as usize > LIST_AGAIN, "few bits are a list");
                    let bits: u32 = words.iter().map(|word| word.count_ones()).sum();
                    assert_eq!(bits, *len, "the bits are counted");
                    bits as usize
                }
            };
            assert!(counted > 0, "no container is empty");
            len += counted;
        }
        assert_eq!(len, self.len, "the slots are counted");
        let ascending = self.containers.is_sorted_by(|a, b| a.high < b.high);
        assert!(ascending, "containers ascend");
    }

    fn find(&self, high: u16) -> Result<usize, usize> {
        self.containers
            .binary_search_by_key(&high, |container| container.high)
    }
}

impl FromIterator<u32> for Bitmap {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut bitmap = Bitmap::default();
        for slot in slots {
            bitmap.insert(slot);
        }
        bitmap
    }
}

impl Lows {
    fn len(&self) -> usize {
        match self {
            Lows::List(list) => list.len(),
            Lows::Bits { len, .. } => *len as usize,
        }
    }

    fn insert(&mut self, low: u16) -> bool {
        match self {
            Lows::List(list) => {
                let Err(at) = list.binary_search(&low) else {
                    return false;
                };
                if list.len() < LIST_MAX {
                    if list.len() == list.capacity() {
                        // An eighth more: doubling would leave up to 2 bytes a slot unused.
                        list.reserve_exact((list.len() / 8).max(4));
                    }
                    list.insert(at, low);
                    return true;
                }
                let mut words = Box::new([0; WORDS]);
                for &low in list.iter().chain([&low]) {
                    words[word(low)] |= bit(low);
                }
                *self = Lows::Bits {
                    words,
                    len: LIST_LEN_MAX + 1,
                };
                true
            }
            Lows::Bits { words, len } => {
                let word = &mut words[word(low)];
                let added = *word & bit(low) == 0;
                *word |= bit(low);
                *len += u32::from(added);
                added
            }
        }
    }

    fn remove(&mut self, low: u16) -> bool {
        match self {
            Lows::List(list) => {
                let Ok(at) = list.binary_search(&low) else {
                    return false;
                };
                list.remove(at);
                if list.capacity() > list.len() * 2 + 8 {
                    list.shrink_to(list.len() + 4);
                }
                true
            }
            Lows::Bits { words, len } => {
                if words[word(low)] & bit(low) == 0 {
                    return false;
                }
                words[word(low)] &= !bit(low);
                *len -= 1;
                if *len as usize == LIST_AGAIN {
                    let mut list = Vec::with_capacity(LIST_AGAIN);
                    list.extend(Bits::new(words, 0));
                    *self = Lows::List(list);
                }
                true
            }
        }
    }
}

/// Walks a [`Bitmap`] in ascending order.
#[derive(Debug, Clone)]
pub(crate) struct BitmapIter<'a> {
    current: Cursor<'a>,
    containers: slice::Iter<'a, Container>,
}

impl Iterator for BitmapIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            if let Some(low) = self.current.lows.next() {
                return Some(self.current.high << 16 | u32::from(low));
            }
            self.current = Cursor::new(self.containers.next()?, 0);
        }
    }
}

#[derive(Debug, Clone)]
struct Cursor<'a> {
    high: u32,
    lows: LowsIter<'a>,
}

#[derive(Debug, Clone)]
enum LowsIter<'a> {
    List(slice::Iter<'a, u16>),
    Bits(Bits<'a>),
}

impl<'a> Cursor<'a> {
    fn end() -> Self {
        Cursor {
            high: 0,
            lows: LowsIter::List([].iter()),
        }
    }

    fn new(container: &'a Container, first: u16) -> Self {
        let lows = match &container.lows {
            Lows::List(list) => {
                let at = list.partition_point(|&low| low < first);
                LowsIter::List(list[at..].iter())
            }
            Lows::Bits { words, .. } => LowsIter::Bits(Bits::new(words, first)),
        };
        Cursor {
            high: u32::from(container.high),
            lows,
        }
    }
}

impl Iterator for LowsIter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            LowsIter::List(lows) => lows.next().copied(),
            LowsIter::Bits(lows) => lows.next(),
        }
    }
}

/// Walks the set bits of a container.
#[derive(Debug, Clone)]
struct Bits<'a> {
    words: &'a [u64; WORDS],
    /// The word walked now.
    at: usize,
    /// Its bits that are still to come.
    rest: u64,
}

impl<'a> Bits<'a> {
    fn new(words: &'a [u64; WORDS], first: u16) -> Self {
        let at = word(first);
        let rest = words[at] & (u64::MAX << (first % 64));
        Bits { words, at, rest }
    }
}

impl Iterator for Bits<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.rest == 0 {
            self.at += 1;
            self.rest = *self.words.get(self.at)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the words hold 2^16 bits")]
        let low = (self.at * 64 + self.rest.trailing_zeros() as usize) as u16;
        self.rest &= self.rest - 1;
        Some(low)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves")]
fn split(slot: u32) -> (u16, u16) {
    ((slot >> 16) as u16, slot as u16)
}

fn word(low: u16) -> usize {
    usize::from(low) / 64
}

fn bit(low: u16) -> u64 {
    1 << (low % 64)
}
