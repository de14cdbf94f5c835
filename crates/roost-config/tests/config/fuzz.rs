//! The fuzz body over the corpus, over arbitrary bytes, and over damaged good files.

use std::path::Path;

use proptest::prelude::*;
use roost_config::{Key, all_keys, fuzz, parse};

const ROOST_TOML: &str = include_str!("../../../../config/roost.toml");

#[test]
fn corpus() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).expect("the corpus is there") {
        let path = entry.expect("a readable directory").path();
        println!("{}", path.display());
        fuzz::config(&std::fs::read(&path).expect("a readable file"));
        count += 1;
    }
    assert!(count >= 10, "the corpus has shrunk to {count}");
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::config(&bytes);
    }

    #[test]
    fn arbitrary_tokens(tokens in prop::collection::vec(token(), 0..40)) {
        fuzz::config(tokens.concat().as_bytes());
    }

    #[test]
    fn settings_of_all_kinds(lines in good_lines(), namespaces in namespaces()) {
        let lines: Vec<String> = lines.into_iter().flatten().collect();
        fuzz::config((lines.concat() + &namespaces.concat()).as_bytes());
    }

    #[test]
    fn a_damaged_file(
        cuts in prop::collection::vec((0..ROOST_TOML.len(), 0..8usize, token()), 1..6),
    ) {
        let mut bytes = ROOST_TOML.as_bytes().to_vec();
        for (at, length, token) in cuts {
            let at = at.min(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, token.into_bytes());
        }
        fuzz::config(&bytes);
    }
}

/// A piece of TOML, or of what a person takes for it.
fn token() -> impl Strategy<Value = String> {
    let pieces = [
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        " = ",
        ".",
        ",",
        "\n",
        "\r\n",
        "\r",
        "#",
        "\"",
        "'",
        "\"\"\"",
        "'''",
        "\\",
        "\\u0000",
        "\u{feff}",
        "\t",
        "\0",
        "ä",
        "1",
        "-1",
        "0x",
        "1.5",
        "inf",
        "nan",
        "true",
        "1979-05-27",
        "\"5s\"",
        "\"64KiB\"",
        "\"auto\"",
        "\"*\"",
        "\"a\"",
        "namespace",
        "[[namespace]]\n",
        "name",
        "[limits]\n",
        "limits",
        "limits.",
        "server",
        "listener.tls.",
        "[listener.tls]\n",
        "certificate",
        "driver",
        "publish",
        "[limits.x]\n",
    ];
    prop_oneof![
        6 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => ".{0,4}",
    ]
}

/// Lines that each are accepted, alone or beside other keys of their section: for every key, one that may be written or not.
fn good_lines() -> Vec<BoxedStrategy<Option<String>>> {
    let values = [
        "\"1s\"",
        "\"90m\"",
        "0",
        "1",
        "8",
        "64",
        "4096",
        "\"4KiB\"",
        "\"1MiB\"",
        "\"1000B\"",
        "true",
        "false",
        "\"auto\"",
        "\"anyone\"",
        "\"subscribers\"",
        "\"latest\"",
        "\"drop_oldest\"",
        "\"nobody\"",
        "\"epoll\"",
        "\"debug\"",
        "\"warn\"",
        "\"text\"",
        "\"json\"",
        "\"0660\"",
        "\"/run/x\"",
        "[\"*\"]",
        "[]",
        "[\"chat.v1\"]",
        "\"\"",
        "\"/up\"",
        "\"/stats\"",
        "['x\\\"y']",
        "[\"http://a.example\"]",
        "[\"chat.v1\"]",
        "\"\"",
        "\"/up\"",
        "\"/stats\"",
        "\"[::1]:9\"",
        "\"0.0.0.0:1\"",
        "\"500ms\"",
        "\"7s\"",
        "16",
        "\"1GiB\"",
        "\"1.3\"",
        "\"required\"",
        "\"cn\"",
        "\"pause\"",
        "\"forwarded\"",
        "\"stream\"",
        "\"fossil\"",
        "\"members\"",
        "\"asked\"",
        "\"authenticated\"",
        "[{ certificate = \"a\", key = \"b\", ocsp = \"c\" }]",
    ];
    let lines_of = |key: Key| {
        let line = |value: &str| format!("{}.{} = {value}\n", key.section, key.name);
        let fits = |line: &String| match parse(line, "t") {
            Ok(_) => true,
            Err(errors) => errors.iter().all(|one| one.expected.contains(" beside it")),
        };
        let lines: Vec<String> = values
            .iter()
            .map(|value| line(value))
            .filter(fits)
            .collect();
        assert!(
            !lines.is_empty(),
            "{}.{}: no value to try",
            key.section,
            key.name
        );
        prop::option::of(prop::sample::select(lines)).boxed()
    };
    all_keys().into_iter().map(lines_of).collect()
}

/// Up to four sections; the names meet now and then.
fn namespaces() -> impl Strategy<Value = Vec<String>> {
    let publish = prop::sample::select(vec!["anyone", "subscribers", "nobody"]);
    let subscribe = prop::option::of(prop::sample::select(vec!["anyone", "nobody"]));
    let section = ("[a-e]{1,2}", publish, subscribe).prop_map(|(name, publish, subscribe)| {
        let subscribe = subscribe.map_or(String::new(), |who| format!("subscribe = \"{who}\"\n"));
        format!("[[namespace]]\nname = \"{name}\"\npublish = \"{publish}\"\n{subscribe}")
    });
    prop::collection::vec(section, 0..4)
}
