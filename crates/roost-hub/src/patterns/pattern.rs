//! A pattern: its text, what it means, and the bounds it keeps.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::names::Name;

/// How a pattern's text is read. Each dialect reads names by its own separator: `a/b` is one
/// component and two levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PatternKind {
    /// Matches names that begin with the text (WAMP, `match` = `prefix`).
    Prefix = 1,
    /// Components between dots; an empty one matches any one component (WAMP, `match` =
    /// `wildcard`).
    Components = 2,
    /// Tokens between dots; `*` matches any one, `>` at the end one or more (NATS).
    Tokens = 3,
    /// Levels between slashes; `+` matches any one, `#` at the end any number, none included
    /// (MQTT).
    Levels = 4,
}

/// A pattern that keeps the bounds. Two are the same if kind and text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern<'a> {
    kind: PatternKind,
    text: &'a str,
}

/// Most levels of a pattern.
pub const PATTERN_LEVELS_MAX: usize = 32;

/// Most levels of a pattern that match any one level. One at the end that matches several does not
/// count.
pub const PATTERN_WILDCARDS_MAX: usize = 4;

/// How a hub is set up to hold patterns.
#[derive(Debug, Clone, Default)]
pub struct PatternOptions {
    /// Patterns in all, each counted once for each reactor with subscribers to it; 0 is none. The
    /// same for all hubs.
    pub patterns_max: u32,
    /// Beginnings of names that are not matched by a wildcard in their place, beside
    /// `$` and `wamp.`; the same for all hubs.
    pub protected: Arc<[String]>,
}

/// Names that begin so belong to a protocol: `$SYS/`, `wamp.session.on_join`. Those with a control
/// character are the process's own: no pattern has one, so none matches them.
const RESERVED: [&str; 3] = ["$", "$\u{7f}", "wamp."];

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// More bytes than a name may have.
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// A control character, which no name has.
    Control,
    /// More levels than [`PATTERN_LEVELS_MAX`].
    Levels,
    /// More wildcards than [`PATTERN_WILDCARDS_MAX`].
    Wildcards,
    /// A wildcard that is not a level of its own, or one that matches several and is not the last.
    Misplaced,
    /// An empty text or token, where there must be one.
    Empty,
}

/// One level of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level<'a> {
    /// This text.
    Literal(&'a str),
    /// Any text.
    One,
    /// All that follows.
    Tail,
}

impl PatternKind {
    /// What stands between two levels; none of a prefix.
    pub(crate) fn separator(self) -> Option<char> {
        match self {
            PatternKind::Prefix => None,
            PatternKind::Components | PatternKind::Tokens => Some('.'),
            PatternKind::Levels => Some('/'),
        }
    }

    /// Whether a tail also matches where nothing follows.
    pub(crate) fn tail_may_be_empty(self) -> bool {
        self == PatternKind::Levels
    }

    /// What a level of a pattern means.
    fn level(self, text: &str) -> Level<'_> {
        match (self, text) {
            (PatternKind::Components, "") | (PatternKind::Tokens, "*") => Level::One,
            (PatternKind::Levels, "+") => Level::One,
            (PatternKind::Tokens, ">") | (PatternKind::Levels, "#") => Level::Tail,
            _ => Level::Literal(text),
        }
    }

    /// Whether the protocol that has patterns of this kind can name a channel. One that it cannot
    /// is never delivered through them: its client could not tell which it is.
    pub(crate) fn can_name(self, name: &str) -> bool {
        let is_foreign = |c: char| c == '#' || c.is_whitespace();
        match self {
            // WAMP, "Relaxed/Loose URIs".
            PatternKind::Prefix | PatternKind::Components => {
                !name.contains(is_foreign) && name.split('.').all(|part| !part.is_empty())
            }
            // NATS, "Subject names".
            PatternKind::Tokens => {
                let mut tokens = name.split('.');
                !name.contains([' ', '\t']) && tokens.all(|token| !matches!(token, "" | "*" | ">"))
            }
            // MQTT 5 §4.7.1: wildcards must not be used within a topic name.
            PatternKind::Levels => !name.contains(['+', '#', '\0']),
        }
    }

    fn of_mark(mark: u8) -> Option<PatternKind> {
        let all = [
            PatternKind::Prefix,
            PatternKind::Components,
            PatternKind::Tokens,
            PatternKind::Levels,
        ];
        all.into_iter().find(|&kind| kind as u8 == mark)
    }
}

