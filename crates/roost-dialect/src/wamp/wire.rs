//! How a session's messages stand in WebSocket messages: the serializer, and one or many of them
//! each ("Batched Transports"). What the subprotocol says.

use roost_wire::Opcode;

use crate::dialect::{Input, Message};
use crate::{Form, Serializer};

/// What a subprotocol selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// How values are written.
    pub serializer: Serializer,
    /// Each WebSocket message holds many of WAMP's: in JSON with U+001E behind each, else with a
    /// length in 4 bytes, big-endian, before each.
    pub is_batched: bool,
}

impl Default for Wire {
    /// `wamp.2.json`
    fn default() -> Wire {
        Wire::ALL[0].1
    }
}

/// Why there is no message to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WireError(pub(super) &'static str);

impl Wire {
    /// The close reason for a client whose first message is no HELLO.
    pub(super) fn not_wamp(self) -> &'static str {
        NOT_WAMP[self.index()]
    }

    /// The subprotocols served, with what each says; the forms of deliveries are in this order.
    pub const ALL: [(&'static str, Wire); 6] = [
        ("wamp.2.json", Wire::of(Serializer::Json, false)),
        ("wamp.2.msgpack", Wire::of(Serializer::MsgPack, false)),
        ("wamp.2.cbor", Wire::of(Serializer::Cbor, false)),
        ("wamp.2.json.batched", Wire::of(Serializer::Json, true)),
        (
            "wamp.2.msgpack.batched",
            Wire::of(Serializer::MsgPack, true),
        ),
        ("wamp.2.cbor.batched", Wire::of(Serializer::Cbor, true)),
    ];

    /// The names of [`Wire::ALL`] as forms.
    pub const FORMS: [&'static str; 6] = [
        "json",
        "msgpack",
        "cbor",
        "json.batched",
        "msgpack.batched",
        "cbor.batched",
    ];

    const fn of(serializer: Serializer, is_batched: bool) -> Wire {
        Wire {
            serializer,
            is_batched,
        }
    }

    /// The subprotocol's, if it is served.
    pub fn of_subprotocol(name: &str) -> Option<Wire> {
        let known = Wire::ALL.iter().find(|(known, _)| *known == name);
        known.map(|&(_, wire)| wire)
    }

    /// Its place in [`Wire::ALL`].
    pub fn index(self) -> usize {
        let serializer = match self.serializer {
            Serializer::Json => 0,
            Serializer::MsgPack => 1,
            Serializer::Cbor => 2,
        };
        serializer + if self.is_batched { 3 } else { 0 }
    }

    /// The form of deliveries.
    pub fn form(self) -> Form {
        Form(Form::WAMP_JSON.0 + u8::try_from(self.index()).expect("there are six"))
    }

    /// The subprotocol's name.
    pub fn subprotocol(self) -> &'static str {
        Wire::ALL[self.index()].0
    }

    /// Of its WebSocket messages.
    pub fn opcode(self) -> Opcode {
        match self.serializer {
            Serializer::Json => Opcode::Text,
            Serializer::MsgPack | Serializer::Cbor => Opcode::Binary,
        }
    }

    /// Takes the next message out of a WebSocket message.
    pub(super) fn take<'a>(self, input: &mut Input<'a>) -> Result<Message<'a>, WireError> {
        let is_text = self.opcode() == Opcode::Text;
        if !self.is_batched {
            let message = input.take().ok_or(WireError("no message"))?;
            return match (is_text, message.opcode()) {
                (true, Opcode::Text) | (false, Opcode::Binary) => Ok(message),
                _ => Err(WireError(self.wrong_kind())),
            };
        }
        if is_text {
            let text = input.take_text_until(SEPARATOR);
            return text.map(Message::Text).ok_or(WireError(self.wrong_kind()));
        }
        let Some(Message::Binary(bytes)) = input.take() else {
            return Err(WireError(self.wrong_kind()));
        };
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(CUT)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CUT)?;
        let (message, rest) = rest.split_at_checked(length).ok_or(CUT)?;
        if !rest.is_empty() {
            *input = Input::new(Message::Binary(rest));
        }
        Ok(Message::Binary(message))
    }

    /// Why a message with the other opcode is none.
    pub(super) fn wrong_kind(self) -> &'static str {
        match (self.opcode(), self.serializer) {
            (Opcode::Text, _) => "Received a binary message; wamp.2.json has text messages only.",
            (_, Serializer::MsgPack) => {
                "Received a text message; wamp.2.msgpack has binary messages only."
            }
            _ => "Received a text message; wamp.2.cbor has binary messages only.",
        }
    }

    /// Appends the message that `write` writes, as it stands in a WebSocket message.
    pub(super) fn append<R>(
        self,
        out: &mut Vec<u8>,
        write: impl FnOnce(Serializer, &mut Vec<u8>) -> R,
    ) -> R {
        if !self.is_batched {
            return write(self.serializer, out);
        }
        if self.serializer == Serializer::Json {
            let result = write(self.serializer, out);
            out.push(SEPARATOR as u8);
            return result;
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let result = write(self.serializer, out);
        let length = out.len() - start - 4;
        let length = u32::try_from(length).expect("a message is shorter than 4 GiB");
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        result
    }
}

