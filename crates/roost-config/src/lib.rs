//! TOML as written to the effective configuration. Owns the keys, their defaults, their limits and
//! every word about a mistake in them: one [table](all_keys) with a row a key. Never opens a socket,
//! and knows no other crate: what a setting does is the business of the crate that obeys it.
//!
//! [`parse`] reads a text and reports all its mistakes at once; [`load`] reads a file, with
//! [`Overrides`] from the environment and the command line. [`Loaded`] is what comes of it: the
//! [`Settings`], and where each value came from. [`to_toml`] writes that back; [`sample`] and
//! [`reference()`] document the keys.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod api_keys;
mod apps;
mod certificates;
mod changes;
mod conflict;
mod effective;
#[doc(hidden)]
pub mod fuzz;
mod identity_checks;
mod lines;
mod list;
mod listeners;
mod mistake;
mod names;
mod nearest;
mod network;
mod overrides;
mod pattern;
mod read;
mod realms;
mod reference;
mod row;
mod scope;
mod source;
mod syntax;
mod table;
mod units;
mod value;
mod write;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use address::ListenAddress;
pub use api_keys::{ApiKey, ApiKeySource};
pub use certificates::CertificateFiles;
pub use changes::{Change, reload};
pub use list::{Key, all_keys, namespace_keys, user_keys};
pub use listeners::{Origin, origins};
pub use mistake::{Errors, KeyPlace, Mistake, Place};
pub use network::Network;
pub use overrides::Overrides;
pub use reference::{reference, sample};
pub use row::Reload;
pub use scope::{ApiScope, ChannelPattern};
pub use source::Source;
pub use table::{
    Access, Admin, Api, Auth, Centrifugo, ChannelPolicy, ClientAuth, ClientRatePolicy,
    ClientSocketMode, ClientUser, Deflate, Delta, Driver, Echo, Epoll, EventsTo, Expiry,
    ForwardedBy, Hook, IoUring, JoinLeave, Jwt, Limits, Listener, Log, LogFormat, LogLevel,
    Matching, MinVersion, Namespace, OnFailure, Presence, ProxyProtocol, Publish, Pusher,
    PusherApp, PusherWebhook, Raw, Readers, Recovery, Server, Settings, SlowConsumer, Soap,
    SocketMode, Sse, Subject, Tls, Wamp, WampPermission, WampRealm, WampUser, WebhookValues,
};
pub use write::to_toml;

/// The files of the repository that are made from the table, for the example that writes them and
/// the test that compares them.
#[doc(hidden)]
pub mod generated {
    /// The content of a file from what it was before, or nothing where its marks are missing.
    pub type Make = fn(&str) -> Option<String>;

    /// Each file with what makes it.
    pub const FILES: [(&str, Make); 2] = [
        ("config/roost.toml", |_| Some(crate::sample())),
        ("docs/configuration.md", crate::reference::with_reference),
    ];
}

use lines::Lines;
use mistake::Fault;
use source::Sources;

/// The effective configuration, and where its values came from.
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
    ///
    /// # Errors
    /// Every mistake of the overrides.
    pub fn dev(overrides: &Overrides) -> Result<Loaded, Errors> {
        parse_with(DEV_TOML, DEV_NAME, overrides)
    }

    /// Where the value of a key came from: `limits.idle_timeout`, `namespace[0].publish`.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key)
    }

    /// The file that the key of a listener (by its number, from 0) names by `path`: `tls.certificate`.
    /// A path that is not absolute goes from the configuration file's directory if it is written
    /// there, else from the working directory.
    pub fn listener_file(&self, listener: usize, key: &str, path: &str) -> PathBuf {
        self.file(&listener_key(listener, key), path)
    }

    /// The file that a key of the API names by `path`; as [`Loaded::listener_file`].
    pub fn api_file(&self, path: &str) -> PathBuf {
        self.file("api.key", path)
    }

    /// The file that a key of a `[[wamp.user]]` (by its number, from 0) names by `path`, as
    /// [`Loaded::listener_file`].
    pub fn user_file(&self, user: usize, key: &str, path: &str) -> PathBuf {
        self.file(&user_key(user, key), path)
    }

    /// What messages call a key of a `[[wamp.user]]`, with the place where it is written.
    pub fn user_place(&self, user: usize, key: &str) -> KeyPlace {
        self.place(&user_key(user, key))
    }

    /// The same of another key: `auth.jwt.public_keys_file`.
    pub fn file(&self, key: &str, path: &str) -> PathBuf {
        match (self.source(key), Path::new(&self.file_name).parent()) {
            (Source::File { .. }, Some(directory)) => directory.join(path),
            _ => PathBuf::from(path),
        }
    }

    /// What messages call a key, with the place where it is written.
    pub fn place(&self, key: &str) -> KeyPlace {
        KeyPlace {
            place: conflict::place(key, &self.sources, &self.file_name),
            key: names::shown(key, &self.settings),
        }
    }

    /// What messages call the key of a listener, with the place where it is written.
    pub fn listener_place(&self, listener: usize, key: &str) -> KeyPlace {
        self.place(&listener_key(listener, key))
    }

    /// The keys whose value is not the built-in default, with their sources, in order of name.
    pub fn sources(&self) -> impl Iterator<Item = (&str, Source)> {
        self.sources
            .iter()
            .filter(|(_, source)| *source != Source::Default)
    }
}

