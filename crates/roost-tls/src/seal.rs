//! Seals records, in place in the buffer that is handed to the driver.
//!
//! Sealing comes last: what was sealed has used up its number and must be sent, in that order. What
//! waits and may still be dropped is plaintext.

use crate::fault::Alert;
use crate::keys::{Cipher, Suite, TAG_BYTES, Version};
use crate::nonces;
use crate::open::additional_data_tls12;
use crate::record::{HEADER_BYTES, PLAINTEXT_BYTES_MAX, content_type};
use crate::rest::{Rest, SEALED_MAX};

/// Bytes that a record takes beside its data, at most (TLS 1.2 with AES-GCM).
pub const OVERHEAD_BYTES_MAX: usize = 29;

/// Seals what is pushed, for one connection and one write: records of up to 16 KiB, appended to a
/// buffer. A key update that is due goes in front of them.
///
/// What was pushed is sealed at the latest by [`Sealer::finish`]; without that, the part that is not
/// sealed yet is taken out of the buffer again.
#[must_use = "what was pushed is sealed by finish"]
pub struct Sealer<'a> {
    rest: &'a mut Rest,
    out: &'a mut Vec<u8>,
    suite: Suite,
    cipher: Option<Cipher>,
    /// Where the record begins that is being filled, behind all that is sealed.
    start: usize,
}

impl<'a> Sealer<'a> {
    /// Begins to append to `out`. `None` if the connection may send no more: close_notify or an alert
    /// has gone, or it has sent as many records as its key may seal ([`Rest::is_worn_out`] says so
    /// long before).
    pub fn new(rest: &'a mut Rest, out: &'a mut Vec<u8>) -> Option<Self> {
        let suite = rest.suite()?;
        let is_spent = rest.sealed() >= SEALED_MAX - 2
            && suite.version() == Version::Tls12
            && suite.wears_out();
        if rest.is_send_closed() || is_spent {
            return None;
        }
        let mut sealer = Self::begin(rest, out, suite);
        sealer.update_key();
        Some(sealer)
    }

    fn begin(rest: &'a mut Rest, out: &'a mut Vec<u8>, suite: Suite) -> Self {
        let start = out.len();
        Self {
            rest,
            out,
            suite,
            cipher: None,
            start,
        }
    }

    /// Appends `plaintext`. Each 16 KiB make a record.
    pub fn push(&mut self, mut plaintext: &[u8]) {
        while !plaintext.is_empty() {
            let space = PLAINTEXT_BYTES_MAX - self.filled();
            let (now, later) = plaintext.split_at(space.min(plaintext.len()));
            let overhead = if self.filled() == 0 {
                OVERHEAD_BYTES_MAX
            } else {
                0
            };
            self.out.reserve(now.len() + overhead);
            self.begin_record();
            self.out.extend_from_slice(now);
            plaintext = later;
            if self.filled() == PLAINTEXT_BYTES_MAX {
                self.seal_data();
            }
        }
    }

    /// Seals what was pushed.
    pub fn finish(mut self) {
        self.seal_data();
    }

    /// Seals what was pushed, and close_notify behind it: FIN may follow.
    pub fn finish_with_close(mut self) {
        self.seal_data();
        self.seal_message(content_type::ALERT, &[1, Alert::CloseNotify as u8]);
        self.rest.close_sent();
    }

    /// Plaintext in the record that is being filled.
    fn filled(&self) -> usize {
        let front = self.start + self.front_bytes();
        self.out.len().saturating_sub(front)
    }

    /// What stands before a record's plaintext.
    fn front_bytes(&self) -> usize {
        HEADER_BYTES + self.suite.explicit_nonce_bytes()
    }

    fn begin_record(&mut self) {
        if self.out.len() == self.start {
            self.out.resize(self.start + self.front_bytes(), 0);
        }
    }

    fn seal_data(&mut self) {
        if self.filled() > 0 {
            self.seal_record(content_type::APPLICATION_DATA);
            self.update_key();
        }
    }

    /// RFC 8446 §4.6.3: a KeyUpdate leaves under the old key, everything behind it under the new.
    fn update_key(&mut self) {
        let Some(requests) = self.rest.due_key_update(self.suite) else {
            return;
        };
        let message = [24, 0, 0, 1, u8::from(requests)];
        self.seal_message(content_type::HANDSHAKE, &message);
        self.rest.update_sent(self.suite);
        self.cipher = None;
    }

    pub(crate) fn seal_message(&mut self, content_type: u8, message: &[u8]) {
        self.begin_record();
        self.out.extend_from_slice(message);
        self.seal_record(content_type);
    }

