//! What a channel retains: one publication, which its publisher has marked, for later subscribers that ask for
//! it. It stands beside the ring, within the same bounds, and is not pushed out by what follows it.

use std::sync::Arc;

use super::{CachedTail, Histories, HistoryIndex};
use crate::encoding::Encoding;
use crate::history::{Payload, Retained, Tail};

impl<P: Payload, F: Clone> Histories<P, F> {
    /// Retains a publication that was kept just now, in place of the one before.
    pub(crate) fn retain(&mut self, index: HistoryIndex, retained: Retained<P>) {
        self.release(index);
        let bytes = retained.payload.bytes() as u64;
        let history = self.get_mut(index);
        history.retained = Some(Box::new(retained));
        history.bytes += bytes;
        self.messages += 1;
        self.bytes += bytes + Self::ENTRY_BYTES;
        let bytes_max = self.limits(index).bytes_max;
        self.shorten(index, bytes_max);
    }

    /// Retains nothing any more.
    pub(super) fn release(&mut self, index: HistoryIndex) {
        let history = self.get_mut(index);
        if let Some(retained) = history.retained.take() {
            let bytes = retained.payload.bytes() as u64;
            history.bytes -= bytes;
            self.messages -= 1;
            self.bytes -= bytes + Self::ENTRY_BYTES;
        }
    }

    /// The publication that a channel retains, encoded, if there is one. Returns also how many bytes of payload
    /// that were, if it was not encoded in this tick before.
    pub(crate) fn encode_retained(
        &mut self,
        index: HistoryIndex,
        encoding: Encoding,
        now: u32,
        encode: impl FnOnce(&Retained<P>) -> F,
    ) -> Option<(Tail<F>, usize)> {
        self.pop_expired(index, now);
        self.drop_old_tails(now);
        let end = self.get(index).retained.as_ref()?.offset;
        let asked = (index, encoding, end, true);
        if let Some(tail) = self.tails.iter().find(|tail| tail.asked() == asked) {
            return Some((Tail::new(tail.frames.clone(), 1, end), 0));
        }
        let retained = self.get(index).retained.as_ref()?;
        let (frames, bytes) = (Arc::from([encode(retained)]), retained.payload.bytes());
        self.remember(CachedTail {
            history: index,
            encoding,
            end,
            is_retained: true,
            frames: Arc::clone(&frames),
        });
        Some((Tail::new(frames, 1, end), bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{HistoryLimits, HistoryNamespace, HistoryOptions};
    use crate::ids::{HomeIndex, NamespaceId};

    type Kept = Histories<&'static str, String>;

    const LIFETIME: u32 = 100;

    fn kept(bytes_max: u64, all_bytes_max: u64) -> (Kept, HistoryIndex) {
        let limits = HistoryLimits {
            messages_max: 2,
            bytes_max,
            lifetime: LIFETIME,
            answer_bytes_max: 1 << 20,
            answer_messages_max: 100,
        };
        let mut kept = Kept::new(HistoryOptions {
            namespaces: [HistoryNamespace {
                name: String::new(),
                limits: Some(limits),
            }]
            .into(),
            bytes_max: all_bytes_max,
        });
        let index = kept.insert(HomeIndex(0), NamespaceId(0));
        (kept, index)
    }

    fn retain(kept: &mut Kept, index: HistoryIndex, payload: &'static str, now: u32) {
        kept.push(index, payload, now);
        let retained = Retained {
            payload,
            publication: u64::from(now) + 1000,
            offset: u64::from(now),
            published: now,
        };
        kept.retain(index, retained);
        kept.check_invariants();
    }

    /// What one that asks gets, and how much was encoded for it.
    fn got(kept: &mut Kept, index: HistoryIndex, now: u32) -> Option<(String, usize)> {
        let encode =
            |retained: &Retained<&str>| format!("{} {}", retained.payload, retained.publication);
        let (tail, bytes) = kept.encode_retained(index, Encoding(3), now, encode)?;
        kept.check_invariants();
        let all: Vec<_> = tail.iter().collect();
        assert_eq!(all.len(), 1);
        Some((all[0].1.clone(), bytes))
    }

    #[test]
    fn one_is_retained_whatever_follows_until_the_next_or_its_lifetime() {
        let (mut kept, index) = kept(1 << 10, 1 << 20);
        assert_eq!(got(&mut kept, index, 1), None);
        retain(&mut kept, index, "one", 1);
        for now in 2..6 {
            kept.push(index, "follows", now);
        }
        kept.check_invariants();
        assert_eq!(kept.messages(), 3, "two, and what is retained");
        assert_eq!(got(&mut kept, index, 6), Some(("one 1001".to_owned(), 3)));
        // It is encoded once in a tick.
        assert_eq!(got(&mut kept, index, 6), Some(("one 1001".to_owned(), 0)));
        retain(&mut kept, index, "second", 6);
        let second = |bytes| Some(("second 1006".to_owned(), bytes));
        assert_eq!(got(&mut kept, index, 6), second(6));
        kept.push(index, "follows", 50);
        assert_eq!(got(&mut kept, index, 6 + LIFETIME - 1), second(6));
        assert_eq!(got(&mut kept, index, 6 + LIFETIME), None);
        assert_eq!(kept.messages(), 1);
    }

    #[test]
    fn it_counts_in_the_limits_and_goes_last() {
        let (mut kept, index) = kept(10, 1 << 20);
        retain(&mut kept, index, "12345", 1);
        kept.push(index, "67", 2);
        assert_eq!(kept.messages(), 2, "what it was kept as has gone");
        assert_eq!(got(&mut kept, index, 2).map(|(_, bytes)| bytes), Some(5));
        retain(&mut kept, index, "123456789ab", 3);
        assert_eq!((got(&mut kept, index, 3), kept.messages()), (None, 0));
        retain(&mut kept, index, "12345", 4);
        kept.clear(index);
        kept.check_invariants();
        assert_eq!((got(&mut kept, index, 4), kept.bytes()), (None, 0));
    }

    #[test]
    fn too_much_of_all_takes_it_too() {
        let (mut kept, index) = kept(1 << 10, 300);
        retain(&mut kept, index, "12345", 1);
        assert_eq!(kept.take_excess(index), None);
        kept.check_invariants();
        assert!(kept.bytes() <= 300, "{}", kept.bytes());
        assert!(got(&mut kept, index, 1).is_none() || kept.messages() == 1);
    }

    #[test]
    fn it_is_handed_over() {
        let (mut kept, index) = kept(1 << 10, 1 << 20);
        retain(&mut kept, index, "one", 1);
        kept.push(index, "follows", 2);
        let before = (kept.messages(), kept.bytes());
        let options = kept.options().clone();
        let (mut states, _) = kept.into_state();
        let mut again = Kept::new(options);
        let state = states.pop().expect("one");
        let index = again.insert_state(NamespaceId(0), state);
        again.check_invariants();
        assert_eq!((again.messages(), again.bytes()), before);
        assert_eq!(got(&mut again, index, 2), Some(("one 1001".to_owned(), 3)));
    }
}
