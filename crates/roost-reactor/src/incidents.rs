//! What went wrong with connections lately: a short list that is written only when something does, so
//! that a quiet connection costs nothing. By it administrators are told why a connection is as it is,
//! or why it is no more.

use std::collections::VecDeque;

use roost_net::ConnKey;

use crate::client_limits::ClientLimit;
use crate::clock::TICK_MS;

/// The last of a reactor.
pub(crate) struct Incidents {
    entries: VecDeque<Entry>,
    /// So many are remembered; of more the oldest is forgotten.
    max: usize,
}

struct Entry {
    key: ConnKey,
    kind: Kept,
    count: u64,
    /// The tick of the last.
    at: u32,
}

/// A kind as it is kept. Where many connections are lost at once, each leaves an end: that is kept small.
enum Kept {
    Ended {
        cause: EndCause,
        silent_ticks: u32,
        reason: Box<str>,
    },
    Other(Box<IncidentKind>),
}

const _: () = assert!(size_of::<Entry>() <= ENTRY_BYTES);
const _: () = assert!(size_of::<IncidentKind>() <= KIND_BYTES);

/// Something that went wrong with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// What.
    pub kind: IncidentKind,
    /// How often in a row; of messages dropped, how many.
    pub count: u64,
    /// Milliseconds since the last.
    pub ago_ms: u64,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentKind {
    /// It may not do what it has asked for.
    Denied {
        /// `subscribe`, `publish`, `call`, `register`.
        operation: &'static str,
        /// With which name; its beginning, if it is long.
        name: Box<str>,
        /// As the client was told.
        why: &'static str,
    },
    /// Messages for it were dropped by their namespaces' policy.
    Dropped,
    /// It has done more than a limit of its rates allows.
    OverLimit(ClientLimit),
    /// It has offered permessage-deflate, which was not agreed to, or to less of it.
    DeflateDeclined(&'static str),
    /// It has ended.
    Ended(Ended),
}

/// How a connection has ended, otherwise than by its client's close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub cause: EndCause,
    /// Milliseconds since the last byte that came before.
    pub silent_ms: u64,
    /// As its client was told, if it was; the beginning, if that is long.
    pub reason: Box<str>,
}

/// Why a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// A FIN came without a close frame.
    Cut,
    /// A reset came, or the network gave it up.
    Reset,
    /// No answer to a ping came in time.
    PongMissing,
    /// No message in either direction for as long as may be.
    Idle,
    /// Too much waited for it, and its policy is to close.
    SlowConsumer,
    /// It broke its protocol, or a limit of its messages.
    Failed,
    /// An administrator or the API has closed it.
    Disconnected,
    /// It did more than its rates allow.
    RateLimited,
}

impl Incidents {
    /// None yet, of one of so many reactors.
    pub(crate) fn new(reactors: usize) -> Incidents {
        let share = SERVER_INCIDENTS_MAX / reactors.max(1);
        Incidents {
            entries: VecDeque::new(),
            max: share.clamp(INCIDENTS_MIN, INCIDENTS_MAX),
        }
    }

    /// Notes what went wrong with a connection at tick `now`, once more if it did before.
    #[cold]
    pub(crate) fn note(&mut self, key: ConnKey, kind: IncidentKind, count: u64, now: u32) {
        let lately = self.entries.iter_mut().rev().take(LATELY);
        for entry in lately {
            if entry.key == key && entry.kind.is(&kind) {
                entry.count += count;
                entry.at = now;
                return;
            }
        }
        let len = self.entries.len();
        if len >= self.max {
            self.entries.pop_front();
        } else if len == self.entries.capacity() {
            let more = len.max(INCIDENTS_STEP).min(self.max - len);
            self.entries.reserve_exact(more); // twice as many, but no more than there may be
        }
        self.entries.push_back(Entry {
            key,
            kind: Kept::new(kind),
            count,
            at: now,
        });
    }

