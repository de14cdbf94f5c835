//! Event streams as a [`Dialect`]. A session is its channel.

use std::borrow::Cow;
use std::sync::Arc;

use roost_hub::{ChannelId, EventIds, Position};
use roost_wire::{Frozen, Opcode};

use super::event::{
    event, retry_ms, write_closed, write_dropped, write_lost, write_retry, write_start,
};
use super::request::since;
use crate::dialect::{
    Accept, Command, Context, Dialect, Event, Input, Join, Next, Offer, Recovered, Session, Terms,
};
use crate::path::channel_from_path;
use crate::{DialectKind, Form, Publication};

/// Its session is the channel.
pub struct Sse;

/// What event streams obey.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether `/sse/{channel}` exists.
    pub enabled: bool,
}

/// Its one form.
const EVENT: Form = Form::of(DialectKind::Sse, 0);

impl Dialect for Sse {
    const NAME: &'static str = "sse";
    const FORMS: &'static [&'static str] = &["event"];
    type Settings = Settings;
    /// The channel.
    type State = Option<ChannelId>;

    fn new(_: Arc<Settings>) -> Sse {
        Sse
    }

    fn configure(&mut self, _: Arc<Settings>) {}

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        let encoded = match offer.path.strip_prefix("/sse") {
            Some("") => "",
            Some(rest) if rest.starts_with('/') => &rest[1..],
            _ => return Accept::NotMine,
        };
        if !settings.enabled {
            return Accept::NotMine;
        }
        let channel = match channel_from_path(encoded, offer.channel_name_bytes_max) {
            Ok(channel) => channel,
            Err(error) => return Accept::Refused(Cow::Borrowed(error.reason())),
        };
        match since(offer) {
            Ok(since) => Accept::Stream(Join {
                channel,
                form: EVENT,
                since,
            }),
            Err(reason) => Accept::Refused(Cow::Borrowed(reason)),
        }
    }

    fn open(&mut self, _: Option<&str>, _: Terms, joined: Option<ChannelId>) -> Session {
        self.import(joined)
    }

    fn next<'a>(
        &mut self,
        _: Session,
        input: &mut Input<'a>,
        _: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        input.take(); // a stream goes one way
        None
    }

    fn on(&mut self, _: Session, event: Event<'_>, cx: &mut Context<'_>) -> Next {
        let Context { replies, new_id } = cx;
        let mut write = |write: &mut dyn FnMut(&mut Vec<u8>)| {
            replies.message(Opcode::Text, |out| write(out));
        };
        match event {
            Event::Subscribed {
                snapshot, recovery, ..
            } => {
                let position = snapshot.position;
                let retry_ms = retry_ms(new_id());
                // What is recovered follows, each with its own id.
                let start = match recovery {
                    Some(Recovered::Publications(list)) => {
                        let before = list.first().map_or(position.offset, |(first, _)| first - 1);
                        Position {
                            offset: before,
                            ..position
                        }
                    }
                    Some(Recovered::Lost(_)) | None => position,
                };
                write(&mut |out| write_start(out, start, retry_ms));
                if let Some(Recovered::Lost(loss)) = recovery {
                    write(&mut |out| write_lost(out, position, loss));
                }
            }
            Event::Dropped { messages } => write(&mut |out| write_dropped(out, messages)),
            Event::SlowConsumer { reason } => {
                let retry_ms = retry_ms(new_id());
                write(&mut |out| write_retry(out, retry_ms, reason));
            }
            Event::Expired { credential } => {
                let reason = format!("the {credential} has expired");
                write(&mut |out| write_closed(out, &reason));
            }
            Event::Revoked { credential } => {
                let reason = format!("the {credential} is revoked");
                write(&mut |out| write_closed(out, &reason));
            }
            Event::Disconnected { reason }
            | Event::OverLimit { reason, .. }
            | Event::Killed { reason, .. } => write(&mut |out| write_closed(out, reason)),
            Event::Draining => {
                let retry_ms = retry_ms(new_id());
                write(&mut |out| write_retry(out, retry_ms, "the server is going down"));
            }
            _ => {}
        }
        Next::Continue
    }

    fn pop_subscription(&mut self, session: &mut Session) -> Option<(ChannelId, Form)> {
        let channel = std::mem::replace(session, Session::NONE);
        channel.is_some().then_some((ChannelId(channel.0), EVENT))
    }

    fn is_subscribed(&self, session: Session, channel: ChannelId) -> bool {
        session == Session(channel.0)
    }

    fn each_subscription(&self, session: Session, visit: &mut dyn FnMut(ChannelId)) {
        if session.is_some() {
            visit(ChannelId(session.0));
        }
    }

    fn close(&mut self, _: Session) {}

    fn export(&mut self, session: Session) -> Option<ChannelId> {
        let Session(channel) = session;
        session.is_some().then_some(ChannelId(channel))
    }

    fn import(&mut self, joined: Option<ChannelId>) -> Session {
        joined.map_or(Session::NONE, |channel| Session(channel.0))
    }

    /// As a stream of epoch 0: a reactor tells the epoch.
    fn encode(form: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen {
        Sse::encode_at(form, publication, ids, channel, 0)
    }

    fn encode_at(_: u8, publication: &Publication, ids: EventIds, _: &str, epoch: u64) -> Frozen {
        let position = Position {
            epoch,
            offset: ids.offset,
        };
        event(publication, position)
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn shrink(&mut self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_handed_over_with_its_channel() {
        for joined in [None, Some(ChannelId(0)), Some(ChannelId(70_000))] {
            let session = Sse.open(None, Terms::default(), joined);
            let state = Sse.export(session);
            assert_eq!(state, joined);
            assert_eq!(Sse.import(state), session);
        }
    }
}
