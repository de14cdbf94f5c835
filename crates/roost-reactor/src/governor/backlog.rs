//! The largest backlogs: a list for people, brought up to date once a second.

#![expect(
    clippy::disallowed_types,
    reason = "for a list of 32 entries, written once a second"
)]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use roost_dialect::DialectKind;
use roost_net::{ConnKey, Driver};

use crate::clock::{NEVER, TICK_MS};
use crate::connections::{ConnId, Connections};

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

    /// A JSON array of the connections with the largest backlog, largest first.
    pub(crate) fn to_json(&self) -> String {
        let mut all = Vec::new();
        for (reactor, list) in self.lists.iter().enumerate() {
            let list = list.lock().expect("no holder of the lock panics");
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

/// One reactor's place in the lists.
pub(crate) struct BacklogWriter {
    report: Arc<BacklogReport>,
    reactor: usize,
    /// The tick at which the list is brought up to date again.
    due: u32,
    /// Whether it has an entry.
    is_listed: bool,
}

impl BacklogWriter {
    pub(crate) fn new(report: Arc<BacklogReport>, reactor: usize) -> BacklogWriter {
        BacklogWriter {
            report,
            reactor,
            due: 0,
            is_listed: false,
        }
    }

    /// Brings this reactor's list up to date, if it is time.
    pub(crate) fn update<D: Driver>(&mut self, connections: &Connections, driver: &D) {
        let now = connections.clock().now;
        let is_empty = connections.outboxes().is_empty();
        if now < self.due || (is_empty && !self.is_listed) {
            return;
        }
        self.due = now + LIST_TICKS;
        self.is_listed = !is_empty;
        self.list(connections, driver);
    }

    /// Apart from the check whether it is time, which each loop iteration makes.
    #[inline(never)]
    fn list<D: Driver>(&self, connections: &Connections, driver: &D) {
        let mut list: Vec<Slow> = Vec::new();
        for outbox in connections.outboxes().iter() {
            let Some(key) = connections.key_at(outbox.owner()) else {
                continue;
            };
            let Some(conn) = connections.get(key) else {
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
        let mine = &self.report.lists[self.reactor];
        *mine.lock().expect("no holder of the lock panics") = list;
    }

    /// When the list wants to be brought up to date again, as a tick.
    pub(crate) fn due(&self, connections: &Connections) -> u32 {
        match self.is_listed || !connections.outboxes().is_empty() {
            true => self.due,
            false => NEVER,
        }
    }
}

/// How many are listed.
const LISTED_MAX: usize = 32;
/// How often.
const LIST_TICKS: u32 = 1_000 / TICK_MS;
