//! What is wrong with a connection, in words: a pure function of what is known of it.
//!
//! What is asked about comes first, then what is so now, then what has been; the first verdict is the
//! one that explains most.

#[cfg(test)]
mod tests;

use roost_net::TcpInfo;
use roost_reactor::{
    AskedChannel, EndCause, Ended, Incident, IncidentKind, PausedFor, SubscribedChannel,
};
use serde::Serialize;

/// What is known of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// What went wrong lately, the oldest first.
    pub(super) incidents: Vec<Incident>,
    /// What it is now; `None`: there is no such connection.
    pub(super) now: Option<Now>,
    /// The server closes all connections.
    pub(super) is_draining: bool,
    /// What stands in front of it is a proxy, which says so.
    pub(super) is_behind_proxy: bool,
    /// `limits.ping_interval` and `limits.ping_timeout`; 0 is never.
    pub(super) ping_interval_ms: u64,
    pub(super) ping_timeout_ms: u64,
}

/// A connection that is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Now {
    pub(super) phase: &'static str,
    pub(super) waiting_bytes: u64,
    pub(super) waiting_messages: u64,
    pub(super) input_buffered_bytes: u64,
    /// Messages dropped since it has last taken all.
    pub(super) dropped: u64,
    /// The policies by which messages that wait may be dropped: `drop_oldest` of namespace `chat`.
    pub(super) policies: Vec<String>,
    pub(super) silent_ms: u64,
    pub(super) is_pinged: bool,
    pub(super) deadline_ms: Option<u64>,
    pub(super) paused_for: Option<PausedFor>,
    pub(super) tcp: Option<TcpInfo>,
    pub(super) subscriptions: usize,
    pub(super) channels: Vec<SubscribedChannel>,
    /// Its dialect has channels.
    pub(super) has_channels: bool,
    pub(super) asked: Option<AskedChannel>,
}