impl<'a> Pattern<'a> {
    /// Checks the bounds; `bytes_max` is that of names.
    pub fn new(kind: PatternKind, text: &'a str, bytes_max: u32) -> Result<Self, PatternError> {
        if text.len() > bytes_max as usize {
            return Err(PatternError::TooLong {
                bytes: text.len(),
                bytes_max,
            });
        }
        if text.contains(char::is_control) {
            return Err(PatternError::Control);
        }
        let pattern = Pattern { kind, text };
        pattern.check_levels()?;
        Ok(pattern)
    }

    /// One that was checked when it came.
    pub(crate) fn stored(kind: PatternKind, text: &'a str) -> Self {
        Pattern { kind, text }
    }

    fn check_levels(self) -> Result<(), PatternError> {
        let is_empty = match self.kind {
            PatternKind::Prefix => return Ok(()),
            PatternKind::Components => false,
            PatternKind::Tokens => self.levels().any(|level| level == Level::Literal("")),
            PatternKind::Levels => self.text.is_empty(),
        };
        if is_empty {
            return Err(PatternError::Empty);
        }
        let (mut levels, mut wildcards, mut is_over) = (0, 0, false);
        for level in self.levels() {
            // What stands behind a tail is no pattern.
            let is_misplaced = match level {
                Level::Literal(text) => {
                    self.kind == PatternKind::Levels && text.contains(['+', '#'])
                }
                Level::One | Level::Tail => false,
            };
            if is_over || is_misplaced {
                return Err(PatternError::Misplaced);
            }
            levels += 1;
            wildcards += usize::from(level == Level::One);
            is_over = level == Level::Tail;
        }
        if levels > PATTERN_LEVELS_MAX {
            return Err(PatternError::Levels);
        }
        if wildcards > PATTERN_WILDCARDS_MAX {
            return Err(PatternError::Wildcards);
        }
        Ok(())
    }

    /// How the text is read.
    pub fn kind(self) -> PatternKind {
        self.kind
    }

    /// As the client has written it.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// What stands before the first wildcard: every name that matches begins with it.
    pub fn literal_head(self) -> &'a str {
        let Some(separator) = self.kind.separator() else {
            return self.text;
        };
        let mut at = 0;
        for level in self.text.split(separator) {
            if !matches!(self.kind.level(level), Level::Literal(_)) {
                return &self.text[..at];
            }
            at += level.len() + separator.len_utf8();
        }
        self.text
    }

    /// Its levels; of a prefix none.
    pub(crate) fn levels(self) -> impl Iterator<Item = Level<'a>> {
        let levels = self.kind.separator().map(|one| self.text.split(one));
        let kind = self.kind;
        levels
            .into_iter()
            .flatten()
            .map(move |text| kind.level(text))
    }

    /// The name of the record that stands for the pattern: no channel's, for it begins with a control
    /// character.
    pub fn to_name(self) -> Name {
        let mut name = Name::with_capacity(self.text.len() + 1);
        name.push(char::from(self.kind as u8));
        name.push_str(self.text);
        name
    }

    /// The pattern that such a record stands for; `None` for a channel's.
    pub fn of_name(name: &'a str) -> Option<Self> {
        let kind = PatternKind::of_mark(*name.as_bytes().first()?)?;
        let text = name.get(1..)?;
        Some(Pattern { kind, text })
    }
}

/// Whether a record of this name stands for a pattern.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.as_bytes().first().is_some_and(|&first| first < b' ')
}

/// Beginnings of names that are protected.
#[derive(Debug)]
pub(crate) struct Guards {
    /// In order.
    protected: Vec<String>,
    /// A bit for each byte that one of them begins with: nearly no name does.
    first_bytes: [u64; 4],
}

impl Guards {
    pub(crate) fn new(protected: Arc<[String]>) -> Guards {
        let mut first_bytes = [0; 4];
        let all = RESERVED
            .into_iter()
            .chain(protected.iter().map(String::as_str));
        for first in all.filter_map(|beginning| beginning.bytes().next()) {
            first_bytes[usize::from(first / 64)] |= 1 << (first % 64);
        }
        let mut protected = protected.to_vec();
        protected.sort_unstable();
        Guards {
            protected,
            first_bytes,
        }
    }

    /// How many bytes of a name no wildcard may match: the longest protected beginning it has.
    #[inline]
    pub(crate) fn guarded_bytes(&self, name: &str) -> usize {
        let first = name.bytes().next().unwrap_or(0);
        if self.first_bytes[usize::from(first / 64)] >> (first % 64) & 1 == 0 {
            return 0;
        }
        let reserved = RESERVED.into_iter();
        let reserved = reserved.filter(|beginning| name.starts_with(beginning));
        let reserved = reserved.map(str::len).max().unwrap_or(0);
        reserved.max(self.protected_bytes(name))
    }

