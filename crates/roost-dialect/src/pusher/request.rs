//! What a client may say: one JSON object a message.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{DEPTH_MAX, Text, depth_within};

/// What a message asks for.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Ping,
    /// It answers a ping.
    Pong,
    Subscribe(Subscribe),
    Unsubscribe(String),
    SignIn(SignIn),
    /// An event of the client's own.
    Publish(Publish<'a>),
    /// Something of the protocol that there is not here.
    Unknown,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Subscribe {
    pub(super) channel: String,
    /// The application's key and signature; absent or empty of a channel that needs none.
    pub(super) auth: Option<String>,
    /// Of a presence channel: JSON in a string, as it is signed.
    pub(super) channel_data: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Unsubscribe {
    channel: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct SignIn {
    pub(super) auth: String,
    /// JSON in a string, as it is signed.
    pub(super) user_data: String,
}

#[derive(Debug)]
pub(super) struct Publish<'a> {
    pub(super) event: Cow<'a, str>,
    pub(super) channel: Cow<'a, str>,
    pub(super) data: &'a str,
}

#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    event: Text<'a>,
    #[serde(borrow)]
    channel: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Why a message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a message.
pub(super) fn parse(text: &str) -> Result<Request<'_>, Malformed> {
    if !depth_within(text, DEPTH_MAX) {
        return Err(Malformed);
    }
    let message: Message<'_> = serde_json::from_str(text).map_err(|_| Malformed)?;
    let Message {
        event: Text(event),
        channel,
        data,
    } = message;
    let data = data.map_or("null", RawValue::get);
    Ok(match &*event {
        "pusher:ping" => Request::Ping,
        "pusher:pong" => Request::Pong,
        "pusher:subscribe" => Request::Subscribe(read(data)?),
        "pusher:unsubscribe" => {
            let Unsubscribe { channel } = read(data)?;
            Request::Unsubscribe(channel)
        }
        "pusher:signin" => Request::SignIn(read(data)?),
        other if other.starts_with("pusher:") || other.starts_with("pusher_internal:") => {
            Request::Unknown
        }
        _ => {
            let Text(channel) = channel.ok_or(Malformed)?;
            Request::Publish(Publish {
                event,
                channel,
                data,
            })
        }
    })
}

/// The data of a message: an object, or one in a string, as some clients have it.
fn read<T: for<'de> Deserialize<'de>>(data: &str) -> Result<T, Malformed> {
    let Ok(Text(inside)) = serde_json::from_str::<Text<'_>>(data) else {
        return serde_json::from_str(data).map_err(|_| Malformed);
    };
    match depth_within(&inside, DEPTH_MAX) {
        true => serde_json::from_str(&inside).map_err(|_| Malformed),
        false => Err(Malformed),
    }
}

/// A user of a presence channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemberData {
    pub(super) user_id: String,
    /// Whether that is a number.
    pub(super) has_number: bool,
    /// JSON.
    pub(super) user_info: Option<Box<str>>,
}

/// The `channel_data` of a presence channel; `None`: it is none.
pub(super) fn member(channel_data: &str) -> Option<MemberData> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        user_id: &'a RawValue,
        #[serde(borrow)]
        user_info: Option<&'a RawValue>,
    }
    let data: Data<'_> = from_json(channel_data)?;
    let info = data.user_info.map(RawValue::get);
    Some(MemberData {
        user_id: id_of(data.user_id)?,
        has_number: !data.user_id.get().starts_with('"'),
        user_info: info.map(in_one_line),
    })
}

/// The id in the `user_data` of a client that signs in; `None`: there is none.
pub(super) fn user_id(user_data: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let data: Data<'_> = from_json(user_data)?;
    id_of(data.id)
}

fn from_json<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    depth_within(text, DEPTH_MAX).then(|| serde_json::from_str(text).ok())?
}

/// An id is a string, or a number, which counts as its digits.
fn id_of(value: &RawValue) -> Option<String> {
    let text = match serde_json::from_str::<Text<'_>>(value.get()) {
        Ok(Text(text)) => text.into_owned(),
        Err(_) => {
            let number: serde_json::Number = serde_json::from_str(value.get()).ok()?;
            number.to_string()
        }
    };
    let is_fit = (1..=USER_ID_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    is_fit.then_some(text)
}

/// JSON without the line breaks that stand between its parts.
fn in_one_line(json: &str) -> Box<str> {
    json.replace(['\n', '\r'], " ").into()
}

/// As Pusher has it.
const USER_ID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_a_string_or_a_number() {
        let id = |data: &str| member(data).map(|member| member.user_id);
        assert_eq!(id(r#"{"user_id":"10"}"#).as_deref(), Some("10"));
        assert_eq!(id(r#"{"user_id":10,"x":1}"#).as_deref(), Some("10"));
        assert_eq!(id(r#"{"user_id":"\u00e4"}"#).as_deref(), Some("ä"));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"user_id":""}"#,
            r#"{"user_id":null}"#,
            r#"{"user_id":[1]}"#,
            r#"{"user_id":"a\u0000"}"#,
            r#"{"user_id":true}"#,
        ] {
            assert_eq!(id(bad), None, "{bad}");
        }
        let long = format!(r#"{{"user_id":"{}"}}"#, "a".repeat(129));
        assert_eq!(id(&long), None);
        assert_eq!(
            user_id(r#"{"id":"7","watchlist":["8"]}"#).as_deref(),
            Some("7")
        );
        assert_eq!(user_id(r#"{"user_id":"7"}"#), None);
    }

    #[test]
    fn data_is_an_object_or_one_in_a_string() {
        let channel = |text: &str| match parse(text) {
            Ok(Request::Subscribe(subscribe)) => Some(subscribe.channel),
            _ => None,
        };
        let plain = r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":null}}"#;
        let inside = r#"{"event":"pusher:subscribe","data":"{\"channel\":\"a\"}"}"#;
        assert_eq!(channel(plain).as_deref(), Some("a"));
        assert_eq!(channel(inside).as_deref(), Some("a"));
        for bad in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"event":1}"#,
            r#"{"event":"pusher:subscribe"}"#,
            r#"{"event":"pusher:subscribe","data":"a"}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":1}}"#,
            r#"{"event":"client-a","data":{}}"#,
        ] {
            assert_eq!(parse(bad).err(), Some(Malformed), "{bad}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        let deep = format!(r#"{{"event":"client-a","channel":"b","data":{deep}}}"#);
        assert_eq!(parse(&deep).err(), Some(Malformed));
    }
}
