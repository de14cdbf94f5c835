//! What must hold for any bytes, as functions that panic when it does not.
//!
//! The fuzz targets call them with what the fuzzer finds, the property tests with random bytes and
//! with the corpus. Nothing here is meant for a server.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{
    Fetched, KeySet, Refresh, RefreshRules, Refusal, Rules, parse_jwks, parse_secrets, verify,
};

/// Tokens: whatever the bytes are, only what the key has signed is accepted, and what is signed is
/// accepted or refused for a reason that is no secret. The first byte chooses what the rest is: a
/// whole token, or head and claims of one that is signed.
pub fn token(data: &[u8]) {
    let [choice, rest @ ..] = data else {
        return;
    };
    let rules = Rules {
        is_expiry_required: choice & 2 == 0,
        is_subject_required: choice & 2 == 0,
        ..Rules::default()
    };
    if choice & 1 == 0 {
        let outcome = verify(rest, keys(), &rules, NOW);
        assert!(outcome.is_err(), "accepted without a signature");
        return;
    }
    let at = rest.iter().position(|byte| *byte == b'\n');
    let (head, claims) = match at {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (&br#"{"alg":"HS256"}"#[..], rest),
    };
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(head),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    match verify(token.as_bytes(), keys(), &rules, NOW) {
        Ok(verified) => {
            assert!(verified.user.len() <= 255);
            assert!(verified.token_expires_at.is_none_or(|at| at > NOW));
            assert!(verified.expires_at.is_none_or(|at| at > NOW));
            assert!(verified.token_expires_at.is_some() || !rules.is_expiry_required);
            assert!(verified.key.is_some());
        }
        Err(refusal) => assert!(!refusal.to_string().contains(SECRET)),
    }
    // Changed anywhere, it is not what was signed.
    let mut changed = token.into_bytes();
    let place = usize::from(*choice) % changed.len();
    changed[place] ^= 1;
    assert!(verify(&changed, keys(), &rules, NOW).is_err());
}

/// JWK Sets: what is read is bounded, has no secret in it, and comes back after a restart.
pub fn jwks(data: &[u8]) {
    let Ok(parsed) = parse_jwks(data, DOCUMENT_BYTES_MAX) else {
        return;
    };
    assert!(!parsed.keys.is_empty() && parsed.keys.len() + parsed.skipped <= crate::JWKS_KEYS_MAX);
    let is_secret = |kind| matches!(kind, crate::KeyKind::Secret(_));
    assert!(!parsed.keys.iter().any(|key| is_secret(key.kind())));
    let keys = KeySet {
        jwks: parsed.keys,
        has_jwks: true,
        ..KeySet::default()
    };
    let hs = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
    let outcome = verify(hs.as_bytes(), &keys, &Rules::default(), NOW);
    assert_eq!(outcome, Err(Refusal::Algorithm));

    let mut refresh = Refresh::new(refresh_rules(), 0);
    let order = refresh.poll(0).expect("the first fetch is due");
    let fetched = Fetched::Document {
        body: data.to_vec(),
        etag: None,
        cache_control: None,
    };
    refresh.answer(order.number, fetched, 0);
    let kept = refresh.to_keep(0, NOW).expect("there is a set");
    let mut restarted = Refresh::new(refresh_rules(), 7);
    assert!(restarted.restore(&kept, 7, NOW));
    assert_eq!(restarted.keys(7).len(), keys.jwks.len());
}

fn keys() -> &'static KeySet {
    static KEYS: OnceLock<KeySet> = OnceLock::new();
    KEYS.get_or_init(|| KeySet {
        secrets: parse_secrets(&format!("first {SECRET}"))
            .expect("the line is correct")
            .keys,
        ..KeySet::default()
    })
}

fn refresh_rules() -> RefreshRules {
    RefreshRules {
        url: "https://issuer.example/jwks".to_owned(),
        refresh_ms: 900_000,
        cooldown_ms: 30_000,
        stale_max_ms: 86_400_000,
        timeout_ms: 5_000,
        document_bytes_max: DOCUMENT_BYTES_MAX,
    }
}

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "a secret that signs what the fuzzer makes";
const DOCUMENT_BYTES_MAX: usize = 64 << 10;
