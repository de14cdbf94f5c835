//! The JSON of an answer: Centrifugo's `result`, `error` or `disconnect`, read strictly.
//!
//! What is not understood is no answer. A member that this server does not know is ignored, but for one
//! that would grant less than it seems to.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use roost_access::PermissionSet;
use roost_tokens::{info_of, permissions_of_caps, subscriptions_of_json};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Event;

/// What the application says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The client may connect.
    Connect(Granted),
    /// It may subscribe.
    Subscribe,
    /// It may publish.
    Publish(Changed),
    /// What the method has come to, as JSON; `None`: nothing is said of it.
    Rpc(Option<Arc<str>>),
    /// It may not.
    Error {
        /// 400 to 1999.
        code: u32,
        /// For the client.
        message: Box<str>,
        /// Whether it may try again.
        is_temporary: bool,
    },
    /// Its connection ends.
    Disconnect {
        /// 4000 to 4999; from 4500 on it should not connect again.
        code: u16,
        /// At most 123 bytes: what a close frame has room for.
        reason: Box<str>,
    },
}

/// As whom a client is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Its name, at most 255 bytes; empty without an account.
    pub user: Box<str>,
    /// When that ends, in seconds since 1970.
    pub expire_at: Option<u64>,
    /// What it may do where namespaces say `granted`, what it is subscribed to without asking, and what others are
    /// told of it.
    pub permissions: Arc<PermissionSet>,
}

/// What is published instead of what the client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Nothing else.
    Nothing,
    /// JSON.
    Text(Arc<str>),
    /// Bytes.
    Binary(Arc<[u8]>),
}

/// Why something is no answer. It never says what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// It has more bytes than it may.
    TooLarge,
    /// It is no JSON object, or a member has another type than it has in Centrifugo.
    Form,
    /// It has none of `result`, `error` and `disconnect`, or more than one.
    NotOne,
    /// `code` is not in the range of its kind.
    Code,
    /// What it grants is not understood: why.
    Granted(&'static str),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnswerError::TooLarge => "the answer is longer than answer_bytes_max",
            AnswerError::Form => "the answer is no JSON object with members of Centrifugo's types",
            AnswerError::NotOne => "the answer has not exactly one of result, error and disconnect",
            AnswerError::Code => {
                "the answer's code is none of 400 to 1999 (error), 4000 to 4999 (disconnect)"
            }
            AnswerError::Granted(why) => why,
        })
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Object<ErrorMembers>>,
    #[serde(default)]
    disconnect: Option<Object<DisconnectMembers>>,
}

