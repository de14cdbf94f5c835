//! What a client may say: one command a line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{DEPTH_MAX, Text, depth_within};

/// One line. Of the methods one is there; members that are not known are ignored.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    /// Of the reply; 0 of a pong and of `send`.
    #[serde(default)]
    id: u32,
    #[serde(borrow)]
    connect: Option<Connect<'a>>,
    #[serde(borrow)]
    subscribe: Option<Subscribe<'a>>,
    #[serde(borrow)]
    unsubscribe: Option<Channel<'a>>,
    #[serde(borrow)]
    publish: Option<Publish<'a>>,
    #[serde(borrow)]
    presence: Option<Channel<'a>>,
    #[serde(borrow)]
    presence_stats: Option<Channel<'a>>,
    #[serde(borrow)]
    history: Option<History<'a>>,
    ping: Option<Empty>,
    send: Option<Empty>,
    #[serde(borrow)]
    rpc: Option<Rpc<'a>>,
    #[serde(borrow)]
    refresh: Option<Refresh<'a>>,
    #[serde(borrow)]
    sub_refresh: Option<SubRefresh<'a>>,
}

#[derive(Debug, Deserialize)]
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
pub(super) struct Positions<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, WasAt<'a>>);

/// Where a client was in a channel.
#[derive(Debug, Deserialize)]
struct WasAt<'a> {
    #[serde(default)]
    recover: bool,
    #[serde(default)]
    offset: u64,
    #[serde(borrow)]
    epoch: Option<Text<'a>>,
}

impl Positions<'_> {
    /// Takes out where it was in a channel, if it wants to go on there: the epoch, if it knows it, and the
    /// offset.
    pub(super) fn take(&mut self, channel: &str) -> Option<(Option<u64>, u64)> {
        let was_at = self.0.remove(channel).filter(|was_at| was_at.recover)?;
        Some((epoch_of(was_at.epoch.as_ref()), was_at.offset))
    }
}

#[derive(Debug, Deserialize)]
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
    /// A filter by tags, which no publication has.
    #[serde(borrow, rename = "tf")]
    pub(super) filter: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Channel<'a> {
    #[serde(borrow)]
    channel: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
pub(super) struct Since<'a> {
    #[serde(default)]
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) epoch: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SubRefresh<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) token: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Publish<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) data: Option<&'a RawValue>,
    /// As of [`Subscribe`].
    #[serde(default, rename = "type")]
    pub(super) kind: i32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rpc<'a> {
    #[serde(borrow)]
    pub(super) method: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refresh<'a> {
    #[serde(borrow)]
    pub(super) token: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Empty {}

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

/// The line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a line. Work and memory are linear in its length.
pub(super) fn parse(line: &str) -> Result<(u32, Request<'_>), Malformed> {
    // What is derived would be read from an array too.
    if !line.trim_start().starts_with('{') || !depth_within(line, DEPTH_MAX) {
        return Err(Malformed);
    }
    let line: Line<'_> = serde_json::from_str(line).map_err(|_| Malformed)?;
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
    } = line;
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
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// In a subscribe's flags: rather an error than a subscription that has missed something.
pub(super) const REJECT_UNRECOVERED: u64 = 2;
