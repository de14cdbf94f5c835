//! Keys, and tokens that are signed here without the library that checks them.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as sig, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use roost_tokens::{KeySet, Refusal, Rules, Verified, parse_public_keys, parse_secrets, verify};
use serde_json::{Value, json};

/// 2027: after all that a wrong default would take for now.
pub(crate) const NOW: u64 = 1_800_000_000;
/// 66 bytes: enough for HS512.
pub(crate) const SECRET: &str = "Vb5nq2mX0cR7tK9wZ4yH6uJ8sD1fG3hL-Vb5nq2mX0cR7tK9wZ4yH6uJ8sD1fG3hL";

pub(crate) struct Keys {
    pub(crate) rsa: RsaKeyPair,
    pub(crate) p256: EcdsaKeyPair,
    pub(crate) p384: EcdsaKeyPair,
    pub(crate) ed: Ed25519KeyPair,
}

/// Made once for all tests.
pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("RSA"),
        p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("P-256"),
        p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("P-384"),
        ed: Ed25519KeyPair::generate().expect("Ed25519"),
    })
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

/// SubjectPublicKeyInfo of RSA, P-256, P-384 and Ed25519.
pub(crate) fn spki() -> [Vec<u8>; 4] {
    let keys = keys();
    let rsa = keys.rsa.public_key().as_der().expect("RSA");
    let p256 = keys.p256.public_key().as_der().expect("P-256");
    let p384 = keys.p384.public_key().as_der().expect("P-384");
    let ed = keys.ed.public_key().as_der().expect("Ed25519");
    [
        rsa.as_ref().to_vec(),
        p256.as_ref().to_vec(),
        p384.as_ref().to_vec(),
        ed.as_ref().to_vec(),
    ]
}

/// The secret, and the four public keys as of a file.
pub(crate) fn all() -> &'static KeySet {
    static SET: OnceLock<KeySet> = OnceLock::new();
    SET.get_or_init(|| KeySet {
        secrets: parse_secrets(&format!("one {SECRET}"))
            .expect("a correct line")
            .keys,
        public: spki()
            .iter()
            .flat_map(|der| parse_public_keys(pem(der).as_bytes()).expect("a correct key"))
            .collect(),
        ..KeySet::default()
    })
}

/// Only the public keys, as most servers have it.
pub(crate) fn public_only() -> KeySet {
    KeySet {
        secrets: Vec::new(),
        ..all().clone()
    }
}

/// JWKs of RSA, P-256, P-384 and Ed25519 with these names.
pub(crate) fn jwk(kid: &str) -> [Value; 4] {
    let keys = keys();
    let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(keys.rsa.public_key());
    let point = |key: &EcdsaKeyPair| {
        let point = key.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(point.len() / 2);
        (b64(x), b64(y))
    };
    let (x256, y256) = point(&keys.p256);
    let (x384, y384) = point(&keys.p384);
    [
        json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(rsa.n), "e": b64(rsa.e)}),
        json!({"kty": "EC", "kid": kid, "crv": "P-256", "x": x256, "y": y256}),
        json!({"kty": "EC", "kid": kid, "crv": "P-384", "x": x384, "y": y384}),
        json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(keys.ed.public_key())}),
    ]
}

pub(crate) fn sign_rsa(encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let key = &keys().rsa;
    let mut out = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut out)
        .expect("the key signs");
    out
}

pub(crate) fn sign_hmac(algorithm: hmac::Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, secret);
    hmac::sign(&key, message).as_ref().to_vec()
}

/// The signature that an algorithm makes with our key of its kind.
pub(crate) fn signature(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let (keys, random) = (keys(), SystemRandom::new());
    let secret = SECRET.as_bytes();
    match algorithm {
        "HS256" => sign_hmac(hmac::HMAC_SHA256, secret, message),
        "HS384" => sign_hmac(hmac::HMAC_SHA384, secret, message),
        "HS512" => sign_hmac(hmac::HMAC_SHA512, secret, message),
        "RS256" => sign_rsa(&sig::RSA_PKCS1_SHA256, message),
        "RS384" => sign_rsa(&sig::RSA_PKCS1_SHA384, message),
        "RS512" => sign_rsa(&sig::RSA_PKCS1_SHA512, message),
        "PS256" => sign_rsa(&sig::RSA_PSS_SHA256, message),
        "PS384" => sign_rsa(&sig::RSA_PSS_SHA384, message),
        "PS512" => sign_rsa(&sig::RSA_PSS_SHA512, message),
        "ES256" => {
            let signed = keys.p256.sign(&random, message).expect("the key signs");
            signed.as_ref().to_vec()
        }
        "ES384" => {
            let signed = keys.p384.sign(&random, message).expect("the key signs");
            signed.as_ref().to_vec()
        }
        "EdDSA" => keys.ed.sign(message).as_ref().to_vec(),
        other => panic!("{other} signs nothing here"),
    }
}

/// A token of these very bytes, signed with `algorithm`, whatever its head says.
pub(crate) fn raw_token(algorithm: &str, head: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", b64(head), b64(claims));
    let signature = signature(algorithm, message.as_bytes());
    format!("{message}.{}", b64(signature))
}

pub(crate) fn token(algorithm: &str, claims: &Value) -> String {
    let head = json!({"alg": algorithm, "typ": "JWT"});
    raw_token(
        algorithm,
        head.to_string().as_bytes(),
        claims.to_string().as_bytes(),
    )
}

pub(crate) fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 600})
}

/// The claims with one more or another, as JSON text.
pub(crate) fn with(claim: &str, value: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(claim);
    let text = claims.to_string();
    format!("{},\"{claim}\":{value}}}", &text[..text.len() - 1])
}

/// What is said to claims in this text, signed with HS256.
pub(crate) fn check_claims(claims: &str, rules: &Rules) -> Result<Verified, Refusal> {
    let token = raw_token("HS256", br#"{"alg":"HS256"}"#, claims.as_bytes());
    verify(token.as_bytes(), all(), rules, NOW)
}

pub(crate) fn shared(keys: Vec<Arc<roost_tokens::Key>>) -> KeySet {
    KeySet {
        jwks: keys,
        has_jwks: true,
        ..KeySet::default()
    }
}