#[derive(Deserialize)]
struct ErrorMembers {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct DisconnectMembers {
    code: u32,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct ConnectMembers<'a> {
    user: String,
    #[serde(default)]
    expire_at: Option<u64>,
    #[serde(borrow, default)]
    caps: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    subs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SubscribeMembers {
    #[serde(default)]
    expire_at: Option<IgnoredAny>,
}

/// Of a method's result too.
#[derive(Deserialize)]
struct PublishMembers<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    b64data: Option<String>,
}

/// Reads an answer to a question about `event`.
///
/// # Errors
/// Why it is none.
pub fn parse(event: Event, bytes: &[u8], bytes_max: usize) -> Result<Answer, AnswerError> {
    if bytes.len() > bytes_max {
        return Err(AnswerError::TooLarge);
    }
    let Members {
        result,
        error,
        disconnect,
    } = object(bytes)?;
    match (result, error, disconnect) {
        (Some(result), None, None) => granted(event, result.get()),
        (None, Some(Object(error)), None) => {
            let ErrorMembers {
                code,
                message,
                temporary,
            } = error;
            if !(400..=1999).contains(&code) {
                return Err(AnswerError::Code);
            }
            Ok(Answer::Error {
                code,
                message: cut(&message, MESSAGE_BYTES_MAX).into(),
                is_temporary: temporary,
            })
        }
        (None, None, Some(Object(DisconnectMembers { code, reason }))) => {
            let code = u16::try_from(code).map_err(|_| AnswerError::Code)?;
            if !(4000..=4999).contains(&code) {
                return Err(AnswerError::Code);
            }
            let reason = cut(&reason, REASON_BYTES_MAX).into();
            Ok(Answer::Disconnect { code, reason })
        }
        _ => Err(AnswerError::NotOne),
    }
}

fn granted(event: Event, result: &str) -> Result<Answer, AnswerError> {
    match event {
        Event::Connect => {
            let ConnectMembers {
                user,
                expire_at,
                caps,
                channels,
                subs,
                info,
            } = object(result.as_bytes())?;
            if user.len() > USER_BYTES_MAX {
                return Err(AnswerError::Granted(
                    "the answer's user is longer than 255 bytes",
                ));
            }
            let caps = caps.map_or("[]", RawValue::get);
            let permissions = permissions_of_caps(caps).map_err(AnswerError::Granted)?;
            let (channels, subs) = (channels.map(RawValue::get), subs.map(RawValue::get));
            let subscriptions = subscriptions_of_json(channels, subs);
            let subscriptions = subscriptions.map_err(AnswerError::Granted)?;
            let info = info_of(info.map(RawValue::get)).map_err(AnswerError::Granted)?;
            let permissions = permissions.with_subscriptions(subscriptions);
            Ok(Answer::Connect(Granted {
                user: user.into(),
                expire_at: expire_at.filter(|at| *at > 0),
                permissions: Arc::new(permissions.with_info(info)),
            }))
        }
        Event::Subscribe => {
            let SubscribeMembers { expire_at } = object(result.as_bytes())?;
            match expire_at {
                None => Ok(Answer::Subscribe),
                // It would last longer than the application wants.
                Some(_) => Err(AnswerError::Granted(
                    "expire_at of a subscription is not supported; let the connection expire",
                )),
            }
        }
        Event::Publish => {
            let PublishMembers { data, b64data } = object(result.as_bytes())?;
            let b64data = b64data.filter(|text| !text.is_empty());
            Ok(Answer::Publish(match (data, b64data) {
                // As Centrifugo has it, bytes go before JSON.
                (_, Some(base64)) => Changed::Binary(decoded(&base64)?.into()),
                (Some(data), None) => Changed::Text(data.get().into()),
                (None, None) => Changed::Nothing,
            }))
        }
        Event::Rpc => {
            let PublishMembers { data, b64data } = object(result.as_bytes())?;
            let b64data = b64data.filter(|text| !text.is_empty());
            Ok(Answer::Rpc(match (data, b64data) {
                (_, Some(base64)) => Some(json_of(decoded(&base64)?)?.into()),
                (data, None) => data.map(|data| data.get().into()),
            }))
        }
    }
}

/// Those who ask for a method take JSON alone.
fn json_of(bytes: Vec<u8>) -> Result<String, AnswerError> {
    let text = String::from_utf8(bytes).ok();
    text.filter(|text| serde_json::from_str::<&RawValue>(text).is_ok())
        .ok_or(AnswerError::Granted("the answer's b64data is no JSON"))
}

/// With or without padding.
fn decoded(base64: &str) -> Result<Vec<u8>, AnswerError> {
    let decoded = match base64.ends_with('=') {
        true => STANDARD.decode(base64),
        false => STANDARD_NO_PAD.decode(base64),
    };
    decoded.map_err(|_| AnswerError::Granted("the answer's b64data is no base64"))
}

/// As much of a text as has room, whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, AnswerError> {
    let read: Result<Object<T>, _> = serde_json::from_slice(bytes);
    read.map(|Object(members)| members)
        .map_err(|_| AnswerError::Form)
}

/// A structure that was an object: serde reads structures from arrays too, by position.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct OfObject<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfObject<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(OfObject(PhantomData))
    }
}

/// As of tokens.
pub(crate) const USER_BYTES_MAX: usize = 255;
/// RFC 6455 §5.5: 125 bytes with the code.
pub(crate) const REASON_BYTES_MAX: usize = 123;
/// It is a line of a body, and is remembered with the answer.
pub(crate) const MESSAGE_BYTES_MAX: usize = 255;
