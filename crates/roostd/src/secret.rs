//! Keys in clear text, for as long as they are needed: neither debug output nor a log line can show
//! one.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// A key. It has neither `Debug` nor `Display`, and its memory is wiped.
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// A new one that cannot be guessed.
    pub(crate) fn random() -> Result<Secret, String> {
        let mut bytes = Zeroizing::new([0; 16]);
        aws_lc_rs::rand::fill(bytes.as_mut())
            .map_err(|_| "the system gives no random numbers".to_owned())?;
        let key = format!("{PREFIX}{}", hex(bytes.as_ref()));
        Ok(Secret(Zeroizing::new(key)))
    }

    /// The content of a file, without the end of its line. The error is a message for people.
    pub(crate) fn of_file(path: &Path) -> Result<Secret, String> {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        text.map_err(|error| error.to_string())
            .and_then(|text| Secret::of(&text))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The same of standard input.
    pub(crate) fn of_input() -> Result<Secret, String> {
        let mut text = Zeroizing::new(String::new());
        let input = io::stdin().lock().take(BYTES_MAX as u64 + 2);
        let read = { input }.read_to_string(&mut text);
        read.map_err(|error| error.to_string())
            .and_then(|_| Secret::of(&text))
            .map_err(|error| format!("standard input: {error}"))
    }

    fn of(text: &str) -> Result<Secret, String> {
        let key = text.trim_end_matches(['\n', '\r']);
        if !(BYTES_MIN..=BYTES_MAX).contains(&key.len()) {
            return Err(format!(
                "a key of {} bytes, expected {BYTES_MIN} to {BYTES_MAX} that cannot be guessed; \
                 roostd hash-key --new makes one",
                key.len()
            ));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a key with other than visible ASCII characters: no header carries it".to_owned(),
            );
        }
        Ok(Secret(Zeroizing::new(key.to_owned())))
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        sha256
    }

    /// The key itself, to be shown to the user that has asked for it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Hexadecimal digits in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What 64 hexadecimal digits stand for.
pub(crate) fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// By it a key that has been published by mistake is found.
const PREFIX: &str = "roost_";
const BYTES_MIN: usize = 16;
const BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_enough_and_fits_a_header() {
        let of = |text: &str| Secret::of(text).map(|key| key.reveal().to_owned());
        assert_eq!(of("0123456789abcdef\n").as_deref(), Ok("0123456789abcdef"));
        for bad in ["", "\n", "short", "0123456789 abcdef", "0123456789abcdeö"] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        let [one, other] = [Secret::random(), Secret::random()].map(|key| key.expect("random"));
        assert_ne!(one.reveal(), other.reveal());
        assert!(Secret::of(one.reveal()).is_ok());
        // FIPS 180-2, appendix B.1.
        let abc = Secret(Zeroizing::new("abc".to_owned()));
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&abc.sha256()), digits);
        assert_eq!(from_hex(digits), Some(abc.sha256()));
    }
}
