//! What went wrong in other libraries, a line for each kind: all are refused here, for the reason that
//! is named.

use aws_lc_rs::hmac;
use roost_tokens::{KeySet, Refusal, Rules, parse_jwks, parse_secrets, verify};
use serde_json::{Value, json};

use crate::support::{
    NOW, SECRET, all, b64, claims, jwk, keys, pem, public_only, raw_token, shared, sign_hmac, spki,
    token,
};

/// One of them, and what is said to it.
struct Kind {
    /// The class of mistake.
    name: &'static str,
    token: Vec<u8>,
    keys: KeySet,
    refusal: Refusal,
}

fn kind(name: &'static str, token: impl Into<Vec<u8>>, refusal: Refusal) -> Kind {
    Kind {
        name,
        token: token.into(),
        keys: all().clone(),
        refusal,
    }
}

fn of(keys: KeySet, mut kind: Kind) -> Kind {
    kind.keys = keys;
    kind
}

fn unsigned(head: &str) -> String {
    format!("{}.{}.", b64(head), b64(claims().to_string()))
}

/// Signed with HS256 and our secret under this head.
fn headed(head: &str) -> String {
    raw_token("HS256", head.as_bytes(), claims().to_string().as_bytes())
}

/// Signed with HS256 and these bytes as the secret.
fn confused(secret: &[u8], head: &Value) -> String {
    let message = format!("{}.{}", b64(head.to_string()), b64(claims().to_string()));
    let signature = sign_hmac(hmac::HMAC_SHA256, secret, message.as_bytes());
    format!("{message}.{}", b64(signature))
}

fn good() -> String {
    token("HS256", &claims())
}

/// Our signature below other claims.
fn with_other_claims(algorithm: &str) -> String {
    let signed = token(algorithm, &claims());
    let parts: Vec<&str> = signed.split('.').collect();
    let other = json!({"sub": "admin", "exp": NOW + 600}).to_string();
    format!("{}.{}.{}", parts[0], b64(other), parts[2])
}

fn with_signature(algorithm: &str, signature: &[u8]) -> String {
    let head = json!({"alg": algorithm}).to_string();
    format!(
        "{}.{}.{}",
        b64(head),
        b64(claims().to_string()),
        b64(signature)
    )
}

