//! What a request for an event stream asks for.

use std::borrow::Cow;

use roost_hub::{Position, Since};

use super::id::parse_id;
use crate::dialect::Offer;
use crate::path::percent_decode;

/// Where a client wants to go on: the header, or where it cannot set one the query's `last_event_id`;
/// without either the last `history=N` publications.
///
/// # Errors
/// A sentence for the client.
pub(super) fn since(offer: &Offer<'_>) -> Result<Option<Since>, &'static str> {
    if let Some(id) = last_event_id(offer).filter(|id| !id.is_empty()) {
        // An id that is none of ours is that of another server: the client is told of a loss.
        let position = parse_id(&id).unwrap_or(UNKNOWN);
        return Ok(Some(Since::Position(position)));
    }
    Ok(history(offer)?.map(Since::Last))
}

/// The last id that the client has seen.
pub(super) fn last_event_id<'a>(offer: &Offer<'a>) -> Option<Cow<'a, str>> {
    let id = offer.headers.get("last-event-id").map(Cow::Borrowed);
    id.or_else(|| parameter(offer, "last_event_id"))
}

/// How many past publications it wants to begin with.
///
/// # Errors
/// A sentence for the client.
pub(super) fn history(offer: &Offer<'_>) -> Result<Option<u32>, &'static str> {
    let history = parameter(offer, "history");
    let count = history.map(|history| history.parse());
    count.transpose().map_err(|_| HISTORY)
}

/// The first parameter of the query with this name, decoded; none that is not UTF-8.
fn parameter<'a>(offer: &Offer<'a>, name: &str) -> Option<Cow<'a, str>> {
    let mut parameters = offer.headers.query()?.split('&');
    let value = parameters.find_map(|one| one.strip_prefix(name)?.strip_prefix('='))?;
    percent_decode(value).ok()
}

/// No channel is there: an epoch is a hash of a secret.
const UNKNOWN: Position = Position {
    epoch: 0,
    offset: u64::MAX,
};
const HISTORY: &str =
    "The query's history is the number of past publications to begin with, such as history=10.";
