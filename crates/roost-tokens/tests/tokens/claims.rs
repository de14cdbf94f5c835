//! Claims of tokens whose signature is good.

use roost_access::{Operation, PatternRef};
use roost_tokens::{Refusal, Rules};
use serde_json::json;

use crate::support::{NOW, check_claims, with};

/// Values of a time that are none.
const NO_TIMES: [&str; 14] = [
    "\"1800000600\"",
    "1800000600.5",
    "1.8000006e9",
    "-1",
    "-1800000600",
    "1e400",
    "1e18",
    "18446744073709551616",
    "253402300800",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
];

#[test]
fn a_time_that_is_no_whole_number_refuses_the_token() {
    for claim in ["exp", "nbf", "iat", "expire_at"] {
        for value in NO_TIMES {
            for is_expiry_required in [true, false] {
                let rules = Rules {
                    is_expiry_required,
                    ..Rules::default()
                };
                let outcome = check_claims(&with(claim, value), &rules);
                assert_eq!(outcome, Err(Refusal::Claims), "{claim}: {value}");
            }
        }
    }
}

#[test]
fn a_claim_with_another_type_refuses_the_token() {
    for (claim, values) in [
        ("sub", ["1", "null", "[\"alice\"]", "{}"]),
        ("iss", ["1", "null", "[\"us\"]", "{}"]),
        ("jti", ["1", "null", "[]", "{}"]),
        ("aud", ["1", "null", "[1]", "{\"us\":1}"]),
        ("caps", ["1", "\"x\"", "[1]", "{}"]),
        ("channels", ["1", "\"x\"", "[1]", "{}"]),
        ("subs", ["1", "\"x\"", "[1]", "true"]),
        ("b64info", ["1", "[]", "{}", "true"]),
    ] {
        for value in values {
            let rules = Rules {
                audience: None,
                ..Rules::default()
            };
            let outcome = check_claims(&with(claim, value), &rules);
            assert_eq!(outcome, Err(Refusal::Claims), "{claim}: {value}");
        }
    }
}

