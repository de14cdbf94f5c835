//! Every row of the table, without naming one: its example is taken and sets the field of its name
//! alone, everything else is refused at its place, by every way of writing it.

use std::collections::BTreeSet;

use roost_config::{
    Key, Loaded, Overrides, Settings, Source, all_keys, namespace_keys, parse, parse_with, to_toml,
};

#[test]
fn each_key_sets_its_own_field() {
    for key in all_keys() {
        let path = format!("{}.{}", key.section, key.name);
        let settings = with_example(&key).settings;
        let mut changed = changed_fields(&settings);
        for beside in beside(&key) {
            changed.remove(&format!("{}.{}", key.section, beside.0));
        }
        if path == "limits.message_bytes_max" {
            changed.remove("limits.frame_bytes_max");
        }
        if path == "limits.outbox_bytes_max" {
            changed.remove("channels.outbox_bytes_max");
        }
        assert_eq!(changed, BTreeSet::from([path]), "{}", key.example);
    }
}

#[test]
fn each_key_takes_its_example_from_everywhere() {
    for key in all_keys() {
        let path = format!("{}.{}", key.section, key.name);
        assert_ne!(
            key.example, key.default,
            "{path}: the example is the default"
        );
        let from_file = with_example(&key);
        assert!(
            matches!(from_file.source(&path), Source::File { .. }),
            "{path}"
        );

        let mut overrides = with_beside(&key);
        overrides.add_environment([(variable(&key).into(), key.example.into())]);
        let from_environment = parse_with("", "t", &overrides).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            from_environment.source(&path),
            Source::Environment,
            "{path}"
        );
        assert_eq!(from_environment.settings, from_file.settings, "{path}");

        let mut overrides = with_beside(&key);
        overrides.add_pair(&format!("{path}={}", key.example));
        let from_arguments = parse_with("", "t", &overrides).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(from_arguments.source(&path), Source::CommandLine, "{path}");
        assert_eq!(from_arguments.settings, from_file.settings, "{path}");

        let line = format!("{} = {}", key.name, key.example);
        let written = to_toml(&from_file);
        assert!(
            written.lines().any(|l| l.starts_with(&line)),
            "{line} is not in\n{written}"
        );
    }
}

#[test]
fn each_key_refuses_what_it_does_not_take() {
    for key in all_keys().into_iter().chain(namespace_keys()) {
        let Key { section, name, .. } = key;
        let (header, line, path) = match (section, name) {
            ("namespace", "name") => ("[[namespace]]".to_owned(), 2, "namespace[0]".to_owned()),
            ("namespace", _) => (
                "[[namespace]]\nname = \"a\"".to_owned(),
                3,
                "namespace \"a\"".to_owned(),
            ),
            _ => (format!("[{section}]"), 2, section.to_owned()),
        };
        for (value, found) in [
            ("{ x = 1 }", "a table"),
            ("-1", "the number -1"),
            ("1979-05-27", "a date or time"),
            match key.takes.contains("file") || key.takes.starts_with("text") {
                true => ("\"no such\\tfile\"", "\"no such\\tfile\""),
                false => ("\"no such value\"", "\"no such value\""),
            },
        ] {
            let text = format!("{header}\n{name} = {value}\n");
            let column = name.len() + 4;
            let expected = &key.expected;
            refused(
                &text,
                &format!("t:{line}:{column}: {path}.{name}: found {found}, expected {expected}"),
            );
        }
    }
}

#[test]
fn every_former_name_leads_to_the_present_one() {
    let keys = all_keys();
    for (section, former, now) in [
        ("listener", "early_framings", "hixie"),
        ("listener", "page", "demo_page"),
        ("limits", "handshake_size_max", "handshake_bytes_max"),
        ("limits", "message_size_max", "message_bytes_max"),
        ("limits", "frame_size_max", "frame_bytes_max"),
        ("limits", "fragment_size", "fragment_bytes"),
        ("limits", "outbox_size_max", "outbox_bytes_max"),
        ("limits", "buffered_size_max", "buffered_bytes_max"),
        ("limits", "channel_name_size_max", "channel_name_bytes_max"),
        ("epoll", "read_buffer", "read_buffer_bytes"),
        ("io_uring", "buffer_size", "buffer_bytes"),
        ("deflate", "threshold", "compress_min_bytes"),
        ("deflate", "context_memory_max", "takeover_bytes_max"),
        ("channels", "hear_own", "receive_own"),
        ("channels", "slow_receivers", "slow_consumer"),
        ("channels", "outbox_size_max", "outbox_bytes_max"),
        (
            "channels",
            "publish_messages_max",
            "publish_messages_per_second_max",
        ),
        (
            "channels",
            "publish_size_max",
            "publish_bytes_per_second_max",
        ),
    ] {
        let is_key = |name| {
            keys.iter()
                .any(|key| (key.section, key.name) == (section, name))
        };
        assert!(is_key(now) && !is_key(former), "{section}.{former}");
        let hint = format!("; it is called `{now}` now");
        first_ends(
            parse(&format!("[{section}]\n{former} = 1\n"), "t"),
            "t:2:1: ",
            &hint,
        );
        if section == "channels" {
            let text = format!("[[namespace]]\nname = \"a\"\n{former} = 1\n");
            first_ends(parse(&text, "t"), "t:3:1: namespace \"a\".", &hint);
        }
        let mut overrides = Overrides::new();
        overrides.add_pair(&format!("{section}.{former}=1"));
        let hint = format!("; it is called `{section}.{now}` now");
        first_ends(parse_with("", "t", &overrides), "command line: ", &hint);
    }
    let text = "[channels]\nslow_consumer = \"latest\"\n";
    first_ends(
        parse(text, "t"),
        "t:2:17: ",
        "; did you mean \"keep_latest\"?",
    );
}

