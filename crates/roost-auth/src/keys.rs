//! The primitives, of the library that TLS uses.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_access::Secret;

/// Bytes of SHA-256, of keys and of nonces.
pub(crate) const BYTES: usize = 32;

/// How a key is derived from a password with PBKDF2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salted {
    /// The salt as it is sent.
    pub salt: String,
    /// How often it is iterated.
    pub iterations: NonZeroU32,
    /// The key's length in bytes.
    pub key_bytes: u32,
}

impl Salted {
    /// The salt's bytes where it is base64, as SCRAM has it; none where it is not.
    pub(crate) fn salt_bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.salt).unwrap_or_default()
    }
}

/// HMAC-SHA-256.
pub(crate) fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; BYTES] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

/// A key of HMAC-SHA-256.
pub(crate) fn key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; BYTES] {
    array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Whether both are the same, in a time that depends on their lengths alone.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// PBKDF2 with HMAC-SHA-256 (RFC 8018), into a key of so many bytes. Takes its time: not for a reactor.
pub fn derive(password: &Secret, salt: &[u8], iterations: NonZeroU32, key_bytes: usize) -> Secret {
    let mut derived = vec![0; key_bytes];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, password.expose(), &mut derived);
    Secret::from(derived)
}

/// The salt of a user for whom none was drawn: base64 of a hash, the same at every start.
pub fn salt_of(realm: &str, user: &str) -> String {
    let hash = sha256(format!("roost salt\n{realm}\n{user}").as_bytes());
    to_base64(&hash[..16])
}

pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None`: it is none, or of another length.
pub(crate) fn from_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() > 4 * N.div_ceil(3) {
        return None; // not decoded to find that out
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}

/// `None`: it is none, or of another length.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

fn array(bytes: &[u8]) -> [u8; BYTES] {
    bytes.try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_come_back() {
        for bytes in [[0u8; 4], [0xff; 4], [0x01, 0x23, 0xab, 0xcd]] {
            assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }
        assert_eq!(from_hex::<2>("ABcd"), Some([0xab, 0xcd]));
        for bad in ["", "abc", "abcde", "xxxx", "ab d", "äb"] {
            assert_eq!(from_hex::<2>(bad), None, "{bad:?}");
        }
    }

    /// RFC 7914 §11.
    #[test]
    fn pbkdf2_of_the_standard() {
        let password = Secret::from(b"passwd".to_vec());
        let derived = derive(&password, b"salt", NonZeroU32::MIN, 64);
        assert_eq!(
            to_hex(derived.expose()),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
        );
    }
}
