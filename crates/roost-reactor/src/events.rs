//! What can happen to connections and channels, and what of it waits to be told: up to a bound, then it is
//! counted, and the count goes behind what was kept.

use std::time::{SystemTime, UNIX_EPOCH};

use roost_access::UserName;
use roost_hub::Name;
use roost_metrics::process::EVENTS_LOST;
use roost_net::ConnKey;

use crate::clock::TICK_MS;

/// What can have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A WebSocket or an event stream has opened.
    Connected,
    /// Its client has logged in behind its handshake.
    LoggedIn,
    /// It has ended.
    Disconnected,
    /// A connection has subscribed to a channel.
    Subscribed,
    /// It does so no longer.
    Unsubscribed,
    /// A channel has its first subscriber, of all reactors.
    Occupied,
    /// It has lost its last.
    Vacated,
    /// A user has its first client in a channel that keeps presence.
    UserJoined,
    /// It has no more in it.
    UserLeft,
    /// A client has published where it is subscribed, as Pusher's clients do.
    ClientEvent,
    /// A client has subscribed to a channel that keeps its last event, and there was none.
    CacheMiss,
}

/// A set of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventKinds(u16);

/// Which events the application is told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// Of which kinds; none switches all off.
    pub kinds: EventKinds,
    /// The namespaces whose channels' events it is told of; `*`: all channels.
    pub namespaces: Vec<String>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HappenedEvent {
    /// What.
    pub kind: EventKind,
    /// When, in ticks of its reactor: see [`EventBatch::time_ms`].
    pub(crate) at: u32,
    /// To which connection, if to one.
    pub client: Option<ConnKey>,
    /// Its user; empty without an account.
    pub user: UserName,
    /// The application has named the user by a number.
    pub has_number: bool,
    /// Its dialect.
    pub dialect: &'static str,
    /// In which channel, if in one.
    pub channel: Option<Name>,
    /// The close code of an end.
    pub code: Option<u16>,
    /// Why, in words; empty where there is nothing to say.
    pub reason: Box<str>,
    /// What a client has published.
    pub said: Option<Box<Said>>,
}

/// An event that a client has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it is called.
    pub event: Box<str>,
    /// Its data: the text, or JSON.
    pub data: Box<str>,
    /// Whether it is JSON.
    pub is_json: bool,
    /// The client's number, by which other clients know it.
    pub client: u64,
}

/// Events of one reactor, in order.
#[derive(Debug)]
pub struct EventBatch {
    /// What has happened.
    pub events: Vec<HappenedEvent>,
    /// How many events behind these were dropped.
    pub lost: u64,
    /// The tick in which it was sent.
    now: u32,
    /// The same in milliseconds since 1970.
    unix_ms: u64,
}

/// What waits to be sent.
pub(crate) struct Journal {
    kinds: EventKinds,
    namespaces: Vec<String>,
    unsent: Vec<HappenedEvent>,
    /// Bytes of what clients have said among them.
    said_bytes: usize,
    /// Of events that came behind those.
    lost: u64,
    /// The ring was full: it is not tried before this tick, for each try moves what is kept.
    retry_at: u32,
    /// Why a connection is about to end.
    noted: Option<(ConnKey, Option<u16>, Box<str>)>,
    /// The tick at which the drain no longer waits for the control thread.
    give_up_at: Option<u32>,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 11] = [
        EventKind::Connected,
        EventKind::LoggedIn,
        EventKind::Disconnected,
        EventKind::Subscribed,
        EventKind::Unsubscribed,
        EventKind::Occupied,
        EventKind::Vacated,
        EventKind::UserJoined,
        EventKind::UserLeft,
        EventKind::ClientEvent,
        EventKind::CacheMiss,
    ];

    /// As the configuration and the journal have it.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Connected => "connected",
            EventKind::LoggedIn => "logged_in",
            EventKind::Disconnected => "disconnected",
            EventKind::Subscribed => "subscribed",
            EventKind::Unsubscribed => "unsubscribed",
            EventKind::Occupied => "occupied",
            EventKind::Vacated => "vacated",
            EventKind::UserJoined => "user_joined",
            EventKind::UserLeft => "user_left",
            EventKind::ClientEvent => "client_event",
            EventKind::CacheMiss => "cache_miss",
        }
    }

    /// Whether webhooks of Pusher's alone tell it.
    pub fn is_pushers(self) -> bool {
        matches!(self, EventKind::ClientEvent | EventKind::CacheMiss)
    }
}

impl EventKinds {
    /// Those for which `is_in` holds.
    pub fn of(is_in: impl Fn(EventKind) -> bool) -> EventKinds {
        let kinds = EventKind::ALL.into_iter().filter(|&kind| is_in(kind));
        EventKinds(kinds.fold(0, |all, kind| all | 1 << kind as u8))
    }

    /// Whether this is one of them.
    #[inline]
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn is_some(self) -> bool {
        self.0 != 0
    }

    /// Whether the hub is to say when channels have their first and last subscriber.
    pub(crate) fn has_occupancy(self) -> bool {
        self.has(EventKind::Occupied) || self.has(EventKind::Vacated)
    }

