//! What each command asks, and how its answer is printed.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process;

use form_urlencoded::Serializer;
use serde_json::Value;

use crate::cli::{Channels, Cli, Command, Conns};
use crate::client::Client;
use crate::drain;
use crate::output::{note, print};
use crate::table::{Table, bytes, plain, seconds};
use crate::tail;
use crate::top;
use crate::why;

/// The error is a message for people.
pub(crate) fn run(cli: &Cli) -> Result<(), String> {
    let client = Client::new(cli.socket.as_deref());
    match &cli.command {
        Command::Conns(conns) => list(&client, conns, cli.json),
        Command::Conn { key } => {
            let target = format!("/connections/{}", segment(key)?);
            show(&client, cli, &target, pairs_of)
        }
        Command::Why { key, channel } => {
            let query = channel.as_ref().map(|channel| {
                let mut query = Serializer::new(String::new());
                query.append_pair("channel", channel);
                format!("?{}", query.finish())
            });
            let target = format!("/why/{}{}", segment(key)?, query.unwrap_or_default());
            show(&client, cli, &target, why::screen)
        }
        Command::Channels(channels) => list_channels(&client, channels, cli.json),
        Command::Channel { name } => channel(&client, cli, name),
        Command::May {
            user,
            operation,
            channel,
        } => may(&client, cli, [user, operation, channel]),
        Command::Top { once } => top::run(&client, *once, cli.json),
        Command::Kick { key, code, reason } => kick(&client, cli, key, *code, reason),
        Command::Publish {
            channel,
            data,
            binary,
        } => publish(&client, cli, channel, data, *binary),
        Command::Log { level } => log(&client, cli, level),
        Command::Reload { check } => reload(&client, cli, *check),
        Command::Tail { channel, payload } => tail::run(&client, channel, *payload, cli.json),
        Command::Drain(asked) => drain::run(&client, asked, cli.json),
        Command::Token {
            user,
            expires,
            allow,
            config,
        } => {
            let mut arguments = vec!["token", "--user", user, "--expires", expires];
            allow
                .iter()
                .for_each(|grant| arguments.extend(["--allow", grant]));
            let config = [OsStr::new("--config"), config.as_os_str()];
            run_roostd(arguments.into_iter().map(OsStr::new).chain(config))
        }
        Command::HashKey { file, new } => hash_key(file.as_deref(), *new),
    }
}

/// Prints an object, as it is or for people.
fn show(
    client: &Client,
    cli: &Cli,
    target: &str,
    for_people: fn(&Value) -> String,
) -> Result<(), String> {
    let answer = client.get(target)?;
    match cli.json {
        true => print(&answer.body),
        false => print(&for_people(&json(&answer.body)?)),
    }
}

fn kick(client: &Client, cli: &Cli, key: &str, code: u16, reason: &str) -> Result<(), String> {
    let mut query = Serializer::new(String::new());
    query.append_pair("code", &code.to_string());
    query.append_pair("reason", reason);
    let target = format!("/connections/{}?{}", segment(key)?, query.finish());
    let answer = client.ask("DELETE", &target, "", b"")?;
    said(cli, &answer.body, &format!("{key}: closed with {code}\n"))
}

fn log(client: &Client, cli: &Cli, level: &str) -> Result<(), String> {
    let mut query = Serializer::new(String::new());
    query.append_pair("level", level);
    let answer = client.ask("POST", &format!("/log?{}", query.finish()), "", b"")?;
    let before = text_of(&json(&answer.body)?, "before");
    let text = format!("level {level} (it was {before})\n");
    said(cli, &answer.body, &text)
}

fn reload(client: &Client, cli: &Cli, is_check: bool) -> Result<(), String> {
    let target = if is_check {
        "/reload?check=1"
    } else {
        "/reload"
    };
    let answer = client.ask("POST", target, "", b"")?;
    if cli.json {
        return print(&answer.body);
    }
    let reloaded = json(&answer.body)?;
    for warning in list_of(&reloaded, "warnings") {
        note(&format!(
            "warning: {}",
            plain(warning.as_str().unwrap_or_default())
        ));
    }
    let changes = list_of(&reloaded, "changes");
    if changes.is_empty() {
        note("no key has another value; the files that are named are read again by each reload");
        return Ok(());
    }
    let mut table = Table::new(&["KEY", "BEFORE", "AFTER", "EFFECT"]);
    for change in changes {
        let or_dash = |name| match &change[name] {
            Value::String(text) => plain(text),
            _ => "-".to_owned(),
        };
        table.push(vec![
            text_of(change, "key"),
            or_dash("before"),
            or_dash("after"),
            text_of(change, "effect"),
        ]);
    }
    print(&table.to_string())?;
    if is_check {
        note("this is what a reload would do: nothing has changed");
    }
    Ok(())
}

fn list_of<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().map_or(&[], Vec::as_slice)
}

