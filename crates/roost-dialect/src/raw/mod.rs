//! The raw dialect: a message is its payload, published on the one channel that the connection's
//! path names (`/raw/{channel}`). No handshake, no state, nothing to parse.

use std::borrow::Cow;
use std::sync::Arc;

use roost_hub::{ChannelId, EventIds};
use roost_wire::{CloseCode, Frozen};

use crate::dialect::{
    Accept, Command, Context, Dialect, Event, Input, Message, Next, Offer, Refusal, Request,
    Session, Target, Terms,
};
use crate::path::channel_from_path;
use crate::{Form, PayloadRef, Publication};

/// The subprotocol of the raw dialect: for clients that want one selected.
pub const ROOST_RAW: &str = "roost.raw";

/// Its session is the channel.
pub struct Raw;

/// What the raw dialect obeys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether `/raw/{channel}` exists.
    pub enabled: bool,
    /// Subprotocols that are selected there when offered, beside `roost.raw`.
    pub subprotocols: Subprotocols,
}

/// Which subprotocols are selected. No message is looked into, so any name that client and
/// application agree on will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subprotocols {
    /// The first that the client offers, unless it is a WAMP one.
    Any,
    /// These.
    Listed(Vec<String>),
}

impl Default for Subprotocols {
    /// None.
    fn default() -> Subprotocols {
        Subprotocols::Listed(Vec::new())
    }
}

impl Subprotocols {
    /// The configuration's list: `*` stands for any.
    pub fn from_list(names: impl IntoIterator<Item = String>) -> Subprotocols {
        let names = Vec::from_iter(names);
        match names.iter().any(|name| name == "*") {
            true => Subprotocols::Any,
            false => Subprotocols::Listed(names),
        }
    }

    fn contain(&self, name: &str) -> bool {
        match self {
            Subprotocols::Any => !name.starts_with("wamp."),
            Subprotocols::Listed(names) => names.iter().any(|listed| listed == name),
        }
    }
}

impl Dialect for Raw {
    const NAME: &'static str = "raw";
    const FORMS: &'static [&'static str] = &["raw"];
    type Settings = Settings;
    /// The channel that was joined.
    type State = Option<ChannelId>;

    fn new(_: Arc<Settings>) -> Raw {
        Raw
    }

    fn configure(&mut self, _: Arc<Settings>) {}

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        let encoded = match offer.path.strip_prefix("/raw") {
            Some("") => "",
            Some(rest) if rest.starts_with('/') => &rest[1..],
            _ => return Accept::NotMine,
        };
        if !settings.enabled {
            return Accept::NotMine;
        }
        match channel_from_path(encoded, offer.channel_name_bytes_max) {
            // RFC 6455 §4.2.2: no subprotocol in common is no reason to refuse.
            Ok(channel) => Accept::Open {
                subprotocol: offer.subprotocols.iter().copied().find(|&offered| {
                    offered == ROOST_RAW || settings.subprotocols.contain(offered)
                }),
                join: Some((channel, Form::RAW)),
                terms: Terms::default(),
            },
            Err(error) => Accept::Refused(Cow::Borrowed(error.reason())),
        }
    }

    fn open(&mut self, _: Option<&str>, _: Terms, joined: Option<ChannelId>) -> Session {
        session_of(joined)
    }

    fn next<'a>(
        &mut self,
        session: Session,
        input: &mut Input<'a>,
        _: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        let payload = match input.take()? {
            Message::Text(text) => PayloadRef::Text(text),
            Message::Binary(bytes) => PayloadRef::Binary(bytes),
        };
        session.is_some().then_some(Command::Publish {
            channel: Target::Joined(ChannelId(session.0)),
            payload,
            exclude_me: None,
            ack: None,
            details: None,
        })
    }

    fn on(&mut self, _: Session, event: Event<'_>, _: &mut Context<'_>) -> Next {
        match event {
            Event::Refused {
                request: Request::Publish,
                refusal,
                ..
            } => {
                let (code, reason) = match refusal {
                    Refusal::NotAllowed(denial) if denial.is_temporary() => {
                        (CloseCode::TRY_AGAIN_LATER, denial.message())
                    }
                    Refusal::NotAllowed(denial) => (CloseCode::POLICY_VIOLATION, denial.message()),
                    Refusal::InvalidName
                    | Refusal::NoRoom
                    | Refusal::InvalidPattern
                    | Refusal::NotKept
                    | Refusal::TooOften
                    | Refusal::PatternShape => {
                        (CloseCode::POLICY_VIOLATION, "publishing is not possible")
                    }
                };
                Next::Close { code, reason }
            }
            _ => Next::Continue, // a raw client is told nothing but what is published
        }
    }

    fn pop_subscription(&mut self, session: &mut Session) -> Option<(ChannelId, Form)> {
        let channel = std::mem::replace(session, Session::NONE);
        channel
            .is_some()
            .then_some((ChannelId(channel.0), Form::RAW))
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
        session_of(joined)
    }

    fn encode(_: u8, publication: &Publication, _: EventIds, _: &str) -> Frozen {
        publication.to_raw()
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn shrink(&mut self) -> usize {
        0
    }
}

fn session_of(joined: Option<ChannelId>) -> Session {
    joined.map_or(Session::NONE, |channel| Session(channel.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_handed_over_with_its_channel() {
        for joined in [None, Some(ChannelId(0)), Some(ChannelId(70_000))] {
            let session = Raw.open(None, Terms::default(), joined);
            let state = Raw.export(session);
            assert_eq!(state, joined);
            assert_eq!(Raw.import(state), session);
        }
    }
}
