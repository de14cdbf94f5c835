//! Connections whose deadlines are over: which they are, and what that means for each.

use roost_net::{ConnKey, Driver};

use super::deadlines::{Deadlines, Idle, Opening, Slice};
use super::table::Table;

/// The deadlines, and the table that they are of.
pub(crate) struct Overdue<'a> {
    deadlines: &'a mut Deadlines,
    table: &'a mut Table,
}

impl<'a> Overdue<'a> {
    pub(super) fn new(deadlines: &'a mut Deadlines, table: &'a mut Table) -> Overdue<'a> {
        Overdue { deadlines, table }
    }

    /// The next connection in the slice whose deadline is over; it has none any more.
    pub(crate) fn next(&mut self, slice: &mut Slice) -> Option<ConnKey> {
        self.deadlines.next_overdue(slice, self.table)
    }

    /// Ends it.
    pub(crate) fn end_slice(&mut self, slice: &Slice) {
        self.deadlines.end_slice(slice, self.table.slots());
    }

    /// Whether a deadline of `ms` that is over may be held against the connection. If not, it has a
    /// new one.
    pub(crate) fn is_silent<D: Driver>(&mut self, driver: &D, key: ConnKey, ms: u32) -> bool {
        self.table.get_mut(key).is_some_and(|conn| {
            self.deadlines
                .is_silent(conn, ms, || driver.has_unread(key))
        })
    }

    /// Whether the client of a session that is not opened yet has had its time.
    pub(crate) fn judge_opening<D: Driver>(&mut self, driver: &D, key: ConnKey) -> Opening {
        self.table.get_mut(key).map_or(Opening::HasTime, |conn| {
            self.deadlines
                .judge_opening(conn, || driver.has_unread(key))
        })
    }

    /// What the deadline of an open connection means, which is over.
    pub(crate) fn judge_open<D: Driver>(&mut self, driver: &D, key: ConnKey) -> Idle {
        self.table.get_mut(key).map_or(Idle::No, |conn| {
            self.deadlines
                .judge_open(key.slot(), conn, || driver.has_unread(key))
        })
    }
}
