//! `[[wamp.user]]` and `[[wamp.permission]]`.

use roost_config::{Access, Matching, Publish, parse, to_toml};

#[test]
fn users_and_permissions_are_read() {
    let text = "[wamp]\nanonymous = false\n\
                [[wamp.user]]\nauthid = \"alice\"\nrealm = \"realm1\"\nrole = \"staff\"\n\
                secret_file = \"alice.secret\"\nmethods = [\"scram\"]\n\
                [[wamp.user]]\nauthid = \"alice\"\nrealm = \"realm2\"\nrole = \"staff\"\n\
                ticket_file = \"/t\"\n\
                [[wamp.permission]]\nrealm = \"realm1\"\nrole = \"staff\"\nuri = \"com.\"\n\
                match = \"prefix\"\nallow = [\"call\", \"publish\"]\n\
                [channels]\npublish = \"granted\"\ncall = \"authenticated\"\n";
    let loaded = parse(text, "/etc/roost/roost.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let settings = &loaded.settings;
    assert!(!settings.wamp.anonymous && settings.wamp_users.len() == 2);
    assert_eq!(settings.wamp_users[0].methods, ["scram"]);
    assert_eq!(settings.wamp_users[1].realm, "realm2");
    let permission = &settings.wamp_permissions[0];
    assert_eq!(
        (permission.match_, &*permission.uri),
        (Matching::Prefix, "com.")
    );
    assert_eq!(permission.allow, ["call", "publish"]);
    let channels = &settings.channels;
    assert_eq!(
        (channels.publish, channels.call),
        (Publish::Granted, Access::Authenticated)
    );
    let file = loaded.user_file(0, "secret_file", "alice.secret");
    assert_eq!(file.to_str(), Some("/etc/roost/alice.secret"));
    let place = loaded.user_place(1, "ticket_file").to_string();
    assert!(
        place.contains(":13:1") && place.contains("wamp.user[1].ticket_file"),
        "{place}"
    );
    let written = to_toml(&loaded);
    let again = parse(&written, "written").unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(again.settings, loaded.settings);
}

#[test]
fn each_mistake_is_named() {
    for (text, said) in [
        ("[wamp]\nuser = 1\n", "expected sections [[wamp.user]]"),
        (
            "[[wamp.user]]\nauthid = \"a\"\nrealm = \"r\"\npublic_keys = []\n",
            "found no role",
        ),
        (&user("ticket_fil = \"t\""), "did you mean `ticket_file`?"),
        (
            &user("methods = [\"ticket\"]"),
            "expected the key ticket_file beside it",
        ),
        (
            &user("ticket_file = \"t\"\nmethods = [\"scram\"]"),
            "the key secret_file beside it",
        ),
        (
            &user("ticket_file = \"t\"\nmethods = [\"scran\"]"),
            "did you mean \"scram\"?",
        ),
        (&user("role = \"b\""), "a second time"),
        (
            &user(""),
            "expected the key ticket_file, secret_file or public_keys",
        ),
        (&user("public_keys = [\"12\"]"), "64 hexadecimal digits"),
        (&user("public_keys = [\"*\"]"), "64 hexadecimal digits"),
        (
            &user("secret_file = \"s\"\nsalt = \"salt123\""),
            "openssl rand -base64 16",
        ),
        (&user("secret_file = \"s\"\niterations = 1"), "from 1000"),
        (
            &user("ticket_file = \"t\"").repeat(2),
            "a second time in its realm",
        ),
        (
            "[[wamp.permission]]\nrealm = \"r\"\nrole = \"a\"\nuri = \"x\"\n",
            "found no allow",
        ),
        (
            &permission("allow = [\"sing\"]"),
            "expected \"subscribe\", \"publish\"",
        ),
        (
            &permission("allow = []\nmatch = \"glob\""),
            "\"exact\", \"prefix\" or \"wildcard\"",
        ),
    ] {
        let errors = parse(text, "f").expect_err(text).to_string();
        assert!(errors.contains(said), "{text}: {errors}");
    }
}

fn user(rest: &str) -> String {
    format!("[[wamp.user]]\nauthid = \"a\"\nrealm = \"r\"\nrole = \"a\"\n{rest}\n")
}

fn permission(rest: &str) -> String {
    format!("[[wamp.permission]]\nrealm = \"r\"\nrole = \"a\"\nuri = \"x\"\n{rest}\n")
}
