//! Event streams as a [`Dialect`]. A session is its channel, or several in a table.

use std::borrow::Cow;
use std::sync::Arc;

use roost_hub::{ChannelId, EventIds, Position};
use roost_wire::{Frozen, Opcode};
use slab::Slab;

use super::event::{
    event, event_of_channel, retry_ms, write_channel_event, write_channel_lost,
    write_channel_start, write_closed, write_dropped, write_first, write_lost, write_retry,
    write_start,
};
use super::request::since;
use super::settings::Settings;
use super::several::{self, Several};
use crate::dialect::{
    Accept, Command, Context, Dialect, Emulated, Event, Input, Join, Next, Offer, Recovered,
    Refusal, Session, SubscribeTo, Terms,
};
use crate::path::channel_from_path;
use crate::{DialectKind, Form, Publication};

/// Its session is the channel, or the number of an entry here.
pub struct Sse {
    several: Slab<Several>,
}

/// A session as plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its one channel.
    One(Option<ChannelId>),
    /// The number of each of several that it is subscribed to, and the names of those that are under way.
    Several(Vec<(Box<str>, Option<ChannelId>)>),
}

/// Of a stream of one channel.
const EVENT: Form = Form::of(DialectKind::Sse, 0);
/// Of one of several.
const EVENT_OF_CHANNEL: Form = Form::of(DialectKind::Sse, 1);
/// The terms of a stream of several.
const SEVERAL: Terms = Terms {
    number: 1,
    header: None,
};
/// In a session: it is one of several channels. No channel has such a number.
const SEVERAL_BIT: u32 = 1 << 31;
/// An entry of the sessions' table.
const SESSION_BYTES: usize = size_of::<Several>() + size_of::<usize>();
/// Room for so many sessions is kept when the last has ended.
const SESSIONS_KEPT: usize = 64;

