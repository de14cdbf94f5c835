//! Requests that come a second time. A signature holds for ten minutes before and after its time, so that
//! an attacker who has captured a request could replay it until then. Libraries sign by the second: two equal
//! requests of one second have one signature, and so have the tries of one that is sent again. What
//! comes with a signature of [`AGAIN_MS`] ago is neither, and is refused.

use std::collections::{HashMap, VecDeque};

/// Signatures of requests that were let in, with when each first was.
#[derive(Debug, Default)]
pub(super) struct Replays {
    first: HashMap<u128, u64>,
    /// The same, the oldest first.
    order: VecDeque<(u64, u128)>,
}

impl Replays {
    /// Whether a request with this signature, which is good, may be carried out now.
    pub(super) fn admit(&mut self, signature: u128, now_ms: u64) -> bool {
        while let Some(&(at, oldest)) = self.order.front() {
            let is_over = now_ms.saturating_sub(at) > KEPT_MS;
            if !is_over && (self.order.len() < KEPT_MAX || self.first.contains_key(&signature)) {
                break;
            }
            self.order.pop_front();
            self.first.remove(&oldest);
        }
        let first = *self.first.entry(signature).or_insert_with(|| {
            self.order.push_back((now_ms, signature));
            now_ms
        });
        now_ms.saturating_sub(first) <= AGAIN_MS
    }
}

/// How long a request may be repeated.
const AGAIN_MS: u64 = 10_000;
/// How long one may be signed for: from the beginning of the ten minutes before its time to the end of those
/// after it.
const KEPT_MS: u64 = 1_200_000;
/// Signatures kept; of more in that time the oldest are forgotten.
const KEPT_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_be_repeated_for_a_moment() {
        let mut replays = Replays::default();
        assert!(replays.admit(1, 5_000));
        assert!(replays.admit(1, 5_000 + AGAIN_MS));
        assert!(!replays.admit(1, 5_001 + AGAIN_MS));
        assert!(replays.admit(2, 5_001 + AGAIN_MS), "another one");
        assert!(!replays.admit(1, 5_000 + KEPT_MS), "still");
    }

    #[test]
    fn what_cannot_be_good_any_more_is_forgotten_and_so_are_the_oldest_of_too_many() {
        let mut replays = Replays::default();
        assert!(replays.admit(1, 0));
        assert!(replays.admit(2, KEPT_MS + 1));
        assert_eq!((replays.first.len(), replays.order.len()), (1, 1));
        for signature in 3..KEPT_MAX as u128 + 3 {
            assert!(replays.admit(signature, KEPT_MS + 2));
        }
        assert_eq!(
            (replays.first.len(), replays.order.len()),
            (KEPT_MAX, KEPT_MAX)
        );
        let late = KEPT_MS + 3 + AGAIN_MS;
        assert!(!replays.admit(3, late), "it is known");
        assert!(replays.admit(2, late), "the oldest is not");
    }
}
