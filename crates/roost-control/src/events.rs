//! The journal of events: reactors say what has happened, and an application is told.
//!
//! What is sent when, and again, says `roost_hooks::Journal`; here stand the clock, the socket, the
//! signature, and the way from the reactors.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use hyper::HeaderMap;
use roost_hooks::{Journal, JournalEvent, JournalRules, Keys, Outgoing};
use roost_metrics::process::{
    EVENT_BATCHES_FAILED, EVENTS, EVENTS_DELIVERED, EVENTS_LOST, EVENTS_QUEUED,
};
use roost_reactor::{EventBatch, EventKind, HappenedEvent};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use crate::clock::{unix_ms, unix_secs};
use crate::event_inputs::{Input, ToEvents};
use crate::hook_client::{Call, CallError, Client, HookUrl};
use crate::peer::Peer;
use crate::signature::sign;

/// Where events are told, and how.
pub struct EventsTo {
    /// What the journal obeys.
    pub rules: JournalRules,
    /// The name of this server among others.
    pub node: String,
    /// Where batches are sent to.
    pub url: HookUrl,
    /// Whom `https` trusts.
    pub tls: Arc<ClientConfig>,
    /// What batches are signed with; none: not at all.
    pub keys: Keys,
    /// How long the application has to take a batch.
    pub timeout: Duration,
}

/// What the control thread does for events.
pub(crate) struct EventTasks {
    journal: Journal,
    client: Arc<Client>,
    keys: Keys,
    timeout: Duration,
    inputs: mpsc::UnboundedReceiver<Input>,
    input: ToEvents,
    begin: Instant,
    /// Lost by the journal, as it was last counted.
    counted_lost: u64,
    /// Failures since the last line of log, which may be written again then.
    unlogged: u64,
    log_at_ms: u64,
    is_failing: bool,
}

/// Makes the task.
pub(crate) fn start(to: EventsTo) -> io::Result<(ToEvents, EventTasks)> {
    let EventsTo {
        rules,
        node,
        url,
        tls,
        keys,
        timeout,
    } = to;
    let (input, inputs) = mpsc::unbounded_channel();
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let epoch = format!("{:016x}", u64::from_ne_bytes(random));
    let tasks = EventTasks {
        journal: Journal::new(rules, &node, &epoch, (0, unix_ms())),
        client: Arc::new(Client::new(url, tls, ANSWER_BYTES_MAX)),
        keys,
        timeout,
        inputs,
        input: input.clone(),
        begin: Instant::now(),
        counted_lost: 0,
        unlogged: 0,
        log_at_ms: 0,
        is_failing: false,
    };
    Ok((input, tasks))
}

impl EventTasks {
    /// Runs for as long as there are reactors. What is under way when the future is dropped goes on, for
    /// [`EventTasks::finish`].
    pub(crate) async fn run(&mut self) -> io::Result<()> {
        loop {
            let wake = self.begin + Duration::from_millis(self.go_on());
            match timeout_at(wake, self.inputs.recv()).await {
                Err(_) => {}
                Ok(None) => return Err(io::Error::other("no reactor says what happens any more")),
                Ok(Some(input)) => self.handle(input),
            }
            self.handle_some();
        }
    }

    /// The reactors have stopped: tells what is left, for so long at most.
    pub(crate) async fn finish(&mut self, peer: &Peer, wait: Duration) {
        peer.read_all();
        while let Ok(input) = self.inputs.try_recv() {
            self.handle(input);
        }
        self.journal.end(self.now(), unix_ms());
        let told = timeout(wait, async {
            loop {
                let wake = self.begin + Duration::from_millis(self.go_on());
                if self.journal.is_empty() {
                    return;
                }
                if let Ok(Some(input)) = timeout_at(wake, self.inputs.recv()).await {
                    self.handle(input);
                }
            }
        });
        let is_told = told.await.is_ok();
        let left = self.journal.depth();
        if !is_told {
            warn!(
                left,
                "the server ends, and events.url has not taken all events"
            );
        }
    }

    fn handle_some(&mut self) {
        for _ in 0..INPUTS_AT_ONCE {
            match self.inputs.try_recv() {
                Ok(input) => self.handle(input),
                Err(_) => return,
            }
        }
    }

