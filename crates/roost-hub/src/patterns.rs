//! Subscriptions to patterns of names: which patterns there are, and which of them match a name.
//!
//! Literal subscriptions are hashed and know nothing of this: all of it stands behind one branch,
//! whether there is a pattern at all. `docs/decisions/0015-patterns-at-every-home.md` has the design.

mod cache;
mod home;
mod pattern;
mod prefixes;
mod shapes;
mod shards;
mod table;
mod tuple_space;
mod universal;
mod wanted;

pub(crate) use home::{HomePatterns, Matches};
pub(crate) use pattern::is_pattern;
pub use pattern::{
    PATTERN_LEVELS_MAX, PATTERN_WILDCARDS_MAX, Pattern, PatternError, PatternKind, PatternOptions,
};
pub use shapes::PATTERN_SHAPES_MAX;
pub(crate) use shapes::Shapes;
pub(crate) use table::PatternTable;
pub(crate) use wanted::PatternInterest;
