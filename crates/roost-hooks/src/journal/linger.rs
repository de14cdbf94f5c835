//! Channels that have lost their last subscriber a moment ago.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// When a channel was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vacated {
    /// When that is told, on the journal's clock.
    pub(super) due_ms: u64,
    /// In milliseconds since 1970.
    pub(super) time_ms: u64,
    /// Of a user: the application has named it by a number.
    pub(super) has_number: bool,
}

/// Those of which it is not told yet.
#[derive(Debug, Default)]
pub(super) struct Linger {
    by_channel: HashMap<Arc<str>, Vacated>,
    /// All linger for the same time, so the first is due first; some may have subscribers again.
    by_due: VecDeque<(u64, Arc<str>)>,
}

impl Linger {
    /// A channel is left.
    pub(super) fn begin(&mut self, channel: &str, vacated: Vacated) {
        let channel: Arc<str> = channel.into();
        self.by_due.push_back((vacated.due_ms, channel.clone()));
        self.by_channel.insert(channel, vacated);
    }

    /// It has subscribers again. False if it did not linger.
    pub(super) fn cancel(&mut self, channel: &str) -> bool {
        let was_there = self.by_channel.remove(channel).is_some();
        if self.by_channel.is_empty() {
            self.by_due.clear();
        }
        was_there
    }

    /// The first that is due at `now_ms`.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<(Arc<str>, Vacated)> {
        let is_due = |linger: &Linger| linger.due().is_some_and(|due| due <= now_ms);
        while is_due(self) {
            if let Some(found) = self.pop_first() {
                return Some(found);
            }
        }
        None
    }

    /// The first, due or not.
    pub(super) fn pop(&mut self) -> Option<(Arc<str>, Vacated)> {
        while !self.by_due.is_empty() {
            if let Some(found) = self.pop_first() {
                return Some(found);
            }
        }
        None
    }

    /// When the first is due, or earlier.
    pub(super) fn due(&self) -> Option<u64> {
        self.by_due.front().map(|&(due, _)| due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_channel.is_empty()
    }

    /// What is kept, of channels that have subscribers again too.
    pub(super) fn len(&self) -> usize {
        self.by_due.len()
    }

    /// `None` if the first has subscribers again, or was left once more.
    fn pop_first(&mut self) -> Option<(Arc<str>, Vacated)> {
        let (due, channel) = self.by_due.pop_front()?;
        let vacated = *self.by_channel.get(&channel)?;
        (vacated.due_ms == due).then(|| {
            self.by_channel.remove(&channel);
            (channel, vacated)
        })
    }
}
