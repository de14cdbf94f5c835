//! Many tokens: each distinct one is checked once, as long as its key is there.

use roost_access::{Operation, PatternRef};
use roost_tokens::{Checker, KeySet, Refusal, Rules, StaticTokens, hash, parse_allow, parse_jwks};
use serde_json::json;

use crate::support::{NOW, all, claims, jwk, raw_token, token};

const CACHE_BYTES: usize = 1 << 20;

fn checker(keys: KeySet) -> Checker {
    Checker::new(Rules::default(), StaticTokens::default(), keys, CACHE_BYTES)
}

#[test]
fn a_storm_of_equal_tokens_is_one_check() {
    let mut checker = checker(all().clone());
    let token = token("RS256", &claims());
    for _ in 0..10_000 {
        let verified = checker.check(token.as_bytes(), NOW).expect("a good token");
        assert_eq!(&*verified.user, "alice");
    }
    let counts = checker.counts();
    assert_eq!(
        (counts.hashed, counts.checked, counts.known),
        (10_000, 1, 9_999)
    );
    assert_eq!(checker.remembered().0, 1);
}

#[test]
fn a_remembered_token_expires_with_the_token() {
    let mut checker = checker(all().clone());
    let token = token("HS256", &json!({"sub": "alice", "exp": NOW + 60}));
    assert!(checker.check(token.as_bytes(), NOW).is_ok());
    assert!(checker.check(token.as_bytes(), NOW + 69).is_ok());
    let outcome = checker.check(token.as_bytes(), NOW + 70);
    assert_eq!(outcome, Err(Refusal::Expired));
    assert_eq!(checker.remembered(), (0, 0));
}

/// Whichever comes first: the token's end, or that of the connections that it opens.
#[test]
fn a_remembered_token_opens_nothing_once_its_connections_would_be_over() {
    for (exp, expire_at) in [
        (NOW + 3_600, NOW + 60),
        (NOW + 60, NOW + 3_600),
        (NOW + 60, 0),
    ] {
        let mut checker = checker(all().clone());
        let claims = json!({"sub": "alice", "exp": exp, "expire_at": expire_at});
        let token = token("HS256", &claims);
        for now in [NOW, NOW + 69] {
            assert!(checker.check(token.as_bytes(), now).is_ok(), "{claims}");
        }
        assert_eq!(checker.counts().known, 1, "{claims}");
        let outcome = checker.check(token.as_bytes(), NOW + 70);
        assert_eq!(outcome, Err(Refusal::Expired), "{claims}");
    }
}

#[test]
fn a_token_is_not_taken_for_another_with_the_same_beginning_or_end() {
    let mut checker = checker(all().clone());
    let good = token("HS256", &claims());
    assert!(checker.check(good.as_bytes(), NOW).is_ok());
    for at in 0..good.len() {
        let mut other = good.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        assert!(checker.check(&other, NOW).is_err(), "changed at {at}");
    }
    assert_eq!(
        checker.remembered().0,
        1,
        "a refused token is not remembered"
    );
}

