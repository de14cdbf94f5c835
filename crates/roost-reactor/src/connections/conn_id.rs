//! A connection's name for people: the same in every line of the log and in `/stats/slow`.

use std::fmt;

use roost_net::ConnKey;

/// `r3-17.4`: reactor 3, slot 17, generation 4. One token, unique in the process until the slot has
/// been used 65,536 times more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnId {
    pub(crate) reactor: usize,
    pub(crate) key: ConnKey,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, generation) = (self.key.slot(), self.key.generation());
        write!(f, "r{}-{slot}.{generation}", self.reactor)
    }
}
