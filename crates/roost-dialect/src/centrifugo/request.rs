//! What a client may say: in JSON one command a line. In Protobuf (`protobuf/commands.rs`) it is the same command.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub(super) use super::protobuf::wire::Malformed;
use crate::PayloadRef;
use crate::json::{DEPTH_MAX, Text, depth_within, value_in};
use crate::serial::push_bytes;

/// One line. Of the methods one is there; members that are not known are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Line<'a> {
    /// Of the reply; 0 of a pong and of `send`.
    #[serde(default)]
    pub(super) id: u32,
    #[serde(borrow)]
    pub(super) connect: Option<Connect<'a>>,
    #[serde(borrow)]
    pub(super) subscribe: Option<Subscribe<'a>>,
    #[serde(borrow)]
    pub(super) unsubscribe: Option<Channel<'a>>,
    #[serde(borrow)]
    pub(super) publish: Option<Publish<'a>>,
    #[serde(borrow)]
    pub(super) presence: Option<Channel<'a>>,
    #[serde(borrow)]
    pub(super) presence_stats: Option<Channel<'a>>,
    #[serde(borrow)]
    pub(super) history: Option<History<'a>>,
    pub(super) ping: Option<Empty>,
    pub(super) send: Option<Empty>,
    #[serde(borrow)]
    pub(super) rpc: Option<Rpc<'a>>,
    #[serde(borrow)]
    pub(super) refresh: Option<Refresh<'a>>,
    #[serde(borrow)]
    pub(super) sub_refresh: Option<SubRefresh<'a>>,
}

impl<'a> Line<'a> {
    /// What it asks for, and its number.
    pub(super) fn into_request(self) -> Result<(u32, Request<'a>), Malformed> {
        let Line {
            id,
            connect,
            subscribe,
            unsubscribe,
            publish,
            presence,
            presence_stats,
            history,
            ping,
            send,
            rpc,
            refresh,
            sub_refresh,
        } = self;
        let request = if let Some(connect) = connect {
            Request::Connect(connect)
        } else if let Some(subscribe) = subscribe {
            Request::Subscribe(subscribe)
        } else if let Some(Channel { channel }) = unsubscribe {
            Request::Unsubscribe(named(channel)?)
        } else if let Some(publish) = publish {
            Request::Publish(publish)
        } else if let Some(refresh) = refresh {
            Request::Refresh(refresh)
        } else if send.is_some() {
            return Ok((id, Request::Send));
        } else if let Some(Channel { channel }) = presence {
            Request::Presence {
                channel: named(channel)?,
                counts_only: false,
            }
        } else if let Some(Channel { channel }) = presence_stats {
            Request::Presence {
                channel: named(channel)?,
                counts_only: true,
            }
        } else if let Some(history) = history {
            Request::History(history)
        } else if let Some(refresh) = sub_refresh {
            Request::SubRefresh(refresh)
        } else if let Some(rpc) = rpc {
            Request::Rpc(rpc)
        } else if ping.is_some() {
            Request::Unavailable
        } else if id == 0 {
            return Ok((id, Request::Pong));
        } else {
            return Err(Malformed);
        };
        // A reply has the number of its command; the last one stands for no command of a client.
        match id {
            0 | u32::MAX => Err(Malformed),
            id => Ok((id, request)),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Connect<'a> {
    #[serde(borrow)]
    pub(super) token: Option<Text<'a>>,
    /// Where it was in channels that the server has subscribed it to.
    #[serde(borrow, default)]
    pub(super) subs: Positions<'a>,
}

/// Where a client was, by channel.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Positions<'a>(#[serde(borrow)] pub(super) BTreeMap<Cow<'a, str>, WasAt<'a>>);

/// Where a client was in a channel.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WasAt<'a> {
    #[serde(default)]
    pub(super) recover: bool,
    #[serde(default)]
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) epoch: Option<Text<'a>>,
}

