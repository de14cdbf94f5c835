//! Hooks: reactors ask, applications answer, and the answers go back.
//!
//! Which question goes out when, which waits and which is refused says `roost_hooks`; here stand the
//! clock, the sockets and the way to the reactors. What waits is bounded by each hook's rules and by the
//! reactors, whose connections each ask one question at a time.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use hyper::HeaderMap;
use roost_access::PermissionSets;
use roost_hooks::{Counts, Event, Failure, Keys, Order, Outcome, Payload, Question, Queue, parse};
use roost_metrics::process::{
    HOOK_CALLS, HOOK_CALLS_FAILED, HOOK_CALLS_IN_FLIGHT, HOOK_CALLS_REFUSED, HOOK_CALLS_SAVED,
    HOOKS_BROKEN,
};
use roost_net::ConnKey;
use roost_reactor::{HookAnswer, HookAsked, HookCall};
use roost_wire::Opcode;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::clock::unix_secs;
use crate::hook::Hook;
use crate::hook_client::{Call, Client, header};
use crate::hook_inputs::{Failed, Input, ToHooks};
use crate::hook_outcomes::outcome_of;
use crate::peer::Peer;
use crate::signature::sign;

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    reactor: usize,
    key: ConnKey,
    number: u32,
    pub(crate) event: Event,
}

/// What the control thread does for hooks.
pub(crate) struct HookTasks {
    /// In the order of the configuration; behind them those that it has no more, until they have
    /// answered.
    hooks: Vec<Running>,
    /// How many there have been.
    hooks_begun: u64,
    /// What those counted that are gone.
    gone: Counts,
    inputs: mpsc::UnboundedReceiver<Input>,
    input: ToHooks,
    begin: Instant,
    /// By reactor: answers that are to be sent.
    unsent: Vec<Vec<HookAnswer>>,
    /// Equal permissions are kept once.
    permissions: PermissionSets,
    /// A message that is published instead of another, in bytes.
    message_bytes_max: usize,
    /// Of this process, so that no two questions have one id.
    id_prefix: String,
}

struct Running {
    /// No two have the same, also of those that are gone.
    number: u64,
    identity: [u8; 32],
    /// Since when the configuration has it no more.
    retired_at: Option<u64>,
    events: Vec<Event>,
    namespaces: Vec<String>,
    keys: Keys,
    client: Arc<Client>,
    answer_bytes_max: usize,
    queue: Queue<Waiter, HookCall>,
    /// Calls under way.
    calls: HashMap<u64, AbortHandle>,
    /// Failures since the last line of log, which may be written again then.
    unlogged: u64,
    log_at_ms: u64,
    /// As it was last logged.
    is_broken: bool,
}

/// Makes the task.
pub(crate) fn start(
    hooks: Vec<Hook>,
    reactors: usize,
    message_bytes_max: usize,
) -> io::Result<(ToHooks, HookTasks)> {
    let (input, inputs) = mpsc::unbounded_channel();
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let mut tasks = HookTasks {
        hooks: Vec::new(),
        hooks_begun: 0,
        gone: Counts::default(),
        inputs,
        input: input.clone(),
        begin: Instant::now(),
        unsent: (0..reactors).map(|_| Vec::new()).collect(),
        permissions: PermissionSets::default(),
        message_bytes_max,
        id_prefix: format!("msg_{:016x}", u64::from_ne_bytes(random)),
    };
    tasks.replace(hooks);
    Ok((input, tasks))
}

impl Running {
    fn new(hook: Hook, number: u64) -> Running {
        let Hook {
            events,
            namespaces,
            rules,
            url,
            tls,
            keys,
            identity,
            answer_bytes_max,
        } = hook;
        Running {
            number,
            identity,
            retired_at: None,
            events,
            namespaces,
            keys,
            client: Arc::new(Client::new(url, tls, answer_bytes_max)),
            answer_bytes_max,
            queue: Queue::new(rules),
            calls: HashMap::new(),
            unlogged: 0,
            log_at_ms: 0,
            is_broken: false,
        }
    }

