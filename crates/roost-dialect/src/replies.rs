//! What a dialect answers: messages, back to back, until the reactor frames them.

use roost_wire::Opcode;

/// Messages for one connection, in order. Reused: draining keeps the memory, up to a bound.
#[derive(Debug, Default)]
pub struct Replies {
    text: String,
    binary: Vec<u8>,
    /// Opcode and length of each.
    messages: Vec<(Opcode, usize)>,
}

impl Replies {
    /// Appends the text message that `write` writes; nothing if it writes nothing.
    pub fn text<R>(&mut self, write: impl FnOnce(&mut String) -> R) -> R {
        let start = self.text.len();
        let result = write(&mut self.text);
        debug_assert!(self.text.len() >= start, "a reply is appended");
        if self.text.len() > start {
            self.messages.push((Opcode::Text, self.text.len() - start));
        }
        result
    }

    /// Appends the binary message that `write` writes, also an empty one.
    pub fn binary<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let start = self.binary.len();
        let result = write(&mut self.binary);
        self.messages
            .push((Opcode::Binary, self.binary.len() - start));
        result
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes all messages out, in order.
    pub fn drain(&mut self, mut each: impl FnMut(Opcode, &[u8])) {
        let (mut text, mut binary) = (self.text.as_bytes(), self.binary.as_slice());
        for &(opcode, len) in &self.messages {
            let from = match opcode {
                Opcode::Text => &mut text,
                _ => &mut binary,
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
        self.binary.clear();
        self.messages.shrink_to(MESSAGES_KEPT);
        self.text.shrink_to(BYTES_KEPT);
        self.binary.shrink_to(BYTES_KEPT);
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
        replies.text(|out| out.push_str("three"));
        let mut seen = Vec::new();
        replies.drain(|opcode, bytes| seen.push((opcode, bytes.to_vec())));
        let expected = [
            (Opcode::Text, b"one".to_vec()),
            (Opcode::Binary, vec![2, 2]),
            (Opcode::Binary, vec![]),
            (Opcode::Text, b"three".to_vec()),
        ];
        assert_eq!(seen, expected);
        assert!(replies.is_empty());
        replies.drain(|_, _| panic!("they were taken out"));
    }
}
