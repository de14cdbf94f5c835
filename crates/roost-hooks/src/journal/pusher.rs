//! The JSON of Pusher's webhooks.

use serde::Serialize;

use super::event::{JournalEvent, Numbered};

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Batch<'a> {
    /// Of the last event.
    time_ms: u64,
    events: Vec<Event<'a>>,
}

/// The body of a webhook, of events that follow one another. What Pusher has no word for is left out.
pub(super) fn body<'a>(events: impl Iterator<Item = &'a Numbered>) -> Vec<u8> {
    let mut batch = Batch {
        time_ms: 0,
        events: Vec::new(),
    };
    for Numbered { event, .. } in events {
        batch.time_ms = event.time_ms;
        batch.events.extend(told(event));
    }
    serde_json::to_vec(&batch).expect("strings and numbers are written without an error")
}

fn told(event: &JournalEvent) -> Option<Event<'_>> {
    let name = match event.kind {
        "occupied" => "channel_occupied",
        "vacated" => "channel_vacated",
        "user_joined" => "member_added",
        "user_left" => "member_removed",
        "client_event" => "client_event",
        "cache_miss" => "cache_miss",
        _ => return None,
    };
    let said = event.said.as_deref();
    let user = event.user.as_deref();
    Some(Event {
        name,
        channel: event.channel.as_deref().unwrap_or_default(),
        event: said.map(|said| &*said.event),
        data: said.map(|said| &*said.data),
        socket_id: said.map(|said| &*said.socket_id),
        user_id: user.filter(|user| !user.is_empty()),
    })
}
