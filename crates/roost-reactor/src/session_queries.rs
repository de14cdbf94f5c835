//! What WAMP sessions ask about the sessions of their realm: questions of clients here, and those that are
//! being looked into here. What is done with them stands in [`crate::session_scans`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roost_dialect::dialect::SessionQuery;
use roost_hub::ReactorId;

use crate::realm_queries::{self, Merge, Queries};

/// Questions about sessions.
pub(crate) type SessionQueries = Queries<SessionQuery, Found, Scan>;

/// A question of a client here.
pub(crate) type Open = realm_queries::Open<SessionQuery, Found>;

/// A question on its way through the connections here.
pub(crate) struct Scan {
    pub(crate) from: ReactorId,
    pub(crate) number: u32,
    pub(crate) query: Arc<SessionQuery>,
    pub(crate) next_slot: u32,
    pub(crate) found: Found,
}

/// What a reactor has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many.
    pub(crate) count: u64,
    /// Their numbers, if they are asked for: [`LISTED_MAX`] at most.
    pub(crate) sessions: Vec<u64>,
    /// What is told of one, as JSON.
    pub(crate) details: Option<Box<str>>,
}

/// Whether a client has ever subscribed to a topic of the router's. Shared by all reactors.
#[derive(Debug, Default)]
pub(crate) struct EventsWanted(AtomicBool);

impl EventsWanted {
    /// Whether events are published.
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// From now on they are.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Found {
    /// Bytes of memory beside itself.
    pub(crate) fn bytes_beside(&self) -> usize {
        let details = self.details.as_ref().map_or(0, |text| text.len());
        size_of_val(&self.sessions[..]) + details
    }
}

impl Merge for Found {
    fn merge(&mut self, other: Found) {
        let Found {
            count,
            sessions,
            details,
        } = other;
        self.count += count;
        let room = LISTED_MAX - self.sessions.len();
        self.sessions.extend(sessions.into_iter().take(room));
        self.details = self.details.take().or(details);
    }
}

/// Sessions in a list: 170 KB of digits.
pub(crate) const LISTED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use roost_dialect::dialect::{SessionAct, SessionSelect};
    use roost_net::ConnKey;

    use super::*;

    fn open(client: u32, awaits: usize) -> Open {
        Open {
            key: ConnKey::new(client, 1),
            request: 1,
            query: Arc::new(SessionQuery {
                realm: 0,
                caller: 1,
                select: SessionSelect::All,
                act: SessionAct::List,
            }),
            awaits,
            found: Found::default(),
        }
    }

    #[test]
    fn the_last_answer_completes_a_question_and_lists_are_cut() {
        let mut queries = SessionQueries::default();
        let number = queries.open(open(1, 3)).expect("room");
        let found = |first: u64| Found {
            count: 6_000,
            sessions: (first..first + 6_000).collect(),
            details: None,
        };
        assert!(queries.add_found(number, found(0)).is_none());
        assert!(queries.add_found(number, found(10_000)).is_none());
        let all = queries
            .add_found(number, found(20_000))
            .expect("the last")
            .found;
        assert_eq!((all.count, all.sessions.len()), (18_000, LISTED_MAX));
    }
}
