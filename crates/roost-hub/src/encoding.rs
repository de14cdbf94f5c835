//! Encodings, and sets of them.

/// How many encodings a hub can tell apart: forms of dialects, each in the framings that it has.
pub const ENCODINGS_MAX: usize = 64;

/// A form in which dialects write deliveries, in one framing; below [`ENCODINGS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encoding(pub u8);

/// A set of encodings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct EncodingSet(u64);

const _: () = assert!(ENCODINGS_MAX == u64::BITS as usize);

impl EncodingSet {
    /// No encoding.
    pub const EMPTY: EncodingSet = EncodingSet(0);

    /// One encoding alone.
    ///
    /// # Panics
    /// In debug builds, when it is not below [`ENCODINGS_MAX`].
    pub fn of(encoding: Encoding) -> EncodingSet {
        debug_assert!(
            usize::from(encoding.0) < ENCODINGS_MAX,
            "an encoding is below ENCODINGS_MAX"
        );
        EncodingSet(1 << encoding.0)
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: EncodingSet) -> EncodingSet {
        EncodingSet(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(self, other: EncodingSet) -> EncodingSet {
        EncodingSet(self.0 & other.0)
    }

    /// Whether an encoding is in it.
    pub fn contains(self, encoding: Encoding) -> bool {
        self.0 & EncodingSet::of(encoding).0 != 0
    }

    /// Whether all of it is in `other`.
    pub fn is_subset(self, other: EncodingSet) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The encoding, if there is exactly one.
    #[expect(clippy::cast_possible_truncation, reason = "the number of a bit")]
    pub fn only(self) -> Option<Encoding> {
        self.0
            .is_power_of_two()
            .then(|| Encoding(self.0.trailing_zeros() as u8))
    }

    /// All, in ascending order.
    #[expect(clippy::cast_possible_truncation, reason = "the number of a bit")]
    pub fn iter(self) -> impl Iterator<Item = Encoding> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let first = (rest != 0).then(|| Encoding(rest.trailing_zeros() as u8))?;
            rest &= rest - 1;
            Some(first)
        })
    }
}

impl FromIterator<Encoding> for EncodingSet {
    fn from_iter<I: IntoIterator<Item = Encoding>>(encodings: I) -> EncodingSet {
        let sets = encodings.into_iter().map(EncodingSet::of);
        sets.fold(EncodingSet::EMPTY, EncodingSet::union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_first_and_the_last_encoding() {
        let [first, other, last] = [0, 7, ENCODINGS_MAX as u8 - 1].map(Encoding);
        let set = EncodingSet::from_iter([last, first, last]);
        assert!(set.contains(first) && set.contains(last) && !set.contains(other));
        assert_eq!(set.iter().collect::<Vec<_>>(), [first, last]);
        assert_eq!((set.len(), set.only()), (2, None));
        assert_eq!(EncodingSet::of(last).only(), Some(last));
        assert_eq!(EncodingSet::EMPTY.only(), None);
        assert!(EncodingSet::EMPTY.is_empty() && !set.is_empty());
        assert!(EncodingSet::of(last).is_subset(set) && !set.is_subset(EncodingSet::of(last)));
        let both = set.union(EncodingSet::of(other));
        assert_eq!(both.len(), 3);
        assert_eq!(both.intersection(set), set);
    }
}
