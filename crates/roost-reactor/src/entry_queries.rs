//! What WAMP sessions ask about the registrations and subscriptions of their realm: questions of clients here,
//! and those that are being looked into here. What is done with them stands in [`crate::entry_scans`].

use std::sync::Arc;

use roost_dialect::dialect::{Entry, EntryQuery};
use roost_hub::{Name, ReactorId};

use crate::realm_queries::{Merge, Open, Queries};
use crate::session_queries::LISTED_MAX;

/// Questions about registrations and subscriptions.
pub(crate) type EntryQueries = Queries<EntryQuery, EntriesFound, EntryScan>;

/// A question of a client here.
pub(crate) type OpenEntries = Open<EntryQuery, EntriesFound>;

/// What a reactor is asked.
#[derive(Debug, Clone)]
pub(crate) enum EntryQuestion {
    /// What the client has asked, of what is at home there.
    Query(Arc<EntryQuery>),
    /// Which sessions of a realm are subscribed there to the channel or pattern whose record has this name.
    Subscribers(Name, u16),
}

/// A question on its way through what is here.
pub(crate) struct EntryScan {
    pub(crate) from: ReactorId,
    pub(crate) number: u32,
    pub(crate) question: EntryQuestion,
    /// Where it goes on.
    pub(crate) next: u64,
    pub(crate) found: EntriesFound,
}

/// What a reactor has found.
#[derive(Debug, Default)]
pub(crate) struct EntriesFound {
    /// How many.
    pub(crate) count: u64,
    /// Their numbers: [`LISTED_MAX`] at most, by how they are matched. Those of sessions are first.
    pub(crate) numbers: [Vec<u64>; 3],
    /// What there is to know of one.
    pub(crate) entry: Option<Box<Entry>>,
    /// The name of the record of a subscription whose subscribers are asked for.
    pub(crate) record: Option<Name>,
}

impl EntriesFound {
    /// Bytes of memory beside itself.
    pub(crate) fn bytes_beside(&self) -> usize {
        let entry = self.entry.as_ref();
        let entry = entry.map_or(0, |entry| size_of_val(&**entry) + entry.uri.len());
        let record = self.record.as_ref().map_or(0, |name| name.len());
        self.listed() * size_of::<u64>() + entry + record
    }

    /// How many numbers are listed.
    pub(crate) fn listed(&self) -> usize {
        self.numbers.iter().map(Vec::len).sum()
    }

    /// One more, listed if there is room.
    pub(crate) fn add(&mut self, list: usize, number: u64) {
        self.count += 1;
        if self.listed() < LISTED_MAX {
            self.numbers[list].push(number);
        }
    }
}

impl Merge for EntriesFound {
    fn merge(&mut self, other: EntriesFound) {
        let EntriesFound {
            count,
            numbers,
            entry,
            record,
        } = other;
        self.count += count;
        for (list, numbers) in numbers.into_iter().enumerate() {
            let room = LISTED_MAX - self.listed();
            self.numbers[list].extend(numbers.into_iter().take(room));
        }
        self.entry = self.entry.take().or(entry);
        self.record = self.record.take().or(record);
    }
}

#[cfg(test)]
mod tests {
    use roost_dialect::dialect::{EntryAsk, EntryKind};
    use roost_net::ConnKey;

    use super::*;

    fn open(client: u32, awaits: usize) -> OpenEntries {
        OpenEntries {
            key: ConnKey::new(client, 1),
            request: 1,
            query: Arc::new(EntryQuery {
                kind: EntryKind::Subscription,
                realm: 0,
                ask: EntryAsk::List,
            }),
            awaits,
            found: EntriesFound::default(),
        }
    }

    #[test]
    fn the_last_answer_completes_a_question_and_lists_are_cut() {
        let mut queries = EntryQueries::default();
        let number = queries.open(open(1, 2)).expect("room");
        let found = |list: usize| {
            let mut found = EntriesFound::default();
            (0..7_000).for_each(|number| found.add(list, number));
            found
        };
        assert!(queries.add_found(number, found(0)).is_none());
        let all = queries.add_found(number, found(2)).expect("the last").found;
        assert_eq!((all.count, all.listed()), (14_000, LISTED_MAX));
        assert_eq!((all.numbers[0].len(), all.numbers[2].len()), (7_000, 3_000));
    }
}