    /// Seals the record that stands at `start`.
    fn seal_record(&mut self, content_type: u8) {
        match self.suite.version() {
            Version::Tls13 => self.seal_tls13(content_type),
            Version::Tls12 => self.seal_tls12(content_type),
        }
        self.rest.tx().0.advance();
        self.start = self.out.len();
    }

    fn seal_tls13(&mut self, content_type: u8) {
        self.out.push(content_type);
        self.encrypt_tls13(content_type::APPLICATION_DATA);
    }

    fn encrypt_tls13(&mut self, outer_type: u8) {
        let keys = &self.rest.tx().0;
        nonces::note(keys);
        let nonce = keys.nonce();
        let suite = self.suite;
        let cipher = self.cipher.get_or_insert_with(|| keys.cipher(suite));
        let (header, inner) = self.out[self.start..].split_at_mut(HEADER_BYTES);
        let len = inner.len() + TAG_BYTES;
        header.copy_from_slice(&header_of(outer_type, len));
        let tag = cipher.seal(nonce, header, inner);
        self.out.extend_from_slice(tag.as_ref());
    }

    fn seal_tls12(&mut self, content_type: u8) {
        let keys = &self.rest.tx().0;
        nonces::note(keys);
        let nonce = keys.nonce();
        let suite = self.suite;
        let cipher = self.cipher.get_or_insert_with(|| keys.cipher(suite));
        let (header, body) = self.out[self.start..].split_at_mut(HEADER_BYTES);
        let len = body.len() + TAG_BYTES;
        header.copy_from_slice(&header_of(content_type, len));
        let (explicit, plaintext) = body.split_at_mut(suite.explicit_nonce_bytes());
        // RFC 5288 §3 lets a sender choose this part of the nonce; RFC 9325 §7.2.1 asks that it be
        // one that cannot repeat. IV xor number, as in 1.3 and in rustls.
        explicit.copy_from_slice(&nonce[nonce.len() - explicit.len()..]);
        let header = header_of(content_type, 0);
        let aad = additional_data_tls12(keys.seq(), header, plaintext.len());
        let tag = cipher.seal(nonce, &aad, plaintext);
        self.out.extend_from_slice(tag.as_ref());
    }
}

impl Drop for Sealer<'_> {
    /// Plaintext never leaves unsealed.
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

/// Appends `plaintext` to `out`, sealed. False if the connection may send no more. Empty plaintext
/// sends the key update that is owed, if any.
pub fn seal(rest: &mut Rest, plaintext: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(mut sealer) = Sealer::new(rest, out) else {
        return false;
    };
    sealer.push(plaintext);
    sealer.finish();
    true
}

/// Appends close_notify to `out`, if neither it nor another alert has gone before: FIN follows.
pub fn close(rest: &mut Rest, out: &mut Vec<u8>) {
    if let Some(sealer) = Sealer::new(rest, out) {
        sealer.finish_with_close();
    }
}

/// Appends an alert that ends the connection to `out`, if none has gone before: FIN follows.
pub fn alert(rest: &mut Rest, alert: Alert, out: &mut Vec<u8>) {
    let Some(suite) = rest.suite() else {
        return;
    };
    let level = match alert {
        Alert::CloseNotify | Alert::UserCanceled | Alert::NoRenegotiation => 1,
        _ => 2,
    };
    debug_assert!(
        suite.version() == Version::Tls12 || alert != Alert::NoRenegotiation,
        "1.3 has no renegotiation to refuse"
    );
    if let Some(mut sealer) = Sealer::new(rest, out) {
        sealer.seal_message(content_type::ALERT, &[level, alert as u8]);
        sealer.rest.close_sent();
    }
}

fn header_of(content_type: u8, len: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = (len as u16).to_be_bytes();
    [content_type, 3, 3, high, low]
}

/// Seals one record as no honest peer does, for tests: the outer content type, and under it, in 1.3,
/// data with the inner content type and padding behind it.
#[doc(hidden)]
pub fn seal_raw(rest: &mut Rest, outer_type: u8, inner: &[u8], out: &mut Vec<u8>) {
    let suite = rest.suite().expect("a connection");
    let mut sealer = Sealer::begin(rest, out, suite);
    sealer.begin_record();
    sealer.out.extend_from_slice(inner);
    match sealer.suite.version() {
        Version::Tls13 => sealer.encrypt_tls13(outer_type),
        Version::Tls12 => sealer.seal_tls12(outer_type),
    }
    sealer.rest.tx().0.advance();
    sealer.start = sealer.out.len();
}
