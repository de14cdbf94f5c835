//! What the task that serves hooks is told.

use roost_hooks::{Answer, AnswerError};
use roost_reactor::HookCall;
use tokio::sync::mpsc;

use crate::hook::Hook;
use crate::hook_client::CallError;

/// What the task is told.
pub(crate) enum Input {
    /// A reactor's connections ask.
    Asked(usize, Vec<HookCall>),
    /// There are other hooks.
    Hooks(Vec<Hook>),
    /// A call of a hook, by its number, is over.
    Ended(u64, u64, Result<Answer, Failed>),
}

/// Why a call has brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    Call(CallError),
    Answer(AnswerError),
}

/// The way to the task.
pub(crate) type ToHooks = mpsc::UnboundedSender<Input>;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Call(error) => error.fmt(f),
            Failed::Answer(error) => error.fmt(f),
        }
    }
}
