//! The JSON of events and batches.

use std::fmt;

use serde::Serialize;

/// Something that has happened. Members that say nothing about it are left out.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct JournalEvent {
    /// What: `connected`, `vacated`, ….
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Of the node's run that begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Box<str>>,
    /// How many events are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Whose connection it is; empty without an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<str>>,
    /// The connection, as logs and the API name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Box<str>>,
    /// Its dialect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    /// Which channel it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Box<str>>,
    /// The close code that the client was told, or has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// The application has named the user by a number, which Pusher's webhooks alone tell.
    #[serde(skip)]
    pub has_number: bool,
    /// What a client has published, which Pusher's webhooks alone tell.
    #[serde(skip)]
    pub said: Option<Box<ClientSaid>>,
}

/// An event that a client has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSaid {
    /// What it is called.
    pub event: Box<str>,
    /// Its data: a text, or JSON.
    pub data: Box<str>,
    /// Whether it is JSON.
    pub is_json: bool,
    /// The client's id, by which other clients know it.
    pub socket_id: Box<str>,
}

/// An event with its number.
#[derive(Debug, Serialize)]
pub(super) struct Numbered {
    pub(super) n: u64,
    /// When it came into the queue, on the journal's clock.
    #[serde(skip)]
    pub(super) at_ms: u64,
    #[serde(flatten)]
    pub(super) event: JournalEvent,
}

/// What is sent.
#[derive(Serialize)]
pub(super) struct Batch<'a> {
    node: &'a str,
    epoch: &'a str,
    from: u64,
    to: u64,
    events: Vec<&'a Numbered>,
}

impl JournalEvent {
    /// Of the node itself.
    pub fn new(kind: &'static str, time_ms: u64) -> JournalEvent {
        JournalEvent {
            kind,
            time_ms,
            epoch: None,
            count: None,
            user: None,
            client: None,
            protocol: None,
            channel: None,
            code: None,
            reason: None,
            has_number: false,
            said: None,
        }
    }

    /// Memory that what a client has said takes.
    pub(super) fn said_bytes(&self) -> usize {
        let said = self.said.as_ref();
        said.map_or(0, |said| {
            size_of::<ClientSaid>() + said.event.len() + said.data.len() + said.socket_id.len()
        })
    }

    /// Of a channel.
    pub(super) fn of_channel(kind: &'static str, time_ms: u64, channel: &str) -> JournalEvent {
        JournalEvent {
            channel: Some(channel.into()),
            ..JournalEvent::new(kind, time_ms)
        }
    }
}

impl fmt::Debug for JournalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

impl Batch<'_> {
    /// The body of a request, of events that follow one another.
    pub(super) fn body<'a>(
        (node, epoch): (&'a str, &'a str),
        events: impl Iterator<Item = &'a Numbered>,
    ) -> Vec<u8> {
        let events: Vec<&Numbered> = events.collect();
        let number = |one: Option<&&Numbered>| one.map_or(0, |one| one.n);
        let batch = Batch {
            node,
            epoch,
            from: number(events.first()),
            to: number(events.last()),
            events,
        };
        serde_json::to_vec(&batch).expect("strings and numbers are written without an error")
    }
}
