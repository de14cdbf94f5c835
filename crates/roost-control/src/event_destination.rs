//! One application that is told what happens: its journal, and how a batch reaches it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use hyper::HeaderMap;
use roost_auth::PusherApp;
use roost_dialect::pusher::socket_id;
use roost_hooks::{
    ClientSaid, Journal, JournalCounts, JournalEvent, JournalRules, Keys, Outgoing, WebhookValues,
};
use roost_metrics::process::{EVENT_BATCHES_FAILED, EVENTS, EVENTS_DELIVERED, EVENTS_LOST};
use roost_reactor::{EventBatch, EventKind, EventKinds, HappenedEvent};
use rustls::ClientConfig;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock::{unix_ms, unix_secs};
use crate::event_inputs::{Input, ToEvents};
use crate::hook_client::{Call, CallError, Client, HookUrl, header};
use crate::signature::sign;

/// Where events are told, and how.
pub struct EventsTo {
    /// What the journal obeys.
    pub rules: JournalRules,
    /// What is told, and by whom.
    pub teller: Teller,
    /// Where batches are sent to.
    pub url: HookUrl,
    /// Whom `https` trusts.
    pub tls: Arc<ClientConfig>,
    /// How long the application has to take a batch.
    pub timeout: Duration,
}

/// In which words an application is told.
pub enum Teller {
    /// All that reactors say, as `docs/events.md` has it.
    Node {
        /// The name of this server among others.
        name: String,
        /// What batches are signed with; none: not at all.
        keys: Keys,
        /// Of which kinds.
        kinds: EventKinds,
        /// Of the channels of which namespaces; `*`: all.
        namespaces: Vec<String>,
    },
    /// A webhook of an application of Pusher's.
    Pusher(Box<Webhook>),
}

/// A webhook of an application of Pusher's.
pub struct Webhook {
    /// Whose.
    pub app: PusherApp,
    /// What other applications' channels begin with.
    pub others: Vec<String>,
    /// Of which kinds it tells.
    pub kinds: EventKinds,
    /// How names begin that it tells of, as the application's clients know them.
    pub starts_with: String,
    /// How they end.
    pub ends_with: String,
    /// Headers that are sent with it, beside those of Pusher's.
    pub headers: Vec<(String, String)>,
    /// How it tells what clients have sent.
    pub values: WebhookValues,
    /// The key of the configuration with its address, for the log.
    pub setting: String,
}

/// It.
pub(crate) struct Destination {
    /// Its place among all.
    at: usize,
    journal: Journal,
    client: Arc<Client>,
    tells: Tells,
    timeout: Duration,
    input: ToEvents,
    /// As they were last added to the counters.
    counted: JournalCounts,
    /// Of what the journal has lost: what reactors have counted themselves.
    lost_before: u64,
    /// Failures since the last line of log, which may be written again then.
    unlogged: u64,
    log_at_ms: u64,
    is_failing: bool,
}

/// What it is told of, and how that is signed.
enum Tells {
    Node {
        keys: Keys,
        kinds: EventKinds,
        namespaces: Vec<String>,
    },
    Pusher(Box<Webhook>),
}

impl Destination {
    pub(crate) fn new(at: usize, to: EventsTo, input: ToEvents) -> io::Result<Destination> {
        let EventsTo {
            rules,
            teller,
            url,
            tls,
            timeout,
        } = to;
        let (journal, tells) = match teller {
            Teller::Node {
                name,
                keys,
                kinds,
                namespaces,
            } => {
                let mut random = [0; 8];
                let filled = aws_lc_rs::rand::fill(&mut random);
                filled.map_err(|_| io::Error::other("no random numbers"))?;
                let epoch = format!("{:016x}", u64::from_ne_bytes(random));
                let journal = Journal::new(rules, &name, &epoch, (0, unix_ms()));
                let tells = Tells::Node {
                    keys,
                    kinds,
                    namespaces,
                };
                (journal, tells)
            }
            Teller::Pusher(webhook) => {
                let journal = Journal::for_pusher(rules, webhook.values);
                (journal, Tells::Pusher(webhook))
            }
        };
        Ok(Destination {
            at,
            journal,
            client: Arc::new(Client::new(url, tls, ANSWER_BYTES_MAX)),
            tells,
            timeout,
            input,
            counted: JournalCounts::default(),
            lost_before: 0,
            unlogged: 0,
            log_at_ms: 0,
            is_failing: false,
        })
    }

    /// What a reactor says has happened.
    pub(crate) fn take_in(&mut self, reactor: usize, batch: &EventBatch, now: u64, unix_ms: u64) {
        let mut last_ms = unix_ms;
        for event in &batch.events {
            let time_ms = batch.time_ms(event);
            last_ms = time_ms;
            self.take(reactor, event, time_ms, now);
        }
        if batch.lost > 0 {
            self.lost_before += batch.lost;
            self.journal.lost(batch.lost, last_ms, now);
        }
    }

