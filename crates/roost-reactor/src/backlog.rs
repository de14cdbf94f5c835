//! For whom most waits: a list for people, brought up to date once a second.

use std::fmt::Write as _;
use std::sync::Mutex;

use roost_dialect::DialectKind;
use roost_net::{ConnKey, Driver};

use crate::conn_id::ConnId;
use crate::core::Core;

/// The lists of all reactors.
pub(crate) struct BacklogReport {
    lists: Box<[Mutex<Vec<Slow>>]>,
}

/// One slow receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slow {
    key: ConnKey,
    dialect: DialectKind,
    outbox_bytes: usize,
    outbox_messages: usize,
    /// In the batch that is with the kernel.
    in_flight_bytes: usize,
}

impl BacklogReport {
    pub(crate) fn new(reactors: usize) -> BacklogReport {
        BacklogReport {
            lists: (0..reactors).map(|_| Mutex::default()).collect(),
        }
    }

    /// A JSON array of those for whom most waits, most first.
    pub(crate) fn to_json(&self) -> String {
        let mut all = Vec::new();
        for (reactor, list) in self.lists.iter().enumerate() {
            let list = list.lock().expect("nobody panics with the lock");
            all.extend(list.iter().cloned().map(|slow| (reactor, slow)));
        }
        all.sort_by_key(|(_, slow)| std::cmp::Reverse(slow.outbox_bytes));
        all.truncate(LISTED_MAX);
        let mut out = String::from("[");
        for (at, (reactor, slow)) in all.iter().enumerate() {
            let id = ConnId {
                reactor: *reactor,
                key: slow.key,
            };
            let comma = if at == 0 { "" } else { "," };
            let dialect = slow.dialect.name();
            write!(
                out,
                "{comma}\n {{\"reactor\":{reactor},\"connection\":\"{id}\",\
                 \"dialect\":\"{dialect}\",\"outbox_bytes\":{},\"outbox_messages\":{},\
                 \"in_flight_bytes\":{}}}",
                slow.outbox_bytes, slow.outbox_messages, slow.in_flight_bytes,
            )
            .expect("a String takes all writes");
        }
        out.push_str("\n]\n");
        out
    }
}

impl Core {
    /// Brings this reactor's list up to date, if it is time.
    pub(crate) fn report_backlog<D: Driver>(&mut self, driver: &D) {
        if self.now < self.backlog_due || (self.outboxes.is_empty() && !self.backlog_listed) {
            return;
        }
        self.backlog_due = self.now + LIST_TICKS;
        self.backlog_listed = !self.outboxes.is_empty();
        let mut list: Vec<Slow> = Vec::new();
        for outbox in self.outboxes.iter() {
            let Some(key) = self.table.key_at(outbox.owner()) else {
                continue;
            };
            let Some(conn) = self.table.get(key) else {
                continue;
            };
            list.push(Slow {
                key,
                dialect: conn.dialect,
                outbox_bytes: outbox.bytes(),
                outbox_messages: outbox.messages(),
                in_flight_bytes: 0,
            });
        }
        if list.len() > LISTED_MAX {
            let most = |slow: &Slow| std::cmp::Reverse(slow.outbox_bytes);
            list.select_nth_unstable_by_key(LISTED_MAX - 1, most);
            list.truncate(LISTED_MAX);
            list.shrink_to_fit();
        }
        for slow in &mut list {
            slow.in_flight_bytes = driver.unsent_bytes(slow.key);
        }
        let mine = &self.backlog_report.lists[self.links.me()];
        *mine.lock().expect("nobody panics with the lock") = list;
    }

    /// When the list wants to be brought up to date again, as a tick.
    pub(crate) fn backlog_report_due(&self) -> u32 {
        if self.backlog_listed || !self.outboxes.is_empty() {
            self.backlog_due
        } else {
            crate::conn::NEVER
        }
    }
}

/// How many are listed.
const LISTED_MAX: usize = 32;
/// How often.
const LIST_TICKS: u32 = 1_000 / crate::core::TICK_MS;
