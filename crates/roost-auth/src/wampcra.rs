//! `wampcra`: a text is signed with a secret that both know, or with a key derived from it.

use aws_lc_rs::hmac;
use roost_access::{Method, Secret};
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

/// ISO 8601, of milliseconds since 1970.
fn timestamp(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days: years begin in March, in eras of 400.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_iso_8601_has_them() {
        for (unix_ms, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_403_454_995_448, "2014-06-22T16:36:35.448Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(unix_ms), written);
        }
    }
}
