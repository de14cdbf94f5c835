//! Each key sets the field that has its name, and no other.

use std::collections::BTreeSet;

use roost_config::{Settings, all_keys, parse};

#[test]
fn each_key_sets_its_own_field() {
    for key in all_keys() {
        let path = format!("{}.{}", key.section, key.name);
        let (value, settings) = another_value(key.section, key.name, &key.default);
        let mut changed = changed_fields(&settings);
        if path == "limits.message_size_max" {
            changed.remove("limits.frame_max");
            changed.remove("limits.outbox_max");
            changed.remove("channels.outbox_max");
        }
        if path == "limits.outbox_size_max" {
            changed.remove("channels.outbox_max");
        }
        let field = path.replace("_size", "");
        assert_eq!(changed, BTreeSet::from([field]), "{path} = {value}");
    }
}

/// Some value other than the default that the key takes.
fn another_value(section: &str, name: &str, default: &str) -> (&'static str, Settings) {
    const CANDIDATES: [&str; 20] = [
        "\"/up\"",
        "true",
        "false",
        "16",
        "\"7s\"",
        "\"8KiB\"",
        "\"2MiB\"",
        "\"epoll\"",
        "\"json\"",
        "\"warn\"",
        "\"nobody\"",
        "\"127.0.0.1:1\"",
        "[\"https://a.example\"]",
        "[\"realm1\"]",
        "\"auto\"",
        "0",
        "\"16KiB\"",
        "\"512KiB\"",
        "5",
        "\"latest\"",
    ];
    for value in CANDIDATES.into_iter().filter(|value| *value != default) {
        if let Ok(loaded) = parse(&format!("[{section}]\n{name} = {value}\n"), "test") {
            return (value, loaded.settings);
        }
    }
    panic!("no candidate fits {section}.{name}");
}

/// The fields that differ from the defaults, `section.field` without the unit.
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
        match depth {
            1 => section = left.to_owned(),
            2 if !left.is_empty() => name = left.replace("_ms", "").replace("_bytes", ""),
            _ => {}
        }
        if depth >= 2 {
            fields.insert((format!("{section}.{name}"), value.to_owned()));
        }
    }
    fields
}
