//! A toy: what one more dialect takes. Of tests only (feature `toy`).
//!
//! A stream of lines in binary messages, at `/toy`: a message may hold many lines, a line may span
//! messages. `PING` is answered with `PONG`, `PUB CHANNEL TEXT` publishes, any other line closes.

use std::borrow::Cow;
use std::sync::Arc;

use roost_hub::{ChannelId, EventIds};
use roost_wire::{CloseCode, Frozen};

use crate::dialect::{
    Accept, Command, Context, Dialect, Event, Input, Next, Offer, Session, Target,
};
use crate::{Form, PayloadRef, Publication};

/// It keeps nothing: what is not a whole line yet stays in the input.
pub struct Toy;

/// Whether it is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether `/toy` exists.
    pub enabled: bool,
}

impl Dialect for Toy {
    const NAME: &'static str = "toy";
    const FORMS: &'static [&'static str] = &[];
    type Settings = Settings;

    fn new(_: Arc<Settings>) -> Toy {
        Toy
    }

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        if !settings.enabled || offer.path != "/toy" {
            return Accept::NotMine;
        }
        Accept::Open {
            subprotocol: None,
            join: None,
        }
    }

    fn open(&mut self, _: Option<ChannelId>) -> Session {
        Session::NONE
    }

    fn next<'a>(
        &mut self,
        _: Session,
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
            let publish = line
                .strip_prefix("PUB ")
                .and_then(|rest| rest.split_once(' '));
            return Some(match publish {
                Some((channel, text)) => Command::Publish {
                    channel: Target::Name(Cow::Borrowed(channel)),
                    payload: PayloadRef::Text(text),
                    exclude_me: None,
                    ack: None,
                },
                None => UNKNOWN,
            });
        }
    }

    fn on(&mut self, _: Session, _: Event<'_>, _: &mut Context<'_>) -> Next {
        Next::Continue
    }

    fn pop_subscription(&mut self, _: &mut Session) -> Option<(ChannelId, Form)> {
        None
    }

    fn is_subscribed(&self, _: Session, _: ChannelId) -> bool {
        false
    }

    fn close(&mut self, _: Session) {}

    fn encode(_: u8, publication: &Publication, _: EventIds) -> Frozen {
        publication.to_raw()
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn shrink(&mut self) -> usize {
        0
    }
}

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
