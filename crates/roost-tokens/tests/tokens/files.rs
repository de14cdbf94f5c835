//! Files of secrets and of public keys.

use roost_access::Secret;
use roost_tokens::{KeyKind, Rules, parse_hash, parse_public_keys, parse_secrets, verify};
use serde_json::json;

use crate::support::{NOW, SECRET, pem, spki};

#[test]
fn the_first_secret_signs_and_all_verify() {
    let text = format!("# rotated in May\n\nnew {SECRET}x\n old\t{SECRET}\r\n");
    let secrets = parse_secrets(&text).expect("a correct file");
    let set = roost_tokens::KeySet {
        secrets: secrets.keys.clone(),
        ..Default::default()
    };
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let token = secrets.signer.sign(&claims);
    let verified = verify(token.expose(), &set, &Rules::default(), NOW).expect("signed just now");
    assert_eq!(verified.key, Some(secrets.keys[0].print()));
    let old = parse_secrets(&format!("old {SECRET}")).expect("a correct file");
    let token = old.signer.sign(&claims);
    let verified = verify(token.expose(), &set, &Rules::default(), NOW).expect("the old one");
    assert_eq!(verified.key, Some(secrets.keys[1].print()));
}

#[test]
fn a_mistake_in_a_file_of_secrets_is_named_without_the_secret() {
    let seventeen: String = (0..17).map(|n| format!("k{n} {SECRET}\n")).collect();
    for (text, line, part) in [
        (String::new(), 0, "no secret"),
        ("# nothing\n".to_owned(), 0, "no secret"),
        (SECRET.to_owned(), 1, "a space"),
        (
            format!("a {SECRET}\nb short-secret"),
            2,
            "fewer than 32 bytes",
        ),
        (format!("a {SECRET}\na {SECRET}"), 2, "another line"),
        (
            format!("{} {SECRET}", "k".repeat(257)),
            1,
            "at most 256 bytes",
        ),
        (
            "a -----BEGIN PUBLIC KEY-----".to_owned(),
            1,
            "public_keys_file",
        ),
        (seventeen, 17, "at most 16"),
    ] {
        let error = parse_secrets(&text).expect_err(&text);
        assert_eq!(error.line, line, "{error}");
        let said = error.to_string();
        assert!(said.contains(part), "{said}");
        assert!(
            !said.contains(SECRET) && !said.contains("short-secret"),
            "{said}"
        );
    }
}

#[test]
fn public_keys_are_told_apart_by_what_they_are() {
    let all: String = spki().iter().map(|der| pem(der)).collect();
    let text = format!("of the shop\n{all}");
    let keys = parse_public_keys(text.as_bytes()).expect("four keys");
    let kinds: Vec<KeyKind> = keys.iter().map(|key| key.kind()).collect();
    use KeyKind::{Ed25519, P256, P384, Rsa};
    assert_eq!(kinds, [Rsa, P256, P384, Ed25519]);
}

#[test]
fn what_is_no_public_key_is_refused() {
    let [rsa, ..] = spki();
    let good = pem(&rsa);
    let seventeen = good.repeat(17);
    let renamed = |name: &str| good.replace("PUBLIC KEY", name);
    let broken = {
        let mut der = rsa.clone();
        der[30] ^= 0xff;
        der.truncate(200);
        pem(&der)
    };
    for (text, part) in [
        (String::new(), "no section PUBLIC KEY"),
        ("nothing".to_owned(), "no section PUBLIC KEY"),
        (renamed("PRIVATE KEY"), "a private key stands here"),
        (renamed("EC PRIVATE KEY"), "a private key stands here"),
        (renamed("CERTIFICATE"), "x509"),
        (
            format!("{good}{}", renamed("RSA PUBLIC KEY")),
            "RSA PUBLIC KEY",
        ),
        (broken, "cannot be used"),
        (
            good.replace("-----END PUBLIC KEY-----", ""),
            "cannot be read",
        ),
        (seventeen, "at most 16"),
    ] {
        let error = parse_public_keys(text.as_bytes()).expect_err(&text);
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn a_secret_cannot_be_printed() {
    let secret = Secret::from(SECRET.to_owned());
    let parsed = parse_secrets(&format!("one {SECRET}")).expect("a correct file");
    let shown = format!("{secret:?} {secret:#?} {parsed:?} {parsed:#?}");
    assert!(!shown.contains(&SECRET[..8]), "{shown}");
    // Nor as the numbers of its bytes.
    let numbers = format!("{:?}", &SECRET.as_bytes()[..4]);
    assert!(!shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
}

#[test]
fn hashes_of_static_tokens_are_64_digits() {
    let hash = parse_hash(&"0aF1".repeat(16)).expect("a hash");
    assert_eq!(hash[..4], [0x0a, 0xf1, 0x0a, 0xf1]);
    for bad in [
        "",
        "0a",
        &"0".repeat(63),
        &"0".repeat(65),
        &"+1".repeat(32),
        &"g1".repeat(32),
        &"é".repeat(32),
    ] {
        assert_eq!(parse_hash(bad), None, "{bad}");
    }
}
