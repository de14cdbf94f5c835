//! Where each setting in force came from.

use std::collections::BTreeMap;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is built in.
    Default,
    /// It was not written and follows another key, `limits.message_bytes_max`.
    Follows {
        /// The section of that key.
        section: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// It was written in the file.
    File {
        /// From 1.
        line: u32,
        /// Of the key; from 1, in characters.
        column: u32,
    },
    /// It was given by an environment variable.
    Environment,
    /// It was given on the command line.
    CommandLine,
}

/// Sources by key, `limits.idle_timeout` or `namespace[0].publish`. A key without an entry has
/// its built-in default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sources(BTreeMap<String, Source>);

impl Sources {
    pub(crate) fn insert(&mut self, key: String, source: Source) {
        self.0.insert(key, source);
    }

    pub(crate) fn get(&self, key: &str) -> Source {
        self.0.get(key).copied().unwrap_or(Source::Default)
    }

    /// Whether the value was written, in the file or elsewhere.
    pub(crate) fn is_written(&self, key: &str) -> bool {
        !matches!(self.get(key), Source::Default | Source::Follows { .. })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Source)> {
        self.0.iter().map(|(key, source)| (key.as_str(), *source))
    }
}
