//! Messages in.

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use super::window::{WINDOW_BYTES_MAX, repeat, stored};
use crate::ProtocolError;

/// Inflates whole messages, each by itself or, with context takeover, each with those before it.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    takeover: bool,
    /// The message is `out[..filled]`.
    out: Vec<u8>,
    filled: usize,
    steps: u64,
}

impl Inflater {
    /// Memory that one takes at most, in bytes, beside the last message: 47,552 with zlib-rs
    /// (`tests/memory.rs`).
    pub const CONTEXT_BYTES: usize = 48 << 10;

    /// One for all connections without context takeover.
    pub fn new() -> Inflater {
        Inflater::with_takeover(false)
    }

    /// One for one connection with context takeover, or as [`Inflater::new`]. The window is always
    /// the largest, which inflates what was made with any.
    pub fn with_takeover(takeover: bool) -> Inflater {
        Inflater {
            decompress: Decompress::new(false),
            takeover,
            out: Vec::new(),
            filled: 0,
            steps: 0,
        }
    }

    /// One that goes on where another with context takeover stood, from its [`Inflater::window`].
    ///
    /// # Panics
    /// When the window is longer than 32 KiB.
    pub fn from_window(window: &[u8]) -> Inflater {
        let mut inflater = Inflater::with_takeover(true);
        if !window.is_empty() {
            let whole = inflater.feed(&stored(window), WINDOW_BYTES_MAX);
            assert!(whole.is_ok(), "a stored block has no wrong content");
            inflater.free_buffer();
        }
        inflater
    }

    /// What the peer's next message may refer to, between two messages: the last of what it has sent,
    /// at most 32 KiB. This inflater can go on as well.
    pub fn window(&mut self) -> Vec<u8> {
        let sent = usize::try_from(self.decompress.total_out()).unwrap_or(usize::MAX);
        let len = sent.min(WINDOW_BYTES_MAX);
        if !self.takeover || len == 0 {
            return Vec::new();
        }
        self.filled = 0;
        let whole = self.feed(&repeat(len), WINDOW_BYTES_MAX);
        assert!(whole.is_ok(), "the last bytes can be referred to");
        let mut window = std::mem::take(&mut self.out);
        window.truncate(len);
        self.filled = 0;
        window
    }

    /// The message of which `compressed` is the payload of all frames. Stops with
    /// [`ProtocolError::MessageTooBig`] at the first byte above `bytes_max`, and that is never
    /// later than one byte after it.
    pub fn inflate(&mut self, compressed: &[u8], bytes_max: usize) -> Result<&[u8], ProtocolError> {
        self.filled = 0;
        if self.out.len() > KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
        let inflated = self.inflate_all(compressed, bytes_max);
        if let Err(error) = inflated {
            // A whole message has ended its stream, or its window is taken over.
            self.decompress.reset(false);
            return Err(error);
        }
        Ok(&self.out[..self.filled])
    }

    /// Exchanges buffers with another one: between two messages, contexts of many connections can
    /// do with one buffer.
    pub fn swap_buffer(&mut self, other: &mut Inflater) {
        std::mem::swap(&mut self.out, &mut other.out);
        self.filled = 0;
        other.filled = 0;
    }

    /// Frees the buffer, and with it the last message; the next one makes another.
    pub fn free_buffer(&mut self) {
        self.out = Vec::new();
        self.filled = 0;
    }

    /// Bytes of its buffer, which holds the last message: at most one more than the limit it was
    /// inflated under, or 64 KiB.
    pub fn buffer_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Work done since it was made, in bytes in and out and calls, for tests of linearity. Counted
    /// in debug builds; 0 in others.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn inflate_all(&mut self, compressed: &[u8], bytes_max: usize) -> Result<(), ProtocolError> {
        // RFC 7692 §7.2.1: a sender's flush leaves at least one byte, also of an empty message.
        if compressed.is_empty() {
            return Err(ProtocolError::DeflateInvalid);
        }
        // A stream that ends with the payload, without the empty block that §7.2.3.4 wants behind
        // it, is none the less whole.
        if self.feed(compressed, bytes_max)? == End::OfStream {
            return Ok(());
        }
        // RFC 7692 §7.2.2: append the four bytes that were removed, then inflate.
        // They end an empty block: a payload cut inside another block would take them for its data.
        let filled = self.filled;
        self.feed(&TAIL, bytes_max)?;
        // If nothing is to follow, a last block tells what the output did not: in the middle of
        // another block, it would not end the stream.
        let whole = self.takeover || self.feed(&LAST_BLOCK, bytes_max)? == End::OfStream;
        match whole && self.filled == filled {
            true => Ok(()),
            false => Err(ProtocolError::DeflateInvalid),
        }
    }

    /// Inflates all of `input`.
    fn feed(&mut self, mut input: &[u8], bytes_max: usize) -> Result<End, ProtocolError> {
        loop {
            self.make_room(bytes_max);
            let end = self.out.len().min(bytes_max.saturating_add(1));
            let room = &mut self.out[self.filled..end];
            let room_bytes = room.len();
            let (in_before, out_before) = (self.decompress.total_in(), self.decompress.total_out());
            let status = self
                .decompress
                .decompress(input, room, FlushDecompress::Sync)
                .map_err(|_| ProtocolError::DeflateInvalid)?;
            let consumed = narrow(self.decompress.total_in() - in_before);
            let produced = narrow(self.decompress.total_out() - out_before);
            if cfg!(debug_assertions) {
                self.steps += 1 + consumed as u64 + produced as u64;
            }
            input = &input[consumed..];
            self.filled += produced;
            if self.filled > bytes_max {
                return Err(ProtocolError::MessageTooBig);
            }
            match status {
                // RFC 7692 §7.2.3.4: a block may be marked as the last of its stream; another
                // stream follows.
                Status::StreamEnd => {
                    self.decompress.reset(false);
                    if input.is_empty() {
                        return Ok(End::OfStream);
                    }
                }
                // With room left, all that could come out has.
                Status::Ok | Status::BufError if produced < room_bytes => {
                    return match input {
                        [] => Ok(End::OfInput),
                        _ => Err(ProtocolError::DeflateInvalid),
                    };
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// Makes the buffer longer if it is full: at least doubled, so that growing is linear, but not
    /// beyond the byte that is too much.
    fn make_room(&mut self, bytes_max: usize) {
        if self.filled < self.out.len() {
            return;
        }
        let wanted = (2 * self.out.len()).max(OUT_BYTES_MIN);
        let len = wanted.min(bytes_max.saturating_add(1)).max(self.out.len());
        if cfg!(debug_assertions) {
            self.steps += self.out.len() as u64;
        }
        self.out.reserve_exact(len - self.out.len());
        self.out.resize(len, 0);
    }
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater::new()
    }
}

/// Bytes of one buffer.
fn narrow(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a buffer is in memory")
}

/// Where the input led.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// More may follow.
    OfInput,
    /// The deflate stream ended with the last byte of the input.
    OfStream,
}

/// An empty stored block, marked as the last one.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// The smallest buffer, in bytes.
const OUT_BYTES_MIN: usize = 1024;

/// A buffer above this size is freed before the next message, in bytes.
const KEPT_BYTES_MAX: usize = 64 << 10;
