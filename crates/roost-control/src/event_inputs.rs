//! What the task that tells events is told.

use roost_reactor::EventBatch;
use tokio::sync::mpsc;

use crate::hook_client::CallError;

/// What the task is told.
pub(crate) enum Input {
    /// By a reactor.
    Happened(usize, Box<EventBatch>),
    /// What became of the batch under way to the destination at this place.
    Ended(usize, Result<(), CallError>),
}

/// The way to the task.
pub(crate) type ToEvents = mpsc::UnboundedSender<Input>;
