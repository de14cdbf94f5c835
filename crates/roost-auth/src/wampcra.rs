//! `wampcra`: a text is signed with a secret that both know, or with a key derived from it.

use aws_lc_rs::hmac;
use roost_access::{Method, Secret, timestamp};
use serde_json::json;

use crate::keys::{BYTES, Salted, derive, equal, from_base64, key, mac, to_base64};

/// What signatures of one user are checked with.
pub(crate) struct CraKey(hmac::Key);

impl CraKey {
    pub(crate) fn new(secret: &Secret, salted: Option<&Salted>) -> CraKey {
        let Some(salted) = salted else {
            return CraKey(key(secret.expose()));
        };
        // The salt's text is what is hashed, and the key is the text of base64: so clients have it.
        let bytes = salted.key_bytes as usize;
        let derived = derive(secret, salted.salt.as_bytes(), salted.iterations, bytes);
        let text = Secret::from(to_base64(derived.expose()).into_bytes());
        CraKey(key(text.expose()))
    }

    /// Whether this is the signature of what was said.
    pub(crate) fn verifies(&self, said: &str, signature: &str) -> bool {
        let expected = mac(&self.0, &[said.as_bytes()]);
        let signature = from_base64::<BYTES>(signature);
        equal(&expected, &signature.unwrap_or_default()) && signature.is_some()
    }
}

/// What a client is to sign.
pub(crate) fn challenge(
    user: &str,
    role: &str,
    session: u64,
    nonce: &[u8],
    unix_ms: u64,
) -> String {
    json!({
        "authid": user,
        "authrole": role,
        "authmethod": Method::WampCra.name(),
        "authprovider": "static",
        "nonce": to_base64(nonce),
        "timestamp": timestamp(unix_ms),
        "session": session,
    })
    .to_string()
}
