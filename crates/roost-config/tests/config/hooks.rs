//! `[[hook]]`: what fits together.

use roost_config::{Access, OnFailure, Publish, parse, to_toml};

const CHAT: &str = "[[namespace]]\nname = \"chat\"\nsubscribe = \"hook\"\npublish = \"hook\"\n";
const HOOK: &str =
    "[[hook]]\nevents = [\"subscribe\", \"publish\"]\nurl = \"http://127.0.0.1:3000/\"\n";

#[test]
fn hooks_are_read_and_written_back() {
    let second = "[[hook]]\nevents = [\"*\"]\nurl = \"https://app/{event}\"\nnamespaces = [\"chat\"]\n\
                  headers = [\"cookie\"]\ntimeout = \"3s\"\n";
    let loaded = parse(&format!("{CHAT}{HOOK}{second}"), "t").expect("no mistake");
    let settings = &loaded.settings;
    assert_eq!(settings.namespaces[0].policy.subscribe, Access::Hook);
    assert_eq!(settings.namespaces[0].policy.publish, Publish::Hook);
    let [first, second] = settings.hooks.as_slice() else {
        panic!("{:?}", settings.hooks);
    };
    assert!(first.names("publish") && !first.names("connect") && second.names("connect"));
    assert!(first.covers("") && second.covers("chat") && !second.covers(""));
    assert_eq!(
        (first.on_failure, second.timeout_ms),
        (OnFailure::Deny, 3_000)
    );
    let again = parse(&to_toml(&loaded), "t").expect("no mistake");
    assert_eq!(again.settings.hooks, settings.hooks);
}

#[test]
fn what_does_not_fit_together_is_told() {
    let hook = |lines: &str| format!("{CHAT}{HOOK}{lines}");
    let cached =
        "[[hook]]\nevents = [\"connect\", \"subscribe\"]\nurl = \"http://app\"\ncache = \"1s\"\n";
    for (text, told) in [
        (
            CHAT.to_owned(),
            "a [[hook]] with \"subscribe\" in its events",
        ),
        (
            format!("{CHAT}[[hook]]\nevents = [\"subscribe\"]\nurl = \"http://app\"\n"),
            "a [[hook]] with \"publish\" in its events",
        ),
        (
            format!("[channels]\nsubscribe = \"hook\"\n{CHAT}{HOOK}namespaces = [\"chat\"]\n"),
            "channels.subscribe",
        ),
        (
            "[channels]\ncall = \"hook\"\n".to_owned(),
            "hooks are asked about subscribe and publish",
        ),
        (
            hook("namespaces = [\"chta\"]\n"),
            "names of [[namespace]] sections",
        ),
        (hook("headers = [\"*\"]\n"), "the headers by name"),
        (hook("headers = [\"Cookie\"]\n"), "in lower case"),
        (hook("headers = [\"host\"]\n"), "it is the connection's own"),
        (
            hook("on_failure = \"last\"\ncache_stale_max = \"1h\"\n"),
            "events = [\"subscribe\"] alone",
        ),
        (
            hook("cache_stale_max = \"1h\"\n"),
            "on_failure = \"last\" beside it",
        ),
        (
            format!("{CHAT}{HOOK}{cached}"),
            "events = [\"subscribe\"] alone",
        ),
        (
            "[[hook]]\nevents = [\"subscribe\"]\nurl = \"http://app\"\non_failure = \"last\"\n"
                .to_owned(),
            "a time while on_failure is \"last\"",
        ),
        (
            "[[hook]]\nevents = [\"disconnect\"]\nurl = \"http://app\"\n".to_owned(),
            "\"subscribe\", \"publish\" or \"rpc\"",
        ),
        (
            "[[hook]]\nevents = [\"connect\"]\n".to_owned(),
            "the key url",
        ),
        (
            "[[hook]]\nurl = \"http://app\"\n".to_owned(),
            "the key events",
        ),
        (
            "[[hook]]\nevents = [\"connect\"]\nurl = \"app:3000\"\n".to_owned(),
            "it begins with http:// or https://",
        ),
        (
            "[hook]\nevents = [\"connect\"]\n".to_owned(),
            "sections [[hook]]",
        ),
        ("[[hooks]]\n".to_owned(), "did you mean [[hook]]?"),
        (
            hook("secret_file = \"x\"\n"),
            "did you mean `secrets_file`?",
        ),
    ] {
        let errors = parse(&text, "t").expect_err(&text).to_string();
        assert!(errors.contains(told), "{text}\n{errors}");
    }
}