/// Reads a file, or standard input where the path is `-`, and the overrides over it.
///
/// # Errors
/// Every mistake in it, or the one that it cannot be read.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Errors> {
    let (name, read) = if path == Path::new("-") {
        ("standard input".to_owned(), read_bounded(io::stdin()))
    } else {
        let read = File::open(path).and_then(read_bounded);
        (path.display().to_string(), read)
    };
    match read {
        Ok(bytes) => parse_bytes_with(&bytes, &name, overrides),
        Err(error) => Err(unreadable(
            &name,
            error.to_string(),
            "a file that can be read",
        )),
    }
}

/// Reads one byte more than a configuration may have.
fn read_bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the bytes of a file; `file_name` is what messages call it.
///
/// # Errors
/// Every mistake in it, or the first byte that is not UTF-8.
pub fn parse_bytes(bytes: &[u8], file_name: &str) -> Result<Loaded, Errors> {
    parse_bytes_with(bytes, file_name, &Overrides::new())
}

/// Reads a text; `file_name` is what messages call it.
///
/// # Errors
/// Every mistake in it: what is not TOML, unknown and doubled keys, values of the wrong type or
/// out of range, keys that contradict each other.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Errors> {
    parse_with(text, file_name, &Overrides::new())
}

/// Reads a text and the overrides over it; `file_name` is what messages call the text.
///
/// # Errors
/// As [`parse`], and every mistake in the overrides.
pub fn parse_with(text: &str, file_name: &str, overrides: &Overrides) -> Result<Loaded, Errors> {
    if text.len() > FILE_BYTES_MAX {
        return Err(unreadable(
            file_name,
            "a longer file".to_owned(),
            "at most 1 MiB",
        ));
    }
    let lines = Lines::new(text);
    let mut faults = Vec::new();
    let mut sources = Sources::default();
    let kept = syntax::recover(text, &lines, &mut faults);
    let (root, _) = DeTable::parse_recoverable(&kept);
    let mut settings = read::read(root.get_ref(), &lines, &mut sources, &mut faults);
    let place_of = |fault: &Fault| {
        let (line, column) = lines.position(fault.span.start);
        Place::File {
            name: file_name.to_owned(),
            line,
            column,
        }
    };
    let mut mistakes: Vec<Mistake> = faults
        .into_iter()
        .map(|fault| {
            let place = place_of(&fault);
            fault.at(place)
        })
        .collect();
    mistakes.extend(overrides.apply(&mut settings, &mut sources));
    effective::inherit(&mut settings, &mut sources);
    let mut conflicts = effective::conflicts(&settings, &sources);
    if !mistakes.is_empty() {
        // A value that could not be read must not be blamed a second time, by its default.
        let refused: HashSet<&str> = mistakes.iter().filter_map(|m| m.key.as_deref()).collect();
        let stands = |key: &str| sources.get(key) != Source::Default && !refused.contains(key);
        conflicts.retain(|conflict| stands(&conflict.key) && stands(&conflict.other));
    }
    for mistake in &mut mistakes {
        mistake.key = mistake.key.take().map(|key| names::shown(&key, &settings));
    }
    mistakes.extend(
        conflicts
            .into_iter()
            .map(|conflict| conflict.placed(&settings, &sources, file_name)),
    );
    mistakes.sort_by_key(|mistake| mistake.place.position());
    Errors::check(mistakes)?;
    Ok(Loaded {
        settings,
        file_name: file_name.to_owned(),
        sources,
    })
}

fn parse_bytes_with(
    bytes: &[u8],
    file_name: &str,
    overrides: &Overrides,
) -> Result<Loaded, Errors> {
    if bytes.len() > FILE_BYTES_MAX {
        // Where it was cut is no place for a mistake.
        return Err(unreadable(
            file_name,
            "a longer file".to_owned(),
            "at most 1 MiB",
        ));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_with(text, file_name, overrides),
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

fn user_key(user: usize, key: &str) -> String {
    format!("{}.{key}", table::entry_path(WampUser::SECTION.name, user))
}

/// A key of a `[[pusher.app]]` (by its number, from 0), for [`Loaded::file`] and [`Loaded::place`].
pub fn pusher_key(app: usize, key: &str) -> String {
    format!("{}.{key}", table::entry_path(PusherApp::SECTION.name, app))
}

/// A key of a `[[pusher.webhook]]` (by its number, from 0), for [`Loaded::place`].
pub fn webhook_key(webhook: usize, key: &str) -> String {
    let path = table::entry_path(PusherWebhook::SECTION.name, webhook);
    format!("{path}.{key}")
}

/// A key of a `[[hook]]` (by its number, from 0), for [`Loaded::file`] and [`Loaded::place`].
pub fn hook_key(hook: usize, key: &str) -> String {
    format!("{}.{key}", table::entry_path(Hook::SECTION.name, hook))
}

fn listener_key(listener: usize, key: &str) -> String {
    format!(
        "{}.{key}",
        table::entry_path(Listener::SECTION.name, listener)
    )
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