impl Positions<'_> {
    /// Takes out where it was in a channel, if it wants to go on there: the epoch, if it knows it, and the
    /// offset.
    pub(super) fn take(&mut self, channel: &str) -> Option<(Option<u64>, u64)> {
        let was_at = self.0.remove(channel).filter(|was_at| was_at.recover)?;
        Some((epoch_of(was_at.epoch.as_ref()), was_at.offset))
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Subscribe<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) token: Option<Text<'a>>,
    /// Whether it goes on where it was.
    #[serde(default)]
    pub(super) recover: bool,
    /// Where it was: the offset of the last publication that the client has got, 0 for none.
    #[serde(default)]
    pub(super) offset: u64,
    /// In which epoch; the client may not know.
    #[serde(borrow)]
    pub(super) epoch: Option<Text<'a>>,
    /// A set of bits, of which [`REJECT_UNRECOVERED`] counts.
    #[serde(default)]
    pub(super) flag: u64,
    /// 0 of a stream; others are of kinds of subscriptions that there are not.
    #[serde(default, rename = "type")]
    pub(super) kind: i32,
    /// Whether the client wants to be told who comes and who leaves.
    #[serde(default)]
    pub(super) join_leave: bool,
    /// The kind of deltas that the client takes in place of publications.
    #[serde(borrow)]
    pub(super) delta: Option<Text<'a>>,
    /// A filter by tags, which no publication has.
    #[serde(rename = "tf")]
    pub(super) filter: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Channel<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct History<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
    /// Most publications; negative: as many as there may be in an answer.
    #[serde(default)]
    pub(super) limit: i64,
    #[serde(borrow)]
    pub(super) since: Option<Since<'a>>,
    #[serde(default)]
    pub(super) reverse: bool,
}

/// A position in a channel.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Since<'a> {
    #[serde(default)]
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) epoch: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct SubRefresh<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) token: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Publish<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) data: Option<Data<'a>>,
    /// As of [`Subscribe`].
    #[serde(default, rename = "type")]
    pub(super) kind: i32,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Rpc<'a> {
    #[serde(borrow)]
    pub(super) method: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) data: Option<Data<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Refresh<'a> {
    #[serde(borrow)]
    pub(super) token: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Empty {}

/// What a line asks for.
#[derive(Debug)]
pub(super) enum Request<'a> {
    /// Nothing: it answers a ping.
    Pong,
    Connect(Connect<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe(Text<'a>),
    Publish(Publish<'a>),
    Refresh(Refresh<'a>),
    Rpc(Rpc<'a>),
    History(History<'a>),
    SubRefresh(SubRefresh<'a>),
    /// A message for the server, which is not answered.
    Send,
    /// Who is in a channel, or only how many are.
    Presence {
        channel: Text<'a>,
        counts_only: bool,
    },
    /// What there is not: ping.
    Unavailable,
}

/// What a command carries for subscribers or for the application.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data<'a> {
    /// A value, unparsed.
    Json(&'a str),
    /// Bytes of Protobuf, which may be such a value.
    Bytes(&'a [u8]),
}

impl<'a> Data<'a> {
    /// To be published. Bytes that are a JSON value count as that: clients of both encodings share channels, and most
    /// that speak Protobuf have JSON in it.
    pub(super) fn payload(self) -> PayloadRef<'a> {
        match self {
            Data::Json(value) => PayloadRef::Json(value),
            Data::Bytes(bytes) => {
                value_in(bytes).map_or(PayloadRef::Binary(bytes), PayloadRef::Json)
            }
        }
    }

    /// For an application, which takes JSON: other bytes as the string that stands for them.
    pub(super) fn into_json(self) -> Cow<'a, str> {
        match self.payload() {
            PayloadRef::Json(value) => Cow::Borrowed(value),
            PayloadRef::Binary(bytes) => {
                let mut string = Vec::with_capacity(bytes.len() * 4 / 3 + 16);
                push_bytes(&mut string, bytes);
                Cow::Owned(String::from_utf8(string).expect("base64 is ASCII"))
            }
            PayloadRef::Text(_) | PayloadRef::Wamp(_) => unreachable!("it is one of the two"),
        }
    }
}

/// Reads a line. Work and memory are linear in its length.
pub(super) fn parse(line: &str) -> Result<(u32, Request<'_>), Malformed> {
    // What is derived would be read from an array too.
    if !line.trim_start().starts_with('{') || !depth_within(line, DEPTH_MAX) {
        return Err(Malformed);
    }
    let line: Line<'_> = serde_json::from_str(line).map_err(|_| Malformed)?;
    line.into_request()
}

/// A channel has to be named.
pub(super) fn named(channel: Option<Text<'_>>) -> Result<Text<'_>, Malformed> {
    channel
        .filter(|Text(name)| !name.is_empty())
        .ok_or(Malformed)
}

/// The epoch that a client names: none if it knows none, and no channel's if it is none of this server's.
pub(super) fn epoch_of(text: Option<&Text<'_>>) -> Option<u64> {
    let Text(text) = text.filter(|Text(text)| !text.is_empty())?;
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let epoch = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    Some(epoch.unwrap_or(UNKNOWN_EPOCH))
}

/// No channel's: an epoch is a hash of a secret.
pub(super) const UNKNOWN_EPOCH: u64 = 0;

/// `null` is a value too.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Data<'a>>, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    Ok(Some(Data::Json(value.get())))
}

/// In a subscribe's flags: rather an error than a subscription that has missed something.
pub(super) const REJECT_UNRECOVERED: u64 = 2;
