//! What WAMP sessions ask about the sessions of their realm: questions of clients here, and those that are
//! being looked into here. What is done with them stands in [`crate::session_scans`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roost_dialect::dialect::SessionQuery;
use roost_hub::ReactorId;
use roost_net::ConnKey;

/// Nothing while there are none.
#[derive(Default)]
pub(crate) struct SessionQueries {
    open: HashMap<u32, Open>,
    last_number: u32,
    scans: VecDeque<Scan>,
}

/// A question of a client here.
pub(crate) struct Open {
    pub(crate) key: ConnKey,
    pub(crate) request: u64,
    pub(crate) query: Arc<SessionQuery>,
    /// Reactors that have not answered.
    pub(crate) awaits: usize,
    pub(crate) found: Found,
}

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

    fn add(&mut self, other: Found) {
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

impl SessionQueries {
    /// Whether nothing is to be looked through.
    pub(crate) fn is_idle(&self) -> bool {
        self.scans.is_empty()
    }

    /// Keeps a question until all reactors have answered; gives its number. `None`: there are as many as
    /// may be.
    pub(crate) fn open(&mut self, open: Open) -> Option<u32> {
        let of_client = self.open.values().filter(|one| one.key == open.key);
        if self.open.len() >= OPEN_MAX || of_client.count() >= OPEN_PER_CLIENT_MAX {
            return None;
        }
        self.last_number = self.last_number.wrapping_add(1);
        self.open.insert(self.last_number, open);
        Some(self.last_number)
    }

    /// A reactor has looked through its connections. The question, with what all have found, once it is
    /// the last.
    pub(crate) fn add_found(&mut self, number: u32, found: Found) -> Option<Open> {
        let Some(open) = self.open.get_mut(&number) else {
            debug_assert!(false, "an answer to no question");
            return None;
        };
        open.found.add(found);
        open.awaits -= 1;
        if open.awaits > 0 {
            return None;
        }
        let open = self.open.remove(&number);
        if self.open.is_empty() {
            self.open = HashMap::new();
        }
        open
    }

    /// One more to look into, or the rest of one.
    pub(crate) fn push(&mut self, scan: Scan) {
        self.scans.push_back(scan);
    }

    /// The one to go on with.
    pub(crate) fn pop(&mut self) -> Option<Scan> {
        self.scans.pop_front()
    }
}

/// Questions of clients of one reactor that are open at once.
pub(crate) const OPEN_MAX: usize = 64;
/// Of them those of one client.
pub(crate) const OPEN_PER_CLIENT_MAX: usize = 8;
/// Sessions in a list: 170 KB of digits.
pub(crate) const LISTED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use roost_dialect::dialect::{SessionAct, SessionSelect};

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
        assert_eq!(queries.open.capacity(), 0);
    }

    #[test]
    fn questions_have_a_bound() {
        let mut queries = SessionQueries::default();
        for _ in 0..OPEN_PER_CLIENT_MAX {
            assert!(queries.open(open(1, 1)).is_some());
        }
        assert!(queries.open(open(1, 1)).is_none(), "as many of one client");
        for client in 0..OPEN_MAX - OPEN_PER_CLIENT_MAX {
            assert!(queries.open(open(2 + client as u32, 1)).is_some());
        }
        assert!(queries.open(open(9_999, 1)).is_none());
        assert!(queries.add_found(7, Found::default()).is_some());
        assert!(queries.open(open(1, 1)).is_some());
    }
}
