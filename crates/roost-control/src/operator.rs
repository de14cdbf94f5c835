//! What administrators ask of the daemon itself, beside its reactors.

use std::fmt;

use roost_reactor::Pace;
use serde::Serialize;

/// What has become of a reload, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Mistakes, a line each: then nothing has changed.
    pub errors: Vec<String>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
    /// What is different.
    pub changes: Vec<ReloadedKey>,
}

/// One key with another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadedKey {
    /// Its name.
    pub key: String,
    /// The value as TOML; `None` of an entry that is new.
    pub before: Option<String>,
    /// The value as TOML; `None` of an entry that is gone.
    pub after: Option<String>,
    /// `live`, `new connections`, `listener added or removed` or `restart`.
    pub class: &'static str,
    /// What that means, in words.
    pub effect: &'static str,
}

impl Reloaded {
    /// Nothing has changed, for these mistakes.
    pub fn failed(errors: Vec<String>) -> Reloaded {
        Reloaded {
            errors,
            ..Reloaded::default()
        }
    }
}

/// `limits.idle_timeout: "0s" -> "1h" (new connections)`.
impl fmt::Display for ReloadedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReloadedKey {
            key,
            before,
            after,
            class: _,
            effect,
        } = self;
        let before = before.as_deref().unwrap_or("not there");
        let after = after.as_deref().unwrap_or("not there");
        write!(f, "{key}: {before} -> {after} ({effect})")
    }
}

/// How a drain is to go; `None`: as configured. See [`Pace`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainAsked {
    /// See [`Pace::delay_ms`].
    pub delay_ms: Option<u32>,
    /// See [`Pace::timeout_ms`].
    pub timeout_ms: Option<u32>,
    /// See [`Pace::per_second`].
    pub per_second: Option<u32>,
}

/// What the daemon does for administrators. Each call is on a thread of its own and may wait; one that
/// never returns costs that thread, and those behind it are refused.
pub trait Operator: Send + Sync {
    /// Logs lines of this level and above it from now on. Returns the level before.
    ///
    /// # Errors
    /// A sentence, if there is no such level or the log takes none.
    fn set_log_level(&self, level: &str) -> Result<String, String>;

    /// Reads the configuration again, and obeys it unless it has a mistake or `is_check`.
    fn reload(&self, is_check: bool) -> Reloaded;

    /// Begins to close all connections; then the daemon ends. Returns how. While it does that already,
    /// only the rate changes.
    fn drain(&self, asked: DrainAsked) -> Pace;
}
