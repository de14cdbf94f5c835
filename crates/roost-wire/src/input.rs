//! Bytes as they are lent, and how many of them may make a message.

/// What a connection may receive. Both are checked at the frame header, before any payload, and
/// count bytes as they are on the wire; a compressed message is once more held to the second while
/// it is inflated.
///
/// The number of fragments needs no limit: a fragment costs its sender at least six bytes and the
/// receiver a constant amount of work and no memory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest payload of one text, binary or continuation frame, in bytes.
    pub frame_bytes_max: usize,
    /// The longest message, all fragments together, in bytes.
    pub message_bytes_max: usize,
}

/// Bytes received and lent, consumed from the front.
#[derive(Debug)]
pub struct Input<'l> {
    rest: &'l mut [u8],
}

impl<'l> Input<'l> {
    /// All of `lease`.
    pub fn new(lease: &'l mut [u8]) -> Input<'l> {
        Input { rest: lease }
    }

    /// Bytes not yet consumed.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// True when all is consumed.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is not yet consumed, for another time.
    pub fn into_rest(self) -> &'l mut [u8] {
        self.rest
    }

    /// What is not yet consumed.
    pub(crate) fn rest(&self) -> &[u8] {
        self.rest
    }

    /// Consumes `n` bytes, which are there.
    pub(crate) fn take(&mut self, n: usize) -> &'l mut [u8] {
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(n);
        self.rest = rest;
        taken
    }

    /// Consumes one byte.
    pub(crate) fn take_byte(&mut self) -> Option<u8> {
        let byte = *self.rest.first()?;
        self.take(1);
        Some(byte)
    }
}
