//! JWK Sets, and which of their keys a token is checked with.

use roost_tokens::{JwksError, KeyKind, Refusal, Rules, parse_jwks, parse_public_keys, verify};
use serde_json::{Value, json};

use crate::support::{NOW, b64, claims, jwk, pem, raw_token, shared};

const BYTES_MAX: usize = 64 << 10;

fn parse(keys: &[Value]) -> Result<roost_tokens::Jwks, JwksError> {
    parse_jwks(json!({ "keys": keys }).to_string().as_bytes(), BYTES_MAX)
}

fn changed(which: usize, member: &str, value: Value) -> Value {
    let mut key = jwk("a")[which].clone();
    key[member] = value;
    key
}

#[test]
fn keys_that_cannot_verify_are_skipped_and_counted() {
    let weak = b64([&[0xc3][..], &[7; 127]].concat()); // 1024 bits
    let huge = b64([&[0xc3][..], &[7; 1099]].concat());
    let off_curve = b64([5; 32]);
    let bad = [
        json!({"kty": "oct", "kid": "a", "k": b64([1; 32]), "alg": "HS256"}),
        json!({"kty": "RSA", "kid": "a", "n": b64([0xc3; 256]), "e": "AQAB", "alg": "HS256"}),
        json!({"kty": "AKP", "kid": "a", "pub": "AQAB"}),
        json!({"kid": "no kty"}),
        json!("no object"),
        changed(0, "n", json!(weak)),
        changed(0, "n", json!(huge)),
        changed(0, "e", json!("AQ")),
        changed(0, "e", json!("Ag")),
        changed(0, "n", json!("not+base64")),
        changed(0, "use", json!("enc")),
        changed(0, "key_ops", json!(["encrypt"])),
        changed(0, "alg", json!("RSA-OAEP")),
        changed(0, "d", json!("AQAB")),
        changed(0, "kid", json!("k".repeat(300))),
        changed(0, "kid", json!(7)),
        changed(0, "crv", json!("P-256")),
        changed(1, "alg", json!("ES384")),
        changed(1, "y", json!(off_curve)),
        changed(1, "x", json!(b64([5; 31]))),
        changed(1, "crv", json!("P-384")),
        changed(1, "crv", json!("secp256k1")),
        changed(3, "crv", json!("Ed448")),
        changed(3, "x", json!(b64([5; 33]))),
    ];
    for key in &bad {
        let alone = parse(std::slice::from_ref(key)).map(|set| set.keys.len());
        assert_eq!(alone, Err(JwksError::Empty), "{key}");
    }
    let all = [&bad[..], &jwk("good")].concat();
    let set = parse(&all).expect("four are good");
    assert_eq!((set.keys.len(), set.skipped), (4, bad.len()));
    let kinds: Vec<KeyKind> = set.keys.iter().map(|key| key.kind()).collect();
    use KeyKind::{Ed25519, P256, P384, Rsa};
    assert_eq!(kinds, [Rsa, P256, P384, Ed25519]);
}

#[test]
fn a_kid_is_of_one_key_of_a_kind() {
    let set = parse(&[jwk("a"), jwk("a")].concat()).expect("a set");
    assert_eq!((set.keys.len(), set.skipped), (4, 4));
}

#[test]
fn a_document_that_is_none_or_too_large_is_refused() {
    for document in [
        "",
        "null",
        "[]",
        "{}",
        "<html>",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[],"keys":[]}"#,
        "{\"keys\":[\"\\ud800\"",
        "\u{feff}{\"keys\":[]}",
    ] {
        let outcome = parse_jwks(document.as_bytes(), BYTES_MAX).map(drop);
        assert_eq!(outcome, Err(JwksError::Malformed), "{document}");
    }
    assert_eq!(parse(&[]).map(drop), Err(JwksError::Empty));
    let many: Vec<Value> = (0..101).map(|n| jwk(&n.to_string())[3].clone()).collect();
    assert_eq!(parse(&many).map(drop), Err(JwksError::TooMany));
    assert!(parse(&many[1..]).is_ok());
    let large = vec![b' '; BYTES_MAX + 1];
    assert_eq!(
        parse_jwks(&large, BYTES_MAX).map(drop),
        Err(JwksError::TooLarge)
    );
    let deep = format!("{{\"keys\":{}", "[".repeat(10_000));
    assert_eq!(
        parse_jwks(deep.as_bytes(), BYTES_MAX).map(drop),
        Err(JwksError::Malformed)
    );
}

/// An issuer that rotates its keys beside keys of a file: the file's can never have signed it.
#[test]
fn keys_of_a_file_do_not_keep_the_jwks_from_being_asked() {
    let mut keys = shared(parse(&[jwk("a")[1].clone()]).expect("a set").keys);
    let [_, _, _, ed] = crate::support::spki();
    keys.public = parse_public_keys(pem(&ed).as_bytes()).expect("a key");
    let check = |head: &Value, claims: &str, signature: &str| {
        let token = raw_token("EdDSA", head.to_string().as_bytes(), claims.as_bytes());
        let signed = token.rsplit_once('.').expect("three parts").0;
        let token = match signature {
            "good" => token.clone(),
            other => format!("{signed}.{other}"),
        };
        verify(token.as_bytes(), &keys, &Rules::default(), NOW).map(drop)
    };
    let (claims, bad) = (claims().to_string(), b64([7; 64]));
    let named = json!({"alg": "EdDSA", "kid": "new"});
    let refusal = Err(Refusal::MaybeInJwks("new".into()));
    assert_eq!(check(&named, &claims, &bad), refusal);
    assert_eq!(check(&named, &claims, "good"), Ok(()));
    // Without a kid the set has nothing to add.
    let unnamed = json!({"alg": "EdDSA"});
    assert_eq!(check(&unnamed, &claims, &bad), Err(Refusal::Signature));
}

#[test]
fn a_token_is_checked_with_the_key_that_it_names() {
    let two = [jwk("a")[3].clone(), jwk("b")[1].clone()];
    let keys = shared(parse(&two).expect("a set").keys);
    let check = |algorithm: &str, kid: Option<&str>| {
        let head = match kid {
            Some(kid) => json!({"alg": algorithm, "kid": kid}),
            None => json!({"alg": algorithm}),
        };
        let token = raw_token(
            algorithm,
            head.to_string().as_bytes(),
            claims().to_string().as_bytes(),
        );
        verify(token.as_bytes(), &keys, &Rules::default(), NOW).map(drop)
    };
    assert_eq!(check("EdDSA", Some("a")), Ok(()));
    assert_eq!(check("ES256", Some("b")), Ok(()));
    assert_eq!(
        check("EdDSA", Some("b")),
        Err(Refusal::MaybeInJwks("b".into()))
    );
    assert_eq!(
        check("EdDSA", Some("c")),
        Err(Refusal::MaybeInJwks("c".into()))
    );
    // Without a kid, if it could be only one.
    assert_eq!(check("EdDSA", None), Ok(()));
    assert_eq!(check("ES384", None), Err(Refusal::Algorithm));
    // What no JWKS can make good is not asked for.
    assert_eq!(check("HS256", Some("a")), Err(Refusal::Algorithm));
    let rsa = [jwk("a")[0].clone(), jwk("b")[0].clone()];
    let keys = shared(parse(&rsa).expect("a set").keys);
    let token = crate::support::token("RS256", &claims());
    let outcome = verify(token.as_bytes(), &keys, &Rules::default(), NOW);
    assert_eq!(outcome, Err(Refusal::AmbiguousKey));
}
