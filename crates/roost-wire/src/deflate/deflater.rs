//! Messages out.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::TAIL;

/// Compresses messages, each by itself or, with context takeover, each with those before it.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    takeover: bool,
    out: Vec<u8>,
}

impl Deflater {
    /// Memory that one takes at most, in bytes, beside a buffer of the size of a message: 379,000
    /// to 381,000 by level with zlib-rs (`tests/memory.rs`).
    pub const CONTEXT_BYTES: usize = 380 << 10;

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
        let level = Compression::new(u32::from(level.clamp(1, 9)));
        Deflater {
            compress: Compress::new_with_window_bits(level, false, window_bits),
            takeover,
            out: Vec::new(),
        }
    }

    /// The payload compressed, for [`crate::Frozen::compressed`]; `None` when that would not be
    /// shorter, then the message is sent as it is (RFC 7692 §6: each message may or may not be
    /// compressed). With takeover, what is returned must be sent, before the next is compressed.
    pub fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES_MAX);
        // A byte more than is of use: as long as it is free, the flush is complete.
        let useful = payload.len() + TAIL.len();
        self.out.reserve_exact(useful);
        let before = self.compress.total_in();
        let status = self
            .compress
            .compress_vec(payload, &mut self.out, FlushCompress::Sync);
        let consumed = self.compress.total_in() - before;
        // RFC 7692 §7.2.1: flush to a byte boundary, remove the four bytes that every flush ends
        // with.
        let complete = matches!(status, Ok(Status::Ok))
            && consumed == payload.len() as u64
            && self.out.len() < useful
            && self.out.ends_with(&TAIL);
        // What is not sent must not be referred to later.
        if !complete || !self.takeover {
            self.compress.reset();
        }
        complete.then(|| &self.out[..self.out.len() - TAIL.len()])
    }
}

/// A buffer above this size is freed before the next message, in bytes.
const KEPT_BYTES_MAX: usize = 64 << 10;
