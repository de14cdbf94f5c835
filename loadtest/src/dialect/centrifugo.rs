//! Centrifugo's bidirectional protocol in JSON: commands and replies, a line each. CONNECT, one SUBSCRIBE a
//! channel, publications as pushes, and pings, `{}`, which are answered with `{}`.
//!
//! A payload travels as Roost writes bytes for these clients: a string of U+0000 and base64. To other
//! servers that is JSON like any other. A client that recovers asks for a recoverable subscription, keeps the
//! offset of each publication, and names it when it comes back, as Centrifugo's own clients do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_wire::Message;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::interface::{Dialect, Received, Say, Session};
use super::json_bytes::{NUL, append_bytes};

pub(super) struct Centrifugo;

/// A line of the server's. Of its members one is there beside `id`.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    id: u32,
    error: Option<Refusal>,
    connect: Option<IgnoredAny>,
    #[serde(borrow)]
    subscribe: Option<Subscribed<'a>>,
    publish: Option<IgnoredAny>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
}

/// An error of a command, and why a subscription or connection is ended.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u32,
    #[serde(default, alias = "reason")]
    message: String,
}

/// The result of SUBSCRIBE.
#[derive(Deserialize)]
struct Subscribed<'a> {
    #[serde(default)]
    recoverable: bool,
    #[serde(default)]
    epoch: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    recovered: bool,
    #[serde(borrow, default)]
    publications: Vec<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    offset: u64,
}

/// What nothing was asked for.
#[derive(Deserialize)]
struct Push<'a> {
    #[serde(default)]
    channel: String,
    #[serde(borrow, rename = "pub")]
    publication: Option<Publication<'a>>,
    unsubscribe: Option<Refusal>,
    disconnect: Option<Refusal>,
}

impl Dialect for Centrifugo {
    fn name(&self) -> &'static str {
        "centrifugo"
    }

    fn path(&self) -> &'static str {
        "/connection/websocket"
    }

    fn channels_max(&self) -> usize {
        usize::from(u8::MAX) - 1
    }

    fn receives_own(&self) -> bool {
        true
    }

    fn acknowledges(&self) -> bool {
        true
    }

    fn recovers(&self) -> bool {
        true
    }

    fn has_lines(&self) -> bool {
        true
    }

    fn open(&self, session: &mut Session<'_>) -> bool {
        session
            .say
            .text(r#"{"connect":{"name":"roost-load"},"id":1}"#);
        false
    }

    fn handle<'m>(
        &self,
        session: &mut Session<'_>,
        message: Message<'m>,
        buffer: &'m mut Vec<u8>,
    ) -> Received<'m> {
        let text = match message {
            Message::Text(text) => text.trim(),
            Message::Binary(_) => return Received::Payload(&[]),
            Message::Ping(_) | Message::Pong(_) | Message::Close(..) => return Received::Progress,
        };
        if text == "{}" {
            session.say.text("{}");
            return Received::Ping;
        }
        let Ok(line) = serde_json::from_str::<Line<'_>>(text) else {
            return Received::Refused(format!("not a line of Centrifugo's: {}", shown(text)));
        };
        match line {
            Line {
                error: Some(error), ..
            } => Received::Refused(told("error", &error)),
            Line {
                push: Some(push), ..
            } => pushed(session, &push, buffer),
            Line {
                publish: Some(_), ..
            } => Received::Acknowledged,
            Line {
                connect: Some(_), ..
            } => subscribe_next(session),
            Line {
                id,
                subscribe: Some(subscribed),
                ..
            } => subscribed_to(session, id, &subscribed),
            // A result of a later version, of what was not asked.
            _ => Received::Progress,
        }
    }

    fn publish(&self, say: &mut Say<'_>, channel: &str, number: u64, payload: &[u8]) {
        let id = PUBLISH_ID_MIN + number % (u64::from(u32::MAX) - PUBLISH_ID_MIN);
        let channel = Value::from(channel);
        let mut text = format!("{{\"publish\":{{\"channel\":{channel},\"data\":\"{NUL}");
        STANDARD.encode_string(payload, &mut text);
        text.push_str(&format!("\"}},\"id\":{id}}}"));
        say.text(&text);
    }
}

