//! A client that has called or registered something: its open calls, its registrations, its open
//! invocations. Clients that have not cost nothing.

use std::collections::BTreeMap;

use super::call::Call;
use crate::ids::CallRef;
use crate::item::{CalleeFeatures, Procedure};

/// A caller, a callee or both.
#[derive(Debug, Default)]
pub(crate) struct ClientRecord {
    /// By the caller's numbers.
    pub(crate) calls: BTreeMap<u64, Call>,
    /// By number.
    pub(crate) registrations: BTreeMap<u64, Registered>,
    /// Registrations that their home has not answered.
    pub(crate) pending: u32,
    /// By the callee's numbers.
    pub(crate) invocations: BTreeMap<u64, Invocation>,
    /// The last number that was given to one.
    last_invocation: u64,
    pub(crate) features: CalleeFeatures,
}

/// A registration of a client here.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) procedure: Procedure,
    pub(crate) seat: u64,
}

/// An open invocation of a client here.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) call: CallRef,
    pub(crate) wants_progress: bool,
}

impl ClientRecord {
    /// Begins an invocation; returns its number.
    pub(crate) fn invoke(&mut self, invocation: Invocation) -> u64 {
        self.last_invocation += 1;
        self.invocations.insert(self.last_invocation, invocation);
        self.last_invocation
    }

    /// Whether there was an invocation of this number.
    pub(crate) fn was_invoked(&self, invocation: u64) -> bool {
        (1..=self.last_invocation).contains(&invocation)
    }

    /// Whether there is nothing to know of it. A client that was invoked stays until it leaves: its
    /// numbers go on.
    pub(crate) fn is_idle(&self) -> bool {
        let ClientRecord {
            calls,
            registrations,
            pending,
            invocations,
            last_invocation,
            features: _,
        } = self;
        let is_callee = !registrations.is_empty() || *pending > 0 || !invocations.is_empty();
        calls.is_empty() && !is_callee && *last_invocation == 0
    }
}
