//! Arrangements of wildcards, and how many of them there may be: what bounds the look-ups.

use std::collections::BTreeMap;

use crate::patterns::pattern::{Level, PATTERN_LEVELS_MAX, Pattern, PatternKind};

/// Most arrangements of wildcards for one number of levels, without and with a tail each.
///
/// A name is looked up once for each arrangement that fits, so at most so often for each of its
/// levels. Four wildcards alone would not bound it: they stand at 35,960 places of 32.
pub const PATTERN_SHAPES_MAX: usize = 16;

/// Where a pattern has its wildcards: how many levels there are, which of them are wildcards, and
/// whether a tail follows. Those of fewer levels are less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    levels: u8,
    has_tail: bool,
    /// A bit for each level.
    wildcards: u32,
}

const _: () = assert!(PATTERN_LEVELS_MAX <= u32::BITS as usize);

impl Shape {
    pub(crate) fn of(pattern: Pattern<'_>) -> Shape {
        let mut shape = Shape {
            levels: 0,
            has_tail: false,
            wildcards: 0,
        };
        for level in pattern.levels() {
            if level == Level::Tail {
                shape.has_tail = true;
            } else {
                shape.wildcards |= u32::from(level == Level::One) << shape.levels;
                shape.levels += 1;
            }
        }
        shape
    }

    /// How many, without a tail.
    #[inline]
    pub(crate) fn levels(self) -> usize {
        usize::from(self.levels)
    }

    #[inline]
    pub(crate) fn has_tail(self) -> bool {
        self.has_tail
    }

    /// Whether one of the first levels is a wildcard.
    #[inline]
    pub(crate) fn has_wildcard_before(self, level: usize) -> bool {
        (self.wildcards.trailing_zeros() as usize) < level
    }

    /// The places of the wildcards.
    #[inline]
    pub(crate) fn wildcards(self) -> impl Iterator<Item = usize> {
        let mut rest = self.wildcards;
        std::iter::from_fn(move || {
            let place = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(place)
        })
    }

    /// All of it in a number.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        let has_tail = u64::from(self.has_tail);
        u64::from(self.wildcards) << 16 | u64::from(self.levels) << 1 | has_tail
    }
}

/// The arrangements of all patterns.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// How many patterns have each.
    counts: BTreeMap<(PatternKind, Shape), u32>,
}

impl Shapes {
    /// Whether a pattern can join.
    pub(crate) fn has_room(&self, pattern: Pattern<'_>) -> bool {
        let (kind, shape) = (pattern.kind(), Shape::of(pattern));
        if self.counts.contains_key(&(kind, shape)) {
            return true;
        }
        let least = Shape {
            wildcards: 0,
            ..shape
        };
        let most = Shape {
            wildcards: u32::MAX,
            ..shape
        };
        let alike = self.counts.range((kind, least)..=(kind, most));
        alike.count() < PATTERN_SHAPES_MAX
    }

    pub(crate) fn add(&mut self, pattern: Pattern<'_>) {
        let shape = (pattern.kind(), Shape::of(pattern));
        *self.counts.entry(shape).or_insert(0) += 1;
    }

    pub(crate) fn remove(&mut self, pattern: Pattern<'_>) {
        let shape = (pattern.kind(), Shape::of(pattern));
        let count = self.counts.get_mut(&shape).expect("it was added");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&shape);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern<'_> {
        Pattern::new(PatternKind::Levels, text, 255).expect("a pattern")
    }

    #[test]
    fn the_same_places_count_once() {
        let mut shapes = Shapes::default();
        let text = |bits: u32, literal: &str| {
            let levels = (0..5).map(|level| if bits >> level & 1 == 1 { "+" } else { literal });
            levels.collect::<Vec<_>>().join("/")
        };
        for bits in 0..15 {
            for literal in ["a", "b"] {
                let text = text(bits, literal);
                assert!(shapes.has_room(pattern(&text)), "{text}");
                shapes.add(pattern(&text));
            }
        }
        assert!(shapes.has_room(pattern("a/a/a/a/+")), "the sixteenth");
        shapes.add(pattern("a/a/a/a/+"));
        assert!(!shapes.has_room(pattern("+/a/a/a/+")), "the seventeenth");
        assert!(shapes.has_room(pattern("x/x/x/x/+")), "the same as another");
        assert!(shapes.has_room(pattern("+/a/a/a/+/#")), "one with a tail");
        assert!(shapes.has_room(pattern("+/a/a/a/+/a")), "one more level");
        shapes.remove(pattern("a/a/a/a/+"));
        assert!(shapes.has_room(pattern("+/a/a/a/+")));
    }

    #[test]
    fn a_shape_is_where_the_wildcards_are() {
        for (text, levels, has_tail, wildcards) in [
            ("#", 0, true, &[][..]),
            ("a/+/b/+/#", 4, true, &[1, 3]),
            ("+", 1, false, &[0]),
        ] {
            let shape = Shape::of(pattern(text));
            assert_eq!((shape.levels(), shape.has_tail()), (levels, has_tail));
            assert_eq!(shape.wildcards().collect::<Vec<_>>(), wildcards);
        }
        let shape = Shape::of(pattern("a/+"));
        assert!(!shape.has_wildcard_before(1) && shape.has_wildcard_before(2));
        assert!(!Shape::of(pattern("a")).has_wildcard_before(32));
    }
}
