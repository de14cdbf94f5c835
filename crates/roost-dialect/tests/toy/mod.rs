//! A toy: what one more dialect takes. Of tests only (feature `toy`).
//!
//! A stream of lines in binary messages, at `/toy`: a message may hold many lines, a line may span
//! messages. `PING` is answered with `PONG`, `PUB CHANNEL TEXT` publishes, `SUB CHANNEL` subscribes and
//! is answered with `AT EPOCH OFFSET`, the position where the subscription begins; what is published
//! behind it comes as `OFFSET TEXT`. `ALL KIND PATTERN` subscribes to a pattern, of a kind of
//! [`KINDS`], and is answered with `ALL NUMBER`; what matches it comes as `NUMBER CHANNEL OFFSET TEXT`.
//! `END` ends the newest subscription, and is answered with the same. What is refused is answered with
//! `NO` and the reason. Any other line closes.

use std::borrow::Cow;
use std::sync::Arc;

use roost_hub::{ChannelId, EventIds, PatternKind, Position, Snapshot};
use roost_wire::{CloseCode, Frozen, Opcode};
use slab::Slab;

use crate::dialect::{
    Accept, Command, Context, Dialect, Event, Input, Next, Offer, Session, SubscribeTo, Target,
    Terms,
};
use crate::{DialectKind, Form, PayloadRef, Publication};

/// Each session's channels. What is not a whole line yet stays in the input.
pub struct Toy {
    sessions: Slab<Vec<ChannelId>>,
}

/// Its one form.
const NUMBERED: Form = Form::of(DialectKind::Toy, 0);

/// Whether it is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether `/toy` exists.
    pub enabled: bool,
}