    fn take(&mut self, reactor: usize, event: &HappenedEvent, time_ms: u64, now: u64) {
        let channel = event.channel.as_deref();
        if !self.tells.covers(event.kind, channel) {
            return;
        }
        let channel = channel.map(|whole| self.tells.name_of(whole).to_owned());
        let user = (event.user.as_str(), event.has_number);
        let journal = &mut self.journal;
        match (event.kind, channel) {
            (EventKind::Occupied, Some(channel)) => journal.occupied(&channel, time_ms, now),
            (EventKind::Vacated, Some(channel)) => journal.vacated(&channel, time_ms, now),
            (EventKind::UserJoined, Some(channel)) => {
                journal.joined(&channel, user, time_ms, now);
            }
            (EventKind::UserLeft, Some(channel)) => {
                journal.left(&channel, user, time_ms, now);
            }
            (EventKind::ClientEvent | EventKind::CacheMiss, Some(channel)) => {
                journal.push(told_by_pusher(event, channel, time_ms), now);
            }
            (_, channel) => journal.push(told(reactor, event, channel, time_ms), now),
        }
    }

    /// Sends the batch that is due. Returns when it is to be called again, if there is something.
    pub(crate) fn go_on(&mut self, now: u64) -> Option<u64> {
        if let Some(batch) = self.journal.poll(now) {
            self.send(&batch);
        }
        self.count();
        self.journal.wake_at()
    }

    fn send(&self, batch: &Outgoing) {
        let body = Bytes::copy_from_slice(&batch.body);
        let mut headers = HeaderMap::new();
        match &self.tells {
            Tells::Node { keys, .. } => {
                let id = format!("evt_{}_{}", self.journal.epoch(), batch.from);
                sign(keys, &id, unix_secs(), &body, &mut headers);
            }
            Tells::Pusher(webhook) => webhook.write_headers(&body, &mut headers),
        }
        let call = Call {
            place: "events",
            body,
            headers,
            any_success: true,
        };
        let (client, input, wait) = (self.client.clone(), self.input.clone(), self.timeout);
        let at = self.at;
        tokio::spawn(async move {
            let outcome = match timeout(wait, client.call(&call)).await {
                Ok(outcome) => outcome.map(|_| ()),
                Err(_) => Err(CallError::Late),
            };
            let _ = input.send(Input::Ended(at, outcome)); // the task may have ended
        });
    }

    /// What has become of the batch under way.
    pub(crate) fn ended(&mut self, outcome: &Result<(), CallError>, now: u64) {
        self.log(outcome, now);
        self.journal.ended(outcome.is_ok(), now);
    }

    /// Nothing happens any more.
    pub(crate) fn end(&mut self, now: u64) {
        self.journal.end(now, unix_ms());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.journal.is_empty()
    }

    /// Events that wait to be taken.
    pub(crate) fn depth(&self) -> usize {
        self.journal.depth()
    }

    /// The server ends, and it has not taken all.
    pub(crate) fn warn_of_left(&self) {
        let (left, setting) = (self.journal.depth(), self.tells.setting());
        if !self.journal.is_empty() {
            warn!(
                left,
                "the server ends, and {setting} has not taken all events"
            );
        }
    }

    /// One line for many failures, and one when there are none any more.
    fn log(&mut self, outcome: &Result<(), CallError>, now: u64) {
        let (url, setting) = (self.client.url().label(), self.tells.setting());
        match outcome {
            Ok(()) if std::mem::take(&mut self.is_failing) => {
                self.unlogged = 0;
                info!(url, "{setting} takes events again");
            }
            Ok(()) => {}
            Err(error) => {
                self.is_failing = true;
                self.unlogged += 1;
                if self.log_at_ms <= now {
                    let (failures, queued) = (self.unlogged, self.journal.depth());
                    warn!(url, failures, queued, %error, "{setting} has not taken a batch of events");
                    (self.unlogged, self.log_at_ms) = (0, now + LOG_EVERY_MS);
                }
            }
        }
    }

    /// Adds what is new to the counters of all destinations together.
    fn count(&mut self) {
        let (now, before) = (self.journal.counts(), self.counted);
        EVENTS.add(now.events - before.events);
        EVENTS_DELIVERED.add(now.delivered - before.delivered);
        EVENT_BATCHES_FAILED.add(now.failed - before.failed);
        // Reactors count what they lose themselves, for this thread may have ended.
        let lost_before = std::mem::take(&mut self.lost_before);
        EVENTS_LOST.add(now.lost - before.lost - lost_before);
        self.counted = now;
    }
}

impl Tells {
    /// Whether it is told of such an event.
    fn covers(&self, kind: EventKind, channel: Option<&str>) -> bool {
        match self {
            Tells::Node {
                kinds, namespaces, ..
            } => {
                let is_covered = |whole: &str| {
                    let namespace = whole.split_once(':').map_or("", |(name, _)| name);
                    namespaces.iter().any(|one| one == "*" || one == namespace)
                };
                kinds.has(kind) && channel.is_none_or(is_covered)
            }
            Tells::Pusher(webhook) => channel.is_some_and(|whole| webhook.covers(kind, whole)),
        }
    }

