//! When the JWKS is fetched, and which of its keys are in use: a state machine without a socket.
//!
//! | when | what |
//! |---|---|
//! | at the start | fetched at once; a set kept from before is used meanwhile |
//! | after a good answer | again after `Cache-Control: max-age`, at least 60 s, at most `refresh` |
//! | after a failure | again after the cool-down, then after twice that, at most `refresh` |
//! | a token has an unknown kid | at once, one fetch for all who wait, if the cool-down is over |
//!
//! Between the begins of two fetches lies a cool-down at least, whatever clients and the provider do;
//! so no memory of unknown kids is needed, which made-up ones could fill: during the cool-down all
//! are refused at once. While the provider fails, the last good set is in use until it is `stale_max`
//! old, also over a restart of the process.
//!
//! Times are milliseconds of one clock that does not jump, given as `now`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::jwks::{JwksError, parse_jwks};
use crate::keys::Key;

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct RefreshRules {
    /// Where the set is; only to tell a kept set of another provider.
    pub url: String,
    /// The longest time from one good answer to the next fetch.
    pub refresh_ms: u64,
    /// The shortest time from the begin of one fetch to that of the next.
    pub cooldown_ms: u64,
    /// How old a set may become that cannot be fetched anew.
    pub stale_max_ms: u64,
    /// How long an answer is awaited.
    pub timeout_ms: u64,
    /// Of a document.
    pub document_bytes_max: usize,
}

/// Keeps a set of keys fresh.
#[derive(Debug)]
pub struct Refresh {
    rules: RefreshRules,
    set: Option<Set>,
    fetch: Option<Fetch>,
    /// Counts fetches: an answer that comes after its time is known by its number.
    fetches: u64,
    last_begin: Option<u64>,
    next: u64,
    failures: u32,
    last_failure: Option<FetchError>,
}

#[derive(Debug)]
struct Set {
    keys: Vec<Arc<Key>>,
    document: String,
    etag: Option<String>,
    /// When it was last known to be current; before 0 if before this process.
    fresh_at: i64,
    skipped: usize,
}

#[derive(Debug)]
struct Fetch {
    number: u64,
    deadline: u64,
}

/// A fetch that is to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// To be given back with the answer.
    pub number: u64,
    /// For `If-None-Match`.
    pub etag: Option<String>,
}

/// What the provider has answered.
#[derive(Debug)]
pub enum Fetched {
    /// 200.
    Document {
        /// The body.
        body: Vec<u8>,
        /// The header `ETag`.
        etag: Option<String>,
        /// The header `Cache-Control`.
        cache_control: Option<String>,
    },
    /// 304.
    NotModified {
        /// The header `Cache-Control`.
        cache_control: Option<String>,
    },
    /// None of them.
    Failed(FetchError),
}

/// Why there is no new set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchError {
    /// No connection, or it broke.
    Connection,
    /// Not in time.
    Timeout,
    /// Another status than 200 and 304; redirects are not followed.
    Status(u16),
    /// 304, but there is no set that it could mean.
    NothingToKeep,
    /// The document is none.
    Document(JwksError),
}

/// What has become of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are as before.
    Same,
    /// [`Refresh::keys`] has others.
    Keys,
}

/// What a token with an unknown kid does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKid {
    /// Wait: a fetch is under way or due, and is asked for by [`Refresh::poll`].
    Wait,
    /// Be refused: the set was asked for a moment ago.
    Refuse,
}

/// What is kept over a restart.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    url: String,
    fresh_at_secs: u64,
    etag: Option<String>,
    document: String,
}

impl Refresh {
    /// Without keys; the first fetch is due.
    pub fn new(rules: RefreshRules, now: u64) -> Refresh {
        Refresh {
            rules,
            set: None,
            fetch: None,
            fetches: 0,
            last_begin: None,
            next: now,
            failures: 0,
            last_failure: None,
        }
    }

