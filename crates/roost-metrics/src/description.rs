//! What a counter is called, and what it counts.

/// What a name and its value mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name as shown to people and scrapers.
    pub name: &'static str,
    /// What is counted, with its unit.
    pub help: &'static str,
}

impl Description {
    /// `counter` where the value only grows, `gauge` where it is that of now.
    pub fn kind(&self) -> &'static str {
        if self.name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        }
    }

    /// What one of it is.
    pub fn unit(&self) -> &'static str {
        if self.name.ends_with("_seconds") {
            return "seconds";
        }
        if self.name.contains("_bytes") {
            return "bytes";
        }
        let noun = self.help.split_whitespace().next().unwrap_or_default();
        let noun = noun.trim_end_matches(['.', ',']);
        let known = UNITS.iter().find(|(first, _)| *first == noun);
        known.map_or("events", |(_, unit)| unit)
    }
}

/// The first word of a meaning, where it names what is counted.
const UNITS: &[(&str, &str)] = &[
    ("Answers", "answers"),
    ("Batches", "batches"),
    ("Bytes", "bytes"),
    ("Calls", "calls"),
    ("Channels", "channels"),
    ("Compression", "contexts"),
    ("Connections", "connections"),
    ("Handshakes", "handshakes"),
    ("Members", "members"),
    ("Messages", "messages"),
    ("New", "connections"),
    ("Open", "connections"),
    ("Pings", "frames"),
    ("Plain", "requests"),
    ("Pongs", "frames"),
    ("Procedures", "procedures"),
    ("Publishes", "messages"),
    ("Receive", "requests"),
    ("Registrations", "registrations"),
    ("Requests", "requests"),
    ("Responses", "responses"),
    ("Revocations", "revocations"),
    ("Send", "requests"),
    ("Subscriptions", "subscriptions"),
    ("Text", "messages"),
    ("Reloads", "reloads"),
    ("Time", "seconds"),
    ("Tokens", "tokens"),
    ("Binary", "messages"),
];
