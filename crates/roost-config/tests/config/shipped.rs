//! The files under config/ and the reference in docs/ say what the code says.

use std::path::Path;

use roost_config::{
    Loaded, Overrides, Settings, Source, all_keys, generated, namespace_keys, parse, parse_with,
    to_toml, user_keys,
};

const ROOST_TOML: &str = include_str!("../../../../config/roost.toml");
const DEV_TOML: &str = include_str!("../../../../config/roost.dev.toml");
const REFERENCE: &str = include_str!("../../../../docs/configuration.md");

#[test]
fn what_is_made_from_the_table_is_as_committed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, make) in generated::FILES {
        let committed = std::fs::read_to_string(root.join(path)).expect(path);
        let made = make(&committed).unwrap_or_else(|| panic!("{path}: the marks are missing"));
        let (mut old, mut new) = (committed.lines(), made.lines());
        for line in 1.. {
            let (old, new) = (old.next(), new.next());
            assert_eq!(
                old, new,
                "{path}:{line} is not what the table makes of it: run\n    \
                 cargo run -p roost-config --example reference -- --write\n"
            );
            if old.is_none() {
                break;
            }
        }
    }
}

#[test]
fn roost_toml_is_the_defaults() {
    let loaded = parse(ROOST_TOML, "config/roost.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(Loaded::defaults().settings, Settings::default());
}

#[test]
fn roost_toml_has_every_key() {
    let loaded = parse(ROOST_TOML, "config/roost.toml").unwrap_or_else(|errors| panic!("{errors}"));
    for key in all_keys() {
        let path = format!("{}.{}", key.section, key.name);
        let source = loaded.source(&path);
        assert!(
            matches!(source, Source::File { .. }),
            "{path} is not in config/roost.toml"
        );
    }
}

#[test]
fn roost_toml_explains_every_key() {
    let lines: Vec<&str> = ROOST_TOML.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let is_key = line.starts_with(|c: char| c.is_ascii_lowercase());
        // Keys may share an explanation, in one paragraph.
        let above = lines[..at].iter().rev().take_while(|line| !line.is_empty());
        let explained = above.clone().any(|line| line.starts_with("# "));
        assert!(!is_key || explained, "line {}: {line}", at + 1);
    }
}

#[test]
fn roost_tomls_example_of_a_namespace_works() {
    let mut example: Vec<&str> = Vec::new();
    for line in ROOST_TOML
        .lines()
        .skip_while(|line| !line.starts_with("#[[namespace]]"))
    {
        example.push(line.strip_prefix('#').expect("the example ends the file"));
    }
    let loaded = parse(&example.join("\n"), "example").unwrap_or_else(|errors| panic!("{errors}"));
    let [namespace] = loaded.settings.namespaces.as_slice() else {
        panic!("one namespace")
    };
    assert_eq!(namespace.name, "chat");
    for key in namespace_keys() {
        let name = key.name;
        let source = loaded.source(&format!("namespace[0].{name}"));
        assert!(
            matches!(source, Source::File { .. }),
            "{name} is not in the example"
        );
    }
}

#[test]
fn the_development_file_is_built_in() {
    let built_in = Loaded::dev(&Overrides::new()).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = &built_in.settings;
    assert!(settings.listeners[0].demo_page && settings.echo.enabled);
    assert!(
        settings.listeners[0].address.is_local(),
        "nothing is opened by default"
    );
    let file = parse(DEV_TOML, "dev").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(file.settings, built_in.settings);
}

#[test]
fn the_reference_has_every_key_with_its_default() {
    let written: Vec<(String, String)> = REFERENCE.lines().filter_map(row).collect();
    let mut expected: Vec<(String, String)> = all_keys()
        .into_iter()
        .map(|key| (format!("{}.{}", key.section, key.name), key.default))
        .collect();
    for key in user_keys() {
        expected.push((format!("{}.{}", key.section, key.name), key.default));
    }
    for key in namespace_keys() {
        let name = key.name;
        let default = match name {
            "name" => "none".to_owned(),
            _ => format!("that of `channels.{name}"),
        };
        expected.push((format!("namespace.{name}"), default));
    }
    assert_eq!(
        written, expected,
        "rows of docs/configuration.md, keys of the code"
    );
}

/// Key and default of a row `| `key` | takes | `default` | … |`.
fn row(line: &str) -> Option<(String, String)> {
    let mut cells = line.split('|').map(str::trim).skip(1);
    let key = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    let default = cells.nth(1)?.trim_matches('`');
    Some((key.to_owned(), default.to_owned()))
}

#[test]
fn written_settings_name_their_source() {
    let text = "[limits]\nmessage_bytes_max = \"2MiB\"\n[channels]\nreceive_own = true\n\
                [[namespace]]\nname = \"a\"\npublish = \"nobody\"\n";
    let mut overrides = Overrides::new();
    overrides.add_pair("server.driver=epoll");
    let loaded = parse_with(text, "my.toml", &overrides).unwrap_or_else(|e| panic!("{e}"));
    let written = to_toml(&loaded);
    for (setting, source) in [
        ("driver = \"epoll\"", "command line"),
        ("reactors = \"auto\"", "default"),
        ("message_bytes_max = \"2MiB\"", "my.toml:2"),
        ("frame_bytes_max = \"2MiB\"", "as limits.message_bytes_max"),
        ("outbox_bytes_max = \"2MiB\"", "as limits.message_bytes_max"),
        ("name = \"a\"", "my.toml:6"),
        ("publish = \"nobody\"", "my.toml:7"),
        ("receive_own = true", "as channels.receive_own"),
    ] {
        let line = format!("{setting:<44} # {source}");
        assert!(
            written.lines().any(|l| l == line),
            "{line} is not in\n{written}"
        );
    }
    let again = parse(&written, "written").unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(again.settings, loaded.settings);
}
