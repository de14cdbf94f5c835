//! What a client has missed: in the answer to its subscription, in pages of history, and when it is told that
//! something is missing.

use std::borrow::Cow;

use roost_hub::ChannelId;

use super::Settings;
use super::codes::{self, Disconnect, Error};
use super::reply::Lines;
use super::request::{History, REJECT_UNRECOVERED, Since, Subscribe, epoch_of, named};
use super::result::Subscribed;
use super::session::Session;
use super::step::Step;
use super::subscriptions::CONFIRMED;
use super::token::{self, Asked};
use crate::check_channel_name;
use crate::dialect::{
    Command, Grant, HistoryPage, HistoryRefusal, Next, ReadHistory, Recovered, Recovers,
    SubscribeTo,
};
use crate::json::Text;

/// What a subscribe asks for, and the token of its events.
pub(super) fn asked<'a>(
    id: u32,
    subscribe: &Subscribe<'a>,
    channel: Cow<'a, str>,
    grant: Option<Grant>,
) -> (SubscribeTo<'a>, u64) {
    let asked = Asked {
        rejects_unrecovered: subscribe.recover && subscribe.flag & REJECT_UNRECOVERED != 0,
        expires_in_s: grant.and_then(|grant| grant.expires_in_s),
    };
    let what = match subscribe.recover {
        false => SubscribeTo::Channel(channel),
        true => {
            let epoch = epoch_of(subscribe.epoch.as_ref());
            SubscribeTo::Behind(channel, epoch, subscribe.offset)
        }
    };
    (what, token::of(id, asked))
}

/// The answer to a subscribe.
pub(super) fn on_subscribed(
    session: &mut Session,
    token: u64,
    subscribed: &Subscribed<'_>,
    lines: &mut Lines<'_>,
) -> Next {
    let (id, channel) = (token::number(token), subscribed.channel);
    if !session.subscriptions.confirm(channel, id) {
        session.subscribed(id, None);
        return Next::Continue;
    }
    session.subscribed(id, Some(channel));
    let asked = token::asked(token);
    if asked.rejects_unrecovered
        && subscribed.recovers == Recovers::Stream
        && matches!(subscribed.recovery, Some(Recovered::Lost(_)))
    {
        session.subscriptions.remove(channel);
        let form = session.form_of(channel);
        session.unsubscribed(channel);
        lines.error(id, codes::UNRECOVERABLE);
        return Next::Unsubscribe { channel, form };
    }
    lines.subscribe_result(id, subscribed, asked.expires_in_s);
    Next::Continue
}

/// A subscription that is in force ends, for this reason: the client subscribes again.
pub(super) fn end(
    session: &mut Session,
    channel: ChannelId,
    name: &str,
    why: (u16, &str),
    lines: &mut Lines<'_>,
) -> Next {
    if session.subscriptions.pending(channel) != Some(CONFIRMED) {
        return Next::Continue;
    }
    if session.is_served(channel) {
        // Stock clients do not subscribe to it again, but they connect again, and recover.
        return codes::INSUFFICIENT_STATE.next();
    }
    session.subscriptions.remove(channel);
    let form = session.form_of(channel);
    session.unsubscribed(channel);
    lines.unsubscribed(name, why);
    Next::Unsubscribe { channel, form }
}

/// A client asks what a channel keeps.
pub(super) fn handle_history<'a>(
    id: u32,
    history: History<'a>,
    settings: &Settings,
    lines: &mut Lines<'_>,
) -> Result<Step<'a>, Disconnect> {
    let History {
        channel,
        limit,
        since,
        reverse,
    } = history;
    let Text(channel) = named(channel)?;
    if check_channel_name(&channel, settings.channel_name_bytes_max).is_err() {
        lines.error(id, codes::BAD_REQUEST);
        return Ok(Step::Done);
    }
    let since = since.map(|Since { offset, epoch }| (epoch_of(epoch.as_ref()), offset));
    Ok(Step::Command(Command::ReadHistory(ReadHistory {
        channel,
        since,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        is_reverse: reverse,
        token: u64::from(id),
    })))
}

/// What it is told.
pub(super) fn on_history(
    id: u32,
    answer: Result<&HistoryPage, HistoryRefusal>,
    lines: &mut Lines<'_>,
) {
    match answer {
        Ok(page) => lines.history(id, page),
        Err(refusal) => lines.error(id, error_of(refusal)),
    }
}

fn error_of(refusal: HistoryRefusal) -> Error {
    match refusal {
        HistoryRefusal::NotAllowed(denial) => codes::error_of_denial(denial),
        HistoryRefusal::InvalidName => codes::BAD_REQUEST,
        HistoryRefusal::NotKept => codes::NOT_AVAILABLE,
        HistoryRefusal::Busy => codes::TOO_MANY_REQUESTS,
        HistoryRefusal::Lost(_) => codes::UNRECOVERABLE,
    }
}

#[cfg(test)]
mod tests {
    use roost_hub::Position;

    use super::super::request::UNKNOWN_EPOCH;
    use super::super::result::write_position;
    use super::*;

    #[test]
    fn an_epoch_is_read_as_it_was_written() {
        for epoch in [1, 0xfedc_ba98_7654_3210, u64::MAX] {
            let mut out = Vec::new();
            write_position(&mut out, Position { epoch, offset: 7 });
            let out = String::from_utf8(out).expect("ASCII");
            let text = out.split('"').nth(3).expect("the epoch");
            assert_eq!(epoch_of(Some(&Text(text.into()))), Some(epoch), "{out}");
            assert!(out.ends_with(",\"offset\":7"), "{out}");
        }
    }

    #[test]
    fn an_epoch_of_another_server_is_no_channels() {
        assert_eq!(epoch_of(None), None);
        assert_eq!(epoch_of(Some(&Text("".into()))), None);
        for text in ["_", "xyza", "+123456789abcdef", "00000000000000001"] {
            assert_eq!(epoch_of(Some(&Text(text.into()))), Some(UNKNOWN_EPOCH));
        }
    }
}
