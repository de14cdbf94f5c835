//! What goes into a dealer and what comes out of it.

use roost_hub::{Name, ReactorId};

use crate::ids::{CallRef, Client, InvocationRef};

/// How a procedure is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// By its whole name.
    Exact,
    /// By a name's first bytes.
    Prefix,
    /// Component by component, of those that dots separate; an empty one matches any.
    Wildcard,
}

/// A procedure as it is registered: its name or pattern, with the realm in it if realms are apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procedure {
    /// Its name or pattern.
    pub name: Name,
    /// How it is matched.
    pub matching: Match,
}

/// Which of the callees of one procedure is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// There is one callee at most.
    Single,
    /// One after the other, in the order of registration.
    RoundRobin,
    /// Any.
    Random,
    /// The one that registered first.
    First,
    /// The one that registered last.
    Last,
}

/// What a callee can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CalleeFeatures {
    /// It can be interrupted.
    pub interrupt: bool,
    /// It can answer progressively.
    pub progress: bool,
}

/// A registration as a reactor asks for it.
#[derive(Debug, Clone, Copy)]
pub struct Register<'a> {
    /// The callee.
    pub callee: Client,
    /// Name or pattern.
    pub name: &'a str,
    /// How it is matched.
    pub matching: Match,
    /// Which callee is called, if there are several.
    pub policy: Policy,
    /// What the callee can do. The last that is said holds.
    pub features: CalleeFeatures,
    /// The number by which other clients know the callee.
    pub session: u64,
    /// Comes back with [`Notice::Registered`] or [`Notice::RegisterRefused`].
    pub token: u64,
}

/// A call as a reactor asks for it.
#[derive(Debug, Clone)]
pub struct Call<'a, P> {
    /// The caller.
    pub caller: Client,
    /// The caller's number of the call, which no other open call of it has.
    pub request: u64,
    /// What is called.
    pub procedure: &'a str,
    /// Whether the caller wants progressive results.
    pub wants_progress: bool,
    /// In so many ticks the call is given up, and in so many behind each progressive result; 0 is
    /// never.
    pub timeout: u32,
    /// For the callee.
    pub payload: P,
}

/// How a caller cancels a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelMode {
    /// The caller is answered at once, the callee is not told.
    Skip,
    /// The callee is interrupted, and its answer is the caller's.
    Kill,
    /// The callee is interrupted, and the caller is answered at once.
    KillNoWait,
}

/// What a callee is told of the end of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// It is to answer.
    Kill,
    /// Its answer is not awaited.
    KillNoWait,
}

/// What a callee answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<P> {
    /// A part; more follows.
    Progress(P),
    /// The result.
    Result(P),
    /// The procedure failed.
    Error(P),
    /// The call failed before the procedure could.
    Failed(Failure),
}

impl<P> Answer<P> {
    /// The same answer with what `convert` makes of its payload.
    pub fn map<Q>(self, convert: impl FnOnce(P) -> Q) -> Answer<Q> {
        match self {
            Answer::Progress(payload) => Answer::Progress(convert(payload)),
            Answer::Result(payload) => Answer::Result(convert(payload)),
            Answer::Error(payload) => Answer::Error(convert(payload)),
            Answer::Failed(failure) => Answer::Failed(failure),
        }
    }
}

/// Why a call failed, but for what its callee says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no such procedure.
    NoSuchProcedure,
    /// The caller canceled it.
    Canceled,
    /// It was not answered in time.
    TimedOut,
    /// The callee has left.
    CalleeLeft,
    /// The callee has as many open invocations as it may have.
    CalleeBusy,
}