fn algorithms() -> Vec<Kind> {
    use Refusal::{Algorithm, Malformed};
    let mut kinds = Vec::new();
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS256 ", "hs256", "HMAC", "ES512", "ES256K", "RSA1_5",
    ] {
        let head = json!({"alg": alg}).to_string();
        kinds.push(kind(
            "alg none, other cases and unknown names",
            unsigned(&head),
            Algorithm,
        ));
        kinds.push(kind(
            "an unknown alg falls back to a known one",
            headed(&head),
            Algorithm,
        ));
    }
    kinds.extend([
        kind("alg is missing", headed(r#"{"typ":"JWT"}"#), Malformed),
        kind("alg is null", headed(r#"{"alg":null}"#), Malformed),
        kind("alg is an array", headed(r#"{"alg":["HS256"]}"#), Malformed),
        kind(
            "alg stands twice",
            headed(r#"{"alg":"none","alg":"HS256"}"#),
            Malformed,
        ),
        kind("head is no object", headed(r#""HS256""#), Malformed),
        kind("head by position", headed(r#"["HS256"]"#), Malformed),
        kind(
            "head is empty",
            format!(".{}.", b64(claims().to_string())),
            Malformed,
        ),
    ]);
    kinds
}

/// The server has public keys alone, and the attacker signs with what everybody knows of them.
fn confusion() -> Vec<Kind> {
    let head = json!({"alg": "HS256"});
    let mut kinds = Vec::new();
    for der in spki() {
        let pem = pem(&der);
        for secret in [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            der.as_slice(),
            b64(&der).as_bytes(),
        ] {
            let token = confused(secret, &head);
            kinds.push(of(
                public_only(),
                kind(
                    "a public key as HMAC secret",
                    token.clone(),
                    Refusal::Algorithm,
                ),
            ));
            kinds.push(kind("the same beside a secret", token, Refusal::Signature));
        }
    }
    let jwks = parse_jwks(json!({"keys": jwk("a")}).to_string().as_bytes(), 65_536).expect("a set");
    let named = json!({"alg": "HS256", "kid": "a"});
    let modulus = jwk("a")[0]["n"].as_str().expect("a string").to_owned();
    kinds.push(of(
        shared(jwks.keys),
        kind(
            "a JWK as HMAC secret, by its kid",
            confused(modulus.as_bytes(), &named),
            Refusal::Algorithm,
        ),
    ));
    for (claimed, signed) in [("RS256", "PS256"), ("PS256", "RS256"), ("RS512", "RS256")] {
        let head = json!({"alg": claimed}).to_string();
        let token = raw_token(signed, head.as_bytes(), claims().to_string().as_bytes());
        kinds.push(kind(
            "another padding or hash than alg",
            token,
            Refusal::Signature,
        ));
    }
    let mut only_p384 = public_only();
    only_p384.public = vec![only_p384.public[2].clone()];
    let es256 = token("ES256", &claims());
    kinds.push(of(
        only_p384,
        kind("a curve other than alg's", es256, Refusal::Algorithm),
    ));
    kinds
}

/// The token names the key that it is checked with.
fn injection() -> Vec<Kind> {
    let mine =
        json!({"kty": "oct", "k": b64("attacker attacker attacker attacker"), "alg": "HS256"});
    let secret = b"attacker attacker attacker attacker";
    let mut kinds = Vec::new();
    for (name, head) in [
        ("jwk in the head", json!({"alg": "HS256", "jwk": mine})),
        (
            "jku in the head",
            json!({"alg": "HS256", "jku": "https://attacker.example/jwks"}),
        ),
        (
            "x5u in the head",
            json!({"alg": "HS256", "x5u": "https://attacker.example/c"}),
        ),
        (
            "x5c in the head",
            json!({"alg": "HS256", "x5c": [b64("certificate")]}),
        ),
    ] {
        kinds.push(kind(name, confused(secret, &head), Refusal::Signature));
    }
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "' UNION SELECT 'key' --",
        "one\u{0}",
        "ONE",
        "http://attacker.example/key",
        "|id",
        "",
    ] {
        let head = json!({"alg": "HS256", "kid": kid});
        kinds.push(kind(
            "kid as path, query, URL",
            confused(b"", &head),
            Refusal::UnknownKey,
        ));
        kinds.push(kind(
            "a kid of no key",
            headed(&head.to_string()),
            Refusal::UnknownKey,
        ));
    }
    kinds.extend([
        kind(
            "kid is a number",
            headed(r#"{"alg":"HS256","kid":1}"#),
            Refusal::Malformed,
        ),
        kind(
            "kid stands twice",
            headed(r#"{"alg":"HS256","kid":"x","kid":"one"}"#),
            Refusal::Malformed,
        ),
        kind(
            "kid is huge",
            headed(&json!({"alg": "HS256", "kid": "k".repeat(300)}).to_string()),
            Refusal::Head("the token's kid is too long"),
        ),
    ]);
    kinds
}

fn signatures() -> Vec<Kind> {
    use Refusal::{Malformed, Signature};
    let head = json!({"alg": "HS256"});
    let mut kinds = vec![
        kind(
            "no signature, alg kept",
            unsigned(&head.to_string()),
            Signature,
        ),
        kind("an empty secret", confused(b"", &head), Signature),
        kind(
            "two parts",
            good().rsplit_once('.').expect("parts").0,
            Malformed,
        ),
        kind(
            "a signature of zeros",
            with_signature("HS256", &[0; 32]),
            Signature,
        ),
        kind(
            "zeros for r and s",
            with_signature("ES256", &[0; 64]),
            Signature,
        ),
        kind(
            "zeros for r and s, P-384",
            with_signature("ES384", &[0; 96]),
            Signature,
        ),
        kind("zeros, EdDSA", with_signature("EdDSA", &[0; 64]), Signature),
        kind(
            "one for an RSA signature",
            with_signature("RS256", &[1]),
            Signature,
        ),
        kind(
            "a short prefix of the signature",
            {
                let message = format!(
                    "{}.{}",
                    b64(r#"{"alg":"HS256"}"#),
                    b64(claims().to_string())
                );
                let signature = crate::support::signature("HS256", message.as_bytes());
                format!("{message}.{}", b64(&signature[..16]))
            },
            Signature,
        ),
        kind(
            "an ECDSA signature in DER",
            {
                let message = format!(
                    "{}.{}",
                    b64(r#"{"alg":"ES256"}"#),
                    b64(claims().to_string())
                );
                let signature = crate::support::signature("ES256", message.as_bytes());
                let (r, s) = signature.split_at(32);
                let integer = |n: &[u8]| [&[2, 33, 0], n].concat();
                let der = [vec![0x30, 70], integer(r), integer(s)].concat();
                format!("{message}.{}", b64(der))
            },
            Signature,
        ),
        kind(
            "a larger s of the same residue",
            {
                let message = format!(
                    "{}.{}",
                    b64(r#"{"alg":"EdDSA"}"#),
                    b64(claims().to_string())
                );
                let mut signature = crate::support::signature("EdDSA", message.as_bytes());
                let order = [
                    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde,
                    0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10_u16,
                ];
                let mut carry = 0;
                for (byte, order) in signature[32..].iter_mut().zip(order) {
                    let sum = u16::from(*byte) + order + carry;
                    *byte = sum.to_le_bytes()[0];
                    carry = sum >> 8;
                }
                format!("{message}.{}", b64(signature))
            },
            Signature,
        ),
    ];
    for algorithm in ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        kinds.push(kind(
            "claims changed below the signature",
            with_other_claims(algorithm),
            Signature,
        ));
    }
    kinds.push(kind(
        "signed by another key of the kind",
        {
            confused(
                b"another secret, which is long enough",
                &json!({"alg": "HS256", "kid": "one"}),
            )
        },
        Signature,
    ));
    kinds
}

fn forms() -> Vec<Kind> {
    use Refusal::{Claims, Head, Malformed, Signature, TooLarge};
    let good = good();
    let parts: Vec<&str> = good.split('.').collect();
    let flattened = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]});
    let jwe = b64(r#"{"alg":"dir","enc":"A256GCM","cty":"JWT"}"#);
    let extensions = Head("the token's head has critical extensions");
    let not_plain = Head("encrypted, compressed and nested tokens are not understood");
    let mut kinds = vec![
        kind("empty", "", Malformed),
        kind("dots alone", "..", Malformed),
        kind("very many dots", ".".repeat(4000), Malformed),
        kind("huge", "a".repeat(4097), TooLarge),
        kind(
            "huge with a good beginning",
            format!("{good}{}", "A".repeat(4096)),
            TooLarge,
        ),
        kind(
            "an encrypted token",
            format!("{jwe}....x"),
            Head("encrypted tokens are not understood"),
        ),
        kind(
            "PBES2 with a huge count",
            {
                let head = b64(r#"{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"enc":"A128GCM"}"#);
                format!("{head}.a.b.c.d")
            },
            Head("encrypted tokens are not understood"),
        ),
        kind("JSON serialization", flattened.to_string(), Malformed),
        kind(
            "JSON serialization with several signatures",
            json!({"payload": parts[1], "signatures": [flattened]}).to_string(),
            Malformed,
        ),
        kind("a fourth part", format!("{good}.{}", parts[2]), Malformed),
        kind(
            "an encrypted head in three parts",
            headed(r#"{"alg":"HS256","enc":"A128GCM"}"#),
            not_plain.clone(),
        ),
        kind(
            "a compressed body",
            headed(r#"{"alg":"HS256","zip":"DEF"}"#),
            not_plain.clone(),
        ),
        kind(
            "a token in a token",
            headed(r#"{"alg":"HS256","cty":"JWT"}"#),
            not_plain,
        ),
        kind(
            "an unknown critical extension",
            headed(r#"{"alg":"HS256","crit":["bork"],"bork":1}"#),
            extensions.clone(),
        ),
        kind(
            "an empty list of them",
            headed(r#"{"alg":"HS256","crit":[]}"#),
            extensions.clone(),
        ),
        kind(
            "crit that is no list",
            headed(r#"{"alg":"HS256","crit":"bork"}"#),
            extensions.clone(),
        ),
        kind(
            "a payload that is not encoded",
            headed(r#"{"alg":"HS256","b64":false}"#),
            extensions.clone(),
        ),
        kind(
            "b64, and critical",
            headed(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#),
            extensions.clone(),
        ),
        kind(
            "b64 that is true",
            headed(r#"{"alg":"HS256","b64":true,"crit":["b64"]}"#),
            extensions,
        ),
        kind(
            "a token for something else",
            headed(r#"{"alg":"HS256","typ":"logout+jwt"}"#),
            Head("the token's typ is neither JWT nor at+jwt"),
        ),
        kind(
            "claims are no object",
            raw_token("HS256", br#"{"alg":"HS256"}"#, b"[]"),
            Claims,
        ),
        kind(
            "claims by position",
            raw_token("HS256", br#"{"alg":"HS256"}"#, br#"["admin",1800000600]"#),
            Claims,
        ),
        kind(
            "claims are nothing",
            raw_token("HS256", br#"{"alg":"HS256"}"#, b""),
            Claims,
        ),
        kind(
            "claims are null",
            raw_token("HS256", br#"{"alg":"HS256"}"#, b"null"),
            Claims,
        ),
        kind(
            "claims are no UTF-8",
            raw_token("HS256", br#"{"alg":"HS256"}"#, b"{\"sub\":\"\xff\"}"),
            Claims,
        ),
        kind(
            "something behind the claims",
            {
                let claims = format!("{} {{}}", claims());
                raw_token("HS256", br#"{"alg":"HS256"}"#, claims.as_bytes())
            },
            Claims,
        ),
        kind(
            "claims deeper than the stack",
            {
                let claims = format!("{{\"meta\":{}", "[".repeat(2500));
                raw_token("HS256", br#"{"alg":"HS256"}"#, claims.as_bytes())
            },
            Claims,
        ),
        kind(
            "base64 whose last bits are not 0",
            {
                let (rest, last) = good.split_at(good.len() - 1);
                let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let at = alphabet
                    .iter()
                    .position(|c| [*c] == last.as_bytes())
                    .expect("base64");
                format!("{rest}{}", char::from(alphabet[at ^ 1]))
            },
            Malformed,
        ),
        kind(
            "a signature of one character",
            format!("{}.{}.A", parts[0], parts[1]),
            Malformed,
        ),
        kind("Bearer in front", format!("Bearer {good}"), Malformed),
        kind("characters after the end", format!("{good}AAAA"), Signature),
    ];
    for (before, after) in [
        (" ", ""),
        ("", " "),
        ("", "\n"),
        ("\u{feff}", ""),
        ("", "\0"),
        ("\t", ""),
        ("", "="),
        ("", "=="),
        ("", "%00"),
    ] {
        let padded = format!("{before}{good}{after}");
        kinds.push(kind("space, padding or NUL around it", padded, Malformed));
    }
    for byte in ['+', '/', '=', ' ', '\n'] {
        let inside = format!("{}{byte}.{}.{}", parts[0], parts[1], parts[2]);
        kinds.push(kind(
            "characters of other alphabets inside",
            inside,
            Malformed,
        ));
    }
    kinds
}

#[test]
fn each_kind_of_known_mistake_is_refused() {
    let all = [
        algorithms(),
        confusion(),
        injection(),
        signatures(),
        forms(),
    ];
    let kinds: Vec<Kind> = all.into_iter().flatten().collect();
    let names: std::collections::BTreeSet<&str> = kinds.iter().map(|kind| kind.name).collect();
    assert!(names.len() >= 43, "{} kinds", names.len());
    for Kind {
        name,
        token,
        keys,
        refusal,
    } in kinds
    {
        let shown = String::from_utf8_lossy(&token[..token.len().min(120)]).into_owned();
        let outcome = verify(&token, &keys, &Rules::default(), NOW);
        assert_eq!(outcome, Err(refusal), "{name}: {shown}");
    }
}

/// So that the above is not refused for a reason that refuses everything.
#[test]
fn each_algorithm_is_accepted_with_its_key() {
    let jwks = parse_jwks(json!({"keys": jwk("a")}).to_string().as_bytes(), 65_536).expect("a set");
    let jwks = shared(jwks.keys);
    for algorithm in [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "EdDSA",
    ] {
        let token = token(algorithm, &claims());
        let verified = verify(token.as_bytes(), all(), &Rules::default(), NOW);
        let verified = verified.unwrap_or_else(|refusal| panic!("{algorithm}: {refusal}"));
        assert_eq!(&*verified.user, "alice");
        // The RSA key of the set is for RS256 alone; secrets are in none.
        let outcome = verify(token.as_bytes(), &jwks, &Rules::default(), NOW);
        let is_in_set = matches!(algorithm, "RS256" | "ES256" | "ES384" | "EdDSA");
        assert_eq!(outcome.is_ok(), is_in_set, "{algorithm}: {outcome:?}");
    }
    for head in [
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"jwt"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"one"}"#,
        r#"{"alg":"HS256","typ":"application/at+JWT","x5t":"abc","foo":{"bar":[1]}}"#,
    ] {
        let outcome = verify(headed(head).as_bytes(), all(), &Rules::default(), NOW);
        assert!(outcome.is_ok(), "{head}: {outcome:?}");
    }
    assert_eq!(keys().rsa.public_modulus_len(), 256);
}

/// A short secret cannot be used with a longer hash (RFC 7518 §3.2).
#[test]
fn a_secret_is_used_with_hashes_that_are_no_longer() {
    for (bytes, allowed) in [(32, 1), (47, 1), (48, 2), (63, 2), (64, 3)] {
        let secret = &SECRET[..bytes];
        let keys = KeySet {
            secrets: parse_secrets(&format!("one {secret}"))
                .expect("a line")
                .keys,
            ..KeySet::default()
        };
        for (at, (name, algorithm)) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ]
        .into_iter()
        .enumerate()
        {
            let message = format!(
                "{}.{}",
                b64(json!({"alg": name}).to_string()),
                b64(claims().to_string())
            );
            let signature = sign_hmac(algorithm, secret.as_bytes(), message.as_bytes());
            let token = format!("{message}.{}", b64(signature));
            let outcome = verify(token.as_bytes(), &keys, &Rules::default(), NOW);
            match at < allowed {
                true => assert!(outcome.is_ok(), "{name} with {bytes} bytes: {outcome:?}"),
                false => assert_eq!(
                    outcome,
                    Err(Refusal::Algorithm),
                    "{name} with {bytes} bytes"
                ),
            }
        }
    }
}
