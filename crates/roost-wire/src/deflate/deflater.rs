//! Messages out.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::TAIL;

/// Compresses messages, each by itself or, with context takeover, each with those before it.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    level: u8,
    window_bits: u8,
    takeover: bool,
    /// The last message compressed.
    out: Vec<u8>,
}

impl Deflater {
    /// Memory that one with a window of 2^`window_bits` takes at most, in bytes, beside a buffer of
    /// the size of a message. Of zlib-rs's 250 KiB and more, only what lies in the window and the
    /// chains through it depend on its size (`tests/memory.rs`).
    pub const fn context_bytes(window_bits: u8) -> usize {
        CONTEXT_BYTES_BASE + (4 << window_bits)
    }

    /// One for all connections without context takeover, with the largest window. `level` is 1
    /// (fast) to 9 (small).
    pub fn new(level: u8) -> Deflater {
        Deflater::with_window(level, 15, false)
    }

    /// One with a window of 2^`window_bits` bytes, for clients that asked for less (see
    /// [`super::Agreement::may_share`]) or, with `takeover`, for one connection.
    ///
    /// zlib has no window of 2^8 bytes for raw deflate: it takes 2^9 and the client could not
    /// follow. To a client that asked for 8, only messages up to 256 bytes go compressed.
    ///
    /// # Panics
    /// When `window_bits` is not 9 to 15.
    pub fn with_window(level: u8, window_bits: u8, takeover: bool) -> Deflater {
        let compression = Compression::new(u32::from(level.clamp(1, 9)));
        Deflater {
            compress: Compress::new_with_window_bits(compression, false, window_bits),
            level,
            window_bits,
            takeover,
            out: Vec::new(),
        }
    }

    /// Exchanges buffers with another: between two messages, contexts of many connections can do
    /// with one buffer.
    pub fn swap_buffer(&mut self, buffer: &mut Vec<u8>) {
        std::mem::swap(&mut self.out, buffer);
    }

    /// The payload compressed, for [`crate::Frozen::compressed`]; `None` when that would not be
    /// shorter, then the message is sent as it is (RFC 7692 §6: each message may or may not be
    /// compressed). With takeover, what is returned must be sent, before the next is compressed.
    pub fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.deflate_within(payload, payload.len().checked_sub(1)?)
    }

    /// As [`Deflater::deflate`], when at most `bytes_max` bytes come out. With takeover it can pay
    /// to send some more: what is not sent makes the context begin anew.
    pub fn deflate_within(&mut self, payload: &[u8], bytes_max: usize) -> Option<&[u8]> {
        let fits = self.deflate_any(payload)?.len() <= bytes_max;
        if !fits && self.takeover {
            // What is not sent must not be referred to later.
            self.compress.reset();
        }
        fits.then_some(self.out.as_slice())
    }

    /// As [`Deflater::deflate`], also when the payload gets longer. `None` only when zlib fails.
    pub fn deflate_any(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES_MAX);
        // RFC 7692 §7.2.3.6: the empty message is the head of an empty stored block. zlib does not
        // flush twice when nothing is new.
        if payload.is_empty() {
            self.out.push(0x00);
            return Some(&self.out);
        }
        // Room for the worst case, so that the flush is complete in one call. It must be: zlib-rs
        // 0.6.8 panics at level 1 when a compressor is used again, even reset, after its output
        // ran full.
        self.out.reserve_exact(worst_case(payload.len()));
        let before = self.compress.total_in();
        let status = self
            .compress
            .compress_vec(payload, &mut self.out, FlushCompress::Sync);
        let consumed = self.compress.total_in() - before;
        // RFC 7692 §7.2.1: flush to a byte boundary, remove the four bytes that every flush ends
        // with.
        let complete = matches!(status, Ok(Status::Ok))
            && consumed == payload.len() as u64
            && self.out.len() < self.out.capacity()
            && self.out.ends_with(&TAIL);
        debug_assert!(complete, "the worst case was worse");
        if !complete {
            *self = Deflater::with_window(self.level, self.window_bits, self.takeover);
            return None;
        }
        if !self.takeover {
            self.compress.reset();
        }
        self.out.truncate(self.out.len() - TAIL.len());
        Some(&self.out)
    }
}

/// Most bytes that a payload of this many becomes: a byte is 9 bits at most with the fixed codes,
/// blocks have headers, and a flush ends with five bytes.
fn worst_case(payload_bytes: usize) -> usize {
    payload_bytes + payload_bytes / 8 + payload_bytes / 1024 + 64
}

/// What every window size costs, in bytes.
const CONTEXT_BYTES_BASE: usize = 248 << 10;

/// A buffer above this size is freed before the next message, in bytes.
const KEPT_BYTES_MAX: usize = 64 << 10;