fn first_ends(result: Result<Loaded, roost_config::Errors>, start: &str, end: &str) {
    let errors = result.expect_err(end);
    let first = errors.iter().next().expect("one").to_string();
    assert!(first.starts_with(start) && first.ends_with(end), "{first}");
}

fn refused(text: &str, start: &str) {
    let errors = parse(text, "t").expect_err(text);
    let first = errors.iter().next().expect("one").to_string();
    assert!(
        first.starts_with(start),
        "{first}\nbegins otherwise than\n{start}"
    );
}

fn variable(key: &Key) -> String {
    let section = key.section.replace('.', "__");
    format!("ROOSTD__{section}__{}", key.name).to_ascii_uppercase()
}

/// Keys of the same section without which the example is refused, with values.
fn beside(key: &Key) -> Vec<(&'static str, &'static str)> {
    let names: &[_] = match (key.section, key.name) {
        ("listener.tls", "certificate") => &["key"],
        ("listener.tls", "key") => &["certificate"],
        ("listener.tls", "client_auth") => &["certificate", "key", "client_ca"],
        ("listener.tls", "client_ca") => &["certificate", "key", "client_auth"],
        ("listener.tls", "client_user") => &["certificate", "key", "client_auth", "client_ca"],
        ("listener.tls", "client_allow") => &[
            "certificate",
            "key",
            "client_auth",
            "client_ca",
            "client_user",
        ],
        ("listener.tls", "client_crl") => &["certificate", "key", "client_auth", "client_ca"],
        ("listener.tls", _) => &["certificate", "key"],
        ("listener", "proxy_protocol_from") => &["proxy_protocol"],
        ("listener", "forwarded_from") => &["forwarded"],
        ("auth", "required") => &["static_tokens_file"],
        ("auth.jwt", "jwks_url") => &["audience", "issuer"],
        _ => &[],
    };
    let value = |name| match name {
        "client_auth" => "optional",
        "client_user" => "cn",
        "proxy_protocol" => "required",
        "forwarded" => "x-forwarded-for",
        _ => "/file.pem",
    };
    names.iter().map(|name| (*name, value(*name))).collect()
}

fn with_beside(key: &Key) -> Overrides {
    let mut overrides = Overrides::new();
    for (name, value) in beside(key) {
        overrides.add_pair(&format!("{}.{name}={value}", key.section));
    }
    overrides
}

fn with_example(key: &Key) -> Loaded {
    let mut text = format!("[{}]\n{} = {}\n", key.section, key.name, key.example);
    for (name, value) in beside(key) {
        text.push_str(&format!("{name} = \"{value}\"\n"));
    }
    parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"))
}

/// The fields that differ from the defaults, as their keys are called.
fn changed_fields(settings: &Settings) -> BTreeSet<String> {
    let (before, after) = (fields(&Settings::default()), fields(settings));
    before
        .symmetric_difference(&after)
        .map(|(field, _)| field.clone())
        .collect()
}

/// Every field with its value, read off the Debug form, so that nothing is named here that could
/// be forgotten. Fields two levels down belong to the section above them.
fn fields(settings: &Settings) -> BTreeSet<(String, String)> {
    let mut fields = BTreeSet::new();
    let mut section = String::new();
    let mut name = String::new();
    for line in format!("{settings:#?}").lines() {
        let depth = (line.len() - line.trim_start().len()) / 4;
        let (left, value) = line.trim().split_once(": ").unwrap_or(("", line.trim()));
        // One listener has all the fields of the section.
        let depth = match section.as_str() {
            // The fields of a section inside it are one level further down.
            "listener" if depth == 3 && left == "tls" => {
                section = "listener.tls".to_owned();
                continue;
            }
            "auth" if depth == 2 && left == "jwt" => {
                section = "auth.jwt".to_owned();
                continue;
            }
            "auth.jwt" if depth == 2 => continue,
            "auth.jwt" if depth > 2 => depth - 1,
            "listener.tls" if depth == 3 => continue,
            "listener.tls" if depth > 3 => depth - 2,
            "listener" if depth > 2 => depth - 1,
            "listener" | "listener.tls" if depth == 2 => continue,
            _ => depth,
        };
        match depth {
            1 if left == "listeners" => section = "listener".to_owned(),
            1 => section = left.to_owned(),
            2 if !left.is_empty() => name = left.trim_end_matches("_ms").to_owned(),
            _ => {}
        }
        if depth >= 2 {
            fields.insert((format!("{section}.{name}"), value.to_owned()));
        }
    }
    fields
}
