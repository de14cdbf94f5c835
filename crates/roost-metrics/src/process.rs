//! Counters of the whole process: what no reactor owns, written by any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::description::Description;

/// A value with any number of writers. Not for the data path: adding is a locked instruction.
#[derive(Debug, Default)]
pub struct SharedValue(AtomicU64);

impl SharedValue {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Changes it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lines of the log that could not be queued or written.
pub static LOG_LINES_DROPPED: SharedValue = SharedValue(AtomicU64::new(0));

/// Reloads of the configuration that were asked for.
pub static RELOADS: SharedValue = SharedValue(AtomicU64::new(0));

/// Of those, the ones that found a mistake and changed nothing.
pub static RELOADS_FAILED: SharedValue = SharedValue(AtomicU64::new(0));

/// When the last one was that found none, in seconds since 1970; 0 before the first.
pub static LAST_RELOAD_SECONDS: SharedValue = SharedValue(AtomicU64::new(0));

/// Reloads that read certificates again: those of a process with a TLS listener.
pub static TLS_RELOADS: SharedValue = SharedValue(AtomicU64::new(0));

/// Of those, the ones that found a mistake and changed nothing.
pub static TLS_RELOADS_FAILED: SharedValue = SharedValue(AtomicU64::new(0));

/// Fetches of the JWKS that were begun.
pub static JWKS_FETCHES: SharedValue = SharedValue(AtomicU64::new(0));

/// Of those, the ones that brought no keys.
pub static JWKS_FETCHES_FAILED: SharedValue = SharedValue(AtomicU64::new(0));

/// How long ago the JWKS was known to be current.
pub static JWKS_AGE_SECONDS: SharedValue = SharedValue(AtomicU64::new(0));

/// Whether revocations could not be written down for the next start.
pub static REVOCATIONS_UNKEPT: SharedValue = SharedValue(AtomicU64::new(0));

/// Calls of hooks that were made.
pub static HOOK_CALLS: SharedValue = SharedValue(AtomicU64::new(0));

/// Of those, the ones that brought no answer.
pub static HOOK_CALLS_FAILED: SharedValue = SharedValue(AtomicU64::new(0));

/// Questions that another question's call has answered, or a remembered answer.
pub static HOOK_CALLS_SAVED: SharedValue = SharedValue(AtomicU64::new(0));

/// Questions that were not asked, because too many waited or too many calls have failed.
pub static HOOK_CALLS_REFUSED: SharedValue = SharedValue(AtomicU64::new(0));

/// Calls under way, and those that wait for them.
pub static HOOK_CALLS_IN_FLIGHT: SharedValue = SharedValue(AtomicU64::new(0));

/// Hooks whose breaker is open.
pub static HOOKS_BROKEN: SharedValue = SharedValue(AtomicU64::new(0));

/// Events that have a number in the journal.
pub static EVENTS: SharedValue = SharedValue(AtomicU64::new(0));

/// Of those, the ones that the application has taken.
pub static EVENTS_DELIVERED: SharedValue = SharedValue(AtomicU64::new(0));

/// Events that found no room on their way to the application.
pub static EVENTS_LOST: SharedValue = SharedValue(AtomicU64::new(0));

/// Events that wait to be taken.
pub static EVENTS_QUEUED: SharedValue = SharedValue(AtomicU64::new(0));

/// Batches of events that were sent in vain.
pub static EVENT_BATCHES_FAILED: SharedValue = SharedValue(AtomicU64::new(0));

/// When the certificates of TLS listeners expire.
pub static TLS_CERTIFICATES: Certificates = Certificates(Mutex::new(Vec::new()));

/// Name, meaning and value of each of the counters.
pub fn values() -> [(Description, u64); 21] {
    VALUES.map(|(name, help, value)| (Description { name, help }, value.get()))
}

/// A counter's name, its meaning, and where it is.
type Named = (&'static str, &'static str, &'static SharedValue);

static VALUES: [Named; 21] = [
    (
        "log_lines_dropped_total",
        "Log lines lost, because the log's queue was full or its reader gone.",
        &LOG_LINES_DROPPED,
    ),
    (
        "reloads_total",
        "Reloads of the configuration that were asked for.",
        &RELOADS,
    ),
    (
        "reloads_failed_total",
        "Reloads of the configuration that found a mistake; nothing has changed.",
        &RELOADS_FAILED,
    ),
    (
        "last_reload_seconds",
        "Time of the last reload that found no mistake, in seconds since 1970; 0 before the first.",
        &LAST_RELOAD_SECONDS,
    ),
    (
        "tls_reloads_total",
        "Reloads that read certificates again.",
        &TLS_RELOADS,
    ),
    (
        "tls_reloads_failed_total",
        "Reloads that read certificates again and found a mistake; all listeners kept what they had.",
        &TLS_RELOADS_FAILED,
    ),
    (
        "jwks_fetches_total",
        "Fetches of auth.jwt.jwks_url.",
        &JWKS_FETCHES,
    ),
    (
        "jwks_fetches_failed_total",
        "Fetches of auth.jwt.jwks_url that brought no keys; those that were there serve on.",
        &JWKS_FETCHES_FAILED,
    ),
    (
        "jwks_age_seconds",
        "How long ago the keys of auth.jwt.jwks_url were known to be current, in seconds, as of the last fetch.",
        &JWKS_AGE_SECONDS,
    ),
    (
        "revocations_unkept",
        "1 while revocations cannot be written to auth.revocations_state_file, else 0.",
        &REVOCATIONS_UNKEPT,
    ),
    (
        "hook_calls_total",
        "Calls of hooks that were made.",
        &HOOK_CALLS,
    ),
    (
        "hook_calls_failed_total",
        "Calls of hooks that brought no answer: too late, not of status 200, not of the right form.",
        &HOOK_CALLS_FAILED,
    ),
    (
        "hook_calls_saved_total",
        "Questions that were answered by the call of an equal question, or by a remembered answer.",
        &HOOK_CALLS_SAVED,
    ),
    (
        "hook_calls_refused_total",
        "Questions that no call was made for: hook.queue_max of them waited, or too many calls have failed.",
        &HOOK_CALLS_REFUSED,
    ),
    (
        "hook_calls_in_flight",
        "Calls of hooks under way or queued now.",
        &HOOK_CALLS_IN_FLIGHT,
    ),
    (
        "hooks_broken",
        "Hooks that are not called for a while now, because too many calls have failed.",
        &HOOKS_BROKEN,
    ),
    (
        "events_total",
        "Events that were put in order to be sent to events.url, and to webhooks of Pusher's applications.",
        &EVENTS,
    ),
    (
        "events_delivered_total",
        "Of those, the ones that were taken.",
        &EVENTS_DELIVERED,
    ),
    (
        "events_lost_total",
        "Events that found no room on their way; the journal that goes to events.url says how many, and where they are missing.",
        &EVENTS_LOST,
    ),
    (
        "events_queued",
        "Events that wait to be taken now.",
        &EVENTS_QUEUED,
    ),
    (
        "event_batches_failed_total",
        "Batches of events that were not taken, and that are sent again.",
        &EVENT_BATCHES_FAILED,
    ),
];

/// What is known of each TLS listener's certificates.
pub const LISTENER_DESCRIPTIONS: &[Description] = &[Description {
    name: "tls_certificate_expires_seconds",
    help: "Time until the first of the listener's certificates expires, in seconds; 0 once it has.",
}];

/// When certificates expire, by listener. Written at the start and by reloads.
#[derive(Debug)]
pub struct Certificates(Mutex<Vec<(String, u64)>>);

impl Certificates {
    /// Sets when those of each TLS listener expire, in seconds since 1970.
    pub fn set(&self, expires: Vec<(String, u64)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = expires;
    }

    /// Each TLS listener with the seconds that are left, as `tls_certificate_expires_seconds` has them.
    pub fn seconds_left(&self) -> Vec<(String, u64)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |(name, expires): &(String, u64)| (name.clone(), expires.saturating_sub(now));
        listeners.iter().map(left).collect()
    }
}
