//! The calls of one reactor: its dealer, and what it wants done.

use std::sync::Arc;

use roost_dealer::{
    Answer, Call, CallError, CancelMode, Client, Dealer, DealerLimits, DealerOptions, Item,
    NeverInvoked, Output, Register, RegisterError, Registrations,
};
use roost_dialect::CallBody;
use roost_hub::ReactorId;
use roost_metrics::Counters;
use roost_net::ConnKey;

use crate::watched::Watched;

/// Procedures at home here, and calls of connections here. The only caller of the dealer.
pub(crate) struct Calls {
    dealer: Watched<Dealer<CallBody>>,
    counters: Arc<Counters>,
    /// What the dealer wants done next; reused.
    outputs: Vec<CallOutput>,
}

/// What the dealer wants done.
pub(crate) type CallOutput = Output<CallBody>;

/// A connection as the dealer knows it.
pub(crate) fn client(key: ConnKey) -> Client {
    Client(key.to_bits())
}

impl Calls {
    /// None yet.
    pub(crate) fn new(options: DealerOptions, counters: &Arc<Counters>) -> Calls {
        Calls {
            dealer: Watched::new(Dealer::new(options)),
            counters: counters.clone(),
            outputs: Vec::new(),
        }
    }

    /// [`Dealer::set_limits`]
    pub(crate) fn set_limits(&mut self, limits: DealerLimits) {
        self.dealer.set_limits(limits);
    }

    /// [`Dealer::register`]
    pub(crate) fn register(
        &mut self,
        register: Register<'_>,
        now: u32,
    ) -> Result<(), RegisterError> {
        self.dealer.register(register, now, &mut self.outputs)
    }

    /// [`Dealer::home`]
    pub(crate) fn home(&self) -> ReactorId {
        self.dealer.home()
    }

    /// [`Dealer::registrations`]
    pub(crate) fn registrations(&self) -> Registrations<'_> {
        self.dealer.registrations()
    }

    /// [`Dealer::set_reports_registrations`]
    pub(crate) fn report_registrations(&mut self) {
        self.dealer.set_reports_registrations(true);
    }

    /// [`Dealer::unregister`]
    pub(crate) fn unregister(&mut self, callee: Client, registration: u64) -> bool {
        self.dealer
            .unregister(callee, registration, &mut self.outputs)
    }

    /// [`Dealer::call`]
    pub(crate) fn call(&mut self, call: Call<'_, CallBody>, now: u32) -> Result<(), CallError> {
        let called = self.dealer.call(call, now, &mut self.outputs);
        match called {
            Ok(()) => self.counters.calls_total.inc(),
            Err(_) => self.counters.calls_refused_total.inc(),
        }
        called
    }

    /// [`Dealer::cancel`]
    pub(crate) fn cancel(&mut self, caller: Client, request: u64, mode: CancelMode) {
        self.dealer.cancel(caller, request, mode, &mut self.outputs);
    }

    /// [`Dealer::answer`]
    pub(crate) fn answer(
        &mut self,
        callee: Client,
        invocation: u64,
        answer: Answer<CallBody>,
        now: u32,
    ) -> Result<(), NeverInvoked> {
        self.dealer
            .answer(callee, invocation, answer, now, &mut self.outputs)
    }

    /// [`Dealer::leave`]
    pub(crate) fn leave(&mut self, key: ConnKey, now: u32) {
        self.dealer.leave(client(key), now, &mut self.outputs);
    }

    /// [`Dealer::expire`]
    pub(crate) fn expire(&mut self, now: u32) {
        self.dealer.expire(now, &mut self.outputs);
    }

    /// [`Dealer::due`]
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        self.dealer.due()
    }

    /// [`Dealer::handle`]
    pub(crate) fn receive(&mut self, from: ReactorId, item: Item<CallBody>, now: u32) {
        self.dealer.handle(from, item, now, &mut self.outputs);
    }

    /// Whether the dealer wants something done.
    #[inline]
    pub(crate) fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Takes out what the dealer wants done; give the list back with [`Calls::return_outputs`].
    pub(crate) fn take_outputs(&mut self) -> Vec<CallOutput> {
        std::mem::take(&mut self.outputs)
    }

    /// Takes the list back, empty by now.
    pub(crate) fn return_outputs(&mut self, outputs: Vec<CallOutput>) {
        if self.outputs.is_empty() {
            self.outputs = outputs; // keep the larger allocation
        }
    }

    /// Brings the gauges up to date.
    #[inline]
    pub(crate) fn publish_gauges(&mut self) {
        if !self.dealer.take_changed() {
            return;
        }
        let counts = self.dealer.counts();
        let counters = &self.counters;
        counters.calls_open.set(counts.calls as u64);
        counters.invocations_open.set(counts.invocations as u64);
        counters.registrations.set(counts.registrations as u64);
        counters.procedures.set(counts.procedures as u64);
    }

    /// Drops memory that is only kept for the next loop iteration; returns the bytes.
    pub(crate) fn shrink_scratch(&mut self) -> usize {
        crate::memory::drop_empty(&mut self.outputs)
    }
}
