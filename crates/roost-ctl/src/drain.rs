//! `roostctl drain`: begins one, changes its rate, and says how far it has come.

use std::thread::sleep;
use std::time::Duration;

use form_urlencoded::Serializer;
use serde_json::Value;

use crate::cli::Drain;
use crate::client::Client;
use crate::output::{note, print};
use crate::table::seconds;

/// Begins a drain, or shows one.
pub(crate) fn run(client: &Client, drain: &Drain, as_json: bool) -> Result<(), String> {
    let answer = match drain.status {
        true => client.get("/drain")?,
        false => client.ask("POST", &target_of(drain), "", b"")?,
    };
    show(&answer.body, as_json)?;
    if !drain.watch {
        return Ok(());
    }
    loop {
        sleep(WATCH_EVERY);
        match client.get("/drain") {
            Ok(answer) => show(&answer.body, as_json)?,
            // Its socket goes with it.
            Err(_) => {
                note("roostd does not answer any more: it has ended");
                return Ok(());
            }
        }
    }
}

fn target_of(drain: &Drain) -> String {
    let mut query = Serializer::new(String::new());
    let ms = |seconds: u32| (u64::from(seconds) * 1000).to_string();
    let asked = [
        ("delay_ms", drain.delay.map(ms)),
        ("timeout_ms", drain.timeout.map(ms)),
        (
            "connections_per_second",
            drain.rate.map(|rate| rate.to_string()),
        ),
    ];
    for (name, value) in asked {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    match query.finish() {
        query if query.is_empty() => "/drain".to_owned(),
        query => format!("/drain?{query}"),
    }
}

fn show(body: &str, as_json: bool) -> Result<(), String> {
    if as_json {
        return print(body);
    }
    let state: Value = serde_json::from_str(body)
        .map_err(|error| format!("the daemon's answer is no JSON ({error})"))?;
    print(&line_of(&state))
}

fn line_of(state: &Value) -> String {
    let number = |name: &str| state[name].as_u64().unwrap_or_default();
    let (connections, told) = (number("connections"), number("told"));
    let rate = match number("connections_per_second") {
        0 => "all at once".to_owned(),
        rate => format!("{rate} a second"),
    };
    let timeout = seconds(number("timeout_ms") / 1000);
    match state["state"].as_str() {
        Some("waiting") => format!(
            "{connections} connections; /ready says 503, and they are closed, {rate}, {} after the \
             drain began; what is left {timeout} later is cut, and roostd ends\n",
            seconds(number("delay_ms") / 1000)
        ),
        Some("closing") => format!(
            "{connections} connections left, {told} were told to come back elsewhere, {rate}; what is \
             left after {timeout} is cut, and roostd ends\n"
        ),
        _ => format!("it does not drain: {connections} connections\n"),
    }
}

const WATCH_EVERY: Duration = Duration::from_secs(1);
