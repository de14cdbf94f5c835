//! A client that has called or registered something: its open calls, its registrations, its open
//! invocations. Clients that have not cost nothing.

use std::collections::BTreeMap;

use super::call::Call;
use crate::ids::{CallRef, Client};
use crate::item::{CalleeFeatures, Procedure};
use crate::state::ClientState;

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
    /// Takes the record of this client apart.
    pub(crate) fn into_state(self, client: Client) -> ClientState {
        let ClientRecord {
            calls,
            registrations,
            pending,
            invocations,
            last_invocation,
            features,
        } = self;
        let calls = calls.into_iter();
        let registrations = registrations.into_iter();
        let registrations = registrations.map(|(number, registered)| {
            let Registered { procedure, seat } = registered;
            (number, procedure, seat)
        });
        let invocations = invocations.into_iter();
        let invocations = invocations.map(|(number, invocation)| {
            let Invocation {
                call,
                wants_progress,
            } = invocation;
            (number, call, wants_progress)
        });
        ClientState {
            client,
            features,
            calls: calls
                .map(|(number, call)| call.into_state(number))
                .collect(),
            registrations: registrations.collect(),
            pending,
            invocations: invocations.collect(),
            last_invocation,
        }
    }

    /// The record of a state, and whose it is.
    pub(crate) fn from_state(state: ClientState) -> (Client, ClientRecord) {
        let ClientState {
            client,
            features,
            calls,
            registrations,
            pending,
            invocations,
            last_invocation,
        } = state;
        let registrations = registrations.into_iter();
        let registrations =
            registrations.map(|(number, procedure, seat)| (number, Registered { procedure, seat }));
        let invocations = invocations.into_iter();
        let invocations = invocations.map(|(number, call, wants_progress)| {
            let invocation = Invocation {
                call,
                wants_progress,
            };
            (number, invocation)
        });
        let record = ClientRecord {
            calls: calls.into_iter().map(Call::from_state).collect(),
            registrations: registrations.collect(),
            pending,
            invocations: invocations.collect(),
            last_invocation,
            features,
        };
        (client, record)
    }

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
