//! The JSON of Pusher's webhooks.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::event::{JournalEvent, Numbered};

/// How a webhook of Pusher's tells what clients have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookValues {
    /// As strings, JSON in a string.
    Text,
    /// As they were sent.
    Json,
}

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Value<'a>>,
}

/// What a client has sent, or the application has named a user by.
enum Value<'a> {
    Text(&'a str),
    Json(&'a str),
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(text) => serializer.serialize_str(text),
            // What is no JSON after all is told as a text.
            Value::Json(json) => match serde_json::from_str::<&RawValue>(json) {
                Ok(value) => value.serialize(serializer),
                Err(_) => serializer.serialize_str(json),
            },
        }
    }
}

#[derive(Serialize)]
struct Batch<'a> {
    /// Of the last event.
    time_ms: u64,
    events: Vec<Event<'a>>,
}

/// The body of a webhook, of events that follow one another. What Pusher has no word for is left out.
pub(super) fn body<'a>(
    events: impl Iterator<Item = &'a Numbered>,
    values: WebhookValues,
) -> Vec<u8> {
    let mut batch = Batch {
        time_ms: 0,
        events: Vec::new(),
    };
    for Numbered { event, .. } in events {
        batch.time_ms = event.time_ms;
        batch.events.extend(told(event, values));
    }
    serde_json::to_vec(&batch).expect("strings and numbers are written without an error")
}

fn told(event: &JournalEvent, values: WebhookValues) -> Option<Event<'_>> {
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
    let user = event.user.as_deref().filter(|user| !user.is_empty());
    let value = |text, is_json| match values {
        WebhookValues::Json if is_json => Value::Json(text),
        WebhookValues::Json | WebhookValues::Text => Value::Text(text),
    };
    Some(Event {
        name,
        channel: event.channel.as_deref().unwrap_or_default(),
        event: said.map(|said| &*said.event),
        data: said.map(|said| value(&*said.data, said.is_json)),
        socket_id: said.map(|said| &*said.socket_id),
        user_id: user.map(|user| value(user, event.has_number)),
    })
}
