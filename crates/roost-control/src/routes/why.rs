//! Why a connection is as it is: all that is known of it, and what that comes to.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State as Shown};
use axum::response::Response;
use roost_dialect::DialectKind;
use roost_net::TcpInfo;
use roost_reactor::{
    Compression, ConnectionDetails, Describe, Described, Incident, IncidentKind, LaneRecord,
    PausedFor, Request as ReactorRequest, SlowConsumer,
};
use serde::Serialize;
use tokio::time::Instant;

use super::answers::{
    ANSWER_TIMEOUT, State, bad_request, not_answered, pairs, respond_json, wrong_answer,
};
use super::connections::{KeyName, Labels, View};
use super::verdict::{Facts, Now, Verdict, verdicts};
use crate::peer::Reply;

#[derive(Serialize)]
struct Why<'a> {
    connection: String,
    is_there: bool,
    verdicts: Vec<Verdict>,
    #[serde(flatten)]
    now: Option<Known<'a>>,
    incidents: Vec<Past<'a>>,
}

/// All that is known of one that is there.
#[derive(Serialize)]
struct Known<'a> {
    record: View<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    is_identity_expired: bool,
    transport: &'static str,
    compression: &'static str,
    outbox_bytes_max: usize,
    lanes: Vec<Lane>,
    dropped: u64,
    quiet_ms: u64,
    silent_ms: u64,
    ping: Ping,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_for: Option<String>,
    subscriptions: usize,
    channels: Vec<Channel<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Asked<'a>>,
}

#[derive(Serialize)]
struct Lane {
    /// `null`: answers and control frames, which no policy drops.
    namespace: Option<String>,
    bytes: usize,
    messages: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_max: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_consumer: Option<&'static str>,
}

#[derive(Serialize)]
struct Ping {
    is_unanswered: bool,
    interval_ms: u32,
    timeout_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
}

#[derive(Serialize)]
struct Channel<'a> {
    name: &'a str,
    is_pattern: bool,
    offset: u64,
}

#[derive(Serialize)]
struct Asked<'a> {
    channel: &'a str,
    is_subscribed: bool,
    may_subscribe: &'a str,
    may_publish: &'a str,
}

#[derive(Serialize)]
struct Past<'a> {
    kind: &'static str,
    count: u64,
    ago_ms: u64,
    what: std::borrow::Cow<'a, str>,
}

/// As the kernel has it.
#[derive(Serialize)]
struct Tcp {
    rtt_us: u32,
    rttvar_us: u32,
    rto_us: u32,
    retransmits: u8,
    retransmits_total: u32,
    unacked: u32,
    lost: u32,
    notsent_bytes: u32,
    peer_window_bytes: Option<u32>,
    probes: u8,
    rwnd_limited_us: u64,
    busy_us: u64,
    last_sent_ms: u32,
    last_received_ms: u32,
    acked_bytes: u64,
    received_bytes: u64,
}

/// `GET /why/KEY?channel=`.
pub(super) async fn why(
    Shown(state): Shown<Arc<State>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let name = match KeyName::parse(&state, &name) {
        Ok(name) => name,
        Err(response) => return *response,
    };
    let mut channel = None;
    for (key, value) in pairs(query.as_deref()) {
        match &*key {
            "channel" if !value.is_empty() => channel = Some(value.as_ref().into()),
            _ => return bad_request("/why/KEY takes channel only\n"),
        }
    }
    let request = ReactorRequest::Describe(Box::new(Describe {
        key: name.key,
        channel,
    }));
    let reply = match state.peer.ask(name.reactor, request) {
        Ok(sent) => sent.answer_by(Instant::now() + ANSWER_TIMEOUT).await,
        Err(error) => Err(error),
    };
    match reply {
        Ok(Reply::Described(described)) => explain(&state, name, &described),
        Ok(_) => wrong_answer(),
        Err(error) => not_answered(error),
    }
}

