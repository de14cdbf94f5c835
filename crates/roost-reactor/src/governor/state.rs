//! What one reactor refuses, closes and frees for the sake of all.

use std::net::IpAddr;
use std::sync::Arc;

use roost_net::Driver;

use super::admission::{Admission, Refused};
use super::backlog::BacklogWriter;
use super::budget::{BudgetShare, BudgetVerdict};
use super::connect_rates::ConnectRates;
use super::trim::{MemoryTrimmer, Trim, Trimmed};
use crate::connections::{Connections, Index};
use crate::listening::ListenerUses;

/// The limits that hold for all connections together.
pub(crate) struct Governor {
    admission: Admission,
    listener_uses: Arc<ListenerUses>,
    connect_rates: Arc<ConnectRates>,
    budget: BudgetShare,
    backlog: BacklogWriter,
    trimmer: MemoryTrimmer,
}

impl Governor {
    pub(crate) fn new(
        admission: Admission,
        (listener_uses, connect_rates): (Arc<ListenerUses>, Arc<ConnectRates>),
        budget: BudgetShare,
        backlog: BacklogWriter,
    ) -> Governor {
        Governor {
            admission,
            listener_uses,
            connect_rates,
            budget,
            backlog,
            trimmer: MemoryTrimmer::new(),
        }
    }

    /// Lets a new connection in, or says why not. What it returns belongs to the connection until
    /// [`Governor::leave`].
    pub(crate) fn enter(&mut self, peer: Option<IpAddr>) -> Result<Index, Refused> {
        self.admission.enter(peer)
    }

    /// A connection that came in without an address is that of `peer`, or has to go. What it returns
    /// belongs to the connection as what [`Governor::enter`] returns.
    pub(crate) fn enter_address(&mut self, peer: IpAddr) -> Result<Index, Refused> {
        self.admission.enter_address(peer)
    }

    /// The address that connections are counted by; `None` where they are not.
    pub(crate) fn address_of(&self, address: Index) -> Option<IpAddr> {
        self.admission.address_of(address)
    }

    /// Other rates hold from now on.
    pub(crate) fn set_connect_rates(&mut self, connect_rates: &Arc<ConnectRates>) {
        self.connect_rates = connect_rates.clone();
    }

    /// As [`ConnectRates::take`].
    pub(crate) fn begin_connection(&self, peer: IpAddr, now: u32) -> Result<(), u32> {
        self.connect_rates.take(peer, now)
    }

    /// A connection that was let in has come by this listener.
    pub(crate) fn note_listener(&self, number: u8) {
        self.listener_uses.enter(number);
    }

    /// A connection has gone that had come by this listener.
    pub(crate) fn leave(&mut self, address: Index, listener: u8) {
        self.admission.leave(address);
        self.listener_uses.leave(listener);
    }

    /// Something has happened: memory may be freed later.
    #[inline]
    pub(crate) fn note_activity(&mut self, connections: &Connections) {
        let now = connections.clock().now;
        self.trimmer.note(now, connections.len());
    }

    /// Reports what the connections here hold; finds which to close if all together hold too much.
    #[inline(always)] // a call in each loop iteration
    pub(crate) fn look_at_budget<D: Driver>(
        &mut self,
        connections: &Connections,
        driver: &D,
    ) -> Option<BudgetVerdict> {
        self.budget.look(connections, driver)
    }

    /// Connections were closed for the budget; those that are left hold `bytes` at most. The other
    /// reactors have been asked as well, and must not close theirs for what has been closed here.
    /// Returns what is held now, and what one must hold at least to be closed as well.
    pub(crate) fn report_closed<D: Driver>(
        &mut self,
        connections: &Connections,
        driver: &D,
        bytes: u64,
    ) -> (u64, u64) {
        let held = self.budget.recount(connections, driver, bytes);
        (held, self.budget.close_threshold())
    }

    /// Updates the list of the largest backlogs, if it is time.
    pub(crate) fn report_backlog<D: Driver>(&mut self, connections: &Connections, driver: &D) {
        self.backlog.update(connections, driver);
    }

    /// The tick at which this part wants to be called.
    #[inline]
    pub(crate) fn due(&self, connections: &Connections) -> u32 {
        self.trimmer.due().min(self.backlog.due(connections))
    }

    /// Begins to look through the memory, if it is time.
    pub(crate) fn begin_trim(&mut self, now: u32) -> Option<Trim> {
        (now >= self.trimmer.due()).then(|| self.trimmer.begin())
    }

    /// Ends it, at tick `now` and `now_ns` of the driver's clock.
    pub(crate) fn end_trim(&mut self, trim: &Trim, trimmed: &Trimmed, now: u32, now_ns: u64) {
        self.trimmer.end(trim, trimmed, now, now_ns);
    }

    /// Drops memory that is only kept for the next; returns the bytes.
    pub(crate) fn shrink_scratch(&mut self) -> usize {
        self.admission.shrink()
    }

    /// In tests: the tick at which memory is looked through next.
    #[cfg(test)]
    pub(crate) fn trim_due(&self) -> u32 {
        self.trimmer.due()
    }
}
