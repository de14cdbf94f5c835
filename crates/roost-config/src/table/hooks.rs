//! `[[hook]]`: what an application is asked about its clients.

use crate::pattern::{FILE, HEADER, HOOK_EVENT, HOOK_URL, NAMESPACE_NAME};
use crate::row::{DAY, MINUTE, SECOND, section, time, time_or_zero, words};
use crate::units::{KIB, MIB};
use crate::value::{Count, Patterns, Size};

section! {
    /// What an application is asked about its clients, over HTTP ([hooks.md](hooks.md)); as many sections
    /// as there are hooks. A question goes to the first that names its event and its namespace.
    "hook" Hook
    /// About what it is asked. `"connect"`: whether a client without a token may connect, and as whom.
    /// `"subscribe"`, `"publish"`: whether it may, where a namespace says `subscribe = "hook"` or
    /// `publish = "hook"`. `"rpc"`: what clients of Centrifugo's protocol call by `rpc`.
    events: Vec<String> = Vec::new(), Patterns(HOOK_EVENT), Live, r#"["subscribe", "publish"]"#;
    /// The namespaces it is asked about; `["*"]`: all channels. `connect` and `rpc` know none.
    namespaces: Vec<String> =
        vec!["*".to_owned()], Patterns(NAMESPACE_NAME), Live, r#"["chat"]"#;
    /// Where questions are sent to (POST). `{event}` in it stands for the event. `http://` is for networks
    /// in which nothing can change an answer on its way.
    url: String = String::new(), HOOK_URL, Live, r#""http://127.0.0.1:3000/roost""#;
    /// PEM: the authorities that `https://` trusts there.
    ca_file: String =
        "/etc/ssl/certs/ca-certificates.crt".to_owned(), FILE, Live, r#""/etc/roost/app-ca.pem""#;
    /// How long a question may take, from when it comes up to its answer.
    timeout_ms: u32 = SECOND, time(10..=MINUTE), Live, r#""3s""#;
    /// Questions that are with the application at once, one a TCP connection.
    in_flight_max: u32 = 256, Count(1..=10_000), Live, "64";
    /// Questions that wait for those. Above it they are refused for now: a handshake with 503.
    queue_max: u32 = 4096, Count(0..=1_000_000), Live, "1000";
    /// An answer, in bytes. A longer one is none.
    answer_bytes_max: usize = 64 * KIB, Size(256..=16 * MIB), Live, r#""256KiB""#;
    /// What holds when there is no answer: in time, of the right form, with status 200. `"deny"`: refused
    /// for now. `"allow"`: allowed, but for `rpc`; a client that connects has no account then. `"last"`, for `subscribe`
    /// alone: as last answered for this user and channel, and refused for now if it never was.
    on_failure: OnFailure = OnFailure::Deny, OnFailure::WORDS, Live, r#""last""#;
    /// How long an answer about a user and a channel is used for the next such question; `"0s"`: not at
    /// all. For `subscribe` alone. Of clients without an account nothing is remembered.
    cache_ms: u32 = 0, time_or_zero(SECOND..=DAY), Live, r#""10s""#;
    /// How old the last answer may be, for `on_failure = "last"`.
    cache_stale_max_ms: u32 = 0, time_or_zero(SECOND..=7 * DAY), Live, r#""1h""#;
    /// A file with the secrets that questions are signed with (Standard Webhooks), `whsec_…`, one a line.
    /// All sign, so that a new one can be added before the application knows it. `""`: not signed.
    secrets_file: String = String::new(), FILE, Live, r#""/etc/roost/hook.secrets""#;
    /// Headers of a client's handshake that are passed on with `connect`.
    headers: Vec<String> = Vec::new(), Patterns(HEADER), Live, r#"["cookie"]"#;
}

words! {
    /// `hook.on_failure`.
    OnFailure
    /// Refused for now.
    Deny = "deny",
    /// Allowed.
    Allow = "allow",
    /// As last answered.
    Last = "last",
}

impl Hook {
    /// Whether it is asked about an event: `connect`, `subscribe`, `publish` or `rpc`.
    pub fn names(&self, event: &str) -> bool {
        self.events.iter().any(|one| one == event || one == "*")
    }

    /// Whether it is asked about channels of a namespace; `""` are those without one.
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespaces
            .iter()
            .any(|one| one == namespace || one == "*")
    }
}