fn explain(state: &State, name: KeyName, described: &Described) -> Response {
    let Described { details, incidents } = described;
    let facts = facts_of(state, details.as_ref(), incidents);
    let listeners = Labels::of(state);
    let why = Why {
        connection: name.to_string(),
        is_there: details.is_some(),
        verdicts: verdicts(&facts),
        now: details
            .as_ref()
            .map(|details| known(state, &listeners, details)),
        incidents: incidents.iter().map(past).collect(),
    };
    respond_json(&why)
}

fn facts_of(state: &State, details: Option<&ConnectionDetails>, incidents: &[Incident]) -> Facts {
    let settings = state.shared.settings();
    let listeners = &settings.listeners;
    let listener = details.map(|details| usize::from(details.record.listener));
    let is_proxied = |at: usize| {
        let one = listeners.get(at);
        one.is_some_and(|one| one.proxies.is_some() || one.forwarded.is_some())
    };
    Facts {
        incidents: incidents.to_vec(),
        now: details.map(|details| now_of(state, details)),
        is_draining: state.shared.is_draining(),
        // Of one that has gone, its listener is not remembered.
        is_behind_proxy: match listener {
            Some(at) => is_proxied(at),
            None => (0..listeners.len()).all(is_proxied),
        },
        ping_interval_ms: u64::from(settings.limits.ping_interval_ms),
        ping_timeout_ms: u64::from(settings.limits.ping_timeout_ms),
    }
}

fn now_of(state: &State, details: &ConnectionDetails) -> Now {
    let record = &details.record;
    let settings = state.shared.settings();
    let channels = &settings.channels;
    let policies = details.lanes.iter().filter_map(|lane| {
        let number = lane.namespace?;
        let policy = channels.policy(number).slow_consumer;
        let namespace = state.namespace_name(number);
        (policy != SlowConsumer::Close).then(|| match &*namespace {
            "" => format!("\"{}\"", policy_name(policy)),
            name => format!("\"{}\" of namespace {name}", policy_name(policy)),
        })
    });
    Now {
        phase: record.phase,
        waiting_bytes: (record.outbox_bytes + record.in_flight_bytes) as u64,
        waiting_messages: record.outbox_messages as u64,
        input_buffered_bytes: record.input_buffered_bytes as u64,
        dropped: details.dropped,
        policies: policies.collect(),
        silent_ms: details.silent_ms,
        is_pinged: details.is_pinged,
        deadline_ms: details.deadline_ms,
        paused_for: details.paused_for.clone(),
        tcp: details.tcp,
        subscriptions: details.subscriptions,
        channels: details.channels.clone(),
        has_channels: record.dialect != DialectKind::Echo.name(),
        asked: details.asked.clone(),
    }
}

fn known<'a>(state: &'a State, listeners: &'a Labels, details: &'a ConnectionDetails) -> Known<'a> {
    let ConnectionDetails {
        record,
        identity,
        compression,
        subscriptions,
        channels,
        lanes,
        dropped,
        quiet_ms,
        silent_ms,
        is_pinged,
        deadline_ms,
        paused_for,
        has_client_closed: _, // the phase says so
        tcp,
        asked,
    } = details;
    let settings = state.shared.settings();
    let limits = &settings.limits;
    let listener = settings.listeners.get(usize::from(record.listener));
    let channels = channels.iter().map(|channel| Channel {
        name: &channel.name,
        is_pattern: channel.is_pattern,
        offset: channel.offset,
    });
    Known {
        record: View::of(listeners, record),
        role: identity.as_ref().map(|identity| &*identity.role),
        method: identity.as_ref().map(|identity| identity.method),
        is_identity_expired: identity
            .as_ref()
            .is_some_and(|identity| identity.is_expired),
        transport: match listener.is_some_and(|listener| listener.tls.is_some()) {
            true => "tls",
            false => "plain",
        },
        compression: match compression {
            Compression::None if record.dialect == "sse" => "off (an event stream has none)",
            Compression::None if !settings.deflate.enabled => "off (deflate.enabled = false)",
            Compression::None => "off (the client has not offered it, or its offer was declined)",
            Compression::Shared => "permessage-deflate, each message by itself",
            Compression::Own => "permessage-deflate, with a context of its own",
        },
        outbox_bytes_max: limits.outbox_bytes_max,
        lanes: lanes.iter().map(|lane| lane_of(state, lane)).collect(),
        dropped: *dropped,
        quiet_ms: *quiet_ms,
        silent_ms: *silent_ms,
        ping: Ping {
            is_unanswered: *is_pinged,
            interval_ms: limits.ping_interval_ms,
            timeout_ms: limits.ping_timeout_ms,
            deadline_ms: *deadline_ms,
        },
        paused_for: paused_for.as_ref().map(pause_name),
        subscriptions: *subscriptions,
        channels: channels.collect(),
        tcp: tcp.as_ref().map(tcp_of),
        asked: asked.as_ref().map(|asked| Asked {
            channel: &asked.name,
            is_subscribed: asked.is_subscribed,
            may_subscribe: &asked.subscribe.1,
            may_publish: &asked.publish.1,
        }),
    }
}