fn list_channels(client: &Client, channels: &Channels, as_json: bool) -> Result<(), String> {
    let left = match channels.all {
        true => u64::MAX,
        false => u64::from(channels.limit.max(1)),
    };
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &left.min(CHANNELS_PAGE_MAX).to_string());
    query.append_pair("prefix", &channels.prefix);
    if let Some(cursor) = &channels.cursor {
        query.append_pair("cursor", cursor);
    }
    let list = List {
        target: format!("/channels?{}", query.finish()),
        left,
        page_max: CHANNELS_PAGE_MAX,
        titles: &CHANNEL_TITLES,
        row_of: channel_row,
        none: "no such channel has subscribers",
    };
    list.print(client, as_json)
}

/// What was done: the daemon's own words for scripts, a line for people.
fn said(cli: &Cli, body: &str, text: &str) -> Result<(), String> {
    print(if cli.json { body } else { text })
}

/// Lists connections.
fn list(client: &Client, conns: &Conns, as_json: bool) -> Result<(), String> {
    let left = match (conns.all, conns.slowest) {
        (true, _) | (_, Some(_)) => u64::MAX,
        _ => u64::from(conns.limit.max(1)),
    };
    let list = List {
        target: format!("/connections?{}", query_of(conns, left)),
        left,
        page_max: PAGE_MAX,
        titles: &TITLES,
        row_of,
        none: "no such connection",
    };
    list.print(client, as_json)
}

/// A list that comes in pages.
struct List<'a> {
    target: String,
    /// Lines that may be printed.
    left: u64,
    page_max: u64,
    titles: &'a [&'a str],
    row_of: fn(&Value) -> Vec<String>,
    /// What is said of an empty one.
    none: &'a str,
}

impl List<'_> {
    /// Page after page, as JSON lines or as one table.
    fn print(self, client: &Client, as_json: bool) -> Result<(), String> {
        let mut left = self.left;
        let mut next = Some(self.target);
        let mut table = Table::new(self.titles);
        while let Some(target) = next.take() {
            let page = client.get(&target)?;
            left = left.saturating_sub(page.body.lines().count() as u64);
            if as_json {
                print(&page.body)?;
            } else {
                for line in page.body.lines() {
                    table.push((self.row_of)(&json(line)?));
                }
            }
            match page.next {
                Some(target) if left > 0 => {
                    next = Some(with_limit(&target, left.min(self.page_max)));
                }
                Some(target) => {
                    if let Some(cursor) = cursor_of(&target) {
                        note(&format!("there are more: add --cursor {cursor}, or --all"));
                    }
                }
                None => {}
            }
        }
        match (as_json, table.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => {
                note(self.none);
                Ok(())
            }
            (false, false) => print(&table.to_string()),
        }
    }
}

fn query_of(conns: &Conns, left: u64) -> String {
    let mut query = Serializer::new(String::new());
    match conns.slowest {
        Some(count) => query.append_pair("slowest", &count.to_string()),
        None => query.append_pair("limit", &left.min(PAGE_MAX).to_string()),
    };
    let named = [
        ("user", &conns.user),
        ("channel", &conns.channel),
        ("address", &conns.address),
        ("dialect", &conns.dialect),
        ("cursor", &conns.cursor),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if conns.waiting {
        query.append_pair("waiting", "1");
    }
    query.finish()
}

/// The same page with another limit.
fn with_limit(target: &str, limit: u64) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut changed = Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => changed.append_pair("limit", &limit.to_string()),
            _ => changed.append_pair(&name, &value),
        };
    }
    format!("{path}?{}", changed.finish())
}

fn cursor_of(target: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, cursor) = pairs.find(|(name, _)| name == "cursor")?;
    Some(cursor.into_owned())
}

const TITLES: [&str; 9] = [
    "CONNECTION",
    "PHASE",
    "DIALECT",
    "USER",
    "ADDRESS",
    "SILENT",
    "WAITING",
    "MESSAGES",
    "READ",
];

const CHANNEL_TITLES: [&str; 5] = ["CHANNEL", "NAMESPACE", "SUBSCRIBERS", "LAST OFFSET", "KEPT"];

fn channel_row(record: &Value) -> Vec<String> {
    let namespace = text_of(record, "namespace");
    vec![
        text_of(record, "channel"),
        match namespace.is_empty() {
            true => "-".to_owned(),
            false => namespace,
        },
        number_of(record, "subscribers").to_string(),
        number_of(record, "offset").to_string(),
        number_of(record, "kept").to_string(),
    ]
}

/// A channel, and the first of its subscribers.
fn channel(client: &Client, cli: &Cli, name: &str) -> Result<(), String> {
    let query = |pairs: &[(&str, &str)]| {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(pairs);
        query.finish()
    };
    let found = client.get(&format!("/channels?{}", query(&[("name", name)])))?;
    if cli.json {
        return print(&found.body);
    }
    print(&pairs_of(&json(&found.body)?))?;
    print("\n")?;
    let list = List {
        target: format!(
            "/connections?{}",
            query(&[("limit", "20"), ("channel", name)])
        ),
        left: 20,
        page_max: 20,
        titles: &TITLES,
        row_of,
        none: "no connection subscribes to it by its name; a pattern may match it",
    };
    list.print(client, false)
}

