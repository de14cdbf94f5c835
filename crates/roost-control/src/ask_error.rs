//! Why a reactor's answer is not there.

use std::fmt;

use roost_reactor::Refusal;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskError {
    /// The reactor's ring is full: it is behind with what it was asked before.
    RingFull,
    /// So many requests of all callers together wait for their answers.
    TooManyWaiting,
    /// The reactor has refused the request.
    Refused(Refusal),
    /// No answer within the deadline.
    Deadline,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AskError::RingFull => "the reactor has not taken earlier requests yet",
            AskError::TooManyWaiting => "too many requests wait for their answers",
            AskError::Refused(Refusal::Busy) => "the reactor is answering other listings or sweeps",
            AskError::Refused(Refusal::RevocationsFull) => {
                "as many revocations are kept as may be (auth.revocations_max)"
            }
            AskError::Refused(Refusal::Congested) => {
                "the channel is published to faster than it is delivered"
            }
            AskError::Refused(Refusal::RateLimited { .. }) => {
                "the channel's namespace is published to as fast as it may be"
            }
            AskError::Deadline => "the reactor has not answered in time",
        })
    }
}
