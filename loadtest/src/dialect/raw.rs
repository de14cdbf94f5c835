//! Roost's raw dialect: the path names the channel, a message is the payload.

use roost_wire::Message;

use super::interface::{Dialect, Received, Say, Session};

pub(super) struct Raw;

impl Dialect for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn path(&self) -> &'static str {
        "/raw/{channel}"
    }

    fn channels_max(&self) -> usize {
        1
    }

    /// The 101 says that the connection is subscribed.
    fn open(&self, _: &mut Session<'_>) -> bool {
        true
    }

    fn handle<'m>(
        &self,
        _: &mut Session<'_>,
        message: Message<'m>,
        _: &'m mut Vec<u8>,
    ) -> Received<'m> {
        match message {
            Message::Binary(payload) => Received::Payload(payload),
            Message::Text(payload) => Received::Payload(payload.as_bytes()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(..) => Received::Progress,
        }
    }

    fn publish(&self, say: &mut Say<'_>, _channel: &str, _: u64, payload: &[u8]) {
        say.binary(payload);
    }
}