    fn is_asked(&self, event: Event, channel: &str) -> bool {
        let namespace = channel
            .split_once(':')
            .map_or("", |(namespace, _)| namespace);
        let covers = |one: &String| one == "*" || one == namespace;
        let covers =
            matches!(event, Event::Connect | Event::Rpc) || self.namespaces.iter().any(covers);
        self.events.contains(&event) && covers
    }

    /// Whether it has nothing more to answer.
    fn is_over(&self) -> bool {
        self.queue.depth() == (0, 0) && self.calls.is_empty()
    }
}

impl HookTasks {
    /// There are these hooks from now on. Those that are as they were go on.
    fn replace(&mut self, hooks: Vec<Hook>) {
        let now = self.now();
        let mut before = std::mem::take(&mut self.hooks);
        for hook in hooks {
            let is_same = |old: &Running| old.identity == hook.identity;
            let running = match before.iter().position(is_same) {
                Some(at) => Running {
                    retired_at: None,
                    ..before.remove(at)
                },
                None => {
                    self.hooks_begun += 1;
                    Running::new(hook, self.hooks_begun)
                }
            };
            self.hooks.push(running);
        }
        for mut old in before {
            old.retired_at = old.retired_at.or(Some(now));
            self.hooks.push(old);
        }
    }

    /// Forgets hooks that the configuration has no more and that have answered. Reactors may still ask
    /// for a while.
    fn drop_retired(&mut self) {
        let now = self.now();
        let is_gone = |hook: &mut Running| {
            let is_late = |at| now > at + RETIRED_MS;
            hook.retired_at.is_some_and(is_late) && hook.is_over()
        };
        for hook in self.hooks.extract_if(.., is_gone) {
            self.gone = self.gone + hook.queue.counts();
        }
    }

    /// Runs for as long as there are reactors.
    pub(crate) async fn run(mut self, peer: Arc<Peer>) -> io::Result<()> {
        loop {
            let wake = self.begin + Duration::from_millis(self.go_on(&peer));
            match timeout_at(wake, self.inputs.recv()).await {
                Err(_) => {}
                Ok(None) => return Err(io::Error::other("no hook is asked any more")),
                Ok(Some(input)) => self.handle(input),
            }
            for _ in 0..INPUTS_AT_ONCE {
                match self.inputs.try_recv() {
                    Ok(input) => self.handle(input),
                    Err(_) => break,
                }
            }
        }
    }

    /// Makes the calls that are due, and sends what is to be said. Returns when it is to be called again.
    fn go_on(&mut self, peer: &Peer) -> u64 {
        let now = self.now();
        for hook in 0..self.hooks.len() {
            while let Some(order) = self.hooks[hook].queue.poll(now) {
                match order {
                    Order::Call {
                        number,
                        question,
                        until_ms,
                    } => self.call(hook, number, question, until_ms),
                    Order::Cancel(number) => {
                        if let Some(call) = self.hooks[hook].calls.remove(&number) {
                            call.abort();
                        }
                        self.log_failure(hook, &"it has not answered in time");
                    }
                }
            }
            for (waiter, outcome) in self.hooks[hook].queue.take_told() {
                self.say(waiter, outcome);
            }
            self.log_breaker(hook);
        }
        self.drop_retired();
        self.publish_gauges();
        let is_sent = self.send(peer);
        let due = self
            .hooks
            .iter()
            .filter_map(|hook| hook.queue.wake_at())
            .min();
        let due = due.unwrap_or(now + IDLE_MS).max(now + 1);
        if is_sent {
            due
        } else {
            due.min(now + RETRY_MS)
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Asked(reactor, calls) => {
                for call in calls {
                    self.ask(reactor, call, now);
                }
            }
            Input::Hooks(hooks) => self.replace(hooks),
            Input::Ended(hook, number, outcome) => {
                let Some(hook) = self.hooks.iter().position(|one| one.number == hook) else {
                    return; // it is gone
                };
                if self.hooks[hook].calls.remove(&number).is_none() {
                    return; // it was given up
                }
                if let Err(failed) = outcome {
                    self.log_failure(hook, &failed);
                }
                let outcome = outcome.map_err(|_| Failure::Call);
                self.hooks[hook].queue.answer(number, outcome, now);
            }
        }
    }

