//! What a channel keeps, for the control thread: a page of it.

use roost_dialect::Publication;
use roost_hub::{HistoryView, Loss, Position};

use super::messages::{
    HISTORY_BYTES_MAX, HISTORY_PUBLICATIONS_MAX, HistoryPage, HistoryQuery, Part,
};
use crate::clock::TICK_MS;
use crate::core::Core;

/// What a channel keeps, of that what was asked for.
pub(super) fn read(core: &Core, query: &HistoryQuery) -> Result<HistoryPage, Loss> {
    let now = core.now();
    let history = core.channels.hub().history(&query.channel, now);
    if let Some(since) = query.since.filter(|_| !query.is_reverse) {
        check_since(since, history.position, history.first())?;
    }
    let lifetime_ms = core
        .settings
        .channels
        .of(&query.channel)
        .history_lifetime_ms;
    let ends_in_ms = history.newest_published().map(|published| {
        let age_ms = u64::from(now.saturating_sub(published)) * u64::from(TICK_MS);
        u64::from(lifetime_ms).saturating_sub(age_ms)
    });
    let page = page_of(&history, query, HISTORY_BYTES_MAX)?;
    Ok(HistoryPage {
        newest_ends_in_ms: ends_in_ms,
        ..page
    })
}

/// A page of what a channel keeps; a gap behind the position that was named is not looked for.
pub(crate) fn page_of(
    history: &HistoryView<'_, Publication>,
    query: &HistoryQuery,
    bytes_max: usize,
) -> Result<HistoryPage, Loss> {
    let position = history.position;
    let (first, end) = (history.first(), position.offset + 1);
    let wanted = match (query.since, query.is_reverse) {
        (Some(since), _) if since.epoch != position.epoch => return Err(Loss::Epoch),
        (Some(since), true) => first..since.offset.clamp(first, end),
        (Some(since), false) => since.offset.saturating_add(1).clamp(first, end)..end,
        (None, _) => first..end,
    };
    let count = wanted.end - wanted.start;
    let limit = u64::from(query.limit.min(HISTORY_PUBLICATIONS_MAX));
    let (mut bytes, mut publications) = (0, Vec::new());
    for nth in 0..count.min(limit) {
        let offset = match query.is_reverse {
            true => wanted.end - 1 - nth,
            false => wanted.start + nth,
        };
        let Some(publication) = history.get(offset) else {
            break;
        };
        if bytes >= bytes_max {
            break;
        }
        bytes += publication.bytes();
        publications.push((offset, publication.clone()));
    }
    let has_more = (publications.len() as u64) < count;
    Ok(HistoryPage {
        position,
        publications,
        has_more,
        newest_ends_in_ms: None,
    })
}

/// Has a channel forget what it keeps.
pub(super) fn remove(core: &mut Core, channel: &str) -> Part {
    let now = core.now();
    core.channels.hub_mut().remove_history(channel, now);
    Part::HistoryRemoved
}

/// Whether all that is behind a position is kept.
fn check_since(since: Position, top: Position, first: u64) -> Result<(), Loss> {
    if since.epoch != top.epoch {
        return Err(Loss::Epoch);
    }
    if since.offset > top.offset {
        return Err(Loss::Ahead);
    }
    match since.offset + 1 < first {
        true => Err(Loss::TooOld),
        false => Ok(()),
    }
}