    /// Sends the batch that is due. Returns when it is to be called again.
    fn go_on(&mut self) -> u64 {
        let now = self.now();
        if let Some(batch) = self.journal.poll(now) {
            self.send(&batch);
        }
        self.publish_gauges();
        let due = self.journal.wake_at().unwrap_or(now + IDLE_MS);
        due.clamp(now + 1, now + IDLE_MS)
    }

    fn send(&self, batch: &Outgoing) {
        let body = Bytes::copy_from_slice(&batch.body);
        let mut headers = HeaderMap::new();
        let id = format!("evt_{}_{}", self.journal.epoch(), batch.from);
        sign(&self.keys, &id, unix_secs(), &body, &mut headers);
        let call = Call {
            place: "events",
            body,
            headers,
            any_success: true,
        };
        let (client, input, wait) = (self.client.clone(), self.input.clone(), self.timeout);
        tokio::spawn(async move {
            let outcome = match timeout(wait, client.call(&call)).await {
                Ok(outcome) => outcome.map(|_| ()),
                Err(_) => Err(CallError::Late),
            };
            let _ = input.send(Input::Ended(outcome)); // the task may have ended
        });
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Happened(reactor, batch) => self.take_in(reactor, *batch),
            Input::Ended(outcome) => {
                self.log(&outcome);
                self.journal.ended(outcome.is_ok(), self.now());
            }
        }
    }

    fn take_in(&mut self, reactor: usize, mut batch: EventBatch) {
        let now = self.now();
        let mut last_ms = unix_ms();
        for event in std::mem::take(&mut batch.events) {
            let time_ms = batch.time_ms(&event);
            last_ms = time_ms;
            match (event.kind, &event.channel) {
                (EventKind::Occupied, Some(channel)) => {
                    self.journal.occupied(channel, time_ms, now);
                }
                (EventKind::Vacated, Some(channel)) => self.journal.vacated(channel, time_ms, now),
                _ => self.journal.push(told(reactor, event, time_ms), now),
            }
        }
        if batch.lost > 0 {
            self.counted_lost += batch.lost; // by the reactor
            self.journal.lost(batch.lost, last_ms, now);
        }
    }

    /// One line for many failures, and one when there are none any more.
    fn log(&mut self, outcome: &Result<(), CallError>) {
        let now = self.now();
        let url = self.client.url().label();
        match outcome {
            Ok(()) if std::mem::take(&mut self.is_failing) => {
                self.unlogged = 0;
                info!(url, "events.url takes events again");
            }
            Ok(()) => {}
            Err(error) => {
                self.is_failing = true;
                self.unlogged += 1;
                if self.log_at_ms <= now {
                    let (failures, queued) = (self.unlogged, self.journal.depth());
                    warn!(url, failures, queued, %error, "events.url has not taken a batch of events");
                    (self.unlogged, self.log_at_ms) = (0, now + LOG_EVERY_MS);
                }
            }
        }
    }

    fn publish_gauges(&mut self) {
        let counts = self.journal.counts();
        EVENTS.set(counts.events);
        EVENTS_DELIVERED.set(counts.delivered);
        EVENT_BATCHES_FAILED.set(counts.failed);
        EVENTS_QUEUED.set(self.journal.depth() as u64);
        // Reactors count what they lose themselves, for this thread may have ended.
        EVENTS_LOST.add(counts.lost - self.counted_lost);
        self.counted_lost = counts.lost;
    }

    /// Milliseconds of a clock that does not jump.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn told(reactor: usize, event: HappenedEvent, time_ms: u64) -> JournalEvent {
    let HappenedEvent {
        kind,
        client,
        user,
        dialect,
        channel,
        code,
        reason,
        ..
    } = event;
    JournalEvent {
        client: client.map(|key| {
            let (slot, generation) = (key.slot(), key.generation());
            format!("r{reactor}-{slot}.{generation}").into()
        }),
        user: Some(user.as_str().into()),
        protocol: Some(dialect),
        channel: channel.map(|channel| channel.as_str().into()),
        code,
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        ..JournalEvent::new(kind.name(), time_ms)
    }
}

/// Inputs handled before a batch is sent.
const INPUTS_AT_ONCE: usize = 256;
/// How often gauges are brought up to date where nothing happens.
const IDLE_MS: u64 = 60_000;
/// Between two lines about failures.
const LOG_EVERY_MS: u64 = 10_000;
/// What is read of an answer, of which the status alone counts.
const ANSWER_BYTES_MAX: usize = 64 << 10;
