//! What a client asks about the sessions of its realm, on all reactors, and what it is told.

/// A question about sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// Of this realm.
    pub realm: u16,
    /// Which session asks.
    pub caller: u64,
    /// About which.
    pub select: SessionSelect,
    /// What is wanted.
    pub act: SessionAct,
}

/// Which sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSelect {
    /// All.
    All,
    /// The one with this number.
    Session(u64),
    /// Those that are known as this.
    AuthId(Box<str>),
    /// Those with one of these roles.
    Roles(Box<[Box<str>]>),
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionAct {
    /// How many there are.
    Count,
    /// Their numbers.
    List,
    /// All that is told of one.
    Get,
    /// That they end, but for the one that asks. How many did is told.
    Kill {
        /// A URI, which their clients are told.
        reason: Box<str>,
        /// For a person.
        message: Box<str>,
    },
}

/// A session and its realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The session's number.
    pub session: u64,
    /// The realm's.
    pub realm: u16,
}
