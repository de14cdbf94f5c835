//! Questions of clients about what channels keep, and the connections that wait for the answers of the channels'
//! homes. One that waits is not read meanwhile, so that each asks one question at a time.

use std::collections::HashMap;

use roost_dialect::Publication;
use roost_dialect::dialect::HistoryPage;
use roost_hub::{Loss, Name};
use roost_net::ConnKey;

use crate::hook_calls::Rest;

/// A question, on its way to a channel's home.
#[derive(Debug)]
pub(crate) struct HistoryAsk {
    pub(crate) asker: Asker,
    pub(crate) channel: Name,
    pub(crate) since: Option<(Option<u64>, u64)>,
    pub(crate) limit: u32,
    pub(crate) is_reverse: bool,
    pub(crate) bytes_max: usize,
}

/// Who asks, and which of its questions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) key: ConnKey,
    pub(crate) number: u32,
}

/// What the home says.
#[derive(Debug)]
pub(crate) struct HistoryAnswer {
    pub(crate) asker: Asker,
    pub(crate) page: Result<HistoryPage, Loss>,
}

/// The connections that wait.
#[derive(Default)]
pub(crate) struct HistoryAsks {
    /// By slot.
    waiting: HashMap<u32, Waiting>,
    last_number: u32,
    /// Of kept commands.
    bytes: usize,
}

/// A connection that waits.
pub(crate) struct Waiting {
    asker: Asker,
    /// The command's.
    pub(crate) token: u64,
    /// What stands behind the command in its message.
    pub(crate) rest: Option<Rest>,
}

impl HistoryAnswer {
    /// Memory that it takes, with what others share.
    pub(crate) fn bytes(&self) -> usize {
        let publications = self.page.iter().flat_map(|page| &page.publications);
        let publications =
            publications.map(|(_, one)| size_of::<(u64, Publication)>() + one.bytes());
        size_of::<HistoryAnswer>() + publications.sum::<usize>()
    }
}

impl HistoryAsks {
    /// Whether an open connection waits.
    #[inline]
    pub(crate) fn waits(&self, slot: u32) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&slot)
    }

    /// Keeps what stands behind the command of a connection that waits.
    pub(crate) fn keep_rest(&mut self, slot: u32, rest: Rest) {
        if let Some(waiting) = self.waiting.get_mut(&slot) {
            debug_assert!(waiting.rest.is_none(), "one message at a time");
            self.bytes += rest.len();
            waiting.rest = Some(rest);
        }
    }

    /// Its connection is closing.
    #[inline]
    pub(crate) fn forget(&mut self, slot: u32) {
        if !self.waiting.is_empty() {
            self.remove(slot);
        }
    }

    /// Drops memory that nothing is in; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        if !self.waiting.is_empty() {
            return 0;
        }
        let freed = self.waiting.capacity() * size_of::<(u32, Waiting)>();
        self.waiting = HashMap::new();
        freed
    }

    /// In debug builds: what is counted is what is there.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let rests = self.waiting.values().filter_map(|one| one.rest.as_ref());
            let bytes: usize = rests.map(Rest::len).sum();
            assert_eq!(
                bytes, self.bytes,
                "bytes of connections that wait for history"
            );
        }
    }

    /// Whether one more may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX && self.bytes <= WAITING_BYTES_MAX
    }

    /// An open connection waits from now on.
    pub(crate) fn begin(&mut self, key: ConnKey, token: u64) -> Asker {
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        let asker = Asker { key, number };
        let rest = None;
        let waiting = Waiting { asker, token, rest };
        let before = self.waiting.insert(key.slot(), waiting);
        debug_assert!(before.is_none(), "a connection asks one question at a time");
        asker
    }

    /// It waits no longer: its question is answered. `None` if that was another one.
    pub(crate) fn take(&mut self, asker: Asker) -> Option<Waiting> {
        let waiting = self.waiting.get(&asker.key.slot())?;
        (waiting.asker == asker).then(|| self.remove(asker.key.slot()))?
    }

    /// The same of one that waits for several answers, of whatever kind: its token is [`AWAITS_SUBSCRIPTIONS`].
    pub(crate) fn take_subscriptions(&mut self, key: ConnKey) -> Option<Waiting> {
        let waiting = self.waiting.get(&key.slot())?;
        let is_it = waiting.asker.key == key && waiting.token == AWAITS_SUBSCRIPTIONS;
        is_it.then(|| self.remove(key.slot()))?
    }

    fn remove(&mut self, slot: u32) -> Option<Waiting> {
        let waiting = self.waiting.remove(&slot)?;
        self.bytes -= waiting.rest.as_ref().map_or(0, Rest::len);
        Some(waiting)
    }
}

/// No command's: the connection waits for the answers to subscriptions.
pub(crate) const AWAITS_SUBSCRIPTIONS: u64 = u64::MAX;
/// Connections that wait at once, on one reactor.
const WAITING_MAX: usize = 4_096;
/// Bytes of their messages that stand behind the questions, beyond which no more may wait.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Memory of one reactor's clients that wait, in a table that may be half empty; beside it the message in which
/// that was exceeded.
pub const HISTORY_ASKS_BYTES_MAX: usize =
    WAITING_BYTES_MAX + 2 * WAITING_MAX * (size_of::<(u32, Waiting)>() + 1);
