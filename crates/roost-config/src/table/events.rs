//! `[events]`: what an application is told of connections and channels.

use crate::pattern::{EVENT_TYPE, FILE, HOOK_URL, NAMESPACE_NAME, NODE_NAME};
use crate::row::{HOUR, MINUTE, SECOND, section, time, time_or_zero};
use crate::value::{Count, OrNone, Patterns};

section! {
    /// What an application is told of connections and channels, over HTTP, in numbered batches
    /// ([events.md](events.md)).
    "events" EventsTo
    /// Where batches are sent to (POST). `http://` is for networks in which nothing can read them on their
    /// way. `""`: nothing is told.
    url: Option<String> = None, OrNone(HOOK_URL), Restart, r#""http://127.0.0.1:3000/events""#;
    /// What is told: `"connected"`, `"logged_in"`, `"disconnected"`, `"subscribed"`, `"unsubscribed"`,
    /// `"occupied"`, `"vacated"`, `"user_joined"`, `"user_left"`; `["*"]`: all. That the server starts and
    /// stops, and how many events are lost, is told always.
    types: Vec<String> = ["connected", "disconnected", "occupied", "vacated"].map(str::to_owned).to_vec(),
        Patterns(EVENT_TYPE), Restart, r#"["*"]"#;
    /// The namespaces whose channels are told of; `["*"]`: all channels. Connections have no namespace.
    namespaces: Vec<String> =
        vec!["*".to_owned()], Patterns(NAMESPACE_NAME), Restart, r#"["chat"]"#;
    /// The name of this server in each batch. `""`: the machine's.
    node: String = String::new(), NODE_NAME, Restart, r#""eu-1""#;
    /// PEM: the authorities that `https://` trusts there.
    ca_file: String =
        "/etc/ssl/certs/ca-certificates.crt".to_owned(), FILE, Restart, r#""/etc/roost/app-ca.pem""#;
    /// A file with the secrets that batches are signed with (Standard Webhooks), `whsec_…`, one a line.
    /// All sign. `""`: not signed.
    secrets_file: String = String::new(), FILE, Restart, r#""/etc/roost/events.secrets""#;
    /// How long the application has to take a batch, from the connection to the answer. Then it is sent
    /// again.
    timeout_ms: u32 = 10 * SECOND, time(10..=MINUTE), Restart, r#""3s""#;
    /// Events in one batch.
    batch_max: u32 = 500, Count(1..=10_000), Restart, "100";
    /// How long an event waits for others to come with it.
    batch_wait_ms: u32 = 250, time_or_zero(1..=MINUTE), Restart, r#""1s""#;
    /// Events that wait to be taken. What comes above it is lost, and the journal says how many.
    queue_max: u32 = 100_000, Count(100..=10_000_000), Restart, "1000000";
    /// How long a channel has to be without subscribers until it is told as vacated; one that has some again
    /// by then was never left.
    linger_ms: u32 = 5 * SECOND, time_or_zero(10..=HOUR), Restart, r#""30s""#;
}

impl EventsTo {
    /// Whether anything is told.
    pub fn is_on(&self) -> bool {
        self.url.is_some()
    }

    /// Whether events of a type are.
    pub fn names(&self, event: &str) -> bool {
        self.is_on() && self.types.iter().any(|one| one == event || one == "*")
    }
}