fn lane_of(state: &State, lane: &LaneRecord) -> Lane {
    let settings = state.shared.settings();
    let channels = &settings.channels;
    let policy = lane.namespace.map(|number| channels.policy(number));
    Lane {
        namespace: lane.namespace.map(|number| state.namespace_name(number)),
        bytes: lane.bytes,
        messages: lane.messages,
        bytes_max: policy.map(|policy| policy.outbox_bytes_max),
        slow_consumer: policy.map(|policy| policy_name(policy.slow_consumer)),
    }
}

fn policy_name(policy: SlowConsumer) -> &'static str {
    match policy {
        SlowConsumer::Close => "close",
        SlowConsumer::DropOldest => "drop_oldest",
        SlowConsumer::DropNewest => "drop_newest",
        SlowConsumer::Latest => "latest",
    }
}

fn pause_name(paused_for: &PausedFor) -> String {
    match paused_for {
        PausedFor::Congestion(channel) => format!("its channel {channel} is congested"),
        PausedFor::Rate { wait_ms } => format!("the rate of its namespace, for {wait_ms} ms"),
        PausedFor::OwnRate { limit, wait_ms } => {
            format!("its own rate ({}), for {wait_ms} ms", limit.key())
        }
        PausedFor::Room => "room for what it publishes".to_owned(),
        PausedFor::Other => "an answer to what it has asked".to_owned(),
    }
}

fn past(incident: &Incident) -> Past<'_> {
    let (kind, what) = match &incident.kind {
        IncidentKind::Denied {
            operation,
            name,
            why,
        } => ("denied", format!("{operation} \"{name}\": {why}").into()),
        IncidentKind::OverLimit(limit) => ("over_limit", limit.key().into()),
        IncidentKind::Dropped => ("dropped", "messages, by policy".into()),
        IncidentKind::DeflateDeclined(why) => ("deflate_declined", (*why).into()),
        IncidentKind::Ended(ended) => {
            let what = match &*ended.reason {
                "" => ended.cause.name().into(),
                reason => format!("{}: {reason}", ended.cause.name()).into(),
            };
            ("ended", what)
        }
    };
    Past {
        kind,
        count: incident.count,
        ago_ms: incident.ago_ms,
        what,
    }
}

fn tcp_of(info: &TcpInfo) -> Tcp {
    let TcpInfo {
        state: _, // one that is there is established, or its phase says more
        retransmits,
        probes,
        rto_us,
        rtt_us,
        rttvar_us,
        unacked,
        lost,
        retransmits_total,
        last_sent_ms,
        last_received_ms,
        last_ack_ms: _, // on the way back of what was received
        notsent_bytes,
        rwnd_limited_us,
        busy_us,
        peer_window_bytes,
        acked_bytes,
        received_bytes,
        segment_bytes: _,
    } = *info;
    Tcp {
        rtt_us,
        rttvar_us,
        rto_us,
        retransmits,
        retransmits_total,
        unacked,
        lost,
        notsent_bytes,
        peer_window_bytes,
        probes,
        rwnd_limited_us,
        busy_us,
        last_sent_ms,
        last_received_ms,
        acked_bytes,
        received_bytes,
    }
}
