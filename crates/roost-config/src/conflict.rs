//! Two keys that contradict each other, and where that is told.

use crate::mistake::{Mistake, Place};
use crate::names::{shown, variable};
use crate::realms::Clash;
use crate::source::{Source, Sources};
use crate::table::Settings;
use crate::value::{SharedSize, ValueType};

/// Two keys, each good by itself, that cannot both hold.
pub(crate) struct Conflict {
    /// The key that is blamed.
    pub(crate) key: String,
    /// The key it cannot hold beside.
    pub(crate) other: String,
    /// What it says.
    pub(crate) found: String,
    /// What the other key asks of it.
    pub(crate) expected: String,
    /// What to do about it.
    pub(crate) hint: Option<&'static str>,
}

impl Conflict {
    /// The mistake, at the first of the two keys that was written, else at the one they follow.
    pub(crate) fn placed(self, settings: &Settings, sources: &Sources, file_name: &str) -> Mistake {
        let keys = [&self.key, &self.other];
        let written = keys.into_iter().find(|key| sources.is_written(key));
        let place = match written {
            Some(key) => place(key, sources, file_name),
            None => keys.iter().find_map(|key| place(key, sources, file_name)),
        };
        let place = place.unwrap_or(Place::WholeFile {
            name: file_name.to_owned(),
        });
        Mistake {
            place,
            key: Some(shown(&self.key, settings)),
            found: self.found,
            expected: self.expected,
            hint: self.hint.map(str::to_owned),
        }
    }
}

/// Where the value of a key was written; for one that follows another, where that was.
pub(crate) fn place(key: &str, sources: &Sources, file_name: &str) -> Option<Place> {
    match sources.get(key) {
        Source::File { line, column } => Some(Place::File {
            name: file_name.to_owned(),
            line,
            column,
        }),
        Source::Environment => Some(Place::Environment {
            variable: variable(key),
        }),
        Source::CommandLine => Some(Place::CommandLine),
        Source::Follows { section, name } => {
            place(&format!("{section}.{name}"), sources, file_name)
        }
        Source::Default => None,
    }
}

impl From<Clash> for Conflict {
    fn from(clash: Clash) -> Conflict {
        let Clash {
            key,
            other,
            found,
            expected,
        } = clash;
        Conflict {
            key,
            other,
            found,
            expected,
            hint: None,
        }
    }
}

/// A size as it is written.
pub(crate) fn size(bytes: u64) -> String {
    SharedSize(0..=usize::MAX).write(&bytes)
}
