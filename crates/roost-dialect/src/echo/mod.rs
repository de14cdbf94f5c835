//! The echo dialect (`/echo`): each message comes back as it is. For tests and measurements.

use std::sync::Arc;

use roost_hub::{ChannelId, EventIds};
use roost_wire::{CloseCode, Frozen};

use crate::dialect::{
    Accept, Command, Context, Dialect, Event, Input, Message, Next, Offer, Session, Terms,
};
use crate::{Form, Publication};

/// It keeps nothing of its sessions.
pub struct Echo {
    settings: Arc<Settings>,
}

/// What the echo dialect obeys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether `/echo` exists.
    pub enabled: bool,
    /// Selected when offered.
    pub subprotocol: Option<String>,
    /// A text message that is sent back, and the connection closed; none if empty.
    pub goodbye: String,
}

impl Dialect for Echo {
    const NAME: &'static str = "echo";
    const FORMS: &'static [&'static str] = &[];
    const SENDS_BACK: bool = true;
    type Settings = Settings;
    type State = ();

    fn new(settings: Arc<Settings>) -> Echo {
        Echo { settings }
    }

    fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
        if !settings.enabled || offer.path != "/echo" {
            return Accept::NotMine;
        }
        let selected = settings.subprotocol.as_deref();
        let mut offered = offer.subprotocols.iter().copied();
        Accept::Open {
            // RFC 6455 §4.2.2: no subprotocol in common is no reason to refuse.
            subprotocol: offered.find(|&name| Some(name) == selected),
            join: None,
            terms: Terms::default(),
        }
    }

    fn open(&mut self, _: Option<&str>, _: Terms, _: Option<ChannelId>) -> Session {
        Session::NONE
    }

    #[inline]
    fn next<'a>(
        &mut self,
        _: Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>> {
        let message = input.take()?;
        let goodbye = self.settings.goodbye.as_str();
        if !goodbye.is_empty() && message == Message::Text(goodbye) {
            cx.replies.text(|out| out.push_str(goodbye));
            return Some(Command::Close {
                code: CloseCode::NORMAL,
                reason: "",
            });
        }
        Some(Command::Send(message))
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

    fn each_subscription(&self, _: Session, _: &mut dyn FnMut(ChannelId)) {}

    fn close(&mut self, _: Session) {}

    fn export(&mut self, _: Session) {}

    fn import(&mut self, (): ()) -> Session {
        Session::NONE
    }

    fn encode(_: u8, publication: &Publication, _: EventIds, _: &str) -> Frozen {
        debug_assert!(false, "the echo dialect has no form");
        publication.to_raw()
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn shrink(&mut self) -> usize {
        0
    }
}
