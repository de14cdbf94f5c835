//! One screen about one connection: the verdict first, then what it rests on.

use std::fmt::Write as _;

use serde_json::Value;

use crate::table::{bytes, plain};

/// The screen for what the daemon has answered.
pub(crate) fn screen(why: &Value) -> String {
    let mut out = String::new();
    let name = text(&why["connection"]);
    for (at, verdict) in array(&why["verdicts"]).enumerate() {
        let head = if at == 0 { name.as_str() } else { "also" };
        let (what, cause) = (text(&verdict["what"]), text(&verdict["cause"]));
        let _ = writeln!(out, "{head}: {what} ({cause})");
        let _ = writeln!(out, "    to do: {}", text(&verdict["remedy"]));
    }
    if why["is_there"].as_bool() == Some(true) {
        out.push('\n');
        who(&mut out, why);
        waits(&mut out, why);
        channels(&mut out, why);
        tcp(&mut out, &why["tcp"]);
    }
    past(&mut out, why);
    out
}

fn who(out: &mut String, why: &Value) {
    let record = &why["record"];
    let user = match (text(&record["user"]), text(&why["role"])) {
        (user, _) if user.is_empty() => "anonymous".to_owned(),
        (user, role) if role.is_empty() => user,
        (user, role) => format!("{user} (role {role}, by {})", text(&why["method"])),
    };
    let expired = match why["is_identity_expired"].as_bool() {
        Some(true) => ", EXPIRED",
        _ => "",
    };
    line(out, "user", &format!("{user}{expired}"));
    let address = record["address"].as_str().unwrap_or("not known");
    let listener = text(&record["listener"]);
    let transport = text(&why["transport"]);
    line(
        out,
        "from",
        &format!("{} by listener {listener} ({transport})", plain(address)),
    );
    let (phase, dialect) = (text(&record["phase"]), text(&record["dialect"]));
    line(out, "speaks", &format!("{dialect}, {phase}"));
    line(out, "compression", &text(&why["compression"]));
    let (silent, quiet) = (ms(&why["silent_ms"]), ms(&why["quiet_ms"]));
    line(
        out,
        "last byte",
        &format!("{silent} ago; last message in either direction {quiet} ago"),
    );
    let ping = &why["ping"];
    let state = match ping["is_unanswered"].as_bool() {
        Some(true) => format!("unanswered, closed in {}", ms(&ping["deadline_ms"])),
        _ => "answered, or none due".to_owned(),
    };
    let (interval, timeout) = (ms(&ping["interval_ms"]), ms(&ping["timeout_ms"]));
    line(
        out,
        "ping",
        &format!("{state}; every {interval}, {timeout} to answer"),
    );
    if let Some(paused) = why["paused_for"].as_str() {
        line(out, "not read", &format!("waits for {}", plain(paused)));
    }
}

fn waits(out: &mut String, why: &Value) {
    let record = &why["record"];
    let number = |name: &str| record[name].as_u64().unwrap_or_default();
    line(
        out,
        "waits for it",
        &format!(
            "{} in {} messages, of at most {}; {} more are with the kernel",
            bytes(number("outbox_bytes")),
            number("outbox_messages"),
            bytes(why["outbox_bytes_max"].as_u64().unwrap_or_default()),
            bytes(number("in_flight_bytes")),
        ),
    );
    for lane in array(&why["lanes"]) {
        let of = match lane["namespace"].as_str() {
            None => "of no channel".to_owned(),
            Some("") => "without a namespace".to_owned(),
            Some(name) => format!("of namespace {}", plain(name)),
        };
        let count = |name: &str| lane[name].as_u64().unwrap_or_default();
        let most = match lane["bytes_max"].as_u64() {
            Some(most) => format!(
                ", of at most {}, then {}",
                bytes(most),
                text(&lane["slow_consumer"])
            ),
            None => String::new(),
        };
        line(
            out,
            "",
            &format!(
                "{} in {} {of}{most}",
                bytes(count("bytes")),
                count("messages")
            ),
        );
    }
    if let Some(dropped @ 1..) = why["dropped"].as_u64() {
        line(out, "dropped", &format!("{dropped} messages since it lags"));
    }
    if number("input_buffered_bytes") > 0 {
        line(out, "unfinished", &bytes(number("input_buffered_bytes")));
    }
}