/// ASCII RS.
const SEPARATOR: char = '\u{1e}';

const CUT: WireError =
    WireError("Received a batch in which a length is larger than what follows it.");

/// Close reasons for a client whose first message is no HELLO, by [`Wire::index`].
const NOT_WAMP: [&str; 6] = [
    "wamp.error.protocol_violation: this connection speaks wamp.2.json, which begins with HELLO",
    "wamp.error.protocol_violation: this connection speaks wamp.2.msgpack, which begins with HELLO",
    "wamp.error.protocol_violation: this connection speaks wamp.2.cbor, which begins with HELLO",
    "wamp.error.protocol_violation: this connection speaks wamp.2.json.batched, which begins with HELLO",
    "wamp.error.protocol_violation: this connection speaks wamp.2.msgpack.batched, which begins with HELLO",
    "wamp.error.protocol_violation: this connection speaks wamp.2.cbor.batched, which begins with HELLO",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wire_has_its_place() {
        for (at, (name, wire)) in Wire::ALL.into_iter().enumerate() {
            assert_eq!(wire.index(), at);
            assert_eq!(Wire::of_subprotocol(name), Some(wire));
            assert_eq!(format!("wamp.2.{}", Wire::FORMS[at]), name);
        }
        assert_eq!(Wire::of_subprotocol("wamp.2.JSON"), None);
        assert_eq!(Wire::of_subprotocol("wamp.2.ubjson"), None);
    }

    #[test]
    fn batches_are_taken_apart_as_they_were_put_together() {
        for (name, wire) in Wire::ALL.into_iter().filter(|(_, wire)| wire.is_batched) {
            let mut batch = Vec::new();
            for message in ["one", "", "three"] {
                wire.append(&mut batch, |_, out| {
                    out.extend_from_slice(message.as_bytes())
                });
            }
            let message = match wire.opcode() {
                Opcode::Text => Message::Text(str::from_utf8(&batch).expect("text")),
                _ => Message::Binary(&batch),
            };
            let mut input = Input::new(message);
            for expected in ["one", "", "three"] {
                let message = wire.take(&mut input).expect(name);
                assert_eq!(message.bytes(), expected.as_bytes());
            }
            assert!(input.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_batch_that_is_cut_is_refused() {
        let wire = Wire::of(Serializer::Cbor, true);
        for batch in [&b""[..], b"\0\0\0", b"\0\0\0\x02a", b"\xff\xff\xff\xffa"] {
            assert_eq!(wire.take(&mut Input::new(Message::Binary(batch))), Err(CUT));
        }
    }
}
