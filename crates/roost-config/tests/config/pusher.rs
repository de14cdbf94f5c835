//! `[pusher]`, `[[pusher.app]]`.

use roost_config::{WebhookValues, parse, pusher_key, reload, to_toml};

#[test]
fn applications_are_read() {
    let text = "[pusher]\nenabled = true\nactivity_timeout = \"30s\"\n\
                [[pusher.app]]\nid = \"1\"\nkey = \"abc\"\nsecret_file = \"shop.secret\"\n\
                prefix = \"shop:\"\nenabled = false\nclient_events = false\nsubscription_count = true\n\
                webhook_events = [\"client_event\", \"cache_miss\"]\n\
                [[pusher.app]]\nid = \"2\"\nkey = \"def\"\nsecret_file = \"/s\"\n";
    let loaded = parse(text, "/etc/roost/roost.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let settings = &loaded.settings;
    assert!(settings.pusher.enabled && settings.pusher.activity_timeout_ms == 30_000);
    let [shop, other] = &settings.pusher_apps[..] else {
        panic!("two applications");
    };
    assert_eq!(
        (&*shop.id, &*shop.key, &*shop.prefix),
        ("1", "abc", "shop:")
    );
    assert_eq!((&*other.id, &*other.key, &*other.prefix), ("2", "def", ""));
    assert_eq!([shop, other].map(|app| app.enabled), [false, true]);
    assert_eq!([shop, other].map(|app| app.client_events), [false, true]);
    let counts = [shop, other].map(|app| app.subscription_count);
    assert_eq!(counts, [true, false]);
    assert_eq!(shop.webhook_events, ["client_event", "cache_miss"]);
    assert_eq!(other.webhook_events.len(), 4, "and neither of these");
    let file = loaded.file(&pusher_key(0, "secret_file"), &shop.secret_file);
    assert_eq!(file.to_str(), Some("/etc/roost/shop.secret"));
    let place = loaded.place(&pusher_key(1, "secret_file")).to_string();
    assert!(
        place.contains(":16:1") && place.contains("pusher.app[1].secret_file"),
        "{place}"
    );
    let written = to_toml(&loaded);
    let again = parse(&written, "written").unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(again.settings, loaded.settings);
}

#[test]
fn webhooks_are_read() {
    let text = app("")
        + "[[pusher.webhook]]\napp = \"a\"\nurl = \"http://127.0.0.1:3000/\"\n\
           [[pusher.webhook]]\napp = \"a\"\nurl = \"https://example.org/p\"\nevents = [\"*\"]\n\
           channel_name_starts_with = \"presence-\"\nchannel_name_ends_with = \"-room\"\n\
           headers = [\"X-Shop: 7\", \"X-Pusher-Key: other\"]\nvalues = \"json\"\n";
    let loaded = parse(&text, "f").unwrap_or_else(|errors| panic!("{errors}"));
    let [plain, full] = &loaded.settings.pusher_webhooks[..] else {
        panic!("two webhooks");
    };
    assert_eq!((plain.app.as_str(), plain.events.len()), ("a", 4));
    assert_eq!(plain.values, WebhookValues::Text);
    assert_eq!(full.events, ["*"]);
    let parts = (
        &*full.channel_name_starts_with,
        &*full.channel_name_ends_with,
    );
    assert_eq!(parts, ("presence-", "-room"));
    assert_eq!(full.headers, ["X-Shop: 7", "X-Pusher-Key: other"]);
    assert_eq!(full.values, WebhookValues::Json);
    let written = to_toml(&loaded);
    let again = parse(&written, "written").unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(again.settings, loaded.settings);
}

#[test]
fn mistakes_in_webhooks_are_named() {
    let webhook = |app: &str, rest: &str| {
        format!("[[pusher.webhook]]\napp = \"{app}\"\nurl = \"http://h/\"\n{rest}\n")
    };
    let many = webhook("a", "").repeat(101);
    for (text, said) in [
        ("[[pusher.webhook]]\nurl = \"http://h/\"\n", "found no app"),
        ("[[pusher.webhook]]\napp = \"a\"\n", "found no url"),
        (&webhook("b", ""), "the id of a [[pusher.app]]"),
        (&webhook("a", "events = [\"occupied\"]"), "channel_occupied"),
        (&webhook("a", "values = \"object\""), "\"text\" or \"json\""),
        (&webhook("a", "headers = [\"X-Shop\"]"), "a colon stands"),
        (
            &webhook("a", "headers = [\"X Shop: 7\"]"),
            "a header's name alone",
        ),
        (
            &webhook("a", "headers = [\"Host: h\"]"),
            "the connection's own",
        ),
        (&webhook("a", "headers = [\"A: \u{e4}\"]"), "visible ASCII"),
        (
            &webhook("a", "headers = [\"*\"]"),
            "headers with their values",
        ),
        (
            &webhook("a", "channel_name_starts_with = \"\\t\""),
            "part of channels' names",
        ),
        (&many, "at most 100"),
    ] {
        let errors = parse(&(app("") + text), "f").expect_err(text).to_string();
        assert!(errors.contains(said), "{text}: {errors}");
    }
}

#[test]
fn each_mistake_is_named() {
    let other = |rest: &str| {
        format!("[[pusher.app]]\nid = \"b\"\nkey = \"c\"\nsecret_file = \"s\"\n{rest}\n")
    };
    let realm = "[[wamp.realm]]\nname = \"r\"\nprefix = \"shop:.\"\n";
    for (text, said) in [
        ("[pusher]\napp = 1\n", "expected sections [[pusher.app]]"),
        ("[pusher]\nenable = true\n", "did you mean `enabled`?"),
        (
            "[[pusher.app]]\nid = \"a\"\nkey = \"b\"\n",
            "found no secret_file",
        ),
        (
            "[[pusher.app]]\nkey = \"b\"\nsecret_file = \"s\"\n",
            "found no id",
        ),
        (
            "[[pusher.app]]\nid = \"a\"\nsecret_file = \"s\"\n",
            "found no key",
        ),
        (
            "[[pusher.app]]\nid = \"a\"\nkey = \"b\"\nsecret_file = \"\"\n",
            "a file with the application's secret",
        ),
        (&app("secret_fil = \"s\""), "did you mean `secret_file`?"),
        (
            &app("webhook_events = [\"client_events\"]"),
            "\"client_event\" or \"cache_miss\"",
        ),
        (&app("key = \"a/b\""), "letters, digits"),
        (&app("prefix = \"shop\""), "before the first colon"),
        (
            &app("prefix = \"private-a:\""),
            "mean something in the protocol",
        ),
        (&app("prefix = \"wamp.a:\""), "belong to protocols"),
        (&app("prefix = \"ä:\""), "before that stand letters"),
        (
            &(app("prefix = \"a:\"") + &app("prefix = \"b:\"")),
            "\"a\" a second time",
        ),
        (&(app("") + &other("")), "does not begin with \"\""),
        (
            &(app("prefix = \"a:\"") + &other("prefix = \"a:\"")),
            "does not begin with \"a:\"",
        ),
        (
            &(app("prefix = \"shop:\"") + realm),
            "does not begin with \"shop:.\"",
        ),
        (
            "[[listener]]\ndialects = [\"pusher\"]\n",
            "pusher.enabled is false",
        ),
    ] {
        let errors = parse(text, "f").expect_err(text).to_string();
        assert!(errors.contains(said), "{text}: {errors}");
    }
    for good in [
        app("") + &other("prefix = \"a:\""),
        app("prefix = \"a:\"") + &other("prefix = \"b:\"") + realm,
    ] {
        parse(&good, "f").unwrap_or_else(|errors| panic!("{good}: {errors}"));
    }
}

#[test]
fn applications_change_by_a_restart_alone() {
    let running = parse(&app(""), "f").expect("it is right");
    let next = parse(&app("client_events = false"), "f").expect("it is right");
    let (merged, changes) = reload(&running, next).expect("nothing contradicts");
    assert!(merged.settings.pusher_apps[0].client_events);
    let keys: Vec<_> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["pusher.app[0].client_events"]);
}

fn app(rest: &str) -> String {
    let mut text = String::from("[[pusher.app]]\n");
    let own = [("id", "a"), ("key", "b"), ("secret_file", "s")];
    for (key, value) in own {
        if !rest.starts_with(&format!("{key} =")) {
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
    }
    text + rest + "\n"
}