    /// What it calls a channel that it is told of.
    fn name_of<'a>(&self, whole: &'a str) -> &'a str {
        match self {
            Tells::Node { .. } => whole,
            Tells::Pusher(webhook) => whole.strip_prefix(&*webhook.app.prefix).unwrap_or(whole),
        }
    }

    /// The key of the configuration with its address.
    fn setting(&self) -> String {
        match self {
            Tells::Node { .. } => "events.url".to_owned(),
            Tells::Pusher(webhook) => webhook.setting.clone(),
        }
    }
}

impl Webhook {
    /// Whether it tells of such an event in a channel of this whole name.
    fn covers(&self, kind: EventKind, whole: &str) -> bool {
        let Some(name) = whole.strip_prefix(&*self.app.prefix) else {
            return false;
        };
        let is_of_other = || self.others.iter().any(|one| whole.starts_with(one));
        let is_own = !self.app.prefix.is_empty() || !is_of_other();
        is_own
            && self.kinds.has(kind)
            && is_told_by_pusher(kind, name)
            && name.starts_with(&*self.starts_with)
            && name.ends_with(&*self.ends_with)
    }

    /// The configuration's, and then those that prove whose it is, which none of the first takes the
    /// place of.
    fn write_headers(&self, body: &[u8], headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            let both = header(name, value.as_bytes());
            headers.extend(both.map(|(name, value)| (Some(name), value)));
        }
        let signature = self.app.signing.sign_body(body);
        for (name, value) in [
            ("X-Pusher-Key", &*self.app.key),
            ("X-Pusher-Signature", &signature),
        ] {
            if let Some((name, value)) = header(name, value.as_bytes()) {
                headers.insert(name, value);
            }
        }
    }
}

/// Names with `#` are the protocol's own, and members are those of presence channels.
fn is_told_by_pusher(kind: EventKind, name: &str) -> bool {
    match kind {
        EventKind::Occupied | EventKind::Vacated => !name.is_empty() && !name.starts_with('#'),
        EventKind::UserJoined | EventKind::UserLeft => name.starts_with("presence-"),
        EventKind::ClientEvent | EventKind::CacheMiss => true, // of its protocol alone
        EventKind::Connected
        | EventKind::LoggedIn
        | EventKind::Disconnected
        | EventKind::Subscribed
        | EventKind::Unsubscribed => false,
    }
}

fn told(
    reactor: usize,
    event: &HappenedEvent,
    channel: Option<String>,
    time_ms: u64,
) -> JournalEvent {
    JournalEvent {
        client: event.client.map(|key| {
            let (slot, generation) = (key.slot(), key.generation());
            format!("r{reactor}-{slot}.{generation}").into()
        }),
        user: Some(event.user.as_str().into()),
        protocol: Some(event.dialect),
        channel: channel.map(Into::into),
        code: event.code,
        reason: Some(event.reason.clone()).filter(|reason| !reason.is_empty()),
        ..JournalEvent::new(event.kind.name(), time_ms)
    }
}

/// What Pusher's webhooks alone tell.
fn told_by_pusher(event: &HappenedEvent, channel: String, time_ms: u64) -> JournalEvent {
    let said = event.said.as_deref();
    let said = said.map(|said| {
        Box::new(ClientSaid {
            event: said.event.clone(),
            data: said.data.clone(),
            is_json: said.is_json,
            socket_id: socket_id(said.client).into(),
        })
    });
    let user = said.is_some().then(|| event.user.as_str().into());
    JournalEvent {
        channel: Some(channel.into()),
        user,
        has_number: event.has_number,
        said,
        ..JournalEvent::new(event.kind.name(), time_ms)
    }
}

/// Between two lines about failures.
const LOG_EVERY_MS: u64 = 10_000;
/// What is read of an answer, of which the status alone counts.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_of_pushers_tell_of_its_channels_and_of_members_where_there_are_any() {
        use EventKind::{Connected, Occupied, Subscribed, UserJoined, UserLeft, Vacated};
        for (kind, name, is_told) in [
            (Occupied, "a", true),
            (Vacated, "presence-a", true),
            (Occupied, "", false),
            (Vacated, "#server-to-user-42", false),
            (UserJoined, "presence-a", true),
            (UserLeft, "private-a", false),
            (Connected, "a", false),
            (Subscribed, "presence-a", false),
        ] {
            assert_eq!(
                is_told_by_pusher(kind, name),
                is_told,
                "{kind:?} of {name:?}"
            );
        }
    }

    /// Reactors say more where webhooks of Pusher's are told too.
    #[test]
    fn events_url_is_told_of_the_types_and_namespaces_that_it_asks_for() {
        let tells = Tells::Node {
            keys: Keys::default(),
            kinds: EventKinds::of(|kind| kind == EventKind::Subscribed),
            namespaces: vec!["chat".to_owned()],
        };
        for (kind, channel, is_told) in [
            (EventKind::Subscribed, Some("chat:1"), true),
            (EventKind::Subscribed, Some("chatter:1"), false),
            (EventKind::Subscribed, Some("chat"), false),
            (EventKind::ClientEvent, Some("chat:1"), false),
            (EventKind::Connected, None, false),
        ] {
            assert_eq!(
                tells.covers(kind, channel),
                is_told,
                "{kind:?} of {channel:?}"
            );
        }
    }
}