    /// Whether the hub is to say which users come to channels and leave them.
    pub(crate) fn has_users(self) -> bool {
        self.has(EventKind::UserJoined) || self.has(EventKind::UserLeft)
    }
}

impl HappenedEvent {
    /// Memory that what a client has said takes.
    fn said_bytes(&self) -> usize {
        let said = self.said.as_ref();
        said.map_or(0, |said| {
            size_of::<Said>() + said.event.len() + said.data.len()
        })
    }
}

impl EventBatch {
    /// When one of its events was, in milliseconds since 1970.
    pub fn time_ms(&self, event: &HappenedEvent) -> u64 {
        let age_ms = u64::from(self.now.saturating_sub(event.at)) * u64::from(TICK_MS);
        self.unix_ms.saturating_sub(age_ms)
    }

    /// Memory that it keeps.
    pub(crate) fn bytes(&self) -> usize {
        let beside = |event: &HappenedEvent| {
            let channel = event.channel.as_ref().map_or(0, |channel| channel.len());
            event.user.len() + channel + event.reason.len() + event.said_bytes()
        };
        let beside: usize = self.events.iter().map(beside).sum();
        size_of::<EventBatch>() + size_of_val(self.events.as_slice()) + beside
    }
}

impl Journal {
    pub(crate) fn new(settings: &Events) -> Journal {
        Journal {
            kinds: settings.kinds,
            namespaces: settings.namespaces.clone(),
            unsent: Vec::new(),
            said_bytes: 0,
            lost: 0,
            retry_at: 0,
            noted: None,
            give_up_at: None,
        }
    }

    /// Whether any event is asked for.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.kinds.is_some()
    }

    /// Whether events of a kind are asked for.
    #[inline]
    pub(crate) fn tells(&self, kind: EventKind) -> bool {
        self.kinds.has(kind)
    }

    /// Why a connection is about to end.
    pub(crate) fn note(&mut self, key: ConnKey, code: Option<u16>, reason: &str) {
        self.noted = Some((key, code, reason.into()));
    }

    /// The same, if it was noted of this one.
    pub(crate) fn take_noted(&mut self, key: ConnKey) -> Option<(Option<u16>, Box<str>)> {
        let noted = self.noted.take().filter(|(of, ..)| *of == key);
        noted.map(|(_, code, reason)| (code, reason))
    }

    /// Some of what waits, to be sent; `None` if nothing does, or the ring was full in this tick.
    pub(crate) fn take_batch(&mut self, now: u32) -> Option<Box<EventBatch>> {
        if !self.has_unsent() || now < self.retry_at {
            return None;
        }
        let behind = self.unsent.split_off(self.unsent.len().min(EVENTS_MAX));
        let events = std::mem::replace(&mut self.unsent, behind);
        self.said_bytes = bytes_said(&self.unsent);
        let lost = match self.unsent.is_empty() {
            true => std::mem::take(&mut self.lost),
            false => 0,
        };
        Some(Box::new(EventBatch {
            events,
            lost,
            now,
            unix_ms: unix_ms(),
        }))
    }

    /// There was no room for it.
    pub(crate) fn put_back(&mut self, batch: EventBatch) {
        let EventBatch {
            mut events,
            lost,
            now,
            unix_ms: _,
        } = batch;
        events.append(&mut self.unsent);
        self.unsent = events;
        self.said_bytes = bytes_said(&self.unsent);
        self.lost += lost;
        self.retry_at = now + 1;
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.lost > 0
    }

    /// Whether a drain that is over waits a little for the control thread to take what is left.
    #[cold]
    pub(crate) fn holds_up_end(&mut self, now: u32) -> bool {
        let until = *self.give_up_at.get_or_insert(now + END_WAIT_TICKS);
        self.has_unsent() && now < until
    }

    pub(crate) fn covers(&self, channel: &str) -> bool {
        let namespace = channel.split_once(':').map_or("", |(name, _)| name);
        let mut names = self.namespaces.iter();
        names.any(|one| one == "*" || one == namespace)
    }

    pub(crate) fn push(&mut self, event: HappenedEvent) {
        let said_bytes = self.said_bytes + event.said_bytes();
        if self.lost > 0 || self.unsent.len() >= UNSENT_MAX || said_bytes > SAID_BYTES_MAX {
            self.lost += 1;
            EVENTS_LOST.add(1);
            return;
        }
        self.said_bytes = said_bytes;
        self.unsent.push(event);
    }
}

/// The time since 1970. Only what tells a client or the application of a time looks at this clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver's time does not count from 1970; no decision depends on this one"
)]
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Bytes of what clients have said among some events.
fn bytes_said(events: &[HappenedEvent]) -> usize {
    events.iter().map(HappenedEvent::said_bytes).sum()
}

