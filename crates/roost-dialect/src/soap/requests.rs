//! The requests of one session that are not answered yet.

use super::fault::Style;

/// One of them: nothing else is kept for it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenRequest {
    pub(super) message_id: Box<str>,
    /// Told to the dealer; no other open one of the session has it.
    pub(super) number: u32,
    pub(super) style: Style,
    /// What was called is the message's Action.
    pub(super) is_action: bool,
}

const _: () = assert!(size_of::<OpenRequest>() <= 24);

/// The same as plain values: what is handed over to another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestState(OpenRequest);

/// By number, ascending but where it began anew.
#[derive(Debug, Default)]
pub(super) struct OpenRequests(Vec<OpenRequest>);

impl OpenRequests {
    pub(super) fn add(&mut self, request: OpenRequest) {
        self.0.push(request);
    }

    pub(super) fn take(&mut self, number: u32) -> Option<OpenRequest> {
        // The oldest are answered first, mostly.
        let at = self.0.iter().position(|one| one.number == number)?;
        Some(self.0.remove(at))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        let ids = self.0.iter().map(|one| one.message_id.len());
        self.0.capacity() * size_of::<OpenRequest>() + ids.sum::<usize>()
    }

    pub(super) fn into_state(self) -> Vec<RequestState> {
        self.0.into_iter().map(RequestState).collect()
    }

    pub(super) fn from_state(state: Vec<RequestState>) -> OpenRequests {
        OpenRequests(state.into_iter().map(|RequestState(one)| one).collect())
    }

    pub(super) fn newest(&self) -> Option<u32> {
        self.0.iter().map(|one| one.number).max()
    }
}