    fn ask(&mut self, reactor: usize, call: HookCall, now: u64) {
        let (event, channel) = subject_of(&call.asked);
        let waiter = Waiter {
            reactor,
            key: call.key,
            number: call.number,
            event,
        };
        // Equal are questions about one user and one channel. Without an account a client is nobody else.
        let is_shared = event == Event::Subscribe && !call.user.is_empty();
        let shared = is_shared.then(|| format!("{}:{}{channel}", call.user.len(), call.user));
        let mut hooks = self.hooks.iter_mut();
        match hooks.find(|hook| hook.is_asked(event, channel)) {
            Some(hook) => hook.queue.ask(waiter, shared.as_deref(), call, now),
            // The configuration is checked for it.
            None => self.say(waiter, Outcome::Failed(Failure::Call)),
        }
    }

    fn call(&mut self, at: usize, number: u64, question: HookCall, until_ms: u64) {
        let hook = &self.hooks[at];
        let id = format!("{}{:02x}{number:x}", self.id_prefix, hook.number);
        let call = call_of(&question, &hook.keys, &id);
        let (client, input) = (hook.client.clone(), self.input.clone());
        let (event, bytes_max) = (subject_of(&question.asked).0, hook.answer_bytes_max);
        let hook = hook.number;
        // The queue gives it up at that time; this is for its connection.
        let until = self.begin + Duration::from_millis(until_ms + RETRY_MS);
        let task = tokio::spawn(async move {
            let outcome = match timeout_at(until, client.call(&call)).await {
                Ok(Ok(body)) => parse(event, &body, bytes_max).map_err(Failed::Answer),
                Ok(Err(error)) => Err(Failed::Call(error)),
                Err(_) => return,
            };
            let _ = input.send(Input::Ended(hook, number, outcome)); // the task may have ended
        });
        self.hooks[at].calls.insert(number, task.abort_handle());
    }

    fn say(&mut self, waiter: Waiter, outcome: Outcome) {
        let outcome = outcome_of(
            waiter.event,
            outcome,
            unix_secs(),
            self.message_bytes_max,
            &mut self.permissions,
        );
        self.unsent[waiter.reactor].push(HookAnswer {
            key: waiter.key,
            number: waiter.number,
            outcome,
        });
    }

    /// Sends answers. False: a reactor's ring is full, which takes them a little later; others do not wait
    /// for it.
    fn send(&mut self, peer: &Peer) -> bool {
        let mut is_sent = true;
        for (reactor, unsent) in self.unsent.iter_mut().enumerate() {
            while !unsent.is_empty() {
                let behind = unsent.split_off(unsent.len().min(ANSWERS_AT_ONCE));
                let some = std::mem::replace(unsent, behind);
                if let Err(mut some) = peer.send_hook_answers(reactor, some) {
                    some.append(unsent);
                    *unsent = some;
                    is_sent = false;
                    break;
                }
            }
        }
        is_sent
    }

    /// One line for many failures.
    fn log_failure(&mut self, at: usize, why: &dyn std::fmt::Display) {
        let now = self.now();
        let hook = &mut self.hooks[at];
        hook.unlogged += 1;
        if hook.log_at_ms <= now {
            let (url, failures) = (hook.client.url().label(), hook.unlogged);
            warn!(hook = at, url, failures, error = %why, "a hook was called in vain");
            (hook.unlogged, hook.log_at_ms) = (0, now + LOG_EVERY_MS);
        }
    }

