//! `[api]`: addresses, keys, and what they allow.

use roost_config::{ApiKeySource, ApiScope, ChannelPattern, parse};

const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn mistakes(text: &str) -> String {
    match parse(text, "a.toml") {
        Ok(loaded) => panic!("no mistake: {:?}", loaded.settings.api),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn keys_are_read_with_their_scopes() {
    let text = format!(
        "[api]\nlisten = [\"127.0.0.1:8081\", \"unix:/run/api.sock\"]\n\
         [[api.key]]\nname = \"shop\"\nsha256 = \"{SHA256}\"\n\
         allow = [\"publish:order:*\", \"publish:news\"]\n\
         [[api.key]]\nname = \"all\"\nkey_file = \"all.key\"\n\
         allow = [\"publish\", \"read\", \"disconnect\", \"subscribe\", \"revoke\", \"refresh\", \"history\", \"presence\"]\n"
    );
    let loaded = parse(&text, "/etc/roost/a.toml").expect("no mistake");
    let api = &loaded.settings.api;
    assert_eq!(api.listen.len(), 2);
    assert_eq!(api.key[0].source, ApiKeySource::Sha256(SHA256.to_owned()));
    let prefix = ChannelPattern::Prefix("order:".to_owned());
    assert_eq!(api.key[0].allow[0], ApiScope::Publish(prefix));
    let exact = ChannelPattern::Exact("news".to_owned());
    assert_eq!(api.key[0].allow[1], ApiScope::Publish(exact));
    let everything = ApiScope::Publish(ChannelPattern::Any);
    assert_eq!(
        api.key[1].allow,
        [
            everything,
            ApiScope::Read,
            ApiScope::Disconnect,
            ApiScope::Subscribe(ChannelPattern::Any),
            ApiScope::Revoke,
            ApiScope::Refresh,
            ApiScope::History(ChannelPattern::Any),
            ApiScope::Presence(ChannelPattern::Any)
        ]
    );
    assert_eq!(api.key[1].allow, ApiScope::all());
    let file = loaded.api_file("all.key");
    assert_eq!(file.to_str(), Some("/etc/roost/all.key"));
    // What is printed reads back.
    let printed = roost_config::to_toml(&loaded);
    let again = parse(&printed, "b.toml").expect("it reads back");
    assert_eq!(again.settings.api, loaded.settings.api);
}

#[test]
fn an_address_needs_a_key() {
    let said = mistakes("[api]\nlisten = [\"127.0.0.1:8081\"]\n");
    assert!(
        said.contains("a.toml:2:") && said.contains("hash-key --new"),
        "{said}"
    );
    assert!(parse("[api]\nlisten = [\"unix:/run/api.sock\"]\n", "a").is_ok());
    let said = mistakes("[api]\nlisten = [\"0.0.0.0:8081\"]\ndevelopment_key = true\n");
    assert!(
        said.contains("api.development_key") || said.contains("development"),
        "{said}"
    );
    let said = mistakes("[api]\nlisten = [\"127.0.0.1:8080\"]\ndevelopment_key = true\n");
    assert!(said.contains("clients"), "{said}");
    let said = mistakes("[api]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n");
    assert!(said.contains("clashes"), "{said}");
    let said = mistakes("[api]\nlisten = \"127.0.0.1:1\"\n");
    assert!(said.contains("brackets"), "{said}");
}

#[test]
fn a_key_that_cannot_be_is_refused_with_what_to_do() {
    let key = |lines: &str| format!("[api]\n[[api.key]]\n{lines}\n");
    let good = format!("sha256 = \"{SHA256}\"");
    for (lines, says) in [
        (good.clone(), "without `name`"),
        (format!("name = \"a\"\n{good}"), "without `allow`"),
        (
            format!("name = \"a\"\n{good}\nallow = []"),
            "what a key may do",
        ),
        (
            "name = \"a\"\nallow = [\"publish\"]".to_owned(),
            "neither of",
        ),
        (
            format!("name = \"a\"\n{good}\nkey_file = \"x\"\nallow = [\"publish\"]"),
            "both of",
        ),
        (
            "name = \"a\"\nsha256 = \"BA78\"\nallow = [\"publish\"]".to_owned(),
            "roostd hash-key",
        ),
        (
            format!("name = \"a b\"\n{good}\nallow = [\"publish\"]"),
            "letters",
        ),
        (
            format!("name = \"a\"\n{good}\nallow = [\"publsh:x\"]"),
            "did you mean \"publish\"?",
        ),
        (
            format!("name = \"a\"\n{good}\nallow = [\"publish:\"]"),
            "missing",
        ),
        (
            format!("name = \"a\"\n{good}\nallow = [\"publish:a*b\"]"),
            "at the end alone",
        ),
        (
            format!("name = \"a\"\n{good}\nallow = [\"publish\"]\nalow = 1"),
            "`allow`",
        ),
    ] {
        let said = mistakes(&key(&lines));
        assert!(said.contains(says), "{lines}\n{said}");
    }
    let one = format!("[[api.key]]\nname = \"a\"\n{good}\nallow = [\"publish\"]\n");
    let said = mistakes(&format!("{one}{one}"));
    assert!(said.contains("a second key \"a\""), "{said}");
}