#[test]
fn tokens_of_a_key_that_is_gone_are_forgotten() {
    let set = |kid: &str| {
        let document = json!({"keys": [jwk(kid)[3]]}).to_string();
        parse_jwks(document.as_bytes(), 65_536).expect("a set").keys
    };
    let keys = KeySet {
        jwks: set("a"),
        has_jwks: true,
        ..all().clone()
    };
    let keys = KeySet {
        public: Vec::new(),
        ..keys
    };
    let mut checker = checker(keys);
    let head = json!({"alg": "EdDSA", "kid": "a"}).to_string();
    let of_jwks = raw_token("EdDSA", head.as_bytes(), claims().to_string().as_bytes());
    let of_secret = token("HS256", &claims());
    assert!(checker.check(of_jwks.as_bytes(), NOW).is_ok());
    assert!(checker.check(of_secret.as_bytes(), NOW).is_ok());
    // The same key once more: nothing is checked anew.
    checker.set_jwks(set("a"));
    assert!(checker.check(of_jwks.as_bytes(), NOW).is_ok());
    assert_eq!(checker.counts().checked, 2);
    checker.set_jwks(Vec::new());
    let outcome = checker.check(of_jwks.as_bytes(), NOW);
    assert_eq!(outcome, Err(Refusal::MaybeInJwks("a".into())));
    assert!(checker.check(of_secret.as_bytes(), NOW).is_ok());
    assert_eq!(
        checker.counts().checked,
        3,
        "the other key's token is remembered"
    );
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_used_stays() {
    let mut checker = Checker::new(
        Rules::default(),
        StaticTokens::default(),
        all().clone(),
        64 << 10,
    );
    let favourite = token("HS256", &claims());
    assert!(checker.check(favourite.as_bytes(), NOW).is_ok());
    for n in 0..1_000 {
        let other = token("HS256", &json!({"sub": n.to_string(), "exp": NOW + 60}));
        assert!(checker.check(other.as_bytes(), NOW).is_ok());
        assert!(checker.check(favourite.as_bytes(), NOW).is_ok());
        assert!(
            checker.remembered().1 <= 64 << 10,
            "{:?}",
            checker.remembered()
        );
    }
    assert_eq!(checker.counts().checked, 1_001);
    assert!(checker.remembered().0 >= 50, "{:?}", checker.remembered());
}

/// A channel that is four bytes of a token becomes a permission of sixty.
#[test]
fn permissions_count_among_what_is_remembered() {
    let mut checker = checker(all().clone());
    let channels: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    let caps = json!([{"channels": channels, "allow": ["sub"]}]);
    let token = token("HS256", &json!({"sub": "a", "exp": NOW + 60, "caps": caps}));
    assert!(checker.check(token.as_bytes(), NOW).is_ok());
    let (_, bytes) = checker.remembered();
    assert!(bytes > token.len() + 250 * 40, "{bytes}");
}

#[test]
fn static_tokens_are_known_by_their_hash() {
    let mut statics = StaticTokens::default();
    let allow = parse_allow("sub:status:*").expect("a permission");
    assert!(statics.add(hash(b"probe's token"), "probe", vec![allow]));
    let mut twice = statics.clone();
    assert!(!twice.add(hash(b"probe's token"), "again", Vec::new()));
    let mut checker = Checker::new(Rules::default(), statics, KeySet::default(), CACHE_BYTES);
    let verified = checker.check(b"probe's token", NOW);
    let verified = verified.expect("it is known");
    assert_eq!(&*verified.user, "probe");
    let may = |operation, name| {
        let asked = PatternRef::name(name);
        verified.permissions.find(operation, asked).is_some()
    };
    assert!(may(Operation::Subscribe, "status:1") && !may(Operation::Subscribe, "status"));
    assert!(!may(Operation::Publish, "status:1"));
    for bad in ["", "sub", "sub:", "subscribe:a", "sub:a*b", "*:a", "hst:a"] {
        assert_eq!(parse_allow(bad), None, "{bad}");
    }
    for other in [
        &b"probe's toke"[..],
        b"probe's token ",
        b"",
        b"PROBE'S TOKEN",
    ] {
        assert_eq!(checker.check(other, NOW), Err(Refusal::Malformed));
    }
}

#[test]
fn a_token_for_a_subscription_opens_no_connection_and_the_other_way_round() {
    let mut checker = checker(all().clone());
    let of_connection = token("HS256", &claims());
    let mut named = claims();
    named["channel"] = json!("news");
    let of_channel = token("HS256", &named);
    for _ in 0..2 {
        // The second time both are remembered.
        let mut is_good =
            |token: &str, channel| checker.check_for(token.as_bytes(), channel, NOW).is_ok();
        assert!(is_good(&of_connection, None) && !is_good(&of_connection, Some("news")));
        assert!(is_good(&of_channel, Some("news")) && !is_good(&of_channel, None));
        assert!(!is_good(&of_channel, Some("new")) && !is_good(&of_channel, Some("")));
        assert!(checker.check(of_channel.as_bytes(), NOW).is_err());
    }
}
