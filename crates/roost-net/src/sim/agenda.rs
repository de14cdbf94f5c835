//! What will happen, in order of time.

use std::collections::BTreeMap;

use super::ids::SockId;

/// When, and the number that tells two things of one nanosecond apart (first asked, first done).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AgendaKey {
    pub(super) at: u64,
    number: u64,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A connection attempt reaches the listener; how often it had been tried before.
    Syn(SockId, u32),
    /// The oldest segment in flight from this end arrives.
    Arrive(SockId),
    /// This end learns of room at the other.
    Window(SockId),
    /// This end gives up: an orphan without an answer, or bytes not acknowledged.
    GiveUp(SockId),
}

impl Action {
    /// The end it happens to or comes from.
    pub(super) fn sock(self) -> SockId {
        match self {
            Action::Syn(id, _) | Action::Arrive(id) | Action::Window(id) | Action::GiveUp(id) => id,
        }
    }
}

/// A queue by time; entries can be taken back.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<AgendaKey, Action>,
    number: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: u64, action: Action) -> AgendaKey {
        self.number += 1;
        let key = AgendaKey {
            at,
            number: self.number,
        };
        self.entries.insert(key, action);
        key
    }

    pub(super) fn cancel(&mut self, key: AgendaKey) {
        self.entries.remove(&key);
    }

    pub(super) fn first(&self) -> Option<(AgendaKey, Action)> {
        self.entries.first_key_value().map(|(k, a)| (*k, *a))
    }
}
