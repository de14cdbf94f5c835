//! `scram` (WAMP-SCRAM, by RFC 5802 and RFC 7677): the client proves that it knows the password, the
//! server that it knows what is derived from it. Keys are derived with PBKDF2.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_access::Secret;

use crate::keys::{BYTES, Salted, derive, equal, from_base64, key, mac, sha256, to_base64};

/// What is kept of a password.
pub(crate) struct ScramKeys {
    stored: Secret,
    /// The same, ready for use.
    stored_key: hmac::Key,
    server_key: hmac::Key,
}

impl ScramKeys {
    pub(crate) fn new(password: &Secret, salted: &Salted) -> ScramKeys {
        let salt = salted.salt_bytes();
        let derived = derive(password, &salt, salted.iterations, BYTES);
        let salted_key = key(derived.expose());
        let client_key = Secret::from(mac(&salted_key, &[b"Client Key"]).to_vec());
        let stored = Secret::from(sha256(client_key.expose()).to_vec());
        let server = Secret::from(mac(&salted_key, &[b"Server Key"]).to_vec());
        ScramKeys {
            stored_key: key(stored.expose()),
            server_key: key(server.expose()),
            stored,
        }
    }

    /// The server's signature, if the proof is right for what was said.
    ///
    /// RFC 5802 §7: the last part of what was said begins with the channel binding, `biws` for none. PyPI's
    /// autobahn leaves it empty; both are the same promise.
    pub(crate) fn verify(&self, said: &Said<'_>, proof: &str) -> Option<String> {
        let proof = from_base64::<BYTES>(proof);
        let mut signature = None;
        for binding in ["biws", ""] {
            let message = said.message(binding);
            let client_signature = mac(&self.stored_key, &[message.as_bytes()]);
            let mut client_key = proof.unwrap_or_default();
            for (byte, other) in client_key.iter_mut().zip(client_signature) {
                *byte ^= other;
            }
            let is_right = equal(&sha256(&client_key), self.stored.expose());
            let server_signature = mac(&self.server_key, &[message.as_bytes()]);
            if is_right && proof.is_some() {
                signature = Some(to_base64(&server_signature));
            }
        }
        signature
    }
}

/// What both sides have said, but for the channel binding.
pub(crate) struct Said<'a> {
    /// `client-first-message-bare,server-first-message`.
    first: &'a str,
    /// Both parts of the nonce.
    nonce: &'a str,
}

impl<'a> Said<'a> {
    /// Out of what was kept by [`keep`].
    pub(crate) fn of(kept: &'a str) -> Said<'a> {
        let (nonce, first) = kept.split_once('\n').unwrap_or_default();
        Said { first, nonce }
    }

    pub(crate) fn nonce(&self) -> &str {
        self.nonce
    }

    fn message(&self, binding: &str) -> String {
        format!("{},c={binding},r={}", self.first, self.nonce)
    }
}

/// What is kept of a challenge until it is answered.
pub(crate) fn keep(
    user: &str,
    client_nonce: &str,
    nonce: &str,
    salt: &str,
    iterations: u32,
) -> String {
    // RFC 5802 §5.1: "=" and "," in a name.
    let user = user.replace('=', "=3D").replace(',', "=2C");
    format!("{nonce}\nn={user},r={client_nonce},r={nonce},s={salt},i={iterations}")
}

/// Whether a client's part of the nonce can be one: base64, of a bounded length.
pub(crate) fn is_nonce(text: &str) -> bool {
    (8..=NONCE_CHARS_MAX).contains(&text.len()) && STANDARD.decode(text).is_ok()
}

/// 96 bytes; the specification recommends 16.
const NONCE_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// RFC 7677 §3.
    #[test]
    fn the_exchange_of_the_standard() {
        let salted = Salted {
            salt: "W22ZaJ0SNY7soEsUEjb6gQ==".to_owned(),
            iterations: NonZeroU32::new(4096).expect("not zero"),
            key_bytes: 32,
        };
        let keys = ScramKeys::new(&Secret::from(b"pencil".to_vec()), &salted);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let kept = keep("user", "rOprNGfwEbeRWgbNEkqO", nonce, &salted.salt, 4096);
        let said = Said::of(&kept);
        assert_eq!(said.nonce(), nonce);
        let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let signature = keys.verify(&said, proof).expect("it is right");
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for wrong in [
            "",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVU=",
            "AAAA",
            "x",
        ] {
            assert_eq!(keys.verify(&said, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_nonce_is_base64_and_not_long() {
        for good in ["egVDf3DMJh0=", "SBmkFIh7sSo=", "AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert!(is_nonce(good), "{good:?}");
        }
        for bad in ["", "AAAA", "a,b=c,r=x", "egVDf3DMJh0", &"A".repeat(132)] {
            assert!(!is_nonce(bad), "{bad:?}");
        }
    }
}
