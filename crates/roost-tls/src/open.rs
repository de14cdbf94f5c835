//! Opens records, in place. RFC 8446 §5 and, for TLS 1.2, RFC 5246 §6.2 with RFC 5288 and RFC 7905.

use std::ops::Range;

use crate::control::Told;
use crate::fault::Fault;
use crate::keys::{Cipher, EXPLICIT_NONCE_BYTES, Suite, TAG_BYTES, Version};
use crate::record::{Extent, HEADER_BYTES, PLAINTEXT_BYTES_MAX, content_type, extent};
use crate::rest::Rest;

/// What was opened of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the plaintext of all records of data stands, joined. It is authentic, and handled before `end`
    /// is.
    pub plaintext: Range<usize>,
    /// So many bytes at the front have been used up.
    pub consumed: usize,
    /// So many authentic records have come, those without data among them.
    pub records: u32,
    /// Steps of work: bytes touched, and one for each record.
    pub steps: u64,
    /// Why it ended there.
    pub end: End,
}

/// Why opening ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All whole records have been opened. The next needs at least so many bytes more than are there.
    Incomplete(usize),
    /// The peer will send no more. What comes behind it counts as consumed and is not looked at.
    Closed,
    /// The peer broke a rule. The connection ends, by [`crate::seal::alert`] and FIN.
    Failed(Fault),
}

/// Opens all whole records of `bytes`, in place: the plaintext of the first stays where it is, that of
/// others is joined to it. One key object serves them all. What is left behind `consumed` is the beginning of a record and is kept by
/// the caller until that is whole ([`crate::record::gather`]).
pub fn open(rest: &mut Rest, bytes: &mut [u8]) -> Opened {
    let mut opened = Opened {
        plaintext: 0..0,
        consumed: 0,
        records: 0,
        steps: 0,
        end: End::Closed,
    };
    let Some(suite) = rest.suite() else {
        debug_assert!(false, "a vacant slot receives nothing");
        opened.consumed = bytes.len();
        return opened;
    };
    let mut cipher = None;
    while !rest.is_receive_closed() && !rest.has_failed() {
        let len = match extent(&bytes[opened.consumed..]) {
            Extent::Whole(len) => len,
            Extent::Missing(missing) => {
                opened.end = End::Incomplete(missing);
                return opened;
            }
            Extent::TooLong => {
                fail(rest, &mut opened, Fault::RecordOverflow);
                break;
            }
        };
        let end = opened.consumed + len;
        let body = opened.consumed + HEADER_BYTES;
        if opened.plaintext.is_empty() {
            opened.plaintext = body..body;
        }
        let header = bytes[opened.consumed..].first_chunk();
        let mut record = Record {
            header: *header.expect("a record has a header"),
            body: body - opened.plaintext.end,
            bytes: &mut bytes[opened.plaintext.end..end],
        };
        opened.steps += 1 + 2 * len as u64; // opened, then moved or scanned
        match record.open(rest, suite, &mut cipher) {
            Ok(data) => opened.plaintext.end += data,
            Err(fault) => {
                opened.records += u32::from(fault != Fault::BadRecordMac);
                fail(rest, &mut opened, fault);
                break;
            }
        }
        opened.consumed = end;
        opened.records += 1;
    }
    opened.consumed = bytes.len();
    opened
}

fn fail(rest: &mut Rest, opened: &mut Opened, fault: Fault) {
    rest.failed();
    opened.end = End::Failed(fault);
}

/// A whole record.
struct Record<'a> {
    header: [u8; HEADER_BYTES],
    /// Bytes that are free, if others came before, and then what is behind the header.
    bytes: &'a mut [u8],
    /// Where that stands.
    body: usize,
}

/// What is under the encryption: the content type, and so many bytes at the front.
struct Inner {
    content_type: u8,
    len: usize,
}