impl Dialect for Toy {
    const NAME: &'static str = "toy";
    const FORMS: &'static [&'static str] = &["numbered"];
    type Settings = Settings;
    /// Its channels.
    type State = Vec<ChannelId>;

    fn new(_: Arc<Settings>) -> Toy {
        Toy {
            sessions: Slab::new(),
        }
    }

    fn configure(&mut self, _: Arc<Self::Settings>) {}

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        if !settings.enabled || offer.path != "/toy" {
            return Accept::NotMine;
        }
        Accept::Open {
            subprotocol: None,
            join: None,
            terms: Terms::default(),
        }
    }

    fn open(&mut self, _: Option<&str>, _: Terms, _: Option<ChannelId>) -> Session {
        self.import(Vec::new())
    }

    fn next<'a>(
        &mut self,
        session: Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        loop {
            let bytes = input.bytes();
            let end = bytes.iter().take(LINE_BYTES_MAX).position(|&b| b == b'\n');
            let Some(end) = end else {
                return (bytes.len() >= LINE_BYTES_MAX).then_some(TOO_LONG);
            };
            input.advance(end + 1);
            let line = str::from_utf8(&bytes[..end]).unwrap_or_default();
            if line == "PING" {
                cx.replies.binary(|out| out.extend_from_slice(b"PONG"));
                continue;
            }
            if let Some(channel) = line.strip_prefix("SUB ") {
                return Some(Command::Subscribe {
                    what: SubscribeTo::Channel(Cow::Borrowed(channel)),
                    form: NUMBERED,
                    token: 0,
                    grant: None,
                });
            }
            let pattern = line.strip_prefix("ALL ");
            if let Some((kind, text)) = pattern.and_then(|rest| rest.split_once(' '))
                && let Some((_, kind)) = KINDS.into_iter().find(|(name, _)| *name == kind)
            {
                return Some(Command::Subscribe {
                    what: SubscribeTo::Pattern(kind, Cow::Borrowed(text)),
                    form: NUMBERED,
                    token: 0,
                    grant: None,
                });
            }
            if line == "END" {
                let channel = self.sessions.get_mut(session.index())?.pop()?;
                return Some(Command::Unsubscribe {
                    channel,
                    form: NUMBERED,
                    token: 0,
                });
            }
            let publish = line
                .strip_prefix("PUB ")
                .and_then(|rest| rest.split_once(' '));
            return Some(match publish {
                Some((channel, text)) => Command::Publish {
                    channel: Target::Name(Cow::Borrowed(channel)),
                    payload: PayloadRef::Text(text),
                    exclude_me: None,
                    ack: None,
                    details: None,
                },
                None => UNKNOWN,
            });
        }
    }

    fn on(&mut self, session: Session, event: Event<'_>, cx: &mut Context<'_>) -> Next {
        match event {
            Event::Subscribing { channel, .. } => {
                let Some(channels) = self.sessions.get_mut(session.index()) else {
                    return Next::Continue;
                };
                if !channels.contains(&channel) {
                    channels.push(channel);
                }
            }
            Event::Subscribed {
                snapshot, topic, ..
            } => {
                let Position { epoch, offset } = snapshot.position;
                answer(
                    cx,
                    &match snapshot == Snapshot::OF_PATTERN {
                        true => format!("ALL {topic}"),
                        false => format!("AT {epoch} {offset}"),
                    },
                );
            }
            Event::Unsubscribed { .. } => answer(cx, "END"),
            Event::Refused { refusal, .. } => answer(cx, &format!("NO {refusal:?}")),
            Event::SubscriptionRefused {
                channel, refusal, ..
            } => {
                if let Some(channels) = self.sessions.get_mut(session.index()) {
                    channels.retain(|&other| other != channel);
                }
                answer(cx, &format!("NO {refusal:?}"));
            }
            _ => {}
        }
        Next::Continue
    }

    fn pop_subscription(&mut self, session: &mut Session) -> Option<(ChannelId, Form)> {
        let channel = self.sessions.get_mut(session.index())?.pop()?;
        Some((channel, NUMBERED))
    }

    fn is_subscribed(&self, session: Session, channel: ChannelId) -> bool {
        let channels = self.sessions.get(session.index());
        channels.is_some_and(|channels| channels.contains(&channel))
    }

    fn each_subscription(&self, session: Session, visit: &mut dyn FnMut(ChannelId)) {
        let channels = self.sessions.get(session.index());
        channels.into_iter().flatten().copied().for_each(visit);
    }

    fn close(&mut self, session: Session) {
        self.sessions.try_remove(session.index());
    }

    fn export(&mut self, session: Session) -> Vec<ChannelId> {
        let channels = self.sessions.try_remove(session.index());
        channels.unwrap_or_default()
    }

    fn import(&mut self, channels: Vec<ChannelId>) -> Session {
        Session::at(self.sessions.insert(channels))
    }

    fn encode(_: u8, publication: &Publication, ids: EventIds, _: &str) -> Frozen {
        let raw = publication.to_raw();
        let head = format!("{} ", ids.offset);
        let text = raw.payload().unwrap_or_default();
        Frozen::from_parts(Opcode::Binary, &[head.as_bytes(), text])
    }

    fn encode_matched(_: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen {
        let raw = publication.to_raw();
        let head = format!("{} {channel} {} ", ids.topic, ids.offset);
        let text = raw.payload().unwrap_or_default();
        Frozen::from_parts(Opcode::Binary, &[head.as_bytes(), text])
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn shrink(&mut self) -> usize {
        0
    }
}

fn answer(cx: &mut Context<'_>, text: &str) {
    cx.replies
        .binary(|out| out.extend_from_slice(text.as_bytes()));
}

/// What patterns are called.
const KINDS: [(&str, PatternKind); 4] = [
    ("prefix", PatternKind::Prefix),
    ("components", PatternKind::Components),
    ("tokens", PatternKind::Tokens),
    ("levels", PatternKind::Levels),
];

/// A line with its end.
const LINE_BYTES_MAX: usize = 256;
const TOO_LONG: Command<'static> = Command::Close {
    code: CloseCode::TOO_BIG,
    reason: "the line is too long",
};
const UNKNOWN: Command<'static> = Command::Close {
    code: CloseCode::PROTOCOL_ERROR,
    reason: "no such command",
};
