//! A message that is put together from pieces, for as long as it is not whole.

use crate::ProtocolError;

/// The buffer of a message under way, and the count of work that goes with it.
#[derive(Debug)]
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    /// `bytes[..checked]` is UTF-8, if the message is text.
    checked: usize,
    steps: u64,
}

impl Assembly {
    /// Nothing, which takes no memory of its own.
    pub(crate) const fn new() -> Assembly {
        Assembly {
            bytes: Vec::new(),
            checked: 0,
            steps: 0,
        }
    }

    /// Makes room for a piece and for the `left` bytes that end the message behind it, if no more is
    /// to come than has come with the piece: the rest is then not copied again. Once for a message:
    /// exact room for each of many fragments would be quadratic. What is merely announced gets no
    /// memory.
    pub(crate) fn make_room(&mut self, piece: usize, left: u64) {
        let come = self.bytes.len() + piece;
        if let Ok(left) = usize::try_from(left)
            && (1..=come).contains(&left)
            && come + left > self.bytes.capacity()
        {
            self.count(self.bytes.len());
            self.bytes.reserve_exact(piece + left);
        }
    }

    /// Appends a piece of what is not text, or not text yet. Grows with what has come, never with
    /// what was announced.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.count(piece.len());
        let capacity = self.bytes.capacity();
        self.bytes.extend_from_slice(piece);
        // A buffer that grows may be copied.
        if self.bytes.capacity() > capacity {
            self.count(capacity);
        }
    }

    /// Appends a piece of text. Whether the message ends inside a character is for the caller to
    /// see, who checks it as a whole.
    ///
    /// RFC 6455 §8.1: an endpoint that finds bytes that are not UTF-8 MUST fail the connection; we
    /// do so at the first byte that no continuation can make valid, be the frame complete or not.
    pub(crate) fn push_text(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        self.push(piece);
        let new = &self.bytes[self.checked..];
        let scanned = new.len();
        match simdutf8::compat::from_utf8(new) {
            Ok(_) => self.checked = self.bytes.len(),
            // A character may be cut by the end of the piece.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::TextNotUtf8),
        }
        self.count(scanned);
        Ok(())
    }

    /// Forgets the message and frees its memory.
    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.checked = 0;
    }

    /// What has come so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Memory held, in bytes: at most twice what has come, or 8.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Counts a piece of work that touches so many bytes. Only in debug builds.
    #[inline]
    pub(crate) fn count(&mut self, bytes: usize) {
        if cfg!(debug_assertions) {
            self.steps += 1 + bytes as u64;
        }
    }

    /// Work counted since it was made.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}