impl Dialect for Sse {
    const NAME: &'static str = "sse";
    const FORMS: &'static [&'static str] = &["event", "channel-event"];
    type Settings = Settings;
    type State = State;

    fn new(_: Arc<Settings>) -> Sse {
        Sse {
            several: Slab::new(),
        }
    }

    fn configure(&mut self, _: Arc<Settings>) {}

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        let encoded = match offer.path.strip_prefix("/sse") {
            Some("") if settings.enabled && several::is_asked(offer) => {
                return accept_several(settings, offer);
            }
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

    fn open(&mut self, _: Option<&str>, terms: Terms, joined: Option<ChannelId>) -> Session {
        match terms.number == SEVERAL.number {
            true => self.insert(Several::default()),
            false => self.import(State::One(joined)),
        }
    }

    fn next<'a>(
        &mut self,
        session: Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        let Some(several) = self.several(session) else {
            input.take(); // a stream goes one way
            return None;
        };
        // What its request has asked for, and nothing else.
        if !std::mem::replace(&mut several.has_begun, true) {
            let (known, retry_ms) = (several::known(*input), retry_ms((cx.new_id)()));
            cx.replies
                .message(Opcode::Text, |out| write_first(out, known, retry_ms));
        }
        let (name, since) = several::read_line(input.take_text_until('\n')?)?;
        Some(Command::Subscribe {
            what: match since {
                None => SubscribeTo::Channel(Cow::Borrowed(name)),
                Some(since) => SubscribeTo::Since(Cow::Borrowed(name), since),
            },
            form: EVENT_OF_CHANNEL,
            token: several.add(name) as u64,
            grant: None,
        })
    }

    fn on(&mut self, session: Session, event: Event<'_>, cx: &mut Context<'_>) -> Next {
        let Context { replies, new_id } = cx;
        if let Some(several) = self.several(session) {
            let is_of_channel =
                replies.message(Opcode::Text, |out| on_channel_event(several, &event, out));
            if is_of_channel {
                return Next::Continue;
            }
        }
        let mut write = |write: &mut dyn FnMut(&mut Vec<u8>)| {
            replies.message(Opcode::Text, |out| write(out));
        };
        match event {
            Event::Subscribed {
                snapshot, recovery, ..
            } => {
                let position = snapshot.position;
                let retry_ms = retry_ms(new_id());
                let start = start_of(position, recovery);
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
        if let Some(several) = self.several(*session) {
            return several.pop().map(|channel| (channel, EVENT_OF_CHANNEL));
        }
        let channel = std::mem::replace(session, Session::NONE);
        channel.is_some().then_some((ChannelId(channel.0), EVENT))
    }

    fn is_subscribed(&self, session: Session, channel: ChannelId) -> bool {
        match several_at(session) {
            Some(at) => self.several.get(at).is_some_and(|one| one.has(channel)),
            None => session == Session(channel.0),
        }
    }

    fn end_subscription(
        &mut self,
        session: Session,
        (channel, name): (ChannelId, &str),
        cx: &mut Context<'_>,
    ) -> Option<Form> {
        let several = self.several(session)?;
        if !several.remove(channel) {
            return None;
        }
        cx.replies.message(Opcode::Text, |out| {
            write_channel_event(out, "roost.unsubscribed", name, UNSUBSCRIBED);
        });
        Some(EVENT_OF_CHANNEL)
    }

    fn each_subscription(&self, session: Session, visit: &mut dyn FnMut(ChannelId)) {
        match several_at(session) {
            Some(at) => {
                if let Some(several) = self.several.get(at) {
                    several.each(visit);
                }
            }
            None if session.is_some() => visit(ChannelId(session.0)),
            None => {}
        }
    }

    fn close(&mut self, session: Session) {
        self.take(session);
    }

    fn export(&mut self, session: Session) -> State {
        if let Some(several) = self.take(session) {
            return State::Several(several.into_list());
        }
        let Session(channel) = session;
        State::One(session.is_some().then_some(ChannelId(channel)))
    }

    fn import(&mut self, state: State) -> Session {
        match state {
            State::One(joined) => joined.map_or(Session::NONE, |channel| Session(channel.0)),
            State::Several(list) => self.insert(Several::from_list(list)),
        }
    }

    /// As a stream of epoch 0: a reactor tells the epoch.
    fn encode(form: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen {
        Sse::encode_at(form, publication, ids, channel, 0)
    }

    fn encode_at(
        form: u8,
        publication: &Publication,
        ids: EventIds,
        channel: &str,
        epoch: u64,
    ) -> Frozen {
        let position = Position {
            epoch,
            offset: ids.offset,
        };
        match form {
            0 => event(publication, position),
            _ => event_of_channel(publication, position, channel),
        }
    }

    fn memory_bytes(&self) -> usize {
        let heap = self.several.iter().map(|(_, one)| one.heap_bytes());
        self.several.capacity() * SESSION_BYTES + heap.sum::<usize>()
    }

    fn shrink(&mut self) -> usize {
        let before = self.several.capacity();
        if before > SESSIONS_KEPT && before / 4 > self.several.len() {
            self.several.shrink_to_fit(); // as far as the last session
        }
        (before - self.several.capacity()) * SESSION_BYTES
    }
}

impl Sse {
    fn insert(&mut self, several: Several) -> Session {
        let Session(at) = Session::at(self.several.insert(several));
        debug_assert!(at < SEVERAL_BIT, "there are fewer connections");
        Session(at | SEVERAL_BIT)
    }

    fn several(&mut self, session: Session) -> Option<&mut Several> {
        self.several.get_mut(several_at(session)?)
    }

    fn take(&mut self, session: Session) -> Option<Several> {
        let several = self.several.try_remove(several_at(session)?);
        if self.several.is_empty() && self.several.capacity() > SESSIONS_KEPT {
            self.several = Slab::new();
        }
        several
    }
}

/// Where a session of several channels is in the table.
fn several_at(session: Session) -> Option<usize> {
    let is_several = session.is_some() && session.0 & SEVERAL_BIT != 0;
    is_several.then_some((session.0 & !SEVERAL_BIT) as usize)
}

/// `/sse?channel=A&channel=B`
fn accept_several<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
    match several::asked(settings, offer) {
        Ok(lines) => Accept::Emulated(Emulated {
            message: Some(Cow::Owned(lines)),
            content_type: "text/event-stream",
            terms: SEVERAL,
            is_binary: false,
            is_one_way: true,
        }),
        Err(reason) => Accept::Refused(Cow::Borrowed(reason)),
    }
}

/// Where a stream stands before what it has recovered, each of which has an id of its own.
fn start_of(top: Position, recovery: Option<Recovered<'_>>) -> Position {
    match recovery {
        Some(Recovered::Publications([(first, _), ..])) => Position {
            offset: first - 1,
            ..top
        },
        _ => top,
    }
}

/// Something happened to one of several channels. False if it is about the stream.
fn on_channel_event(several: &mut Several, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
    match *event {
        Event::Subscribing { token, channel, .. } => {
            several.set_number(place_of(token), Some(channel));
        }
        Event::Subscribed {
            token,
            snapshot,
            recovery,
            ..
        } => {
            let Some(name) = several.take_name(place_of(token)) else {
                return true;
            };
            let position = snapshot.position;
            match recovery {
                Some(Recovered::Lost(loss)) => write_channel_lost(out, &name, position, loss),
                _ => write_channel_start(out, &name, start_of(position, recovery)),
            }
        }
        Event::Refused {
            token: Some(token),
            refusal,
            ..
        }
        | Event::SubscriptionRefused { token, refusal, .. } => {
            several.set_number(place_of(token), None);
            if let Some(name) = several.take_name(place_of(token)) {
                write_channel_event(out, "roost.refused", &name, reason_of(refusal));
            }
        }
        _ => return false,
    }
    true
}

/// The token of a subscription is the place of its channel.
fn place_of(token: u64) -> usize {
    usize::try_from(token).unwrap_or(usize::MAX)
}

fn reason_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotAllowed(denial) => denial.message(),
        Refusal::NoRoom => "There is no room for another channel; try again later.",
        Refusal::InvalidName
        | Refusal::InvalidPattern
        | Refusal::NotKept
        | Refusal::TooOften
        | Refusal::PatternShape => "The channel's name cannot be.",
    }
}

