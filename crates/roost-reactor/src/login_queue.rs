//! Clients that have been challenged and have to answer in time. All have the same time, so the first in
//! the queue is due first.

use std::collections::VecDeque;

use roost_net::ConnKey;

use crate::clock::NEVER;

/// Those of one reactor, with the tick at which each is due. One that has answered stays until then.
#[derive(Default)]
pub(crate) struct LoginQueue {
    queue: VecDeque<(ConnKey, u32)>,
}

impl LoginQueue {
    /// A client has been challenged. False: there are as many as may be.
    #[must_use]
    pub(crate) fn push(&mut self, key: ConnKey, due: u32) -> bool {
        if self.queue.len() >= QUEUE_MAX {
            return false;
        }
        self.queue.push_back((key, due));
        true
    }

    /// The tick at which the first is due.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        self.queue.front().map_or(NEVER, |&(_, due)| due)
    }

    /// Takes the first, if it is due at this tick.
    pub(crate) fn pop_due(&mut self, now: u32) -> Option<ConnKey> {
        (self.due() <= now)
            .then(|| self.queue.pop_front())?
            .map(|(key, _)| key)
    }

    /// Drops memory that nothing is in; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        if !self.queue.is_empty() {
            return 0;
        }
        let queue = std::mem::take(&mut self.queue);
        queue.capacity() * size_of::<(ConnKey, u32)>()
    }
}

/// Most challenges of a reactor within the time to answer. What is kept of each is some 500 bytes; at the
/// usual 10 s it is 6,500 logins a second.
const QUEUE_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_due_first_and_there_is_a_limit() {
        let mut queue = LoginQueue::default();
        assert_eq!((queue.due(), queue.pop_due(u32::MAX - 1)), (NEVER, None));
        let key = |slot| ConnKey::new(slot, 1);
        for slot in 0..QUEUE_MAX as u32 {
            assert!(queue.push(key(slot), 5 + slot));
        }
        assert!(!queue.push(key(0), 1 << 20));
        assert_eq!((queue.due(), queue.pop_due(4)), (5, None));
        assert_eq!(queue.pop_due(6), Some(key(0)));
        assert_eq!(queue.pop_due(6), Some(key(1)));
        assert_eq!(queue.pop_due(6), None);
        assert_eq!(queue.shrink(), 0);
        while queue.pop_due(NEVER - 1).is_some() {}
        assert!(queue.shrink() > 0);
    }
}
