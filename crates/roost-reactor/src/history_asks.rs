//! Clients that ask what a channel keeps: its home answers with a page. A connection that waits for it is not
//! read meanwhile, so that each asks one question at a time.

use std::collections::HashMap;

use roost_access::{Denial, Operation};
use roost_dialect::dialect::{Event, HistoryPage, HistoryRefusal, ReadHistory};
use roost_dialect::{Publication, check_channel_name};
use roost_hub::{Loss, Name, Position, ReactorId};
use roost_net::ConnKey;

use crate::commands::{barrier_of_subscribe, go_on};
use crate::connections::{Flags, Phase};
use crate::control::{HistoryQuery, page_of};
use crate::core::Core;
use crate::dialogue::notify;
use crate::hook_calls::Rest;
use crate::input::read_again;
use crate::peer_message::PeerMessage;
use crate::permissions::{Barrier, note_denial};

/// A question, on its way to a channel's home.
#[derive(Debug)]
pub(crate) struct HistoryAsk {
    asker: Asker,
    channel: Name,
    since: Option<(Option<u64>, u64)>,
    limit: u32,
    is_reverse: bool,
    bytes_max: usize,
}

/// Who asks, and which of its questions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asker {
    key: ConnKey,
    number: u32,
}

/// What the home says.
#[derive(Debug)]
pub(crate) struct HistoryAnswer {
    asker: Asker,
    page: Result<HistoryPage, Loss>,
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

struct Waiting {
    asker: Asker,
    token: u64,
    /// What stands behind the command in its message.
    rest: Option<Rest>,
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

    fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX && self.bytes <= WAITING_BYTES_MAX
    }

    fn begin(&mut self, key: ConnKey, token: u64) -> Asker {
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        let asker = Asker { key, number };
        let rest = None;
        let waiting = Waiting { asker, token, rest };
        let before = self.waiting.insert(key.slot(), waiting);
        debug_assert!(before.is_none(), "a connection asks one question at a time");
        asker
    }

    fn take(&mut self, asker: Asker) -> Option<Waiting> {
        let waiting = self.waiting.get(&asker.key.slot())?;
        (waiting.asker == asker).then(|| self.remove(asker.key.slot()))?
    }

    fn remove(&mut self, slot: u32) -> Option<Waiting> {
        let waiting = self.waiting.remove(&slot)?;
        self.bytes -= waiting.rest.as_ref().map_or(0, Rest::len);
        Some(waiting)
    }
}

/// A client asks what a channel keeps.
pub(crate) fn read_history(core: &mut Core, key: ConnKey, read: ReadHistory<'_>) {
    let token = read.token;
    if let Err(refusal) = check(core, key, &read.channel) {
        core.counters.history_refused_total.inc();
        let answer = Err(refusal);
        return notify(core, key, Event::History { token, answer });
    }
    core.counters.history_reads_total.inc();
    let outbox_bytes_max = core.settings.channels.of(&read.channel).outbox_bytes_max;
    let ask = HistoryAsk {
        asker: Asker { key, number: 0 },
        channel: Name::from(&*read.channel),
        since: read.since,
        limit: read.limit.min(PUBLICATIONS_MAX),
        is_reverse: read.is_reverse,
        bytes_max: PAGE_BYTES_MAX.min(outbox_bytes_max / 2),
    };
    let home = core.channels.home_of(&ask.channel);
    if home == core.channels.me() {
        let page = page(core, &ask);
        return tell(core, key, token, &page);
    }
    let asker = core.history_asks.begin(key, token);
    core.connections.pause(key);
    let ask = PeerMessage::HistoryAsk(Box::new(HistoryAsk { asker, ..ask }));
    core.channels.links_mut().send(home, ask);
}

/// Whether a client may have it: one that is subscribed, or may subscribe without being asked about.
fn check(core: &mut Core, key: ConnKey, channel: &str) -> Result<(), HistoryRefusal> {
    let bytes_max = core.settings.limits.channel_name_bytes_max;
    if check_channel_name(channel, bytes_max).is_err() {
        return Err(HistoryRefusal::InvalidName);
    }
    let is_subscribed = core.connections.get(key).is_some_and(|conn| {
        core.channels.find(channel).is_some_and(|channel| {
            core.sessions
                .is_subscribed(conn.dialect, conn.session, channel)
        })
    });
    if !is_subscribed {
        let denial = match barrier_of_subscribe(core, key, channel) {
            None => None,
            Some(Barrier::Denied(denial)) => Some(denial),
            Some(Barrier::Hook) => Some(Denial::by_hook(Operation::Subscribe)),
        };
        if let Some(denial) = denial {
            note_denial(core, key, Operation::Subscribe, channel, denial);
            return Err(HistoryRefusal::NotAllowed(denial));
        }
    }
    if core.settings.channels.of(channel).history_messages_max == 0 {
        return Err(HistoryRefusal::NotKept);
    }
    match core.history_asks.has_room() {
        true => Ok(()),
        false => Err(HistoryRefusal::Busy),
    }
}

/// The home of a channel is asked what it keeps.
pub(crate) fn answer(core: &mut Core, from: ReactorId, ask: HistoryAsk) {
    let answer = HistoryAnswer {
        asker: ask.asker,
        page: page(core, &ask),
    };
    let answer = PeerMessage::HistoryAnswer(Box::new(answer));
    core.channels.links_mut().send(from, answer);
}

/// What is kept of a channel whose home is here.
fn page(core: &Core, ask: &HistoryAsk) -> Result<HistoryPage, Loss> {
    let history = core.channels.history(&ask.channel, core.now());
    let epoch = history.position.epoch;
    let since = ask.since.map(|(known, offset)| Position {
        epoch: known.unwrap_or(epoch),
        offset,
    });
    let query = HistoryQuery {
        channel: ask.channel.clone(),
        since,
        limit: ask.limit,
        is_reverse: ask.is_reverse,
    };
    page_of(&history, &query, ask.bytes_max)
}

/// It has answered.
pub(crate) fn handle_answer(core: &mut Core, answer: HistoryAnswer) {
    let HistoryAnswer { asker, page } = answer;
    let Some(waiting) = core.history_asks.take(asker) else {
        return; // its connection has ended
    };
    let key = asker.key;
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if conn.phase != Phase::Open {
        return;
    }
    conn.flags.clear(Flags::PAUSED); // so that what follows may pause it anew
    tell(core, key, waiting.token, &page);
    if let Some(rest) = waiting.rest {
        go_on(core, key, &rest);
    }
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if !conn.flags.has(Flags::PAUSED) {
        conn.flags.set(Flags::PAUSED);
        read_again(core, key);
    }
}

fn tell(core: &mut Core, key: ConnKey, token: u64, page: &Result<HistoryPage, Loss>) {
    let answer = page.as_ref().map_err(|&loss| HistoryRefusal::Lost(loss));
    notify(core, key, Event::History { token, answer });
}

/// Connections that wait at once, on one reactor.
const WAITING_MAX: usize = 4_096;
/// Bytes of their messages that stand behind the questions, beyond which no more may wait.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Most publications of a page.
const PUBLICATIONS_MAX: u32 = 300;
/// The page ends with the publication that reaches this, or half of what may wait for the client.
const PAGE_BYTES_MAX: usize = 64 << 10;