    /// Those of one connection, the oldest first, at tick `now`.
    pub(crate) fn of(&self, key: ConnKey, now: u32) -> Vec<Incident> {
        let own = self.entries.iter().filter(|entry| entry.key == key);
        let shown = own.map(|entry| Incident {
            kind: entry.kind.shown(),
            count: entry.count,
            ago_ms: u64::from(now.saturating_sub(entry.at)) * u64::from(TICK_MS),
        });
        shown.collect()
    }

    /// Forgets those of long ago; returns the bytes that were freed.
    pub(crate) fn shrink(&mut self, now: u32) -> usize {
        let is_old = |entry: &Entry| now.saturating_sub(entry.at) > KEPT_TICKS;
        while self.entries.front().is_some_and(is_old) {
            self.entries.pop_front();
        }
        match self.entries.is_empty() {
            true => crate::memory::drop_empty_queue(&mut self.entries),
            false => 0,
        }
    }
}

impl Kept {
    fn new(kind: IncidentKind) -> Kept {
        match kind {
            IncidentKind::Ended(Ended {
                cause,
                silent_ms,
                reason,
            }) => Kept::Ended {
                cause,
                silent_ticks: ticks_of(silent_ms),
                reason,
            },
            other => Kept::Other(Box::new(other)),
        }
    }

    fn is(&self, kind: &IncidentKind) -> bool {
        match (self, kind) {
            (
                Kept::Ended {
                    cause,
                    silent_ticks,
                    reason,
                },
                IncidentKind::Ended(ended),
            ) => {
                (*cause, *silent_ticks, reason)
                    == (ended.cause, ticks_of(ended.silent_ms), &ended.reason)
            }
            (Kept::Other(other), kind) => **other == *kind,
            (Kept::Ended { .. }, _) => false,
        }
    }

    fn shown(&self) -> IncidentKind {
        match self {
            Kept::Ended {
                cause,
                silent_ticks,
                reason,
            } => IncidentKind::Ended(Ended::new(*cause, *silent_ticks, reason)),
            Kept::Other(other) => IncidentKind::clone(other),
        }
    }
}

/// Of milliseconds that were reckoned from ticks.
fn ticks_of(ms: u64) -> u32 {
    u32::try_from(ms / u64::from(TICK_MS)).unwrap_or(u32::MAX)
}

impl IncidentKind {
    pub(crate) fn denied(operation: &'static str, name: &str, why: &'static str) -> IncidentKind {
        let name = beginning(name);
        IncidentKind::Denied {
            operation,
            name,
            why,
        }
    }
}

impl Ended {
    pub(crate) fn new(cause: EndCause, silent_ticks: u32, reason: &str) -> Ended {
        Ended {
            cause,
            silent_ms: u64::from(silent_ticks) * u64::from(TICK_MS),
            reason: beginning(reason),
        }
    }
}

impl EndCause {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            EndCause::Cut => "cut",
            EndCause::Reset => "reset",
            EndCause::PongMissing => "pong_missing",
            EndCause::Idle => "idle",
            EndCause::SlowConsumer => "slow_consumer",
            EndCause::Failed => "failed",
            EndCause::Disconnected => "disconnected",
            EndCause::RateLimited => "rate_limited",
        }
    }
}

