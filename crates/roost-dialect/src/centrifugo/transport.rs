//! How a client is sent its lines: in messages of a WebSocket, or in the body of a response that goes on; and whether
//! they are lines of JSON or messages of Protobuf.

use roost_wire::{Frozen, Opcode};

use crate::dialects::CENTRIFUGO_PLAIN;
use crate::{DialectKind, Form};

/// What a session's lines go out by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket: a message has any number of lines.
    #[default]
    WebSocket,
    /// The body of a response, a line behind the other.
    HttpStream,
    /// An event stream: a line is an event.
    Sse,
    /// A WebSocket with Protobuf: a binary message has any number of replies.
    Protobuf,
    /// The body of a response, a reply behind the other.
    ProtobufStream,
}

impl Transport {
    /// By the number of an accepted request's terms.
    pub(super) fn of_terms(number: u8) -> Transport {
        Transport::ALL
            .into_iter()
            .find(|one| one.number() == number)
            .unwrap_or_default()
    }

    /// Its number in such terms, which is its form's place among the dialect's.
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    /// The form of deliveries to its clients.
    pub(super) fn form(self) -> Form {
        Form::of(DialectKind::Centrifugo, self as usize)
    }

    /// The same where they get deltas.
    pub(super) fn delta_form(self) -> Form {
        Form::of(DialectKind::Centrifugo, self as usize + CENTRIFUGO_PLAIN)
    }

    /// Of a form by its place, and whether it has deltas.
    pub(super) fn of_form(place: u8) -> (Transport, bool) {
        let number = usize::from(place) % CENTRIFUGO_PLAIN;
        let has_deltas = usize::from(place) >= CENTRIFUGO_PLAIN;
        (Transport::ALL[number], has_deltas)
    }

    /// Whether its clients send by requests of their own.
    pub(super) fn is_emulated(self) -> bool {
        match self {
            Transport::WebSocket | Transport::Protobuf => false,
            Transport::HttpStream | Transport::Sse | Transport::ProtobufStream => true,
        }
    }

    /// Whether it carries Protobuf, and not JSON.
    pub(super) fn is_protobuf(self) -> bool {
        matches!(self, Transport::Protobuf | Transport::ProtobufStream)
    }

    /// Of its messages.
    pub(super) fn opcode(self) -> Opcode {
        match self.is_protobuf() {
            true => Opcode::Binary,
            false => Opcode::Text,
        }
    }

    /// What stands before a line.
    pub(super) fn prefix(self) -> &'static [u8] {
        match self {
            Transport::WebSocket
            | Transport::HttpStream
            | Transport::Protobuf
            | Transport::ProtobufStream => b"",
            Transport::Sse => b"data: ",
        }
    }

    /// What stands behind the last line of a message.
    pub(super) fn end(self) -> &'static [u8] {
        match self {
            Transport::WebSocket | Transport::Protobuf | Transport::ProtobufStream => b"",
            Transport::HttpStream => b"\n",
            Transport::Sse => b"\n\n",
        }
    }

    /// What stands between two lines of a message.
    pub(super) fn separator(self) -> &'static [u8] {
        match self {
            Transport::WebSocket => b"\n",
            Transport::Protobuf | Transport::ProtobufStream => b"", // a reply has its length before it
            Transport::HttpStream | Transport::Sse => self.end(),
        }
    }

    /// One line, of these parts, for all that get it.
    pub(super) fn line(self, parts: &[&[u8]]) -> Frozen {
        if !self.is_emulated() {
            return Frozen::from_parts(self.opcode(), parts);
        }
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(bytes + self.prefix().len() + self.end().len());
        out.extend_from_slice(self.prefix());
        for part in parts {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(self.end());
        match self.is_protobuf() {
            true => Frozen::of_bytes(&out),
            false => Frozen::of_stream(&out),
        }
    }

    const ALL: [Transport; CENTRIFUGO_PLAIN] = [
        Transport::WebSocket,
        Transport::HttpStream,
        Transport::Sse,
        Transport::Protobuf,
        Transport::ProtobufStream,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_framed_as_its_transport_has_it() {
        let parts: [&[u8]; 2] = [b"{", b"}"];
        let message = Transport::WebSocket.line(&parts);
        assert_eq!(message.payload(), Some(&b"{}"[..]));
        for (transport, expected) in [
            (Transport::HttpStream, &b"{}\n"[..]),
            (Transport::Sse, b"data: {}\n\n"),
        ] {
            let line = transport.line(&parts);
            assert_eq!((line.payload(), line.as_bytes()), (None, expected));
            assert_eq!(Transport::of_terms(transport.number()), transport);
        }
    }
}
