//! The header of a record: where one ends in a stream of bytes. RFC 8446 §5.1.

use crate::fault::Alert;

/// Bytes of a record's header: content type, version, length.
pub const HEADER_BYTES: usize = 5;

/// Plaintext that one record carries at most.
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 14;

/// RFC 8446 §5.2: what encryption may add to a record's plaintext.
const EXPANSION_BYTES_MAX: usize = 256;

/// A record with its header.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + PLAINTEXT_BYTES_MAX + EXPANSION_BYTES_MAX;

/// RFC 8446 §5.1, the content types.
pub(crate) mod content_type {
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
}

/// Where the first record of some bytes ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// It has this many bytes, header and all, and they are there.
    Whole(usize),
    /// At least so many more are needed: of the header, then of the record.
    Missing(usize),
    /// Its length is beyond what a record may have: record_overflow, and the connection ends.
    TooLong,
}

/// Where the first record of `bytes` ends. A length that may not be is found with the header.
#[inline]
pub fn extent(bytes: &[u8]) -> Extent {
    let Some(&[_, _, _, high, low]) = bytes.first_chunk() else {
        return Extent::Missing(HEADER_BYTES - bytes.len());
    };
    let len = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len > RECORD_BYTES_MAX {
        return Extent::TooLong;
    }
    match len.checked_sub(bytes.len()) {
        None | Some(0) => Extent::Whole(len),
        Some(missing) => Extent::Missing(missing),
    }
}

/// Moves bytes from the front of `lease` to `kept`, the beginning of a record, until that is whole.
/// Returns how many, and how far the record has come: `Missing` only when `lease` is used up. What is
/// kept grows with what has come, not with the length that was announced.
pub fn gather(kept: &mut Vec<u8>, lease: &[u8]) -> (usize, Extent) {
    let mut taken = 0;
    loop {
        match extent(kept) {
            Extent::Missing(missing) if taken < lease.len() => {
                let end = lease.len().min(taken + missing);
                kept.extend_from_slice(&lease[taken..end]);
                taken = end;
            }
            extent => return (taken, extent),
        }
    }
}

/// Whether a connection that begins with this byte can be TLS: the content type of a ClientHello.
pub fn begins_handshake(first: u8) -> bool {
    first == content_type::HANDSHAKE
}

/// A fatal alert in the clear, for what fails before there are keys.
pub fn plain_alert(alert: Alert) -> [u8; HEADER_BYTES + 2] {
    [content_type::ALERT, 3, 3, 0, 2, 2, alert as u8]
}
