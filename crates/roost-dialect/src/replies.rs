//! What a dialect answers: messages, back to back, until the reactor frames them.

use roost_wire::Opcode;

/// Messages for one connection, in order. Reused: draining keeps the memory, up to a bound.
#[derive(Debug, Default)]
pub struct Replies {
    text: String,
    bytes: Vec<u8>,
    /// The buffer, opcode and length of each.
    messages: Vec<(Buffer, Opcode, usize)>,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy)]
enum Buffer {
    Text,
    Bytes,
}

impl Replies {
    /// Appends the text message that `write` writes; nothing if it writes nothing.
    pub fn text<R>(&mut self, write: impl FnOnce(&mut String) -> R) -> R {
        let start = self.text.len();
        let result = write(&mut self.text);
        debug_assert!(self.text.len() >= start, "a reply is appended");
        if self.text.len() > start {
            let len = self.text.len() - start;
            self.messages.push((Buffer::Text, Opcode::Text, len));
        }
        result
    }

    /// Appends the binary message that `write` writes, also an empty one.
    pub fn binary<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let start = self.bytes.len();
        let result = write(&mut self.bytes);
        let len = self.bytes.len() - start;
        self.messages.push((Buffer::Bytes, Opcode::Binary, len));
        result
    }

    /// Appends the message of this opcode that `write` writes, which is UTF-8 if that is text;
    /// nothing if it writes nothing.
    pub fn message<R>(&mut self, opcode: Opcode, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let start = self.bytes.len();
        let result = write(&mut self.bytes);
        debug_assert!(
            opcode != Opcode::Text || str::from_utf8(&self.bytes[start..]).is_ok(),
            "a text message is UTF-8"
        );
        let len = self.bytes.len() - start;
        if len > 0 {
            self.messages.push((Buffer::Bytes, opcode, len));
        }
        result
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes all messages out, in order.
    pub fn drain(&mut self, mut each: impl FnMut(Opcode, &[u8])) {
        let (mut text, mut bytes) = (self.text.as_bytes(), self.bytes.as_slice());
        for &(buffer, opcode, len) in &self.messages {
            let from = match buffer {
                Buffer::Text => &mut text,
                Buffer::Bytes => &mut bytes,
            };
            let (message, rest) = from.split_at(len);
            *from = rest;
            each(opcode, message);
        }
        self.clear();
    }

    /// Forgets all messages.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.text.clear();
        self.bytes.clear();
        self.messages.shrink_to(MESSAGES_KEPT);
        self.text.shrink_to(BYTES_KEPT);
        self.bytes.shrink_to(BYTES_KEPT);
    }
}

/// Room for so much is kept for the next answer.
const BYTES_KEPT: usize = 16 << 10;
const MESSAGES_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_both_kinds_come_out_in_order() {
        let mut replies = Replies::default();
        replies.text(|out| out.push_str("one"));
        replies.binary(|out| out.extend_from_slice(&[2, 2]));
        replies.text(|_| ());
        replies.binary(|_| ());
        replies.message(Opcode::Text, |out| out.extend_from_slice(b"mid"));
        replies.message(Opcode::Text, |_| ());
        replies.text(|out| out.push_str("three"));
        let mut seen = Vec::new();
        replies.drain(|opcode, bytes| seen.push((opcode, bytes.to_vec())));
        let expected = [
            (Opcode::Text, b"one".to_vec()),
            (Opcode::Binary, vec![2, 2]),
            (Opcode::Binary, vec![]),
            (Opcode::Text, b"mid".to_vec()),
            (Opcode::Text, b"three".to_vec()),
        ];
        assert_eq!(seen, expected);
        assert!(replies.is_empty());
        replies.drain(|_, _| panic!("they were taken out"));
    }
}