#[test]
fn a_claim_that_stands_twice_refuses_the_token() {
    for (claim, first, second) in [
        ("sub", "\"bob\"", "\"alice\""),
        ("exp", "1", "1800000600"),
        ("nbf", "1", "2"),
        ("iat", "1", "2"),
        ("aud", "\"a\"", "\"b\""),
        ("iss", "\"a\"", "\"b\""),
        ("jti", "\"a\"", "\"b\""),
        ("expire_at", "0", "1800000600"),
        ("caps", "[]", "[]"),
    ] {
        let once = with(claim, first);
        let twice = format!("{},\"{claim}\":{second}}}", &once[..once.len() - 1]);
        let outcome = check_claims(&twice, &Rules::default());
        assert_eq!(outcome, Err(Refusal::Claims), "{twice}");
    }
    // The same name in other letters of JSON is the same name.
    let hidden = format!(r#"{{"sub":"bob","s\u0075b":"alice","exp":{}}}"#, NOW + 600);
    assert_eq!(
        check_claims(&hidden, &Rules::default()),
        Err(Refusal::Claims)
    );
}

#[test]
fn times_are_held_to_the_second() {
    let rules = Rules::default(); // leeway 10 s, lifetime 24 h
    let day = 24 * 3600;
    for (claims, outcome) in [
        (json!({"exp": NOW - 9}), Ok(())),
        (json!({"exp": NOW - 10}), Err(Refusal::Expired)),
        (json!({"exp": 0}), Err(Refusal::Expired)),
        (json!({"exp": NOW + 60, "nbf": NOW + 10}), Ok(())),
        (
            json!({"exp": NOW + 60, "nbf": NOW + 11}),
            Err(Refusal::NotYet),
        ),
        (
            json!({"exp": NOW + 60, "iat": NOW + 11}),
            Err(Refusal::NotYet),
        ),
        (json!({"exp": NOW + day}), Ok(())),
        (json!({"exp": NOW + day + 1}), Err(Refusal::Lifetime)),
        (json!({"exp": NOW + 60, "iat": NOW + 60 - day}), Ok(())),
        (
            json!({"exp": NOW + 60, "iat": NOW + 59 - day}),
            Err(Refusal::Lifetime),
        ),
        (
            json!({"exp": NOW + day + 9, "iat": NOW + 9}),
            Err(Refusal::Lifetime),
        ),
        (json!({"exp": NOW + 60, "expire_at": NOW - 9}), Ok(())),
        (
            json!({"exp": NOW + 60, "expire_at": NOW - 10}),
            Err(Refusal::Expired),
        ),
        (json!({}), Err(Refusal::Claim("the token has no exp"))),
    ] {
        let mut claims = claims;
        claims["sub"] = json!("alice");
        let checked = check_claims(&claims.to_string(), &rules).map(drop);
        assert_eq!(checked, outcome, "{claims}");
    }
}

#[test]
fn a_connection_ends_with_its_token_or_when_expire_at_says() {
    let day = 24 * 3600;
    let ends = |claims: serde_json::Value, rules: &Rules| {
        let mut claims = claims;
        claims["sub"] = json!("alice");
        let verified = check_claims(&claims.to_string(), rules).expect("a good token");
        verified.expires_at
    };
    let rules = Rules::default();
    let unlimited = Rules {
        lifetime_max_secs: 0,
        ..Rules::default()
    };
    let lax = Rules {
        is_expiry_required: false,
        ..Rules::default()
    };
    let exp = json!({"exp": NOW + 60});
    assert_eq!(ends(exp.clone(), &rules), Some(NOW + 70));
    let expire_at = |at: u64| json!({"exp": NOW + 60, "expire_at": at});
    assert_eq!(ends(expire_at(NOW + 3600), &rules), Some(NOW + 3610));
    assert_eq!(ends(expire_at(NOW + 30), &rules), Some(NOW + 40));
    // Nothing lives for longer than lifetime_max after it was checked.
    assert_eq!(ends(expire_at(0), &rules), Some(NOW + day + 10));
    assert_eq!(
        ends(expire_at(NOW + 10 * day), &rules),
        Some(NOW + day + 10)
    );
    assert_eq!(ends(expire_at(0), &unlimited), None);
    assert_eq!(ends(json!({}), &lax), None);
}

#[test]
fn audience_and_issuer_are_whole_strings() {
    let rules = Rules {
        audience: Some("chat".to_owned()),
        issuer: Some("https://id.example/".to_owned()),
        ..Rules::default()
    };
    let check = |aud: &str, iss: &str| {
        let member = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!(",\"{name}\":{value}"),
        };
        let (aud, iss) = (member("aud", aud), member("iss", iss));
        let claims = format!(r#"{{"sub":"alice","exp":{}{aud}{iss}}}"#, NOW + 60);
        check_claims(&claims, &rules).map(drop)
    };
    let iss = "\"https://id.example/\"";
    assert_eq!(check("\"chat\"", iss), Ok(()));
    assert_eq!(check("[\"other\",\"chat\"]", iss), Ok(()));
    for aud in [
        "",
        "\"cha\"",
        "\"chat2\"",
        "\"Chat\"",
        "\"chat \"",
        "\"\"",
        "[]",
        "[\"other\"]",
        "\"other,chat\"",
    ] {
        assert_eq!(check(aud, iss), Err(Refusal::Audience), "{aud}");
    }
    for iss in [
        "",
        "\"https://id.example\"",
        "\"https://id.example/x\"",
        "\"\"",
        "\"https://ID.example/\"",
    ] {
        assert_eq!(check("\"chat\"", iss), Err(Refusal::Issuer), "{iss}");
    }
    // RFC 7519 §4.1.3: a token that names an audience is not for a server that is none.
    let for_another = with("aud", "\"another\"");
    assert_eq!(
        check_claims(&for_another, &Rules::default()),
        Err(Refusal::Audience)
    );
}

#[test]
fn users_are_named_and_names_are_bounded() {
    let rules = Rules::default();
    let user = |sub: &str| check_claims(&with("sub", sub), &rules).map(|verified| verified.user);
    assert_eq!(
        user("\"\"").as_deref(),
        Ok(""),
        "a client without an account"
    );
    assert_eq!(user("\"Łucja 😀\"").as_deref(), Ok("Łucja 😀"));
    let longest = format!("\"{}\"", "u".repeat(255));
    assert!(user(&longest).is_ok());
    let reason =
        Refusal::Claim("the token's sub or jti is longer than 255 bytes or has control characters");
    let long = format!("\"{}\"", "u".repeat(256));
    for bad in [
        long.as_str(),
        r#""a\u0000b""#,
        r#""a\nb""#,
        r#""\u001b[2J""#,
    ] {
        assert_eq!(user(bad), Err(reason.clone()), "{bad}");
    }
    let none = format!(r#"{{"exp":{}}}"#, NOW + 60);
    assert_eq!(
        check_claims(&none, &rules),
        Err(Refusal::Claim("the token has no sub"))
    );
    assert_eq!(
        check_claims(&with("channel", "[\"news\"]"), &rules),
        Err(Refusal::Claims)
    );
}

#[test]
fn capabilities_are_read_and_bounded() {
    let rules = Rules::default();
    let caps =
        |caps: &str| check_claims(&with("caps", caps), &rules).map(|verified| verified.permissions);
    let set = caps(
        r#"[{"channels":["news","a:b"],"allow":["sub","hst"]},{"channels":["chat:*","x"],"match":"wildcard","allow":["pub","prs"]}]"#,
    )
    .expect("good ones");
    let allows = |operation, name| set.find(operation, PatternRef::name(name)).is_some();
    for (name, subscribe, publish) in [
        ("news", true, false),
        ("news2", false, false),
        ("a:b", true, false),
        ("a", false, false),
        ("chat:", false, true),
        ("chat:1", false, true),
        ("chat", false, false),
        ("x", false, true),
        ("*", false, false),
    ] {
        assert_eq!(allows(Operation::Subscribe, name), subscribe, "{name}");
        assert_eq!(allows(Operation::Publish, name), publish, "{name}");
        assert!(
            !allows(Operation::Call, name) && !allows(Operation::Register, name),
            "{name}"
        );
    }
    // Without wildcards a star is a star.
    let set = caps(r#"[{"channels":["*"],"allow":["sub"]}]"#).expect("a name");
    assert!(
        set.find(Operation::Subscribe, PatternRef::name("*"))
            .is_some()
    );
    assert!(
        set.find(Operation::Subscribe, PatternRef::name("news"))
            .is_none()
    );
    assert!(caps("null").is_ok());
    let many = vec![r#"{"channels":["x"],"allow":["sub"]}"#; 65].join(",");
    let names = format!(
        "[{{\"channels\":[{}],\"allow\":[]}}]",
        vec!["\"x\""; 257].join(",")
    );
    for bad in [
        r#"[{"channels":["x"],"match":"regex","allow":["sub"]}]"#.to_owned(),
        r#"[{"channels":["x"],"match":"Exact","allow":["sub"]}]"#.to_owned(),
        r#"[{"channels":["x"],"allow":["subscribe"]}]"#.to_owned(),
        r#"[{"channels":["x"],"allow":["sub","*"]}]"#.to_owned(),
        r#"[{"channels":["a*b"],"match":"wildcard","allow":["sub"]}]"#.to_owned(),
        r#"[{"channels":["**"],"match":"wildcard","allow":["sub"]}]"#.to_owned(),
        r#"[["x"]]"#.to_owned(),
        format!("[{many}]"),
        names,
    ] {
        assert!(
            matches!(caps(&bad), Err(Refusal::Claim(_) | Refusal::Claims)),
            "{bad}"
        );
    }
}

#[test]
fn what_is_said_of_a_client_is_kept_as_it_stands_and_bounded() {
    let info = |value: &str| {
        let verified = check_claims(&with("info", value), &Rules::default());
        verified.map(|verified| verified.permissions.info().map(|info| info.to_string()))
    };
    for value in [r#"{"name": "A", "n":[1,{}]}"#, "7", "\"x\"", "[]", "false"] {
        assert_eq!(info(value), Ok(Some(value.to_owned())));
    }
    assert_eq!(info("null"), Ok(None));
    let of = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    assert_eq!(info(&of(1024)), Ok(Some(of(1024))));
    let refused = Refusal::Claim("info is longer than 1024 bytes");
    assert_eq!(info(&of(1025)), Err(refused));
}
