//! TOML as written to settings as meant. Owns the keys, their defaults, their limits and every
//! word about a mistake in them. Never opens a socket, and knows no other room: what a setting
//! does is the business of the room that the daemon hands it to.
//!
//! [`parse`] reads a text and reports all its mistakes at once. [`Loaded`] is what comes of it:
//! the [`Settings`], and where each value came from. [`to_toml`] writes that back.

#[doc(hidden)]
pub mod fuzz;
mod keys;
mod kind;
mod lines;
mod list;
mod mistake;
mod nearest;
mod overrides;
mod read;
mod settings;
mod settle;
mod source;
mod syntax;
mod word;
mod write;

use std::path::Path;

use toml::de::DeTable;

pub use list::{Key, all_keys, namespace_keys};
pub use mistake::{Errors, Mistake, Place};
pub use settings::{
    ChannelPolicy, Deflate, Driver, Echo, Epoll, IoUring, Limits, Listener, Log, LogFormat,
    LogLevel, Namespace, Publish, Raw, Server, Settings, SlowReceivers, Subscribe, Wamp,
};
pub use source::Source;
pub use write::to_toml;

use lines::Lines;
use source::Sources;

/// Settings in force, and where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file they were read from, as it was named; empty for [`Loaded::defaults`].
    pub file_name: String,
    sources: Sources,
}

impl Loaded {
    /// The built-in defaults, meant for production.
    pub fn defaults() -> Loaded {
        parse("", "").expect("an empty file has no mistake")
    }

    /// The settings for a first look and for development: `config/roost.dev.toml`, built in.
    pub fn dev() -> Loaded {
        parse(DEV_TOML, DEV_NAME).expect("a test parses the built-in file")
    }

    /// Where the value of a key came from: `limits.idle_timeout`, `namespace[0].publish`.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key)
    }

    /// The keys whose value is not the built-in default, with their sources, in order of name.
    pub fn sources(&self) -> impl Iterator<Item = (&str, Source)> {
        self.sources
            .iter()
            .filter(|(_, source)| *source != Source::Default)
    }
}

/// Reads a file.
///
/// # Errors
/// Every mistake in it, or the one that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Errors> {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => parse_bytes(&bytes, &name),
        Err(error) => Err(unreadable(
            &name,
            error.to_string(),
            "a file that can be read",
        )),
    }
}

/// Reads the bytes of a file; `file_name` is what messages call it.
///
/// # Errors
/// Every mistake in it, or the first byte that is not UTF-8.
pub fn parse_bytes(bytes: &[u8], file_name: &str) -> Result<Loaded, Errors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, file_name),
        Err(error) => {
            let offset = error.valid_up_to();
            let text = String::from_utf8_lossy(&bytes[..offset]);
            let (line, column) = Lines::new(&text).position(offset);
            let place = Place::File {
                name: file_name.to_owned(),
                line,
                column,
            };
            let found = format!("the byte 0x{:02X}", bytes[offset]);
            let expected = "UTF-8".to_owned();
            Err(Errors::one(Mistake {
                place,
                key: None,
                found,
                expected,
                hint: None,
            }))
        }
    }
}

/// Reads a text; `file_name` is what messages call it.
///
/// # Errors
/// Every mistake in it: what is not TOML, unknown and doubled keys, values of the wrong type or
/// out of range, keys that contradict each other.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Errors> {
    if text.len() > FILE_BYTES_MAX {
        let found = format!("a file of {} bytes", text.len());
        return Err(unreadable(file_name, found, "at most 1 MiB"));
    }
    let lines = Lines::new(text);
    let mut faults = Vec::new();
    let mut sources = Sources::default();
    let sifted = syntax::sift(text, &lines, &mut faults);
    let (root, _) = DeTable::parse_recoverable(&sifted);
    let mut settings = read::read(root.get_ref(), &lines, &mut sources, &mut faults);
    let mut conflicts = settle::settle(&mut settings, &mut sources);
    if !faults.is_empty() {
        // A value that could not be read must not be blamed a second time, by its default.
        let refused = |key: &str| faults.iter().any(|fault| fault.key.as_deref() == Some(key));
        let stands = |key: &str| sources.get(key) != Source::Default && !refused(key);
        conflicts.retain(|conflict| stands(&conflict.key) && stands(&conflict.other));
    }
    let mut mistakes: Vec<Mistake> = conflicts
        .into_iter()
        .map(|conflict| conflict.placed(&sources, file_name))
        .collect();
    mistakes.extend(faults.into_iter().map(|fault| {
        let (line, column) = lines.position(fault.span.start);
        fault.at(Place::File {
            name: file_name.to_owned(),
            line,
            column,
        })
    }));
    mistakes.sort_by_key(|mistake| mistake.place.position());
    Errors::check(mistakes)?;
    Ok(Loaded {
        settings,
        file_name: file_name.to_owned(),
        sources,
    })
}

fn unreadable(file_name: &str, found: String, expected: &str) -> Errors {
    let place = Place::WholeFile {
        name: file_name.to_owned(),
    };
    let expected = expected.to_owned();
    Errors::one(Mistake {
        place,
        key: None,
        found,
        expected,
        hint: None,
    })
}

const DEV_TOML: &str = include_str!("../../../config/roost.dev.toml");
const DEV_NAME: &str = "config/roost.dev.toml (built in)";
/// Longer files are not read.
const FILE_BYTES_MAX: usize = 1 << 20;
