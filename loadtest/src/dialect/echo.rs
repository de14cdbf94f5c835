//! Any server that sends back what it gets.

use roost_wire::Message;

use super::interface::{Dialect, Received, Say, Session};

pub(super) struct Echo;

impl Dialect for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn path(&self) -> &'static str {
        "/echo"
    }

    fn channels_max(&self) -> usize {
        0
    }

    fn echoes(&self) -> bool {
        true
    }

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
            // What was sent was binary: as text it is another message.
            Message::Text(_) => Received::Payload(&[]),
            Message::Ping(_) | Message::Pong(_) | Message::Close(..) => Received::Progress,
        }
    }

    fn publish(&self, say: &mut Say<'_>, _channel: &str, _: u64, payload: &[u8]) {
        say.binary(payload);
    }
}