/// One thing that is wrong, or that nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// A word for programs.
    pub(super) cause: &'static str,
    /// What is so.
    pub(super) what: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Verdict {
    fn new(cause: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Verdict {
        Verdict {
            cause,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// All that is wrong, the most telling first; at least one.
pub(super) fn verdicts(facts: &Facts) -> Vec<Verdict> {
    let Some(now) = &facts.now else {
        let mut found: Vec<_> = facts.incidents.iter().rev().filter_map(past).collect();
        found.push(gone(facts));
        return found;
    };
    let mut found = Vec::new();
    if facts.is_draining {
        found.push(Verdict::new(
            "draining",
            "The server is going down: it closes all connections with 1001 and accepts none.",
            "Clients come back once roostd is started again, or elsewhere.",
        ));
    }
    if let Some(asked) = &now.asked {
        found.extend(asked_channel(asked, now));
    }
    found.extend(dropping(now));
    found.extend(backlog(now));
    found.extend(pause(now));
    found.extend(ping(facts, now));
    found.extend(facts.incidents.iter().rev().filter_map(past));
    found.extend(phase(facts, now));
    found.extend(channels(now));
    if found.is_empty() {
        found.push(healthy(now));
    }
    found
}

/// Why a connection is no more.
fn gone(facts: &Facts) -> Verdict {
    let Some((ended, ago_ms)) = last_end(facts) else {
        return Verdict::new(
            "gone",
            "There is no such connection: its client has closed it in good order, or it ended so \
             long ago that it is not remembered.",
            "roostctl conns lists those that are there; log.level = \"debug\" logs each begin and end.",
        );
    };
    let Ended {
        cause,
        silent_ms,
        reason,
    } = ended;
    let (ago, silent) = (seconds(ago_ms), seconds(*silent_ms));
    match cause {
        EndCause::Cut | EndCause::Reset if is_proxys_cut(facts, *silent_ms) => Verdict::new(
            "proxy_cut",
            format!(
                "It was cut {ago} ago without a close frame, after {silent} without a byte: by the \
                 proxy, load balancer or NAT in front, not by the client."
            ),
            format!(
                "Raise that one's idle timeout above limits.ping_interval ({}), or lower \
                 ping_interval below it.",
                seconds(facts.ping_interval_ms)
            ),
        ),
        EndCause::Cut | EndCause::Reset => Verdict::new(
            "client_gone",
            format!(
                "It was cut {ago} ago without a close frame, {silent} after its last byte: the \
                 client's program was killed or its network went away."
            ),
            "If many are cut at once, look at what stands in front of them (docs/proxy.md).",
        ),
        EndCause::PongMissing => Verdict::new(
            "ping_late",
            format!(
                "It was closed {ago} ago: a ping was not answered within limits.ping_timeout, and \
                 no byte came for {silent}."
            ),
            "The client's network is gone, or its program hangs; if many are, look for packet loss.",
        ),
        EndCause::Idle => Verdict::new(
            "idle",
            format!("It was closed {ago} ago: no message for limits.idle_timeout."),
            "Raise limits.idle_timeout, or have the client send something.",
        ),
        EndCause::SlowConsumer => Verdict::new(
            "slow_consumer",
            format!(
                "It was closed with 1013 {ago} ago ({reason}): it did not read what it was sent."
            ),
            "Raise outbox_bytes_max of the namespace, or take another slow_consumer policy there.",
        ),
        EndCause::Failed => Verdict::new(
            "protocol_error",
            format!("It was closed {ago} ago for a mistake of its client: {reason}"),
            "The client's program breaks the protocol or a limit that the reason names.",
        ),
        EndCause::RateLimited => did_too_much(&ago, reason),
        EndCause::Disconnected => Verdict::new(
            "disconnected",
            format!("An administrator or the API has closed it {ago} ago. Reason: \"{reason}\"."),
            "Nothing.",
        ),
    }
}

fn did_too_much(ago: &str, reason: &str) -> Verdict {
    Verdict::new(
        "client_rate_limited",
        format!("It was closed {ago} ago for doing more than its rates allow: \"{reason}\"."),
        "Raise the limit that the incident names or limits.client_burst, or set \
         limits.client_rate_policy to \"pause\".",
    )
}

/// How it has ended, or is about to, and how long ago.
fn last_end(facts: &Facts) -> Option<(&Ended, u64)> {
    facts.incidents.iter().rev().find_map(|incident| {
        let IncidentKind::Ended(ended) = &incident.kind else {
            return None;
        };
        Some((ended, incident.ago_ms))
    })
}

fn is_proxys_cut(facts: &Facts, silent_ms: u64) -> bool {
    facts.is_behind_proxy || silent_ms >= PROXY_SILENCE_MS
}

/// What it has to do with the channel that was asked about.
fn asked_channel(asked: &AskedChannel, now: &Now) -> Option<Verdict> {
    let name = &asked.name;
    if !asked.is_subscribed {
        let (may, rule) = &asked.subscribe;
        if !may {
            return Some(Verdict::new(
                "no_permission",
                format!("It is not subscribed to \"{name}\", and may not be: {rule}."),
                "Give its role or token the permission, or change `subscribe` of the namespace.",
            ));
        }
        let meant = now.channels.iter().find(|own| is_alike(&own.name, name));
        let others = match (meant, now.channels.is_empty()) {
            (Some(own), _) => format!("it is subscribed to \"{}\"", own.name),
            (None, true) => "it is subscribed to nothing".to_owned(),
            (None, false) => {
                let names: Vec<String> = now
                    .channels
                    .iter()
                    .map(|own| format!("\"{}\"", own.name))
                    .collect();
                let more = now.subscriptions - now.channels.len();
                let and = match more {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("it is subscribed to {}{and}", names.join(", "))
            }
        };
        return Some(Verdict::new(
            "wrong_channel",
            format!("It is not subscribed to \"{name}\": {others}."),
            "Have the client subscribe to the very name that is published to; case counts.",
        ));
    }
    let own = now.channels.iter().find(|own| *own.name == **name)?;
    (own.offset == 0).then(|| {
        Verdict::new(
            "nothing_published",
            format!("It is subscribed to \"{name}\", and nothing was published there since."),
            "Look at the publisher: roostctl channel NAME, and the name that it publishes to.",
        )
    })
}

/// Names that are taken for one another.
fn is_alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    plain(one) == plain(other)
}

/// Messages are dropped for it now.
fn dropping(now: &Now) -> Option<Verdict> {
    (now.dropped > 0).then(|| {
        let by = match now.policies.is_empty() {
            true => "the slow_consumer policy of its namespace".to_owned(),
            false => format!("slow_consumer = {}", now.policies.join(", ")),
        };
        let because = match is_window_shut(now.tcp.as_ref()) {
            true => "its receive window is shut",
            false => "it reads more slowly than its channels are published to",
        };
        Verdict::new(
            "dropped_by_policy",
            format!(
                "{} messages were dropped for it by {by}: {because}.",
                now.dropped
            ),
            "Raise outbox_bytes_max, or slow its publishers down; or it is what the policy is for.",
        )
    })
}

/// Something waits for its socket.
fn backlog(now: &Now) -> Option<Verdict> {
    if now.waiting_bytes == 0 {
        return None;
    }
    let (bytes, messages) = (now.waiting_bytes, now.waiting_messages);
    let waits = format!("{bytes} bytes in {messages} messages wait for it");
    let tcp = now.tcp.unwrap_or_default();
    if is_window_shut(now.tcp.as_ref()) {
        let since = seconds(u64::from(tcp.last_sent_ms));
        return Some(Verdict::new(
            "receive_window_shut",
            format!(
                "{waits}: the peer's receive window is shut since {since}; its program does not read."
            ),
            "The client hangs, is stopped in a debugger, or is a page in the background; kick it if \
             memory is short.",
        ));
    }
    if tcp.retransmits > 0 || tcp.lost > 0 {
        return Some(Verdict::new(
            "network_loss",
            format!(
                "{waits}: the network loses packets to it ({} sent anew in all, {} in a row now, the \
                 next in {} ms).",
                tcp.retransmits_total,
                tcp.retransmits,
                tcp.rto_us / 1000
            ),
            "Look at the way to this client; ping_timeout will end it if nothing comes back.",
        ));
    }
    Some(Verdict::new(
        "slow_reader",
        format!(
            "{waits}: it takes less than its channels send it (round trip {} ms).",
            tcp.rtt_us / 1000
        ),
        "A slow link or program; `slow_consumer` of its namespaces says what becomes of it.",
    ))
}

/// Data waits in the socket, the network loses none of it, and the peer lets none come.
fn is_window_shut(tcp: Option<&TcpInfo>) -> bool {
    tcp.is_some_and(|tcp| {
        let window = tcp.peer_window_bytes.unwrap_or(u32::MAX);
        let holds_up = tcp.probes > 0 || tcp.unacked == 0 || window < tcp.segment_bytes;
        tcp.notsent_bytes > 0 && tcp.retransmits == 0 && holds_up
    })
}

/// It is not read.
fn pause(now: &Now) -> Option<Verdict> {
    match now.paused_for.as_ref()? {
        PausedFor::Congestion(channel) => Some(Verdict::new(
            "publisher_paused",
            format!(
                "It is not read: it publishes on \"{channel}\", whose subscribers cannot be \
                 delivered to as fast."
            ),
            "It goes on by itself; publish less often there, or let messages be dropped.",
        )),
        PausedFor::Rate { wait_ms } => Some(Verdict::new(
            "rate_limited",
            format!(
                "It is not read for {wait_ms} ms: its namespace is published to as fast as it may be."
            ),
            "Raise publish_messages_per_second_max or publish_bytes_per_second_max of the namespace, \
             or have its publishers send less.",
        )),
        PausedFor::OwnRate { limit, wait_ms } => Some(Verdict::new(
            "client_rate_limited",
            format!(
                "It is not read for {wait_ms} ms: it does more than {} allows.",
                limit.key()
            ),
            "Raise that limit or limits.client_burst, or have its program do less.",
        )),
        PausedFor::Room => Some(Verdict::new(
            "publisher_paused",
            "It is not read: what it publishes has no room on its way to other reactors or \
             subscribers.",
            "The machine is busy: look at cross_reactor_backlog in /stats and at the CPU.",
        )),
        PausedFor::Other => None,
    }
}

/// It has been pinged and does not answer.
fn ping(facts: &Facts, now: &Now) -> Option<Verdict> {
    if !now.is_pinged || now.phase != "open" {
        return None;
    }
    let left_ms = now.deadline_ms.unwrap_or_default();
    let waited_ms = facts.ping_timeout_ms.saturating_sub(left_ms);
    let rtt_ms = now.tcp.map_or(0, |tcp| u64::from(tcp.rtt_us) / 1000);
    (waited_ms >= LATE_MS.max(3 * rtt_ms)).then(|| {
        Verdict::new(
            "ping_late",
            format!(
                "A ping is unanswered for {}; no byte has come for {}. It is closed in {} unless \
                 one comes.",
                seconds(waited_ms),
                seconds(now.silent_ms),
                seconds(left_ms)
            ),
            "Its network is gone or slow, or its program hangs.",
        )
    })
}

/// It is no open WebSocket.
fn phase(facts: &Facts, now: &Now) -> Option<Verdict> {
    let silent = seconds(now.silent_ms);
    match now.phase {
        "handshake" => Some(Verdict::new(
            "handshake",
            format!(
                "Its request is not whole: {} bytes have come, the last {silent} ago.",
                now.input_buffered_bytes
            ),
            "limits.handshake_timeout ends it; a client that speaks another protocol to this port \
             looks like this.",
        )),
        "joining" => Some(Verdict::new(
            "joining",
            "Its request is whole, and the home of its channel has not answered yet.",
            "It is a matter of milliseconds; if not, a reactor hangs: see /live.",
        )),
        "http" => Some(Verdict::new(
            "http",
            "It speaks plain HTTP, or keeps its connection for another request.",
            "Nothing, if it is a health check.",
        )),
        "closing" | "lingering" if last_end(facts).is_some() => Some(gone(facts)),
        "closing" | "lingering" => Some(Verdict::new(
            "closing",
            "It is being closed: the client's part of that is awaited.",
            "limits.close_timeout ends it.",
        )),
        _ => None,
    }
}

/// What went wrong before.
fn past(incident: &Incident) -> Option<Verdict> {
    let (count, ago) = (incident.count, seconds(incident.ago_ms));
    match &incident.kind {
        IncidentKind::Denied {
            operation,
            name,
            why,
        } => Some(Verdict::new(
            "no_permission",
            format!(
                "It was refused to {operation} \"{name}\" {count} times, the last {ago} ago: {why}"
            ),
            "Give its role or token the permission, or change the namespace's key; or its client is \
             wrong.",
        )),
        IncidentKind::OverLimit(limit) => Some(Verdict::new(
            "client_rate_limited",
            format!(
                "It did more than {} allows {count} times, the last {ago} ago.",
                limit.key()
            ),
            "Raise that limit or limits.client_burst, or have its program do less.",
        )),
        IncidentKind::Dropped => Some(Verdict::new(
            "dropped_by_policy",
            format!(
                "{count} messages were dropped for it by its namespaces' slow_consumer policy, the \
                 last {ago} ago; it has caught up since."
            ),
            "It reads too slowly at times: raise outbox_bytes_max if that must not be.",
        )),
        IncidentKind::DeflateDeclined(why) => Some(Verdict::new(
            "deflate_declined",
            format!(
                "It has offered permessage-deflate and does not have it, or less of it: {why}."
            ),
            "Messages are larger, and nothing else is wrong.",
        )),
        IncidentKind::Ended(_) => None,
    }
}

/// It may listen where nothing is said.
fn channels(now: &Now) -> Option<Verdict> {
    if now.phase != "open" || !now.has_channels || now.asked.is_some() {
        return None;
    }
    if now.subscriptions == 0 {
        return Some(Verdict::new(
            "no_subscription",
            "It is subscribed to nothing: it gets only answers to what it asks.",
            "Have the client subscribe.",
        ));
    }
    let is_all_shown = now.channels.len() == now.subscriptions;
    let is_quiet = now
        .channels
        .iter()
        .all(|own| own.offset == 0 && !own.is_pattern);
    (is_all_shown && is_quiet).then(|| {
        let names: Vec<&str> = now.channels.iter().map(|own| &*own.name).collect();
        Verdict::new(
            "nothing_published",
            format!(
                "Nothing is wrong with it; nothing was published on {} since.",
                names.join(", ")
            ),
            "If something should have been, ask roostctl why KEY CHANNEL for the channel's name.",
        )
    })
}

fn healthy(now: &Now) -> Verdict {
    let silent = seconds(now.silent_ms);
    let rtt = match now.tcp {
        Some(tcp) if tcp.rtt_us > 0 => format!(", round trip {} µs", tcp.rtt_us),
        _ => String::new(),
    };
    Verdict::new(
        "healthy",
        format!(
            "Nothing is wrong: it is open, it is read, nothing waits; last byte {silent} ago{rtt}."
        ),
        "If it misses messages of a channel, ask roostctl why KEY CHANNEL.",
    )
}

/// `1.2 s`, `340 ms`.
fn seconds(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} s", ms / 1000),
    }
}

/// Clients that end by themselves do so soon after they have done something; idle timeouts of proxies begin at
/// this.
const PROXY_SILENCE_MS: u64 = 10_000;
/// An answer that takes so long is late.
const LATE_MS: u64 = 1_000;