    /// Says when a hook is left alone, and when it is called again.
    fn log_breaker(&mut self, at: usize) {
        let hook = &mut self.hooks[at];
        let is_broken = hook.queue.is_broken();
        if std::mem::replace(&mut hook.is_broken, is_broken) == is_broken {
            return;
        }
        let url = hook.client.url().label();
        match is_broken {
            true => warn!(
                hook = at,
                url, "half of a hook's calls fail: for a while on_failure answers for it"
            ),
            false => info!(hook = at, url, "a hook answers again"),
        }
    }

    fn publish_gauges(&self) {
        let counts = || self.hooks.iter().map(|hook| hook.queue.counts());
        let sum = |of: fn(Counts) -> u64| counts().map(of).sum::<u64>() + of(self.gone);
        HOOK_CALLS.set(sum(|counts| counts.calls));
        HOOK_CALLS_FAILED.set(sum(|counts| counts.failed));
        HOOK_CALLS_SAVED.set(sum(|counts| counts.merged + counts.cached));
        HOOK_CALLS_REFUSED.set(sum(|counts| counts.full + counts.broken));
        let depth = self.hooks.iter().map(|hook| hook.queue.depth());
        HOOK_CALLS_IN_FLIGHT.set(depth.map(|(calls, queued)| (calls + queued) as u64).sum());
        let broken = self.hooks.iter().filter(|hook| hook.queue.is_broken());
        HOOKS_BROKEN.set(broken.count() as u64);
    }

    /// Milliseconds of a clock that does not jump.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What is asked, and about which channel.
fn subject_of(asked: &HookAsked) -> (Event, &str) {
    match asked {
        HookAsked::Connect { .. } => (Event::Connect, ""),
        HookAsked::Subscribe { channel } => (Event::Subscribe, channel),
        HookAsked::Publish { channel, .. } => (Event::Publish, channel),
        HookAsked::Rpc { .. } => (Event::Rpc, ""),
    }
}

fn call_of(question: &HookCall, keys: &Keys, id: &str) -> Call {
    let (event, channel) = subject_of(&question.asked);
    let raw = match &question.asked {
        HookAsked::Publish { payload, .. } => Some(payload.to_raw()),
        HookAsked::Connect { .. } | HookAsked::Subscribe { .. } | HookAsked::Rpc { .. } => None,
    };
    let (method, data) = match &question.asked {
        HookAsked::Rpc { method, data } => (&**method, data.as_deref()),
        _ => ("", None),
    };
    let payload = raw.as_ref().and_then(|frame| {
        let bytes = frame.payload()?;
        Some(match (frame.opcode(), str::from_utf8(bytes)) {
            (Opcode::Text, Ok(text)) => Payload::Text(text),
            _ => Payload::Binary(bytes),
        })
    });
    let body = Question {
        event,
        client: &question.client,
        protocol: question.dialect,
        user: &question.user,
        channel,
        method,
        payload: payload.or(data.map(Payload::Text)),
    };
    let body = Bytes::from(body.body());
    let mut headers = HeaderMap::new();
    if let HookAsked::Connect { headers: passed } = &question.asked {
        let passed = passed
            .iter()
            .filter_map(|(name, value)| header(name, value.expose()));
        passed.for_each(|(name, value)| _ = headers.append(name, value));
    }
    sign(keys, id, unix_secs(), &body, &mut headers);
    Call {
        place: event.name(),
        body,
        headers,
        any_success: false,
    }
}

/// Inputs handled before calls are made and answers sent.
const INPUTS_AT_ONCE: usize = 256;
/// Answers in one message.
const ANSWERS_AT_ONCE: usize = 64;
/// How soon a ring that was full is tried again.
const RETRY_MS: u64 = 2;
/// A hook is asked for so long that the configuration has no more, where no other is.
const RETIRED_MS: u64 = 10_000;
/// Without anything to do.
const IDLE_MS: u64 = 60_000;
/// A hook that fails is in the log so often.
const LOG_EVERY_MS: u64 = 10_000;