    /// Takes up what [`Refresh::to_keep`] wrote in an earlier process. False if it cannot be used:
    /// unreadable, of another URL, or too old.
    pub fn restore(&mut self, kept: &[u8], now: u64, unix_secs: u64) -> bool {
        let Ok(kept) = serde_json::from_slice::<Kept>(kept) else {
            return false;
        };
        // A clock that was set back makes a set look new; it is fetched at once all the same.
        let age_ms = unix_secs
            .saturating_sub(kept.fresh_at_secs)
            .saturating_mul(1000);
        if kept.version != KEPT_VERSION
            || kept.url != self.rules.url
            || age_ms >= self.rules.stale_max_ms
        {
            return false;
        }
        let parsed = parse_jwks(kept.document.as_bytes(), self.rules.document_bytes_max);
        let Ok(parsed) = parsed else {
            return false;
        };
        self.set = Some(Set {
            keys: parsed.keys,
            skipped: parsed.skipped,
            document: kept.document,
            etag: kept.etag,
            fresh_at: signed(now) - signed(age_ms),
        });
        true
    }

    /// What to write down after an answer, so that a restart finds it.
    pub fn to_keep(&self, now: u64, unix_secs: u64) -> Option<Vec<u8>> {
        let set = self.set.as_ref()?;
        let kept = Kept {
            version: KEPT_VERSION,
            url: self.rules.url.clone(),
            fresh_at_secs: unix_secs.saturating_sub(age_ms(set, now) / 1000),
            etag: set.etag.clone(),
            document: set.document.clone(),
        };
        serde_json::to_vec(&kept).ok()
    }

    /// A fetch to make now, if one is due. Its outcome is to be told by [`Refresh::answer`].
    pub fn poll(&mut self, now: u64) -> Option<Order> {
        if self
            .fetch
            .as_ref()
            .is_some_and(|fetch| now >= fetch.deadline)
        {
            self.fail(FetchError::Timeout, now);
        }
        if self.fetch.is_some() || now < self.next {
            return None;
        }
        self.fetches += 1;
        self.last_begin = Some(now);
        self.fetch = Some(Fetch {
            number: self.fetches,
            deadline: now + self.rules.timeout_ms,
        });
        Some(Order {
            number: self.fetches,
            etag: self.set.as_ref().and_then(|set| set.etag.clone()),
        })
    }

    /// When [`Refresh::poll`] has something to do next, or the keys are too old.
    pub fn wake_at(&self, now: u64) -> u64 {
        let next = self
            .fetch
            .as_ref()
            .map_or(self.next, |fetch| fetch.deadline);
        match &self.set {
            Some(set) => {
                let left = self.rules.stale_max_ms.saturating_sub(age_ms(set, now));
                next.min(now + left)
            }
            None => next,
        }
    }

    /// A token names a kid that is not among the keys.
    pub fn unknown_kid(&mut self, now: u64) -> UnknownKid {
        if self.fetch.is_some() {
            return UnknownKid::Wait;
        }
        if now < self.earliest() {
            return UnknownKid::Refuse;
        }
        self.next = self.next.min(now);
        UnknownKid::Wait
    }

    /// The outcome of a fetch.
    pub fn answer(&mut self, number: u64, fetched: Fetched, now: u64) -> Change {
        if self
            .fetch
            .as_ref()
            .is_none_or(|fetch| fetch.number != number)
        {
            return Change::Same; // it was given up
        }
        let outcome = match fetched {
            Fetched::Document {
                body,
                etag,
                cache_control,
            } => self
                .take(body, etag, now)
                .map(|change| (change, cache_control)),
            Fetched::NotModified { cache_control } => match &mut self.set {
                Some(set) if set.etag.is_some() => {
                    set.fresh_at = signed(now);
                    Ok((Change::Same, cache_control))
                }
                _ => Err(FetchError::NothingToKeep),
            },
            Fetched::Failed(error) => Err(error),
        };
        match outcome {
            Ok((change, cache_control)) => {
                self.fetch = None;
                self.failures = 0;
                self.last_failure = None;
                let fresh_ms = cache_control.as_deref().map_or(u64::MAX, fresh_ms);
                let wait = fresh_ms.max(FRESH_MS_MIN).min(self.rules.refresh_ms);
                self.next = (now + wait).max(self.earliest());
                change
            }
            Err(error) => {
                self.fail(error, now);
                Change::Same
            }
        }
    }

