//! What became of messages: received once, lost, doubled, out of order, corrupt.

use serde::Serialize;

/// Counts of deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages received that were expected, each once.
    pub received: u64,
    /// Messages that should have come and did not.
    pub lost: u64,
    /// Messages received once more.
    pub doubled: u64,
    /// Messages that came after a later one of the same publisher.
    pub reordered: u64,
    /// Messages whose payload was not as it was sent.
    pub corrupt: u64,
    /// Messages of a channel or publisher that the connection has nothing to do with.
    pub misrouted: u64,
}

impl Tally {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Tally) {
        self.received += other.received;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.misrouted += other.misrouted;
    }

    /// True when all that was expected came once, in order and whole.
    pub fn is_clean(&self) -> bool {
        let Tally {
            received: _,
            lost,
            doubled,
            reordered,
            corrupt,
            misrouted,
        } = *self;
        lost + doubled + reordered + corrupt + misrouted == 0
    }
}

/// One subscriber's view of one publisher: 16 bytes.
///
/// What is missing below `Track::next` is known from a window of the latest 64 sequence numbers;
/// a message older than that counts as doubled if it comes (it was counted as lost if it had not).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// One more than the highest sequence received; [`NOTHING_YET`] before the first.
    next: u64,
    /// Bit `i`: sequence `next - 1 - i` was received. Before the first message: the sequence from
    /// which on all must come.
    seen: u64,
}

const _: () = assert!(size_of::<Track>() == 16);
const NOTHING_YET: u64 = u64::MAX;

impl Track {
    /// From `floor` on, everything must come; what was sent before may.
    pub fn from(floor: u64) -> Track {
        Track {
            next: NOTHING_YET,
            seen: floor,
        }
    }

    /// Counts a message.
    pub fn handle(&mut self, sequence: u64, tally: &mut Tally) {
        if self.next == NOTHING_YET {
            let floor = self.seen;
            tally.received += 1;
            tally.lost += sequence.saturating_sub(floor);
            self.next = sequence + 1;
            // Nothing below the floor is expected: as if it had come.
            let missing = sequence.saturating_sub(floor);
            let below = if missing >= 63 {
                0
            } else {
                u64::MAX << (missing + 1)
            };
            self.seen = 1 | below;
            return;
        }
        if sequence >= self.next {
            let skipped = sequence - self.next;
            tally.received += 1;
            tally.lost += skipped;
            self.seen = match skipped {
                0..=62 => self.seen << (skipped + 1) | 1,
                _ => 1,
            };
            self.next = sequence + 1;
            return;
        }
        let back = self.next - 1 - sequence;
        let bit = 1u64.checked_shl(u32::try_from(back).unwrap_or(u32::MAX));
        match bit {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                tally.received += 1;
                tally.reordered += 1;
                tally.lost = tally.lost.saturating_sub(1);
            }
            Some(_) | None => tally.doubled += 1,
        }
    }

    /// Messages still to come when the publisher has sent `sent` of them.
    pub fn missing(&self, sent: u64) -> u64 {
        match self.next {
            NOTHING_YET => sent.saturating_sub(self.seen),
            next => sent.saturating_sub(next),
        }
    }

    /// The publisher has sent `sent` messages and nothing more will come: the rest is lost. What
    /// comes yet counts as doubled, and what is sent from now on is expected.
    pub fn count_missing_as_lost(&mut self, sent: u64, tally: &mut Tally) {
        tally.lost += self.missing(sent);
        if self.missing(sent) > 0 {
            *self = Track {
                next: sent,
                seen: u64::MAX,
            };
        }
    }
}
