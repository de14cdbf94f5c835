//! Messages as they arrive.

use roost_wire::Opcode;

/// A message as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message, which is UTF-8 (RFC 6455 §8.1).
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The opcode it came with.
    pub fn opcode(self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }
}

/// What a dialect draws its commands from: one message, with bytes of binary messages before it
/// that were no whole command. A copy remembers what was left.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    rest: Option<Message<'a>>,
}

impl<'a> Input<'a> {
    /// A whole message.
    pub fn new(message: Message<'a>) -> Input<'a> {
        Input {
            rest: Some(message),
        }
    }

    /// Takes the whole message; `None` when that was done before.
    pub fn take(&mut self) -> Option<Message<'a>> {
        self.rest.take()
    }

    /// Takes what is left of a text message up to `separator`, which is taken too, or all of it;
    /// `None` when it is a binary message or nothing is left.
    pub fn take_text_until(&mut self, separator: char) -> Option<&'a str> {
        let Some(Message::Text(text)) = self.rest else {
            return None;
        };
        let Some((first, rest)) = text.split_once(separator) else {
            self.rest = None;
            return Some(text);
        };
        self.rest = (!rest.is_empty()).then_some(Message::Text(rest));
        Some(first)
    }

    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    /// What is left, as bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.rest.map_or(&[], Message::bytes)
    }

    /// Takes the first `count` bytes of what is left; what stays counts as binary.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        let rest = &self.bytes()[count..];
        self.rest = (!rest.is_empty()).then_some(Message::Binary(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_message_is_taken_once() {
        let mut input = Input::new(Message::Text("a"));
        assert_eq!(input.take(), Some(Message::Text("a")));
        assert_eq!(input.take(), None);
        assert_eq!(input.bytes(), b"");
    }

    #[test]
    fn a_message_is_taken_in_pieces() {
        let mut input = Input::new(Message::Binary(b"abc"));
        input.advance(1);
        assert_eq!(input.bytes(), b"bc");
        input.advance(0);
        assert_eq!(input.take(), Some(Message::Binary(b"bc")));
        let mut input = Input::new(Message::Binary(b"abc"));
        input.advance(3);
        assert_eq!(input.take(), None);
    }

    #[test]
    fn a_text_is_taken_between_separators() {
        let mut input = Input::new(Message::Text("a|b||c|"));
        let pieces = std::iter::from_fn(|| input.take_text_until('|'));
        assert_eq!(pieces.collect::<Vec<_>>(), ["a", "b", "", "c"]);
        assert!(input.is_empty());
        let mut input = Input::new(Message::Binary(b"a|b"));
        assert_eq!(input.take_text_until('|'), None);
        assert_eq!(input.bytes(), b"a|b");
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn no_more_is_taken_than_there_is() {
        Input::new(Message::Binary(b"abc")).advance(4);
    }
}
