//! Where what a session is told goes: WAMP messages in the session's serializer.

use std::borrow::Cow;

use super::message::WampMessage;
use super::reply;
use super::wire::Wire;
use crate::serial::{Serializer, Token, list_of};
use crate::{Arguments, Form};

/// Appends messages to what is about to be sent, as they stand in a WebSocket message.
pub(super) struct Answers<'a> {
    wire: Wire,
    out: &'a mut Vec<u8>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(wire: Wire, out: &'a mut Vec<u8>) -> Answers<'a> {
        Answers { wire, out }
    }

    pub(super) fn serializer(&self) -> Serializer {
        self.wire.serializer
    }

    /// The form of the session's deliveries.
    pub(super) fn form(&self) -> Form {
        self.wire.form()
    }

    pub(super) fn say(&mut self, message: &WampMessage<'_>) {
        let write = |serializer, out: &mut Vec<u8>| message.write(serializer, out);
        self.wire.append(self.out, write);
    }

    /// ERROR with one argument, for a person.
    pub(super) fn say_error(&mut self, request: (u64, u64), error: &str, message: &str) {
        let serializer = self.serializer();
        let list = list_of(&Token::Text(Cow::Borrowed(message)), serializer);
        let arguments = Arguments {
            serializer,
            args: Some(&list),
            kwargs: None,
        };
        self.say(&reply::error(request, error, arguments));
    }
}