impl Record<'_> {
    /// Opens it, and handles what is not data. Returns the length of its data, which stands at the
    /// front.
    fn open(
        &mut self,
        rest: &mut Rest,
        suite: Suite,
        cipher: &mut Option<Cipher>,
    ) -> Result<usize, Fault> {
        let inner = match suite.version() {
            Version::Tls13 => self.open_tls13(rest, suite, cipher)?,
            Version::Tls12 => self.open_tls12(rest, suite, cipher)?,
        };
        rest.check_received(suite);
        let plaintext = &self.bytes[..inner.len];
        match inner.content_type {
            content_type::APPLICATION_DATA => {
                rest.control().handle_data(inner.len)?;
                return Ok(inner.len);
            }
            content_type::ALERT => {
                let told = rest.control().handle_alert(plaintext, suite.version())?;
                if told == Told::CloseNotify {
                    rest.close_received();
                }
            }
            // A second handshake on a connection has a history of attacks. RFC 5746 §4.5 lets us
            // refuse it.
            content_type::HANDSHAKE if suite.version() == Version::Tls12 => {
                return Err(Fault::Renegotiation);
            }
            content_type::HANDSHAKE => {
                let side = rest.side();
                let update = rest.control().handle_handshake(plaintext, side)?;
                if let Some(update) = update {
                    rest.handle_key_update(suite, update.requested);
                    *cipher = None;
                }
            }
            _ => return Err(Fault::UnexpectedMessage),
        }
        Ok(0)
    }

    fn open_tls13(
        &mut self,
        rest: &mut Rest,
        suite: Suite,
        cipher: &mut Option<Cipher>,
    ) -> Result<Inner, Fault> {
        let header = self.header;
        // RFC 8446 §5: after the handshake everything is encrypted, and §6.2: an alert too.
        if header[0] != content_type::APPLICATION_DATA {
            return Err(Fault::UnexpectedMessage);
        }
        let keys = &rest.rx().0;
        let cipher = cipher.get_or_insert_with(|| keys.cipher(suite));
        // RFC 8446 §5.2: the header is the additional data. It is taken as it came, not as it should
        // be, so that no bit of a record can be changed.
        let nonce = keys.nonce();
        let len = cipher
            .open(nonce, &header, self.bytes, self.body)
            .map_err(|_| Fault::BadRecordMac)?;
        rest.rx().0.advance();
        if len > PLAINTEXT_BYTES_MAX + 1 {
            return Err(Fault::RecordOverflow);
        }
        // RFC 8446 §5.4: behind the content type stand zeros only; without any type the record is
        // refused.
        let at = self.bytes[..len].iter().rposition(|&byte| byte != 0);
        let len = at.ok_or(Fault::UnexpectedMessage)?;
        Ok(Inner {
            content_type: self.bytes[len],
            len,
        })
    }

    fn open_tls12(
        &mut self,
        rest: &mut Rest,
        suite: Suite,
        cipher: &mut Option<Cipher>,
    ) -> Result<Inner, Fault> {
        let header = self.header;
        let keys = &rest.rx().0;
        let body = self.body;
        let explicit = suite.explicit_nonce_bytes();
        let overhead = body + explicit + TAG_BYTES;
        let len = self
            .bytes
            .len()
            .checked_sub(overhead)
            .ok_or(Fault::BadRecordMac)?;
        if len > PLAINTEXT_BYTES_MAX {
            return Err(Fault::RecordOverflow);
        }
        let nonce = match self.bytes[body..].first_chunk() {
            // RFC 5288 §3
            Some(&sent) if explicit == EXPLICIT_NONCE_BYTES => keys.nonce_with(sent),
            _ => keys.nonce(), // RFC 7905 §2
        };
        let aad = additional_data_tls12(keys.seq(), header, len);
        let cipher = cipher.get_or_insert_with(|| keys.cipher(suite));
        let len = cipher
            .open(nonce, &aad, self.bytes, body + explicit)
            .map_err(|_| Fault::BadRecordMac)?;
        rest.rx().0.advance();
        Ok(Inner {
            content_type: header[0],
            len,
        })
    }
}

/// RFC 5246 §6.2.3.3: number, type and version, and the plaintext's length.
pub(crate) fn additional_data_tls12(
    seq: u64,
    header: [u8; HEADER_BYTES],
    plaintext_len: usize,
) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&seq.to_be_bytes());
    aad[8..11].copy_from_slice(&header[..3]);
    aad[11..].copy_from_slice(&(plaintext_len as u16).to_be_bytes());
    aad
}