/// So much of a text as is kept.
fn beginning(text: &str) -> Box<str> {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

/// Incidents that all reactors remember together, as long as that is [`INCIDENTS_MIN`] each: with many
/// reactors they would weigh more than what else is left when all connections have gone.
const SERVER_INCIDENTS_MAX: usize = 4096;
/// Incidents that each remembers: at the least, and at most.
const INCIDENTS_MIN: usize = 64;
const INCIDENTS_MAX: usize = 1024;
/// Room for so many is made first.
const INCIDENTS_STEP: usize = 4;
/// One more like one of the last few counts to that: a client that is refused again and again takes one
/// place.
const LATELY: usize = 16;
const ENTRY_BYTES: usize = 48;
/// Of one that is no end.
const KIND_BYTES: usize = 56;
/// What the allocator takes for a block beside its bytes, at most.
const BLOCK_BYTES: usize = 16;
/// Of a name or a reason.
const TEXT_BYTES_MAX: usize = 96;
/// Bytes that a reactor's incidents take, at most.
pub const INCIDENTS_BYTES_MAX: usize =
    INCIDENTS_MAX * (ENTRY_BYTES + KIND_BYTES + TEXT_BYTES_MAX + 2 * BLOCK_BYTES);
/// One hour.
const KEPT_TICKS: u32 = 3_600 * 1_000 / TICK_MS;

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(name: &str) -> IncidentKind {
        IncidentKind::denied("publish", name, "no")
    }

    #[test]
    fn the_same_again_takes_no_more_room() {
        let mut incidents = Incidents::new(1);
        let (one, other) = (ConnKey::new(7, 1), ConnKey::new(7, 2));
        for tick in 0..50 {
            incidents.note(one, denied("a"), 1, tick);
            incidents.note(other, IncidentKind::Dropped, 3, tick);
        }
        assert_eq!(incidents.entries.len(), 2);
        let own = incidents.of(one, 59);
        assert_eq!((own.len(), own[0].count), (1, 50));
        assert_eq!(own[0].ago_ms, 10 * u64::from(TICK_MS));
        assert_eq!(incidents.of(other, 59)[0].count, 150);
        assert!(incidents.of(ConnKey::new(7, 3), 59).is_empty());
    }

    #[test]
    fn the_oldest_and_long_texts_are_forgotten() {
        let mut incidents = Incidents::new(1);
        let long = "ö".repeat(1_000);
        for slot in 0..INCIDENTS_MAX as u32 + 10 {
            incidents.note(ConnKey::new(slot, 1), denied(&long), 1, 0);
        }
        assert_eq!(incidents.entries.len(), INCIDENTS_MAX);
        assert!(incidents.of(ConnKey::new(9, 1), 0).is_empty());
        let kept = incidents.of(ConnKey::new(10, 1), 0);
        let IncidentKind::Denied { name, .. } = &kept[0].kind else {
            panic!("{kept:?}");
        };
        assert_eq!(name.len(), TEXT_BYTES_MAX);
        let bytes = incidents.entries.capacity() * size_of::<Entry>()
            + INCIDENTS_MAX * (KIND_BYTES + TEXT_BYTES_MAX);
        assert!(
            bytes <= INCIDENTS_BYTES_MAX,
            "{bytes} of {INCIDENTS_BYTES_MAX}"
        );
        assert_eq!(incidents.shrink(KEPT_TICKS), 0);
        assert!(incidents.shrink(KEPT_TICKS + 1) > 0);
        assert_eq!(incidents.entries.capacity(), 0);
    }

    #[test]
    fn an_end_is_kept_as_it_was() {
        let mut incidents = Incidents::new(1);
        let key = ConnKey::new(7, 1);
        let end =
            |ticks, reason| IncidentKind::Ended(Ended::new(EndCause::PongMissing, ticks, reason));
        for kind in [end(u32::MAX, "no pong"), end(3, "no pong"), end(3, "")] {
            incidents.note(key, kind.clone(), 1, 0);
            incidents.note(key, kind.clone(), 1, 0);
            let kept = incidents.of(key, 0).pop().expect("it was noted");
            assert_eq!((kept.kind, kept.count), (kind, 2));
        }
        incidents.note(key, IncidentKind::Dropped, 1, 0);
        assert_eq!(incidents.of(key, 0).len(), 4, "each by itself");
    }

    #[test]
    fn many_reactors_share_what_is_remembered() {
        for (reactors, max) in [(1, 1024), (4, 1024), (8, 512), (53, 77), (255, 64)] {
            let mut incidents = Incidents::new(reactors);
            for slot in 0..2_000 {
                let end = IncidentKind::Ended(Ended::new(EndCause::Reset, slot, ""));
                incidents.note(ConnKey::new(slot, 1), end, 1, 0);
            }
            assert_eq!(incidents.entries.len(), max, "{reactors} reactors");
            assert_eq!(incidents.entries.capacity(), max, "no room for more");
            assert!(
                incidents
                    .of(ConnKey::new(1_999 - max as u32, 1), 0)
                    .is_empty()
            );
            assert_eq!(
                incidents.of(ConnKey::new(2_000 - max as u32, 1), 0).len(),
                1
            );
        }
    }
}