fn subscribe_next(session: &mut Session<'_>) -> Received<'static> {
    let Some((index, channel)) = session.next_channel() else {
        return Received::Ready;
    };
    subscribe(session, index, &channel);
    Received::Progress
}

/// Subscribes to the connection's `index`-th channel, from its position if it has one.
fn subscribe(session: &mut Session<'_>, index: usize, channel: &str) {
    let recovery = match session.positions.get(index) {
        None => String::new(),
        Some(position) if position.is_known() => {
            let (epoch, offset) = (Value::from(position.epoch()), position.offset());
            format!(",\"recoverable\":true,\"recover\":true,\"offset\":{offset},\"epoch\":{epoch}")
        }
        Some(_) => ",\"recoverable\":true".to_owned(),
    };
    let (id, channel) = (SUBSCRIBE_ID_MIN + index, Value::from(channel));
    session.say.text(&format!(
        "{{\"subscribe\":{{\"channel\":{channel}{recovery}}},\"id\":{id}}}"
    ));
}

/// A subscription is confirmed: what was missed comes with it.
fn subscribed_to(session: &mut Session<'_>, id: u32, result: &Subscribed<'_>) -> Received<'static> {
    let index = usize::try_from(id)
        .unwrap_or(0)
        .checked_sub(SUBSCRIBE_ID_MIN);
    let Some(index) = index.filter(|&index| index < usize::from(*session.stage)) else {
        return Received::Refused(format!("a reply to a subscribe {id} that was not said"));
    };
    let Some(position) = session.positions.get_mut(index) else {
        return subscribe_next(session);
    };
    if !result.recoverable {
        return Received::Refused(NOT_RECOVERABLE.to_owned());
    }
    if position.is_known() && !result.recovered {
        session.recovered.tell_loss(index);
    }
    position.set(&result.epoch, result.offset, session.recovered);
    for publication in &result.publications {
        position.advance(publication.offset);
        session
            .recovered
            .push(|out| append_bytes(data_of(publication), out));
    }
    subscribe_next(session)
}

fn pushed<'m>(session: &mut Session<'_>, push: &Push<'_>, buffer: &'m mut Vec<u8>) -> Received<'m> {
    if let Some(publication) = &push.publication {
        if let Some(index) = index_of(session, &push.channel) {
            session.positions[index].advance(publication.offset);
        }
        buffer.clear();
        append_bytes(data_of(publication), buffer);
        return Received::Payload(buffer);
    }
    match (&push.unsubscribe, &push.disconnect) {
        // As Centrifugo's own clients do: with such a code a subscription is begun again.
        (Some(why), _) if why.code >= RESUBSCRIBE_CODE_MIN && !session.positions.is_empty() => {
            match index_of(session, &push.channel) {
                Some(index) => subscribe(session, index, &push.channel),
                None => return Received::Refused(told("unsubscribed", why)),
            }
            Received::Progress
        }
        (Some(why), _) => Received::Refused(told("unsubscribed", why)),
        (None, Some(why)) => Received::Refused(told("disconnected", why)),
        (None, None) => Received::Progress,
    }
}

/// Which of the connection's positions is of a channel; `None` if it has none.
fn index_of(session: &Session<'_>, channel: &str) -> Option<usize> {
    match session.positions.len() {
        len @ 0..=1 => len.checked_sub(1),
        len => (0..len).find(|&index| (session.channels)(index).as_deref() == Some(channel)),
    }
}

fn data_of<'a>(publication: &Publication<'a>) -> &'a str {
    publication.data.map_or("", RawValue::get)
}

fn told(what: &str, why: &Refusal) -> String {
    format!("{what} {} {}", why.code, shown(&why.message))
}

fn shown(text: &str) -> String {
    text.chars().take(REFUSAL_CHARS_MAX).collect()
}

const SUBSCRIBE_ID_MIN: usize = 2;
/// Above those of subscribes.
const PUBLISH_ID_MIN: u64 = 1_000;
/// Of an unsubscribe: below it the server means it for good.
const RESUBSCRIBE_CODE_MIN: u32 = 2_500;
const REFUSAL_CHARS_MAX: usize = 120;
const NOT_RECOVERABLE: &str =
    "the subscription is not recoverable: does the server keep history of this channel?";
