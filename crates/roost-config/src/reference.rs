//! The two documents made from the table of keys: `config/roost.toml`, and the tables of
//! `docs/configuration.md`.

use std::fmt::Write as _;

use crate::list::{Key, all_keys, namespace_keys, sections, user_keys};
use crate::table::{NAMESPACE, header};

/// `config/roost.toml`: every key with its explanation, its values and its default.
pub fn sample() -> String {
    let mut text = SAMPLE_HEAD.to_owned();
    let keys = all_keys();
    for (section, doc) in sections() {
        if let Some(keys) = entry_keys(section) {
            comment(&mut text, &doc);
            text.push_str("#\n");
            let _ = writeln!(text, "#{}", header(section));
            for key in keys {
                // The example of `publish` needs subscribers.
                let value = match key.name {
                    "subscribe" => &key.default,
                    _ => key.example,
                };
                let _ = writeln!(text, "#{} = {value}", key.name);
            }
            text.push_str(match section == NAMESPACE.name {
                true => "",
                false => "\n",
            });
            continue;
        }
        comment(&mut text, &doc);
        let _ = writeln!(text, "{}\n", header(section));
        for key in keys.iter().filter(|key| key.section == section) {
            comment(&mut text, &key.doc);
            comment(&mut text, &format!("Takes: {}.{}", key.takes, follows(key)));
            let _ = writeln!(text, "{} = {}\n", key.name, key.default);
        }
    }
    text
}

/// The tables of `docs/configuration.md`, in Markdown: every key with what it takes, its default
/// and its explanation.
pub fn reference() -> String {
    let mut text = String::new();
    let keys = all_keys();
    for (section, doc) in sections() {
        let _ = writeln!(text, "## {}\n\n{doc}\n", header(section));
        match entry_keys(section) {
            Some(keys) => table(&mut text, &keys),
            None => {
                let of_section = keys.iter().filter(|key| key.section == section);
                table(&mut text, &of_section.cloned().collect::<Vec<_>>());
            }
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A document with [`reference()`] between its two marks, or nothing where they are not there.
pub(crate) fn with_reference(document: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", reference()))
}

/// The keys of a section of which there may be several, and none is there by default.
fn entry_keys(section: &str) -> Option<Vec<Key>> {
    if section == NAMESPACE.name {
        return Some(namespace_keys());
    }
    let keys: Vec<Key> = user_keys()
        .into_iter()
        .filter(|key| key.section == section)
        .collect();
    (!keys.is_empty()).then_some(keys)
}

fn table(text: &mut String, keys: &[Key]) {
    text.push_str(
        "| key | takes | default | reload | what it does, and what happens at the limit |\n\
         |---|---|---|---|---|\n",
    );
    for key in keys {
        let in_namespace = key.section == NAMESPACE.name;
        let path = format!("`{}.{}`", key.section, key.name);
        let (default, doc) = match &key.follows {
            Some(leader) if in_namespace => {
                (format!("that of `{leader}`"), format!("As `{leader}`."))
            }
            _ if in_namespace => ("none".to_owned(), key.doc.clone()),
            _ => (
                format!("`{}`", key.default),
                format!("{}{}", key.doc, follows(key)),
            ),
        };
        let reload = key.reload.name();
        let takes = &key.takes;
        let _ = writeln!(text, "| {path} | {takes} | {default} | {reload} | {doc} |");
    }
}

/// What a key is where it is not written, as a sentence behind others.
fn follows(key: &Key) -> String {
    match &key.follows {
        Some(leader) => format!(
            " Not written, it follows `{leader}`{}.",
            // The one key that does not take its leader's value as it is.
            if (key.section, key.name) == ("limits", "outbox_bytes_max") {
                ", and is 1 MiB where that is less"
            } else {
                ""
            }
        ),
        None => String::new(),
    }
}

/// Markdown as a comment of a configuration file: without backticks, links as paths.
fn comment(text: &mut String, markdown: &str) {
    let plain = plain(markdown);
    let mut line = String::from("#");
    for word in plain.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > COMMENT_COLUMNS {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

fn plain(markdown: &str) -> String {
    let mut plain = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once("](") {
        let (target, after) = link.split_once(')').expect("a link ends");
        let start = before.rfind('[').expect("a link begins");
        let _ = write!(plain, "{}docs/{target}", &before[..start]);
        rest = after;
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

/// Between these marks stands what [`reference()`] makes.
const BEGIN: &str =
    "<!-- made by: cargo run -p roost-config --example reference -- --write; from here -->\n";
const END: &str = "<!-- to here -->";

const SAMPLE_HEAD: &str = "\
# Roost's configuration: every key, with the value it has when it is left out. An unknown key is an
# error, so a slip of the pen is found before the daemon starts:
#
#     roostd check-config /etc/roost/roost.toml     every mistake at once, with line and column
#     roostd print-config --config FILE             the effective configuration, each key with its source
#
# Sizes are written \"255B\", \"64KiB\", \"1MiB\", \"1GiB\" (an integer is a number of bytes). Times are
# written \"500ms\", \"30s\", \"5m\", \"2h\"; only 0 may stand without a unit.
#
# What this file opens: one TCP port on 127.0.0.1, to programs on this machine alone. To serve the
# world, give it a certificate (listener.tls, docs/tls.md) or put a TLS proxy in front, which forwards
# WebSockets to that address, and read the notes at listener.address, listener.allowed_origins and limits.connections_per_address_max.
#
# This file is made from the table in crates/roost-config/src/table:
# cargo run -p roost-config --example reference -- --write

";
/// Where a comment wraps.
const COMMENT_COLUMNS: usize = 100;