    fn take(
        &mut self,
        body: Vec<u8>,
        etag: Option<String>,
        now: u64,
    ) -> Result<Change, FetchError> {
        let parsed =
            parse_jwks(&body, self.rules.document_bytes_max).map_err(FetchError::Document)?;
        let document =
            String::from_utf8(body).map_err(|_| FetchError::Document(JwksError::Malformed))?;
        let etag = etag.filter(|etag| etag.len() <= ETAG_BYTES_MAX);
        let fresh_at = signed(now);
        if let Some(set) = &mut self.set
            && set.document == document
        {
            (set.etag, set.fresh_at) = (etag, fresh_at);
            return Ok(Change::Same);
        }
        self.set = Some(Set {
            keys: parsed.keys,
            skipped: parsed.skipped,
            document,
            etag,
            fresh_at,
        });
        Ok(Change::Keys)
    }

    fn fail(&mut self, error: FetchError, now: u64) {
        self.fetch = None;
        self.last_failure = Some(error);
        let doubled = self.rules.cooldown_ms << self.failures.min(6);
        self.failures += 1;
        let wait = doubled.min(self.rules.refresh_ms);
        self.next = (now + wait).max(self.earliest());
    }

    /// Before that no fetch begins.
    fn earliest(&self) -> u64 {
        let cooldown_ms = self.rules.cooldown_ms;
        self.last_begin.map_or(0, |begin| begin + cooldown_ms)
    }

    /// The keys in use: none if there was never a set, or it has become too old.
    pub fn keys(&self, now: u64) -> &[Arc<Key>] {
        match &self.set {
            Some(set) if age_ms(set, now) < self.rules.stale_max_ms => &set.keys,
            _ => &[],
        }
    }

    /// How long ago the set was known to be current; `None` without one.
    pub fn age_ms(&self, now: u64) -> Option<u64> {
        self.set.as_ref().map(|set| age_ms(set, now))
    }

    /// Keys of the set that cannot be used.
    pub fn skipped(&self) -> usize {
        self.set.as_ref().map_or(0, |set| set.skipped)
    }

    /// Why the last fetch failed, if it did.
    pub fn last_failure(&self) -> Option<FetchError> {
        self.last_failure
    }

    /// Fetches that were ordered.
    pub fn fetches(&self) -> u64 {
        self.fetches
    }

    /// Whether an answer is awaited.
    pub fn is_fetching(&self) -> bool {
        self.fetch.is_some()
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Connection => f.write_str("no connection"),
            FetchError::Timeout => f.write_str("no answer in time"),
            FetchError::Status(status @ 300..=399) => {
                write!(f, "status {status}: redirects are not followed")
            }
            FetchError::Status(status) => write!(f, "status {status}"),
            FetchError::NothingToKeep => f.write_str("status 304 without a set that it could mean"),
            FetchError::Document(error) => write!(f, "the document cannot be used: {error}"),
        }
    }
}

fn age_ms(set: &Set, now: u64) -> u64 {
    u64::try_from(signed(now) - set.fresh_at).unwrap_or(0)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// RFC 9111 §5.2: how long an answer is fresh. A directive that cannot be read is not there.
fn fresh_ms(cache_control: &str) -> u64 {
    let mut fresh = u64::MAX;
    for directive in cache_control.split(',') {
        let directive = directive.trim();
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")
        {
            return 0;
        }
        let Some((name, seconds)) = directive.split_once('=') else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case("max-age") {
            let seconds = seconds.trim().trim_matches('"').parse::<u64>();
            fresh = seconds.map_or(fresh, |seconds| seconds.saturating_mul(1000));
        }
    }
    fresh
}

const KEPT_VERSION: u32 = 1;
/// Against issuers that say `max-age=0`.
const FRESH_MS_MIN: u64 = 60_000;
/// A longer one is not sent back.
const ETAG_BYTES_MAX: usize = 256;
