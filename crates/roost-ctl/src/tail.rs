//! `roostctl tail`: a channel's publications as they come.

use form_urlencoded::Serializer;
use serde_json::Value;

use crate::client::Client;
use crate::output::{note, print};
use crate::table::{bytes, plain};

/// Prints until the daemon ends it, or this process is ended.
pub(crate) fn run(
    client: &Client,
    channel: &str,
    shows_payload: bool,
    as_json: bool,
) -> Result<(), String> {
    let mut query = Serializer::new(String::new());
    query.append_pair("channel", channel);
    if shows_payload {
        query.append_pair("payload", "1");
    }
    let mut has_end = false;
    client.follow(&format!("/tail?{}", query.finish()), |line| {
        if as_json {
            has_end |= line.starts_with("{\"end\"");
            return print(line);
        }
        let event: Value = serde_json::from_str(line)
            .map_err(|error| format!("the daemon's answer is no JSON ({error})"))?;
        if let Some(why) = event["end"].as_str() {
            has_end = true;
            note(&format!("the end: {}", plain(why)));
        } else if let Some(missed) = event["missed"].as_u64() {
            note(&format!("{missed} were missed"));
        } else if let Some(channel) = event["channel"].as_str() {
            note(&format!("looking on at {}; Ctrl-C ends it", plain(channel)));
        } else {
            return print(&line_of(&event));
        }
        Ok(())
    })?;
    match has_end {
        true => Ok(()),
        false => Err("the daemon has ended, or cut the connection".to_owned()),
    }
}

fn line_of(event: &Value) -> String {
    let number = |name: &str| event[name].as_u64().unwrap_or_default();
    let kind = plain(event["kind"].as_str().unwrap_or_default());
    let data = event["data"]
        .as_str()
        .map(|data| format!("  {}", plain(data)));
    let to_some = match event["is_restricted"].as_bool() {
        Some(true) => " to some",
        _ => "",
    };
    format!(
        "{:>8}  {:>10}  {kind}{to_some}{}\n",
        number("offset"),
        bytes(number("bytes")),
        data.unwrap_or_default()
    )
}
