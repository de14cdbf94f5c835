//! Answers that are remembered, each by what was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::answer::Answer;

/// The answers of one hook, a bounded number of them.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: HashMap<Arc<str>, Entry>,
    /// In order of age. One whose time is not that of its entry has been replaced.
    order: VecDeque<(Arc<str>, u64)>,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    at_ms: u64,
}

impl Cache {
    /// Remembers an answer. The oldest go beyond the limit.
    pub(crate) fn insert(&mut self, key: &str, answer: Answer, now_ms: u64) {
        let key: Arc<str> = key.into();
        self.order.push_back((key.clone(), now_ms));
        let at_ms = now_ms;
        self.entries.insert(key, Entry { answer, at_ms });
        while self.order.len() > ENTRIES_MAX {
            self.drop_oldest();
        }
    }

    /// An answer that is at most so old.
    pub(crate) fn get(&self, key: &str, age_max_ms: u64, now_ms: u64) -> Option<&Answer> {
        let entry = self.entries.get(key)?;
        (now_ms.saturating_sub(entry.at_ms) <= age_max_ms).then_some(&entry.answer)
    }

    /// Drops those that are older, at most some at once.
    pub(crate) fn expire(&mut self, age_max_ms: u64, now_ms: u64) {
        for _ in 0..EXPIRED_AT_ONCE {
            match self.order.front() {
                Some((_, at_ms)) if now_ms.saturating_sub(*at_ms) > age_max_ms => {
                    self.drop_oldest();
                }
                _ => return,
            }
        }
    }

    fn drop_oldest(&mut self) {
        let Some((key, at_ms)) = self.order.pop_front() else {
            return;
        };
        if self.entries.get(&key).is_some_and(|one| one.at_ms == at_ms) {
            self.entries.remove(&key);
        }
    }
}

/// Some 700 bytes each with the longest names: 11 MiB.
pub(crate) const ENTRIES_MAX: usize = 16 << 10;
const EXPIRED_AT_ONCE: usize = 64;
