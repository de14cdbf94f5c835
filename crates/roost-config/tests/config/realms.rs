//! `[[wamp.realm]]`.

use roost_config::{parse, to_toml};

#[test]
fn realms_are_read() {
    let text = "[wamp]\nrealms = [\"listed\"]\n\
                [[wamp.realm]]\nname = \"acme\"\nprefix = \"acme:.\"\nanonymous = false\n\
                [[wamp.realm]]\nname = \"open\"\nother_dialects = true\ntokens = false\n\
                [[wamp.user]]\nauthid = \"a\"\nrealm = \"acme\"\nrole = \"r\"\nticket_file = \"/t\"\n\
                [[wamp.user]]\nauthid = \"a\"\nrealm = \"listed\"\nrole = \"r\"\nticket_file = \"/t\"\n";
    let loaded = parse(text, "f").unwrap_or_else(|errors| panic!("{errors}"));
    let [acme, open] = &loaded.settings.wamp_realms[..] else {
        panic!("two realms");
    };
    assert_eq!((&*acme.name, &*acme.prefix), ("acme", "acme:."));
    assert_eq!((&*open.name, &*open.prefix), ("open", ""));
    let flags = [acme, open].map(|one| (one.anonymous, one.tokens, one.other_dialects));
    assert_eq!(flags, [(false, true, false), (true, false, true)]);
    let written = to_toml(&loaded);
    let again = parse(&written, "written").unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(again.settings, loaded.settings);
}

#[test]
fn each_mistake_is_named() {
    let user = "[[wamp.user]]\nauthid = \"a\"\nrealm = \"b\"\nrole = \"r\"\nticket_file = \"/t\"\n";
    let role =
        "[[wamp.permission]]\nrealm = \"b\"\nrole = \"r\"\nuri = \"x\"\nallow = [\"call\"]\n";
    for (text, said) in [
        ("[[wamp.realm]]\nprefix = \"a.\"\n", "found no name"),
        (&realm("prefix = \"a\""), "without a dot at its end"),
        (&realm("prefix = \".\""), "between its dots is empty"),
        (&realm("prefix = \"a..b.\""), "between its dots is empty"),
        (&realm("prefix = \"wamp.a.\""), "belong to protocols"),
        (&realm("prefix = \"$a.\""), "belong to protocols"),
        (&realm("prefix = \"a b.\""), "the beginning of names"),
        (&realm("prefix = \"a#.\""), "the beginning of names"),
        (&realm("prefixes = \"a.\""), "did you mean `prefix`?"),
        (&realm("").repeat(2), "\"a\" a second time"),
        (
            &(realm("prefix = \"a.\"") + "[[wamp.realm]]\nname = \"b\"\nprefix = \"a.b.\"\n"),
            "one that does not begin with \"a.\"",
        ),
        (
            &(realm("prefix = \"a.\"") + "[[wamp.realm]]\nname = \"b\"\nprefix = \"a.\"\n"),
            "one that does not begin with \"a.\"",
        ),
        (&(realm("") + user), "the name of a [[wamp.realm]]"),
        (&(realm("") + role), "the name of a [[wamp.realm]]"),
        (
            &(realm("prefix = \"a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.\"")
                + "[limits]\nchannel_name_bytes_max = 32\n"),
            "so that names have room behind it",
        ),
    ] {
        let errors = parse(text, "f").expect_err(text).to_string();
        assert!(errors.contains(said), "{text}: {errors}");
    }
    // Without a section any realm may have users.
    assert!(parse(user, "f").is_ok());
}

#[test]
fn the_number_of_realms_has_a_bound() {
    let realms = |count: usize| {
        let each = (0..count).map(|n| format!("[[wamp.realm]]\nname = \"r{n}\"\n"));
        parse(&each.collect::<String>(), "f")
    };
    assert!(realms(1_000).is_ok());
    let errors = realms(1_001).expect_err("too many").to_string();
    assert!(errors.contains("at most 1000"), "{errors}");
}

fn realm(rest: &str) -> String {
    format!("[[wamp.realm]]\nname = \"a\"\n{rest}\n")
}