/// What one reactor's dealer says to another's. The reactors lose none. [`Item::Call`] makes items
/// for others and goes the way of publications; the others keep their order for each pair of
/// reactors.
#[derive(Debug, Clone)]
pub enum Item<P> {
    /// To the home: a client wants to be a callee.
    Register {
        /// What it offers.
        procedure: Procedure,
        /// Which callee is called.
        policy: Policy,
        /// Who wants it.
        callee: Client,
        /// As in [`Register::session`].
        session: u64,
        /// As in [`Register::token`].
        token: u64,
    },
    /// From the home: the client is one.
    Registered {
        /// Who asked.
        callee: Client,
        /// As in `Register`.
        token: u64,
        /// The procedure, as in `Register`.
        procedure: Procedure,
        /// The registration's number.
        registration: u64,
        /// The callee's place in the registration: a number that no other has.
        seat: u64,
    },
    /// From the home: it is not.
    RegisterRefused {
        /// Who asked.
        callee: Client,
        /// As in `Register`.
        token: u64,
        /// Why.
        error: RegisterError,
    },
    /// To the home: the callee in this place has gone.
    Unregister {
        /// The procedure.
        procedure: Procedure,
        /// Its place.
        seat: u64,
    },
    /// To the home.
    Call {
        /// The call.
        call: CallRef,
        /// What is called.
        procedure: Name,
        /// As in [`Call::wants_progress`].
        wants_progress: bool,
        /// For the callee.
        payload: P,
    },
    /// From a home, to the callee's reactor.
    Invoke {
        /// Who is called.
        callee: Client,
        /// The callee's place in the registration.
        seat: u64,
        /// The registration's number.
        registration: u64,
        /// The call.
        call: CallRef,
        /// What is called.
        procedure: Name,
        /// Whether the registration is a pattern.
        is_pattern: bool,
        /// As in [`Call::wants_progress`].
        wants_progress: bool,
        /// For the callee.
        payload: P,
    },
    /// From the callee's reactor to the caller's: the invocation has begun.
    Invoked {
        /// The call.
        call: CallRef,
        /// The invocation.
        invocation: InvocationRef,
        /// Whether the callee can be interrupted.
        can_interrupt: bool,
    },
    /// From the callee's reactor to the caller's, or from a home.
    Answer {
        /// The call.
        call: CallRef,
        /// What is answered.
        answer: Answer<P>,
    },
    /// From the caller's reactor to the callee's: the call is given up.
    GiveUp {
        /// The callee.
        callee: Client,
        /// The callee's number of the invocation.
        invocation: u64,
        /// What the callee is told. With [`Interrupt::Kill`] its answer is still awaited.
        interrupt: Option<Interrupt>,
    },
}

impl<P> Item<P> {
    /// What is carried for a client.
    pub fn payload(&self) -> Option<&P> {
        match self {
            Item::Call { payload, .. } | Item::Invoke { payload, .. } => Some(payload),
            Item::Answer { answer, .. } => match answer {
                Answer::Progress(payload) | Answer::Result(payload) | Answer::Error(payload) => {
                    Some(payload)
                }
                Answer::Failed(_) => None,
            },
            Item::Register { .. }
            | Item::Registered { .. }
            | Item::RegisterRefused { .. }
            | Item::Unregister { .. }
            | Item::Invoked { .. }
            | Item::GiveUp { .. } => None,
        }
    }
}

/// What the reactor does next, in this order.
#[derive(Debug, Clone)]
pub enum Output<P> {
    /// Carry this to another reactor.
    ToReactor(ReactorId, Item<P>),
    /// Tell a client of this reactor.
    ToClient(Client, Notice<P>),
    /// A registration whose home is here has changed, if that is reported
    /// ([`crate::Dealer::set_reports_registrations`]).
    Registration(Box<RegistrationEvent>),
}

/// What has happened to a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationEvent {
    /// The callee's number, as in [`Register::session`].
    pub session: u64,
    /// The registration.
    pub registration: Registration,
    /// What has happened to it.
    pub change: RegistrationChange,
}

/// What may happen to a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationChange {
    /// It has its first callee.
    Created,
    /// It has one more; behind `Created` the first.
    Registered,
    /// A callee has left it.
    Unregistered,
    /// The last has, behind `Unregistered`.
    Deleted,
}

/// What there is to know of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its number.
    pub number: u64,
    /// What is registered.
    pub procedure: Procedure,
    /// Which callee is called.
    pub policy: Policy,
    /// The tick at which the first callee came.
    pub created: u32,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice<P> {
    /// It is a callee: calls may follow.
    Registered {
        /// As in [`Register::token`].
        token: u64,
        /// The registration's number.
        registration: u64,
    },
    /// It is not.
    RegisterRefused {
        /// As in [`Register::token`].
        token: u64,
        /// Why.
        error: RegisterError,
    },
    /// It is called.
    Invocation {
        /// The callee's number of the invocation.
        invocation: u64,
        /// Which of its registrations is called.
        registration: u64,
        /// What was called, if the registration is a pattern.
        procedure: Option<Name>,
        /// Whether it may answer progressively.
        wants_progress: bool,
        /// What the caller said.
        payload: P,
    },
    /// An invocation is to end.
    Interrupt {
        /// The callee's number of the invocation.
        invocation: u64,
        /// How.
        interrupt: Interrupt,
    },
    /// Its call is answered: for good, but for [`Answer::Progress`].
    Answer {
        /// The caller's number of the call.
        request: u64,
        /// What is answered.
        answer: Answer<P>,
    },
}

/// Why a procedure is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterError {
    /// Another has it, or the client itself.
    AlreadyExists,
    /// Others have it under another policy.
    OtherPolicy,
    /// The client has as many registrations as it may have.
    TooMany,
    /// The procedure has as many callees as it may have, or there are too many forms of wildcards.
    NoRoom,
    /// A wildcard pattern has too many components, or too many that are empty.
    TooComplex,
}

/// Why a call is not made. It is not answered otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError {
    /// The number belongs to an open call.
    RequestInUse,
    /// The client has as many open calls as it may have.
    TooMany,
}

/// An answer to an invocation that never was: the callee's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeverInvoked;