/// Why one of several channels has no more events.
const UNSUBSCRIBED: &str = "The application has ended the subscription.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Replies;

    #[test]
    fn a_session_is_handed_over_with_its_channel() {
        for joined in [None, Some(ChannelId(0)), Some(ChannelId(70_000))] {
            let mut sse = Sse::new(Arc::default());
            let session = sse.open(None, Terms::default(), joined);
            let state = sse.export(session);
            assert_eq!(state, State::One(joined));
            assert_eq!(sse.import(state), session);
        }
    }

    #[test]
    fn a_channel_that_is_refused_late_is_not_subscribed_to() {
        let mut sse = Sse::new(Arc::default());
        let mut session = sse.open(None, SEVERAL, None);
        let several = sse.several(session).expect("it is one");
        let tokens = ["a", "b"].map(|name| several.add(name) as u64);
        let mut replies = Replies::default();
        let mut tell = |sse: &mut Sse, event: Event<'_>| {
            let cx = &mut Context {
                replies: &mut replies,
                new_id: &mut || 1,
            };
            assert_eq!(sse.on(session, event, cx), Next::Continue);
            let mut said = Vec::new();
            replies.drain(|_, bytes| said.extend_from_slice(bytes));
            String::from_utf8(said).expect("it is text")
        };
        for (token, channel) in tokens.into_iter().zip([7, 8]) {
            let event = Event::Subscribing {
                token,
                channel: ChannelId(channel),
                form: EVENT_OF_CHANNEL,
            };
            assert_eq!(tell(&mut sse, event), "");
        }
        let refused = Event::SubscriptionRefused {
            token: tokens[0],
            channel: ChannelId(7),
            refusal: Refusal::NoRoom,
        };
        let said = tell(&mut sse, refused);
        assert!(said.contains("roost.refused"), "{said}");
        assert!(!sse.is_subscribed(session, ChannelId(7)));
        let popped = std::iter::from_fn(|| sse.pop_subscription(&mut session));
        let popped: Vec<_> = popped.map(|(channel, _)| channel).collect();
        assert_eq!(popped, [ChannelId(8)]);
    }

    #[test]
    fn a_session_of_several_channels_is_handed_over_with_them() {
        let mut sse = Sse::new(Arc::default());
        let other = sse.open(None, SEVERAL, None);
        let mut session = sse.open(None, SEVERAL, None);
        let several = sse.several(session).expect("it is one");
        for (name, number) in [("a", Some(7)), ("b", None), ("c", Some(0))] {
            let place = several.add(name);
            several.set_number(place, number.map(ChannelId));
        }
        let state = sse.export(session);
        assert!(sse.several(session).is_none(), "it has gone");
        session = sse.import(state);
        let mut channels = Vec::new();
        sse.each_subscription(session, &mut |channel| channels.push(channel.0));
        assert_eq!(channels, [7, 0]);
        assert!(sse.is_subscribed(session, ChannelId(7)));
        assert!(!sse.is_subscribed(other, ChannelId(7)));
        let popped = sse.pop_subscription(&mut session);
        assert_eq!(popped, Some((ChannelId(7), EVENT_OF_CHANNEL)));
        assert!(!sse.is_subscribed(session, ChannelId(7)));
        assert!(sse.pop_subscription(&mut session).is_some());
        assert_eq!(sse.pop_subscription(&mut session), None);
        sse.close(session);
        sse.close(other);
        assert!(sse.several.is_empty());
    }
}
