//! Mistakes in a configuration, all of them together, each with its place and what was expected.

use std::fmt;
use std::ops::Range;

use crate::value::Refusal;

/// Every mistake of a configuration, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    mistakes: Vec<Mistake>,
}

impl Errors {
    /// The mistakes one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.mistakes.iter()
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.mistakes.len()
    }

    /// A single mistake.
    pub(crate) fn one(mistake: Mistake) -> Errors {
        Errors {
            mistakes: vec![mistake],
        }
    }

    /// `Ok` where there is no mistake.
    pub(crate) fn check(mistakes: Vec<Mistake>) -> Result<(), Errors> {
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Errors { mistakes })
        }
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line a mistake, then their number.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}")?;
        }
        match self.mistakes.len() {
            1 => f.write_str("1 mistake"),
            n => write!(f, "{n} mistakes"),
        }
    }
}

impl std::error::Error for Errors {}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// The key with its section, `limits.idle_timeout`; `None` where the text is not TOML.
    pub key: Option<String>,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// `FILE:LINE:COLUMN: KEY: found …, expected …; hint`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A key, and where it is written; for what is found about its value later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlace {
    /// `None` where it has its default.
    pub place: Option<Place>,
    /// As messages call it.
    pub key: String,
}

impl KeyPlace {
    /// What stands before the key: `roost.toml:7:1: `.
    pub fn prefix(&self) -> String {
        let place = self.place.as_ref();
        place.map_or_else(String::new, |place| format!("{place}: "))
    }
}

/// `roost.toml:7:1: listener.tls.key`.
impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix(), self.key)
    }
}

/// Where a mistake stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// Its name, as the caller gave it.
        name: String,
        /// From 1.
        line: u32,
        /// From 1, in characters.
        column: u32,
    },
    /// In a file as a whole: it cannot be read.
    WholeFile {
        /// Its name, as the caller gave it.
        name: String,
    },
    /// In an environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// Among the overrides of the command line.
    CommandLine,
}

impl Place {
    /// Line and column, for the order of mistakes; those without stand last.
    pub(crate) fn position(&self) -> (u32, u32) {
        match self {
            Place::File { line, column, .. } => (*line, *column),
            Place::WholeFile { .. } | Place::Environment { .. } | Place::CommandLine => {
                (u32::MAX, u32::MAX)
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Place::WholeFile { name } => f.write_str(name),
            Place::Environment { variable } => write!(f, "environment variable {variable}"),
            Place::CommandLine => f.write_str("command line"),
        }
    }
}

/// A mistake as the reader meets it: a range of bytes instead of a place.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) key: Option<String>,
    pub(crate) found: String,
    pub(crate) expected: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A value that `key` does not take.
    pub(crate) fn refused(key: String, refusal: Refusal) -> Fault {
        let Refusal {
            span,
            found,
            expected,
            hint,
        } = refusal;
        Fault {
            span,
            key: Some(key),
            found,
            expected,
            hint,
        }
    }

    /// The mistake, once its place is known.
    pub(crate) fn at(self, place: Place) -> Mistake {
        Mistake {
            place,
            key: self.key,
            found: self.found,
            expected: self.expected,
            hint: self.hint,
        }
    }
}
