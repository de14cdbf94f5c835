//! What a client asks about the registrations and subscriptions of its realm, and what it is told.

use roost_dealer::{Match, Policy};

/// A question about registrations or subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryQuery {
    /// About which of the two.
    pub kind: EntryKind,
    /// Those of this realm.
    pub realm: u16,
    /// What is wanted.
    pub ask: EntryAsk,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Procedures with their callees.
    Registration,
    /// Topics with their subscribers.
    Subscription,
}

/// What is wanted. Names are whole: with the realm's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryAsk {
    /// The numbers of all.
    List,
    /// The number of the one with this very name or pattern.
    Lookup(Match, Box<str>),
    /// Of registrations, the number of the one that is called by this name; of subscriptions, the numbers of
    /// all that match it.
    Match(Box<str>),
    /// What there is to know of the one with this number.
    Get(u64),
    /// The sessions of the one with this number.
    ListSessions(u64),
    /// How many those are.
    CountSessions(u64),
}

impl EntryAsk {
    /// The number that is asked about.
    pub fn number(&self) -> Option<u64> {
        match self {
            EntryAsk::Get(number)
            | EntryAsk::ListSessions(number)
            | EntryAsk::CountSessions(number) => Some(*number),
            EntryAsk::List | EntryAsk::Lookup(..) | EntryAsk::Match(_) => None,
        }
    }
}

/// What there is to know of a registration or a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// Its name or pattern, as sessions of its realm write it.
    pub uri: Box<str>,
    /// How it is matched.
    pub matching: Match,
    /// Of a registration: which callee is called.
    pub policy: Option<Policy>,
    /// When it began, if that is known, in ISO 8601.
    pub created: Option<Box<str>>,
}
