//! A dealer taken apart into plain values, to be handed over to another process.
//!
//! Each record is taken apart in one place, field by field, and built again beside it: a field that is added
//! does not compile until it is said there what becomes of it.

use std::error::Error;
use std::fmt;

use crate::ids::{Address, CallRef, Client, InvocationRef};
use crate::item::{CalleeFeatures, Interrupt, Policy, Procedure};

/// All that a dealer holds: what [`Dealer::export`](crate::Dealer::export) gives and
/// [`Dealer::import`](crate::Dealer::import) takes. Items under way are the caller's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DealerState {
    /// The procedures, if this is their home, ascending by number.
    pub registrations: Vec<RegistrationState>,
    /// How many seats were given.
    pub seats: u64,
    /// Clients here that have called or registered something, ascending.
    pub clients: Vec<ClientState>,
    /// The last call's.
    pub serial: u32,
}

/// A registration, at home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationState {
    /// Its number.
    pub number: u64,
    /// What is registered.
    pub procedure: Procedure,
    /// Which callee is called.
    pub policy: Policy,
    /// The tick of the first callee.
    pub created: u32,
    /// The seat that was called last.
    pub last: u64,
    /// The callees: each with its seat, ascending, and its session.
    pub callees: Vec<(u64, Address, u64)>,
}

/// A client that has called or registered something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientState {
    /// Who it is.
    pub client: Client,
    /// What it can do as a callee.
    pub features: CalleeFeatures,
    /// Its calls, ascending by its numbers.
    pub calls: Vec<CallState>,
    /// Its registrations by number, ascending, each with its seat.
    pub registrations: Vec<(u64, Procedure, u64)>,
    /// Registrations that their home has not answered.
    pub pending: u32,
    /// Its open invocations by number, ascending, and whether progress is wanted.
    pub invocations: Vec<(u64, CallRef, bool)>,
    /// The last number that was given to one.
    pub last_invocation: u64,
}

/// A call whose record is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallState {
    /// The caller's number.
    pub request: u64,
    /// See [`CallRef::serial`].
    pub serial: u32,
    /// Whether the caller wants progressive results.
    pub wants_progress: bool,
    /// Ticks from one result to the next; 0 is no limit.
    pub timeout: u32,
    /// The tick at which the next result is overdue.
    pub deadline: u32,
    /// How far it has come.
    pub stage: CallStage,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStage {
    /// It is on its way to a callee.
    Routing,
    /// The same, and the callee is to be interrupted.
    RoutingKilled,
    /// The same, and the caller has its answer; the callee is told this.
    RoutingAnswered(Option<Interrupt>),
    /// A callee has it.
    Invoked {
        /// Where.
        invocation: InvocationRef,
        /// Whether it can be interrupted.
        can_interrupt: bool,
        /// Whether it was.
        is_killed: bool,
    },
}

/// A state that no dealer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateError {
    /// A registration without callees, that is there twice, or whose pattern cannot be registered.
    Registration(u64),
    /// A client that has nothing, or is there twice.
    Client(Client),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Registration(number) => {
                write!(f, "registration {number} cannot be taken over")
            }
            StateError::Client(Client(client)) => {
                write!(f, "client {client:#x} cannot be taken over")
            }
        }
    }
}

impl Error for StateError {}
