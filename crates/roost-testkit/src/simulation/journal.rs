//! The journal of events, on half of the seeds with a control thread: an application that takes batches at
//! once, late, not at all, or takes them and does not say so; and a control thread that does not read what
//! reactors say for a while. On half of those the control thread lives until all is over.
//!
//! What is promised: numbers have no holes, and a number is told once or twice as the same; until the
//! journal says that something is lost, a connection is connected once and disconnected once, subscribes and
//! unsubscribes by turns and only in between, channels are occupied and vacated by turns, and users join and
//! leave them by turns; when all is over, no connection is connected and no channel occupied.

use std::collections::{BTreeMap, BTreeSet};

use roost_hooks::{Journal, JournalEvent, JournalRules, Outgoing};
use roost_net::sim::SimRng;
use roost_reactor::{EventBatch, EventKind, EventKinds, Events, Settings};
use serde_json::Value;

/// Has the reactors say what happens, on some seeds with a control thread.
pub(super) fn add(seed: u64, has_control: bool, settings: &mut Settings) {
    if has_control && rng_of(seed).per_mille(500) {
        settings.events = Events {
            kinds: EventKinds::of(|_| true),
            namespaces: vec!["*".to_owned()],
        };
    }
}

/// The application and its journal.
pub(super) struct Told {
    journal: Journal,
    rng: SimRng,
    /// The batch under way: when its end is known, and whether it was taken.
    under_way: Option<(u64, bool)>,
    /// What the application has, by number.
    taken: Vec<Value>,
    /// Whether the control thread lives until the end.
    pub(super) stays: bool,
}

/// What is true by what the application was told.
#[derive(Default)]
struct Known {
    /// What each connection that is connected is subscribed to.
    connected: BTreeMap<String, BTreeSet<String>>,
    ended: BTreeSet<String>,
    occupied: BTreeSet<String>,
    /// Users by channel.
    users: BTreeSet<(String, String)>,
}

fn rng_of(seed: u64) -> SimRng {
    SimRng::new(seed ^ 0x6a6f_7572)
}

impl Told {
    pub(super) fn new(seed: u64, settings: &Settings) -> Option<Told> {
        if settings.events == Events::default() {
            return None;
        }
        let mut rng = SimRng::new(seed ^ 0x0074_6f6c_6400);
        let rules = JournalRules {
            batch_max: rng.between(1, 40) as usize,
            batch_wait_ms: rng.between(0, 250),
            queue_max: match rng.per_mille(250) {
                true => rng.between(50, 500) as usize,
                false => 1_000_000,
            },
            linger_ms: rng.between(0, 300),
            tells_occupied: true,
            tells_vacated: true,
            tells_joined: true,
            tells_left: true,
        };
        Some(Told {
            journal: Journal::new(rules, "sim", "epoch", (0, 0)),
            stays: rng.per_mille(500),
            rng,
            under_way: None,
            taken: Vec::new(),
        })
    }

    /// A reactor says what has happened.
    pub(super) fn happened(&mut self, reactor: usize, batch: EventBatch, now_ns: u64) {
        let now = now_ns / 1_000_000;
        for event in &batch.events {
            let time_ms = batch.time_ms(event);
            let channel = event.channel.as_deref();
            match (event.kind, channel) {
                (EventKind::Occupied, Some(channel)) => {
                    self.journal.occupied(channel, time_ms, now)
                }
                (EventKind::Vacated, Some(channel)) => self.journal.vacated(channel, time_ms, now),
                (EventKind::UserJoined, Some(channel)) => {
                    let user = (event.user.as_str(), event.has_number);
                    self.journal.joined(channel, user, time_ms, now);
                }
                (EventKind::UserLeft, Some(channel)) => {
                    let user = (event.user.as_str(), event.has_number);
                    self.journal.left(channel, user, time_ms, now);
                }
                (kind, channel) => {
                    let key = event.client.expect("it is about a connection");
                    let (slot, generation) = (key.slot(), key.generation());
                    let event = JournalEvent {
                        client: Some(format!("r{reactor}-{slot}.{generation}").into()),
                        channel: channel.map(Into::into),
                        ..JournalEvent::new(kind.name(), time_ms)
                    };
                    self.journal.push(event, now);
                }
            }
        }
        if batch.lost > 0 {
            self.journal.lost(batch.lost, 0, now);
        }
    }

