//! How many arrangements of wildcards there are: what bounds the walk.

use std::collections::HashMap;

use crate::patterns::pattern::{Level, PATTERN_LEVELS_MAX, Pattern, PatternKind};

/// Most arrangements of wildcards for one depth. Two patterns have the same down to a depth if they have their
/// wildcards at the same levels so far, whatever the other levels are.
///
/// A name leads to one node of a depth for each arrangement, so a walk visits at most so many nodes
/// for each of its levels. Four wildcards alone would not bound it: they stand at 35,960 places of
/// 32.
pub const PATTERN_SHAPES_MAX: usize = 16;

/// The arrangements of all patterns.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// How many patterns have one: by kind, depth, and a bit for each level above it that is a
    /// wildcard.
    counts: HashMap<(PatternKind, u8, u32), u32>,
}

impl Shapes {
    /// Whether a pattern can join.
    pub(crate) fn has_room(&self, pattern: Pattern<'_>) -> bool {
        shapes(pattern).all(|shape| {
            let (kind, depth, _) = shape;
            self.counts.contains_key(&shape) || self.len(kind, depth) < PATTERN_SHAPES_MAX
        })
    }

    pub(crate) fn add(&mut self, pattern: Pattern<'_>) {
        for shape in shapes(pattern) {
            *self.counts.entry(shape).or_insert(0) += 1;
        }
    }

    pub(crate) fn remove(&mut self, pattern: Pattern<'_>) {
        for shape in shapes(pattern) {
            let count = self.counts.get_mut(&shape).expect("it was added");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&shape);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many there are of one depth. Looks at all: at most 1,536, when a pattern is new.
    fn len(&self, kind: PatternKind, depth: u8) -> usize {
        let of_depth = |shape: &&(PatternKind, u8, u32)| (shape.0, shape.1) == (kind, depth);
        self.counts.keys().filter(of_depth).count()
    }
}

/// A pattern's arrangement down to each of its levels.
fn shapes(pattern: Pattern<'_>) -> impl Iterator<Item = (PatternKind, u8, u32)> {
    let levels = pattern.levels().filter(|&level| level != Level::Tail);
    levels.zip(0..).scan(0, move |wildcards, (level, depth)| {
        *wildcards |= u32::from(level == Level::One) << depth;
        Some((pattern.kind(), depth, *wildcards))
    })
}

const _: () = assert!(PATTERN_LEVELS_MAX <= u32::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_places_count_once() {
        fn pattern(text: &str) -> Pattern<'_> {
            Pattern::new(PatternKind::Levels, text, 255).expect("a pattern")
        }
        let mut shapes = Shapes::default();
        // Two levels in four arrangements, three in eight, four in sixteen.
        for bits in 0..16u32 {
            let levels = (0..4).map(|level| if bits >> level & 1 == 1 { "+" } else { "a" });
            let text = levels.collect::<Vec<_>>().join("/");
            assert!(shapes.has_room(pattern(&text)));
            shapes.add(pattern(&text));
        }
        assert!(shapes.has_room(pattern("x/+/y/#")) && shapes.has_room(pattern("+/+/+/+/b")));
        for level in 0..16 {
            let text = format!("{}+", "a/".repeat(level + 4));
            let has_room = shapes.has_room(pattern(&text));
            assert!(
                has_room,
                "{text}: one at this depth, and none that is new above"
            );
        }
        for bits in 0..15u32 {
            let levels = (0..4).map(|level| if bits >> level & 1 == 1 { "+" } else { "b" });
            let text = levels.collect::<Vec<_>>().join("/") + "/c";
            assert!(shapes.has_room(pattern(&text)), "{text}");
            shapes.add(pattern(&text));
        }
        assert!(
            shapes.has_room(pattern("a/a/a/a/+")),
            "the sixteenth of its depth"
        );
        shapes.add(pattern("a/a/a/a/+"));
        assert!(!shapes.has_room(pattern("+/a/a/a/+")), "the seventeenth");
        assert!(shapes.has_room(pattern("x/x/x/x/+")), "the same as another");
        shapes.remove(pattern("a/a/a/a/+"));
        assert!(shapes.has_room(pattern("+/a/a/a/+")));
    }
}