/// Bytes of what clients have said that wait for that room, beside what each event takes otherwise.
const SAID_BYTES_MAX: usize = 1 << 20;
/// Events of one reactor that wait for room in the control thread's ring.
const UNSENT_MAX: usize = 4096;
/// Events in one message.
const EVENTS_MAX: usize = 256;
/// How long a reactor whose connections have all ended waits for that room.
const END_WAIT_TICKS: u32 = 1_000 / TICK_MS;
/// Most bytes that events of one reactor take on their way, beside the ring: names are of 255 bytes at most.
pub const EVENTS_BYTES_MAX: usize =
    UNSENT_MAX * (size_of::<HappenedEvent>() + 3 * 255) + SAID_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> HappenedEvent {
        HappenedEvent {
            kind: EventKind::Connected,
            at: 7,
            client: Some(ConnKey::new(1, 1)),
            user: UserName::new(),
            has_number: false,
            dialect: "raw",
            channel: None,
            code: None,
            reason: "".into(),
            said: None,
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_comes_behind_it() {
        let mut journal = Journal::new(&Events::default());
        for _ in 0..UNSENT_MAX + 3 {
            journal.push(event());
        }
        assert_eq!((journal.unsent.len(), journal.lost), (UNSENT_MAX, 3));
        journal.unsent.clear();
        journal.push(event());
        assert_eq!(
            (journal.unsent.len(), journal.lost),
            (0, 4),
            "not before it is told"
        );
    }

    #[test]
    fn what_a_full_ring_gives_back_is_tried_again_in_another_tick() {
        let mut journal = Journal::new(&Events::default());
        for _ in 0..EVENTS_MAX + 1 {
            journal.push(event());
        }
        let batch = journal.take_batch(5).expect("something waits");
        assert_eq!((batch.events.len(), journal.unsent.len()), (EVENTS_MAX, 1));
        journal.put_back(*batch);
        assert!(journal.has_unsent() && journal.take_batch(5).is_none());
        let batch = journal.take_batch(6).expect("another tick");
        assert_eq!(batch.events.len(), EVENTS_MAX);
        let batch = journal.take_batch(6).expect("the rest");
        assert_eq!((batch.events.len(), batch.lost), (1, 0));
        assert!(journal.take_batch(6).is_none() && !journal.has_unsent());
    }

    /// So that what clients publish takes no memory without a bound while the control thread is slow.
    #[test]
    fn what_clients_say_is_bounded_by_bytes() {
        let said = |bytes: usize| HappenedEvent {
            said: Some(Box::new(Said {
                event: "client-x".into(),
                data: "d".repeat(bytes).into(),
                is_json: false,
                client: 1,
            })),
            ..event()
        };
        let kinds = EventKinds::of(|_| true);
        let mut journal = Journal::new(&Events {
            kinds,
            namespaces: Vec::new(),
        });
        let half = SAID_BYTES_MAX / 2 - 100;
        for _ in 0..3 {
            journal.push(said(half));
        }
        let batch = journal.take_batch(1).expect("some fit");
        assert_eq!((batch.events.len(), batch.lost), (2, 1));
        assert!(batch.bytes() > SAID_BYTES_MAX - 1_000);
        journal.put_back(*batch);
        journal.push(event());
        let batch = journal.take_batch(2).expect("they are back");
        assert_eq!((batch.events.len(), batch.lost), (2, 2), "in order");
        journal.push(said(half));
        journal.push(event());
        let batch = journal.take_batch(3).expect("there is room");
        assert_eq!((batch.events.len(), batch.lost), (2, 0));
    }

    #[test]
    fn events_have_the_time_at_which_they_happened() {
        let batch = EventBatch {
            events: vec![event()],
            lost: 0,
            now: 17,
            unix_ms: 5_000,
        };
        assert_eq!(batch.time_ms(&batch.events[0]), 4_000);
    }

    #[test]
    fn only_the_namespaces_that_are_asked_for_count() {
        let covers = |names: &[&str], channel: &str| {
            let namespaces = names.iter().map(|&name| name.to_owned()).collect();
            let kinds = EventKinds::of(|_| true);
            Journal::new(&Events { kinds, namespaces }).covers(channel)
        };
        assert!(covers(&["*"], "lobby") && covers(&["*"], "chat:1"));
        assert!(covers(&["chat"], "chat:1") && !covers(&["chat"], "chatter:1"));
        assert!(!covers(&["chat"], "chat") && !covers(&[], "chat:1"));
    }

    #[test]
    fn each_kind_has_a_bit_of_its_own() {
        for kind in EventKind::ALL {
            let kinds = EventKinds::of(|one| one == kind);
            let has = EventKind::ALL.into_iter().filter(|&one| kinds.has(one));
            assert_eq!(has.collect::<Vec<_>>(), [kind]);
        }
        assert!(!EventKinds::default().is_some());
    }

    /// A control thread that stands still holds up no stop.
    #[test]
    fn an_end_waits_a_second_for_what_is_left_to_be_taken_and_no_longer() {
        let mut journal = Journal::new(&Events::default());
        assert!(!journal.holds_up_end(7), "nothing is left");
        let mut journal = Journal::new(&Events::default());
        journal.push(event());
        for now in [7, 8, 7 + END_WAIT_TICKS - 1] {
            assert!(journal.holds_up_end(now), "{now}");
        }
        assert!(!journal.holds_up_end(7 + END_WAIT_TICKS));
    }
}
