//! Clients that ask what a channel keeps: its home answers with a page.

use roost_access::{Denial, Operation};
use roost_dialect::check_channel_name;
use roost_dialect::dialect::{Event, HistoryPage, HistoryRefusal, ReadHistory};
use roost_hub::{Loss, Name, Position, ReactorId};
use roost_net::ConnKey;

use crate::control::{HistoryQuery, page_of};
use crate::core::Core;
use crate::dialogue::notify;
use crate::history_asks::{Asker, HistoryAnswer, HistoryAsk};
use crate::peer_message::PeerMessage;
use crate::permissions::{Barrier, barrier_of_subscribe, note_denial};

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
    let history = core.channels.hub().history(&ask.channel, core.now());
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

/// A client is told what a home says.
pub(crate) fn tell(core: &mut Core, key: ConnKey, token: u64, page: &Result<HistoryPage, Loss>) {
    let answer = page.as_ref().map_err(|&loss| HistoryRefusal::Lost(loss));
    notify(core, key, Event::History { token, answer });
}

/// Most publications of a page.
const PUBLICATIONS_MAX: u32 = 300;
/// The page ends with the publication that reaches this, or half of what may wait for the client.
const PAGE_BYTES_MAX: usize = 64 << 10;
