//! Questions of WAMP sessions about their realm that all reactors are asked: those of clients here, until all
//! have answered, and those that are being looked into here, a slice of a table at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use roost_net::ConnKey;

/// What a reactor has found, to which others add.
pub(crate) trait Merge {
    /// Adds what another has found, within the bounds of a list.
    fn merge(&mut self, other: Self);
}

/// A question of a client here: `Q` is what it asks, `F` what reactors find.
pub(crate) struct Open<Q, F> {
    pub(crate) key: ConnKey,
    pub(crate) request: u64,
    pub(crate) query: Arc<Q>,
    /// Reactors that have not answered.
    pub(crate) awaits: usize,
    pub(crate) found: F,
}

/// Questions of one kind, with `S` as one on its way through what is here. Nothing while there are none.
pub(crate) struct Queries<Q, F, S> {
    open: HashMap<u32, Open<Q, F>>,
    last_number: u32,
    scans: VecDeque<S>,
}

impl<Q, F, S> Default for Queries<Q, F, S> {
    fn default() -> Queries<Q, F, S> {
        Queries {
            open: HashMap::new(),
            last_number: 0,
            scans: VecDeque::new(),
        }
    }
}

impl<Q, F: Merge, S> Queries<Q, F, S> {
    /// Whether nothing is to be looked through.
    pub(crate) fn is_idle(&self) -> bool {
        self.scans.is_empty()
    }

    /// Keeps a question until all that are asked have answered; gives its number. `None`: there are as many as
    /// may be.
    pub(crate) fn open(&mut self, open: Open<Q, F>) -> Option<u32> {
        let of_client = self.open.values().filter(|one| one.key == open.key);
        if self.open.len() >= OPEN_MAX || of_client.count() >= OPEN_PER_CLIENT_MAX {
            return None;
        }
        self.last_number = self.last_number.wrapping_add(1);
        self.open.insert(self.last_number, open);
        Some(self.last_number)
    }

    /// A reactor has answered. The question, with what all have found, once it is the last.
    pub(crate) fn add_found(&mut self, number: u32, found: F) -> Option<Open<Q, F>> {
        let Some(open) = self.open.get_mut(&number) else {
            debug_assert!(false, "an answer to no question");
            return None;
        };
        open.found.merge(found);
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
    pub(crate) fn push(&mut self, scan: S) {
        self.scans.push_back(scan);
    }

    /// The one to go on with.
    pub(crate) fn pop(&mut self) -> Option<S> {
        self.scans.pop_front()
    }
}

/// Questions of a kind that clients of one reactor have open at once.
const OPEN_MAX: usize = 64;
/// Of them those of one client.
const OPEN_PER_CLIENT_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    impl Merge for u32 {
        fn merge(&mut self, other: u32) {
            *self += other;
        }
    }

    fn open(client: u32, awaits: usize) -> Open<(), u32> {
        Open {
            key: ConnKey::new(client, 1),
            request: 1,
            query: Arc::new(()),
            awaits,
            found: 0,
        }
    }

    #[test]
    fn the_last_answer_completes_a_question_and_frees_the_table() {
        let mut queries: Queries<(), u32, ()> = Queries::default();
        let number = queries.open(open(1, 3)).expect("room");
        assert!(queries.add_found(number, 10).is_none());
        assert!(queries.add_found(number, 20).is_none());
        let open = queries.add_found(number, 30).expect("the last");
        assert_eq!((open.found, open.awaits), (60, 0));
        assert_eq!(queries.open.capacity(), 0);
    }

    #[test]
    fn questions_have_a_bound_of_all_and_of_one_client() {
        let mut queries: Queries<(), u32, ()> = Queries::default();
        for _ in 0..OPEN_PER_CLIENT_MAX {
            assert!(queries.open(open(1, 1)).is_some());
        }
        assert!(queries.open(open(1, 1)).is_none(), "as many of one client");
        for client in 0..OPEN_MAX - OPEN_PER_CLIENT_MAX {
            assert!(queries.open(open(2 + client as u32, 1)).is_some());
        }
        assert!(queries.open(open(9_999, 1)).is_none());
        assert!(queries.add_found(7, 0).is_some());
        assert!(queries.open(open(1, 1)).is_some());
    }
}