    /// The last one that is not above what is left of the name begins it, or none does that is longer than
    /// what both have in common.
    fn protected_bytes(&self, name: &str) -> usize {
        let mut rest = name.as_bytes();
        loop {
            let end = self
                .protected
                .partition_point(|beginning| beginning.as_bytes() <= rest);
            let Some(last) = self.protected[..end].last() else {
                return 0;
            };
            if rest.starts_with(last.as_bytes()) {
                return last.len();
            }
            let shared = rest.iter().zip(last.as_bytes());
            rest = &rest[..shared.take_while(|(a, b)| a == b).count()];
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::TooLong { bytes, bytes_max } => {
                write!(f, "the pattern has {bytes} bytes, more than {bytes_max}")
            }
            PatternError::Control => f.write_str("the pattern has a control character"),
            PatternError::Levels => {
                write!(f, "the pattern has more than {PATTERN_LEVELS_MAX} levels")
            }
            PatternError::Wildcards => {
                let most = PATTERN_WILDCARDS_MAX;
                write!(
                    f,
                    "the pattern has more than {most} wildcards for one level"
                )
            }
            PatternError::Misplaced => f.write_str(
                "a wildcard is a level of its own, and one for several levels is the last",
            ),
            PatternError::Empty => f.write_str("the pattern is empty, or a token of it is"),
        }
    }
}

impl Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: PatternKind, text: &str) -> Result<&str, PatternError> {
        Pattern::new(kind, text, 255).map(Pattern::literal_head)
    }

    #[test]
    fn a_pattern_keeps_its_bounds() {
        use PatternKind::{Components, Levels, Prefix, Tokens};
        for (kind, text, head) in [
            (Prefix, "", ""),
            (Prefix, "a..#", "a..#"),
            (Components, "", ""),
            (Components, "a..c", "a."),
            (Components, "a.*.>", "a.*.>"),
            (Components, ".b", ""),
            (Tokens, "a.*.c", "a."),
            (Tokens, "a.>", "a."),
            (Tokens, "a*.b", "a*.b"),
            (Levels, "#", ""),
            (Levels, "a/#", "a/"),
            (Levels, "/+", "/"),
            (Levels, "a//b", "a//b"),
        ] {
            assert_eq!(check(kind, text), Ok(head), "{kind:?} {text:?}");
        }
        for (kind, text, error) in [
            (Tokens, "", PatternError::Empty),
            (Tokens, "a..b", PatternError::Empty),
            (Levels, "", PatternError::Empty),
            (Tokens, ">.a", PatternError::Misplaced),
            (Levels, "a/#/b", PatternError::Misplaced),
            (Levels, "a+/b", PatternError::Misplaced),
            (Levels, "a#", PatternError::Misplaced),
            (Components, "a\n", PatternError::Control),
            (Levels, "+/+/+/+/+", PatternError::Wildcards),
            (Components, "....", PatternError::Wildcards),
        ] {
            assert_eq!(check(kind, text), Err(error), "{kind:?} {text:?}");
        }
        let deep = |levels: usize| vec!["a"; levels].join("/");
        assert!(check(Levels, &deep(32)).is_ok());
        assert_eq!(check(Levels, &deep(33)), Err(PatternError::Levels));
        let long = "a".repeat(256);
        assert!(matches!(
            check(Prefix, &long),
            Err(PatternError::TooLong { .. })
        ));
    }

    #[test]
    fn a_record_says_which_pattern_it_stands_for() {
        for kind in (0..9).filter_map(PatternKind::of_mark) {
            let pattern = Pattern::new(kind, "a.b", 255).expect("a pattern");
            let name = pattern.to_name();
            assert!(is_pattern(&name));
            assert_eq!(Pattern::of_name(&name), Some(pattern));
        }
        assert_eq!(Pattern::of_name("a.b"), None);
        assert_eq!(Pattern::of_name(""), None);
    }

    #[test]
    fn the_longest_protected_beginning_counts() {
        let all = ["secret:", "$x/", "acme.wamp.", "acme.", "acme.z.", "ac:"];
        let guards = Guards::new(all.map(str::to_owned).into());
        for (name, bytes) in [
            ("secret:a", 7),
            ("secret", 0),
            ("$SYS", 1),
            ("$x/y", 3),
            ("wamp.a", 5),
            ("wampum.a", 0),
            ("a", 0),
            ("", 0),
            ("é", 0),
            ("acme.x", 5),
            ("acme.wamp.x", 10),
            ("acme.wampum", 5),
            ("acme.zz.b", 5),
            ("acme", 0),
            ("ac:x", 3),
            ("aca", 0),
        ] {
            assert_eq!(guards.guarded_bytes(name), bytes, "{name}");
        }
    }
}
