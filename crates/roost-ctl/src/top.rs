//! What the daemon does, at a glance: sums and rates, and the connections for which most waits.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::output::print;
use crate::table::{Table, bytes, plain, seconds};

/// Counters at one moment.
struct Sample {
    at: Instant,
    stats: Value,
}

/// Shows it again and again, or once. Ends with Ctrl-C, which leaves the terminal as it is: nothing but the
/// cursor is moved.
pub(crate) fn run(client: &Client, once: bool, as_json: bool) -> Result<(), String> {
    let mut before = Sample::take(client)?;
    loop {
        thread::sleep(if once || as_json { ONCE } else { INTERVAL });
        let now = Sample::take(client)?;
        let slow = client.get("/stats/slow")?;
        let slow: Value = serde_json::from_str(&slow.body).unwrap_or_default();
        let view = View::of(&before, &now, &slow);
        match (as_json, once) {
            (true, _) => return print(&format!("{}\n", view.to_json())),
            (false, true) => return print(&view.to_string()),
            // ANSI: to the upper left corner, each line to its end, and what is below.
            (false, false) => {
                let text = view.to_string().replace('\n', "\x1b[K\n");
                print(&format!("\x1b[H{text}\x1b[J"))?;
            }
        }
        before = now;
    }
}

impl Sample {
    fn take(client: &Client) -> Result<Sample, String> {
        let answer = client.get("/stats")?;
        let stats = serde_json::from_str(&answer.body)
            .map_err(|error| format!("/stats is no JSON ({error})"))?;
        Ok(Sample {
            at: Instant::now(),
            stats,
        })
    }

    fn get(&self, name: &str) -> u64 {
        self.stats[name].as_u64().unwrap_or_default()
    }
}

/// What is shown.
struct View<'a> {
    now: &'a Sample,
    /// Per second.
    rates: Vec<(&'static str, f64)>,
    /// Loop iterations a second, and the mean time between two, in microseconds.
    loops: (f64, f64),
    slow: &'a Value,
}

impl View<'_> {
    fn of<'a>(before: &Sample, now: &'a Sample, slow: &'a Value) -> View<'a> {
        let elapsed = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |name: &str| {
            let grown = now.get(name).saturating_sub(before.get(name));
            grown as f64 / elapsed
        };
        let loops = rate("loop_iterations_total");
        let reactors = now.get("reactors").max(1) as f64;
        let mean_us = if loops > 0.0 {
            reactors * 1e6 / loops
        } else {
            0.0
        };
        View {
            now,
            rates: RATES
                .iter()
                .map(|&(title, name)| (title, rate(name)))
                .collect(),
            loops: (loops, mean_us),
            slow,
        }
    }

    fn to_json(&self) -> Value {
        let mut rates = json!({});
        for (title, rate) in &self.rates {
            rates[*title] = json!((rate * 10.0).round() / 10.0);
        }
        json!({
            "connections": self.now.get("connections_open"),
            "websockets": self.now.get("websockets_open"),
            "subscriptions": self.now.get("subscriptions"),
            "channels": self.now.get("home_channels"),
            "outbox_bytes": self.now.get("outbox_bytes"),
            "connections_backlogged": self.now.get("connections_backlogged"),
            "per_second": rates,
            "loop_iterations_per_second": self.loops.0.round(),
            "loop_interval_us": self.loops.1.round(),
            "slowest": self.slow,
        })
    }
}

impl std::fmt::Display for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let get = |name| self.now.get(name);
        writeln!(
            f,
            "roostd {}, up {}, {} on {} reactors",
            plain(self.now.stats["version"].as_str().unwrap_or("?")),
            seconds(get("uptime_seconds")),
            plain(self.now.stats["driver"].as_str().unwrap_or("?")),
            get("reactors"),
        )?;
        writeln!(
            f,
            "{} connections ({} WebSockets, {} in handshakes), {} channels, {} subscriptions",
            get("connections_open"),
            get("websockets_open"),
            get("handshakes_in_flight"),
            get("home_channels"),
            get("subscriptions"),
        )?;
        writeln!(
            f,
            "{} clients are behind, {} wait for them; {} input is unfinished",
            get("connections_backlogged"),
            bytes(get("outbox_bytes") + get("in_flight_bytes")),
            bytes(get("input_buffered_bytes")),
        )?;
        writeln!(
            f,
            "loops: {:.0} a second, one in {:.0} µs on each reactor; a quiet one sleeps\n",
            self.loops.0, self.loops.1
        )?;
        let mut rates = Table::new(&["A SECOND", "", "A SECOND", ""]);
        for pair in self.rates.chunks(2) {
            let mut cells = Vec::new();
            for at in 0..2 {
                let (title, rate) = pair.get(at).copied().unwrap_or(("", 0.0));
                cells.push(title.to_owned());
                cells.push(match title {
                    "" => String::new(),
                    title if title.ends_with("bytes") => bytes(rate as u64),
                    _ => format!("{rate:.1}"),
                });
            }
            rates.push(cells);
        }
        writeln!(f, "{rates}")?;
        let mut slowest = Table::new(&["SLOWEST", "DIALECT", "WAITING", "MESSAGES"]);
        for one in self
            .slow
            .as_array()
            .into_iter()
            .flatten()
            .take(SLOWEST_SHOWN)
        {
            let number = |name: &str| one[name].as_u64().unwrap_or_default();
            slowest.push(vec![
                plain(one["connection"].as_str().unwrap_or_default()),
                plain(one["dialect"].as_str().unwrap_or_default()),
                bytes(number("outbox_bytes") + number("in_flight_bytes")),
                number("outbox_messages").to_string(),
            ]);
        }
        let mut text = String::new();
        match slowest.is_empty() {
            true => text.push_str("no client is behind\n"),
            false => write!(text, "{slowest}")?,
        }
        f.write_str(&text)
    }
}

/// Counters of `/stats`, two in a line.
const RATES: [(&str, &str); 11] = [
    ("accepted", "connections_accepted_total"),
    ("closed", "connections_closed_total"),
    ("text messages", "text_messages_received_total"),
    ("binary messages", "binary_messages_received_total"),
    ("publishes", "publishes_total"),
    ("received bytes", "received_bytes_total"),
    ("sent bytes", "sent_bytes_total"),
    ("handshakes refused", "handshakes_refused_total"),
    ("slow consumers", "slow_consumers_total"),
    ("ping timeouts", "ping_timeouts_total"),
    ("publishers paused", "publishers_paused_total"),
];
const INTERVAL: Duration = Duration::from_secs(2);
const ONCE: Duration = Duration::from_secs(1);
const SLOWEST_SHOWN: usize = 10;