fn channels(out: &mut String, why: &Value) {
    let count = why["subscriptions"].as_u64().unwrap_or_default();
    let shown = array(&why["channels"]).map(|channel| {
        let name = text(&channel["name"]);
        match channel["is_pattern"].as_bool() {
            Some(true) => format!("{name} (pattern)"),
            _ => format!("{name} ({} published)", channel["offset"]),
        }
    });
    let mut shown: Vec<String> = shown.collect();
    if (shown.len() as u64) < count {
        shown.push("…".to_owned());
    }
    line(
        out,
        "subscribed to",
        &format!("{count}: {}", shown.join(", ")),
    );
    let asked = &why["asked"];
    if asked.is_object() {
        line(
            out,
            "asked about",
            &format!(
                "{}: subscribe {}; publish {}",
                text(&asked["channel"]),
                text(&asked["may_subscribe"]),
                text(&asked["may_publish"])
            ),
        );
    }
}

fn tcp(out: &mut String, tcp: &Value) {
    if !tcp.is_object() {
        return;
    }
    let number = |name: &str| tcp[name].as_u64().unwrap_or_default();
    let window = match tcp["peer_window_bytes"].as_u64() {
        Some(window) => bytes(window),
        None => "not known".to_owned(),
    };
    line(
        out,
        "TCP",
        &format!(
            "rtt {} µs ± {}, rto {} ms, {} unacknowledged, {} sent anew ({} in a row)",
            number("rtt_us"),
            number("rttvar_us"),
            number("rto_us") / 1000,
            number("unacked"),
            number("retransmits_total"),
            number("retransmits"),
        ),
    );
    let held_up = match number("busy_us") {
        0 => 0,
        busy => number("rwnd_limited_us").saturating_mul(100) / busy,
    };
    line(
        out,
        "",
        &format!(
            "{} not sent yet, its window {window}, held up by it {held_up} % of the time; {} in, {} out",
            bytes(number("notsent_bytes")),
            bytes(number("received_bytes")),
            bytes(number("acked_bytes")),
        ),
    );
}

fn past(out: &mut String, why: &Value) {
    for (at, incident) in array(&why["incidents"]).enumerate() {
        let title = if at == 0 { "lately" } else { "" };
        let count = incident["count"].as_u64().unwrap_or_default();
        line(
            out,
            title,
            &format!(
                "{} ago, {count} times: {} ({})",
                ms(&incident["ago_ms"]),
                text(&incident["what"]),
                text(&incident["kind"])
            ),
        );
    }
}

fn line(out: &mut String, title: &str, text: &str) {
    let _ = writeln!(out, "{title:<14}{text}");
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}

/// A time in milliseconds for people.
fn ms(value: &Value) -> String {
    match value.as_u64().unwrap_or_default() {
        count @ 0..=9_999 => format!("{count} ms"),
        count => format!("{} s", count / 1000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_verdict_comes_first_and_what_is_missing_is_left_out() {
        let why = json!({
            "connection": "r0-1.2", "is_there": false,
            "verdicts": [{"cause": "gone", "what": "It is gone.", "remedy": "Nothing."}],
            "incidents": [{"kind": "ended", "count": 1, "ago_ms": 20_000, "what": "cut"}],
        });
        let screen = screen(&why);
        assert_eq!(
            screen,
            "r0-1.2: It is gone. (gone)\n    to do: Nothing.\nlately        20 s ago, 1 times: cut (ended)\n"
        );
    }
}