/// Whether a user may do something, and the rule.
fn may(client: &Client, cli: &Cli, [user, operation, channel]: [&str; 3]) -> Result<(), String> {
    let mut query = Serializer::new(String::new());
    query.append_pair("user", user);
    query.append_pair("operation", operation);
    query.append_pair("channel", channel);
    let answer = client.get(&format!("/may?{}", query.finish()))?;
    let decision = json(&answer.body)?;
    let by = text_of(&decision, "known_by");
    let text = format!("{}\n({by})\n", text_of(&decision, "decision"));
    said(cli, &answer.body, &text)
}

fn row_of(record: &Value) -> Vec<String> {
    let or_dash = |text: String| match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    };
    let waiting = number_of(record, "outbox_bytes") + number_of(record, "in_flight_bytes");
    let is_paused = record["is_paused"].as_bool() == Some(true);
    vec![
        text_of(record, "connection"),
        text_of(record, "phase"),
        text_of(record, "dialect"),
        or_dash(text_of(record, "user")),
        or_dash(text_of(record, "address")),
        seconds(number_of(record, "silent_seconds")),
        bytes(waiting),
        number_of(record, "outbox_messages").to_string(),
        if is_paused { "paused" } else { "yes" }.to_owned(),
    ]
}

/// A line for each field of an object.
fn pairs_of(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    let lines = fields.map(|(name, value)| {
        let value = match value {
            Value::String(text) if text.is_empty() => "-".to_owned(),
            Value::String(text) => plain(text),
            Value::Number(number) if name.ends_with("_bytes") => {
                bytes(number.as_u64().unwrap_or_default())
            }
            other => other.to_string(),
        };
        format!("{:<22}{value}\n", name.replace('_', " "))
    });
    lines.collect()
}

fn publish(
    client: &Client,
    cli: &Cli,
    channel: &str,
    data: &str,
    binary: bool,
) -> Result<(), String> {
    let mut body = data.as_bytes().to_vec();
    if data == "-" {
        body.clear();
        let read = std::io::stdin().lock().read_to_end(&mut body);
        read.map_err(|error| format!("standard input: {error}"))?;
    }
    let query = Serializer::new(String::new())
        .append_pair("channel", channel)
        .finish();
    let headers = match binary {
        true => "Content-Type: application/octet-stream\r\n",
        false => "",
    };
    let answer = client.ask("POST", &format!("/publish?{query}"), headers, &body)?;
    let place = json(&answer.body)?;
    let number = number_of(&place, "publication");
    let text = format!("published {} as {number}\n", bytes(body.len() as u64));
    said(cli, &answer.body, &text)
}

/// What a key is, and what of it is in the configuration, is the daemon's to know.
fn hash_key(file: Option<&Path>, is_new: bool) -> Result<(), String> {
    let arguments = [OsStr::new("hash-key")].into_iter();
    let arguments = arguments.chain(file.map(Path::as_os_str));
    run_roostd(arguments.chain(is_new.then_some(OsStr::new("--new"))))
}

/// Becomes `roostd`, that beside this program if there is one.
fn run_roostd<'a>(arguments: impl Iterator<Item = &'a OsStr>) -> Result<(), String> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let beside = beside.map(|directory| directory.join("roostd"));
    let program = beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| "roostd".into());
    let error = process::Command::new(&program).args(arguments).exec(); // returns only if it fails
    Err(format!(
        "cannot start {}: {error}; install roostd beside roostctl, or ask it itself",
        program.display()
    ))
}

/// A name as a segment of a path: those of connections need no escape, and others are none.
fn segment(key: &str) -> Result<&str, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    match !key.is_empty() && key.chars().all(is_name) {
        true => Ok(key),
        false => Err(format!(
            "\"{}\" is no connection: they are called as r0-17.4; roostctl conns lists them",
            plain(key)
        )),
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("the daemon's answer is no JSON ({error}): is it of another version?")
    })
}

fn text_of(object: &Value, name: &str) -> String {
    plain(object[name].as_str().unwrap_or_default())
}

fn number_of(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or_default()
}

/// Connections in a page, at most.
const PAGE_MAX: u64 = 1024;
/// Channels in a page, at most.
const CHANNELS_PAGE_MAX: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_its_filter() {
        let target = "/connections?limit=100&cursor=1.7&user=a%26b";
        assert_eq!(
            with_limit(target, 3),
            "/connections?limit=3&cursor=1.7&user=a%26b"
        );
        assert_eq!(cursor_of(target).as_deref(), Some("1.7"));
    }

    #[test]
    fn only_names_of_connections_go_into_a_path() {
        assert_eq!(segment("r0-17.4"), Ok("r0-17.4"));
        for bad in ["", "a/b", "r0-1.1?x", "r0 1"] {
            assert!(segment(bad).is_err(), "{bad}");
        }
    }
}
