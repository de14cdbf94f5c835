//! What holds for any bytes, and the corpus of the fuzz targets.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use roost_tokens::fuzz;

proptest! {
    #[test]
    fn any_bytes_are_a_token_or_refused(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz::token(&data);
    }

    #[test]
    fn any_claims_are_read_or_refused(
        choice in any::<u8>(),
        members in prop::collection::vec((name(), value()), 0..6),
    ) {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let mut data = vec![choice | 1];
        data.extend_from_slice(format!("{{{}}}", members.join(",")).as_bytes());
        fuzz::token(&data);
    }

    #[test]
    fn any_bytes_are_a_set_of_keys_or_refused(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz::jwks(&data);
    }
}

fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "sub",
        "exp",
        "nbf",
        "iat",
        "jti",
        "aud",
        "iss",
        "caps",
        "expire_at",
        "channels",
        "subs",
        "info",
    ]);
    prop_oneof![9 => known.prop_map(str::to_owned), 1 => "[a-z]{1,8}"]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (1_799_999_900_u64..1_800_100_000).prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        "[a-z:*]{0,12}".prop_map(|text| format!("\"{text}\"")),
        Just(r#"[{"channels":["a:*"],"match":"wildcard","allow":["sub"]}]"#.to_owned()),
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
    ]
}

#[test]
fn the_corpus_still_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (folder, check) in [("token", fuzz::token as fn(&[u8])), ("jwks", fuzz::jwks)] {
        let mut files = 0;
        for entry in fs::read_dir(corpus.join(folder)).expect("the corpus") {
            let path = entry.expect("an entry").path();
            check(&fs::read(&path).expect("a file"));
            files += 1;
        }
        assert!(files > 0, "{folder} is empty");
    }
}
