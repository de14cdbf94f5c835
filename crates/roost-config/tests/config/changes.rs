//! What a reload changes.

use roost_config::{Loaded, Reload, all_keys, parse, reload};

fn parsed(text: &str) -> Loaded {
    parse(text, "roost.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// Each change as a line.
fn lines(before: &str, after: &str) -> Vec<String> {
    let (_, changes) = reload(&parsed(before), parsed(after)).expect("no conflict");
    let line = |change: &roost_config::Change| {
        let or_dash = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
        let (before, after) = (or_dash(&change.before), or_dash(&change.after));
        format!(
            "{}: {before} -> {after} ({})",
            change.key,
            change.reload.name()
        )
    };
    changes.iter().map(line).collect()
}

#[test]
fn entries_are_the_same_by_their_names_and_not_by_their_places() {
    let named = |names: [&str; 2]| {
        let sections = names.map(|name| format!("[[namespace]]\nname = \"{name}\"\n"));
        sections.concat()
    };
    assert!(lines(&named(["a", "b"]), &named(["b", "a"])).is_empty());
    let rated = named(["b", "a"]) + "publish_messages_per_second_max = 5\n";
    assert_eq!(
        lines(&named(["a", "b"]), &rated),
        ["namespace \"a\".publish_messages_per_second_max: 0 -> 5 (live)"]
    );
    assert_eq!(
        lines(&named(["a", "b"]), &named(["a", "c"])),
        [
            "namespace \"c\": - -> { name = \"c\" } (live)",
            "namespace \"b\": { name = \"b\" } -> - (live)",
        ]
    );
}

/// What a restart alone changes stays as it is in namespaces too, and is told of new ones.
#[test]
fn namespaces_keep_what_needs_a_restart() {
    let named = |name: &str, messages: u32| {
        format!("[[namespace]]\nname = \"{name}\"\nhistory_messages_max = {messages}\n")
    };
    let (before, after) = (named("a", 5), named("a", 7) + &named("b", 9));
    assert_eq!(
        lines(&before, &after),
        [
            "namespace \"a\".history_messages_max: 5 -> 7 (restart)",
            "namespace \"b\": - -> { name = \"b\", history_messages_max = 9 } (live)",
            "namespace \"b\".history_messages_max: - -> 9 (restart)",
        ]
    );
    let (merged, _) = reload(&parsed(&before), parsed(&after)).expect("no conflict");
    let kept = merged.settings.namespaces.iter();
    let kept: Vec<u32> = kept.map(|one| one.policy.history_messages_max).collect();
    assert_eq!(kept, [5, 0]);
    // What still waits for a restart is told again.
    let (_, again) = reload(&merged, parsed(&after)).expect("no conflict");
    let again: Vec<&str> = again.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(
        again,
        [
            "namespace \"a\".history_messages_max",
            "namespace \"b\".history_messages_max",
        ]
    );
}

#[test]
fn no_path_of_a_url_is_told() {
    let hook = |url: &str| format!("[[hook]]\nevents = [\"connect\"]\nurl = \"{url}\"\n");
    let (before, after) = (hook("http://app:1/a?key=s1"), hook("http://app:1/a?key=s2"));
    assert_eq!(
        lines(&before, &after),
        ["hook[0].url: \"http://app:1/…\" -> \"http://app:1/…\" (live)"]
    );
    let added = lines("", &after);
    assert!(added.iter().all(|line| !line.contains("s2")), "{added:?}");
}

#[test]
fn keys_that_follow_others_are_told_with_them() {
    assert_eq!(
        lines("", "[limits]\nmessage_bytes_max = \"2MiB\"\n"),
        [
            "limits.message_bytes_max: \"1MiB\" -> \"2MiB\" (live)",
            "limits.frame_bytes_max: \"1MiB\" -> \"2MiB\" (live)",
            "limits.outbox_bytes_max: \"1MiB\" -> \"2MiB\" (live)",
            "channels.outbox_bytes_max: \"1MiB\" -> \"2MiB\" (live)",
        ]
    );
}

/// Of every key, another value is told; it holds if a reload can change it, and else the running value does.
#[test]
fn what_needs_a_restart_keeps_its_running_value() {
    let mut tried = 0;
    for key in all_keys() {
        if key.section.starts_with("listener") {
            continue; // below
        }
        let text = format!("[{}]\n{} = {}\n", key.section, key.name, key.example);
        let Ok(next) = parse(&text, "roost.toml") else {
            continue; // it needs another beside it
        };
        let running = Loaded::defaults();
        let name = format!("{}.{}", key.section, key.name);
        let Ok((merged, changes)) = reload(&running, next.clone()) else {
            panic!("{name}: refused");
        };
        let own = changes.iter().find(|change| change.key == name);
        let own = own.unwrap_or_else(|| panic!("{name} is not told: {changes:?}"));
        assert_eq!(own.reload, key.reload, "{name}");
        let expected = match key.reload {
            Reload::Restart => &running.settings,
            _ => &next.settings,
        };
        assert_eq!(merged.settings, *expected, "{name}");
        tried += 1;
    }
    assert!(tried > 80, "{tried} keys");
}

#[test]
fn listeners_are_kept_and_take_what_they_can() {
    let listener =
        |address: &str, rest: &str| format!("[[listener]]\naddress = \"{address}\"\n{rest}");
    let before = listener("127.0.0.1:1", "") + &listener("127.0.0.1:2", "");
    let after =
        listener("127.0.0.1:2", "hixie = true\nbacklog = 7\n") + &listener("127.0.0.1:3", "");
    let (merged, changes) = reload(&parsed(&before), parsed(&after)).expect("no conflict");
    let names: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(
        names,
        [
            "listener \"127.0.0.1:2\".backlog",
            "listener \"127.0.0.1:2\".hixie",
            "listener \"127.0.0.1:3\"",
            "listener \"127.0.0.1:1\"",
        ]
    );
    let listeners = &merged.settings.listeners;
    let ports: Vec<String> = listeners
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    assert_eq!(ports, ["127.0.0.1:2", "127.0.0.1:3"]);
    assert!(listeners[0].hixie && listeners[0].backlog != 7);
}

#[test]
fn a_value_that_cannot_stand_beside_a_running_one_is_a_mistake() {
    let key = format!(
        "{{ name = \"a\", sha256 = \"{}\", allow = [\"read\"] }}",
        "0".repeat(64)
    );
    let before = parsed(&format!(
        "[api]\nlisten = [\"127.0.0.1:1\"]\nkey = [{key}]\n"
    ));
    let errors = reload(&before, parsed("")).expect_err("the address stays until a restart");
    let text = errors.to_string();
    assert!(text.contains("api.listen"), "{text}");
    assert!(text.contains("a restart"), "{text}");
}

#[test]
fn listeners_with_port_0_are_told_apart_by_their_order() {
    let listener =
        |hixie: bool| format!("[[listener]]\naddress = \"127.0.0.1:0\"\nhixie = {hixie}\n");
    let before = listener(false) + &listener(true);
    assert!(lines(&before, &before).is_empty());
    assert_eq!(
        lines(&before, &(listener(false) + &listener(false))),
        ["listener \"127.0.0.1:0 (2)\".hixie: true -> false (new connections)"]
    );
}

#[test]
fn a_listener_moves_by_its_name_and_is_renamed_by_its_address() {
    let listener = |name: &str, port: u16, rest: &str| {
        format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n{rest}")
    };
    assert_eq!(
        lines(
            &listener("public", 1, ""),
            &listener("public", 2, "backlog = 7\n")
        ),
        [
            "listener \"public\".address: \"127.0.0.1:1\" -> \"127.0.0.1:2\" (listener added or removed)",
            "listener \"public\".backlog: 4096 -> 7 (listener added or removed)",
        ]
    );
    assert_eq!(
        lines(
            &listener("public", 1, ""),
            &listener("plain", 1, "backlog = 7\n")
        ),
        [
            "listener \"plain\".name: \"public\" -> \"plain\" (new connections)",
            "listener \"plain\".backlog: 4096 -> 7 (restart)",
        ]
    );
}