    /// Sends what is due, to an application that does what it likes.
    pub(super) fn go_on(&mut self, now_ns: u64) {
        let now = now_ns / 1_000_000;
        if let Some((at_ns, is_taken)) = self.under_way
            && at_ns <= now_ns
        {
            self.under_way = None;
            self.journal.ended(is_taken, now);
        }
        if self.under_way.is_some() {
            return;
        }
        let Some(batch) = self.journal.poll(now) else {
            return;
        };
        let (reaches_it, is_taken, after_ms) = match self.rng.below(10) {
            0 => (false, false, 0),
            1 => (true, false, self.rng.between(0, 100)),
            2 => (false, false, self.rng.between(500, 1_500)), // it hangs
            3 => (true, true, self.rng.between(100, 400)),
            _ => (true, true, self.rng.between(0, 20)),
        };
        if reaches_it {
            self.take(&batch);
        }
        self.under_way = Some((now_ns + after_ms * 1_000_000, is_taken));
    }

    fn take(&mut self, batch: &Outgoing) {
        let body: Value = serde_json::from_slice(&batch.body).expect("JSON");
        assert_eq!(body["from"], batch.from);
        for event in body["events"].as_array().expect("a list") {
            let at = event["n"].as_u64().expect("a number") as usize - 1;
            assert!(at <= self.taken.len(), "a hole before {event}");
            match self.taken.get(at) {
                Some(before) => assert_eq!(before, event, "the same, told again"),
                None => self.taken.push(event.clone()),
            }
        }
    }

    /// The control thread ends; the application takes what is left.
    pub(super) fn end(&mut self, now_ns: u64, over: Over) {
        let mut now = now_ns / 1_000_000;
        if let Some((_, is_taken)) = self.under_way.take() {
            self.journal.ended(is_taken, now);
        }
        self.journal.end(now, 0);
        while !self.journal.is_empty() {
            now = self.journal.wake_at().expect("something is left").max(now);
            if let Some(batch) = self.journal.poll(now) {
                self.take(&batch);
                self.journal.ended(true, now);
            }
        }
        let last = self.taken.last().expect("there is one");
        assert_eq!(last["type"], "node_stopped");
        self.check(over);
    }

    fn check(&self, over: Over) {
        let mut known = Known::default();
        for event in &self.taken {
            if event["type"] == "lost" {
                return; // from here on anything may be missing
            }
            known.note(event);
        }
        if over != Over::Nothing {
            assert!(known.connected.is_empty(), "{:?} stay", known.connected);
        }
        if over == Over::Everything {
            assert!(known.occupied.is_empty(), "{:?} stay", known.occupied);
            assert!(known.users.is_empty(), "{:?} stay", known.users);
        }
    }

    /// Events told.
    pub(super) fn told(&self) -> u64 {
        self.taken.len() as u64
    }

    /// Events lost.
    pub(super) fn lost(&self) -> u64 {
        self.journal.counts().lost
    }
}

/// What is over when the journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The control thread ended early.
    Nothing,
    /// All connections; a reactor that stood still in the drain may have found channels' homes ended, which
    /// then did not learn that their subscribers had left.
    Connections,
    /// Subscriptions too.
    Everything,
}

impl Known {
    fn note(&mut self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let (client, channel) = (text("client"), text("channel"));
        match event["type"].as_str().expect("a word") {
            "connected" => {
                assert!(!self.ended.contains(&client), "{event}: it has ended");
                let before = self.connected.insert(client, BTreeSet::new());
                assert!(before.is_none(), "{event}: twice");
            }
            "disconnected" => {
                let channels = self.connected.remove(&client);
                assert_eq!(channels, Some(BTreeSet::new()), "{event}");
                self.ended.insert(client);
            }
            "subscribed" => {
                let channels = self.connected.get_mut(&client);
                let is_new = channels.expect("it is connected").insert(channel);
                assert!(is_new, "{event}: twice");
            }
            "unsubscribed" => {
                let channels = self.connected.get_mut(&client);
                let was_there = channels.expect("it is connected").remove(&channel);
                assert!(was_there, "{event}: it was not subscribed");
            }
            // Only of Pusher's clients, where they are subscribed.
            "client_event" | "cache_miss" => {
                let channels = self.connected.get(&client).expect("it is connected");
                assert!(channels.contains(&channel), "{event}: it is not subscribed");
            }
            "occupied" => assert!(self.occupied.insert(channel), "{event}: twice"),
            "vacated" => assert!(self.occupied.remove(&channel), "{event}: it was not"),
            "user_joined" => {
                let is_new = self.users.insert((channel, text("user")));
                assert!(is_new, "{event}: it was there");
            }
            "user_left" => {
                let was_there = self.users.remove(&(channel, text("user")));
                assert!(was_there, "{event}: it was not there");
            }
            "logged_in" => assert!(self.connected.contains_key(&client), "{event}"),
            "node_started" | "node_stopped" => {}
            other => panic!("{other}: what is that?"),
        }
    }
}
