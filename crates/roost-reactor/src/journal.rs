//! What happens to connections and channels, on its way to the control thread, which tells it to the
//! application. Only the begins and ends of connections and subscriptions look here, and where no event
//! is asked for they see one flag.
//!
//! Nothing waits for the control thread: what finds no room in its ring is kept up to a bound, then
//! counted, and the count goes behind what was kept.

use std::time::{SystemTime, UNIX_EPOCH};

use roost_access::UserName;
use roost_hub::{ChannelId, Name};
use roost_metrics::process::EVENTS_LOST;
use roost_net::ConnKey;

use crate::clock::TICK_MS;
use crate::connections::Phase;
use crate::core::Core;
use crate::incidents::EndCause;
use crate::peer_message::PeerMessage;

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
}

/// A set of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventKinds(u8);

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
    /// Its dialect.
    pub dialect: &'static str,
    /// In which channel, if in one.
    pub channel: Option<Name>,
    /// The close code of an end.
    pub code: Option<u16>,
    /// Why, in words; empty where there is nothing to say.
    pub reason: Box<str>,
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
    /// Of events that came behind those.
    lost: u64,
    /// The ring was full: it is not tried before this tick, for each try moves what is kept.
    retry_at: u32,
    /// Why a connection is about to end.
    noted: Option<(ConnKey, Option<u16>, Box<str>)>,
    /// The tick at which the drain no longer waits for the control thread.
    give_up_at: Option<u32>,
}

/// An open connection that is about to end.
pub(crate) struct Leaving(HappenedEvent);

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 7] = [
        EventKind::Connected,
        EventKind::LoggedIn,
        EventKind::Disconnected,
        EventKind::Subscribed,
        EventKind::Unsubscribed,
        EventKind::Occupied,
        EventKind::Vacated,
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
        }
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
            event.user.len() + channel + event.reason.len()
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

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.lost > 0
    }

    /// Whether a drain that is over waits a little for the control thread to take what is left.
    #[cold]
    pub(crate) fn holds_up_end(&mut self, now: u32) -> bool {
        let until = *self.give_up_at.get_or_insert(now + END_WAIT_TICKS);
        self.has_unsent() && now < until
    }

    fn covers(&self, channel: &str) -> bool {
        let namespace = channel.split_once(':').map_or("", |(name, _)| name);
        let mut names = self.namespaces.iter();
        names.any(|one| one == "*" || one == namespace)
    }

    fn push(&mut self, event: HappenedEvent) {
        if self.lost > 0 || self.unsent.len() >= UNSENT_MAX {
            self.lost += 1;
            EVENTS_LOST.add(1);
            return;
        }
        self.unsent.push(event);
    }
}

/// A connection has opened. `has_joined`: with the subscription that its request asked for.
#[inline]
pub(crate) fn opened(core: &mut Core, key: ConnKey, has_joined: bool) {
    if core.journal.is_on() {
        note_opened(core, key, has_joined);
    }
}

#[cold]
fn note_opened(core: &mut Core, key: ConnKey, has_joined: bool) {
    push_of(core, key, EventKind::Connected, None, "");
    let Some(conn) = core.connections.get(key).filter(|_| has_joined) else {
        return;
    };
    let mut channels = Vec::new();
    let (dialect, session) = (conn.dialect, conn.session);
    core.sessions
        .each_subscription(dialect, session, &mut |channel| channels.push(channel));
    for channel in channels {
        note_subscription(core, key, EventKind::Subscribed, channel, "");
    }
}

/// Whose connection it is before its client logs in, if that is to be told.
pub(crate) fn before_login(core: &Core, key: ConnKey) -> Option<UserName> {
    if !core.journal.kinds.has(EventKind::LoggedIn) {
        return None;
    }
    Some(of_connection(core, key, EventKind::LoggedIn)?.user)
}

/// Its client has logged in.
pub(crate) fn logged_in(core: &mut Core, key: ConnKey, before: Option<UserName>) {
    let event = before
        .and_then(|before| Some((before, of_connection(core, key, EventKind::LoggedIn)?)))
        .filter(|(before, event)| *before != event.user);
    if let Some((_, event)) = event {
        core.journal.push(event);
        core.has_for_control = true;
    }
}

/// A session is about to be told that it subscribes to a channel.
#[inline]
pub(crate) fn subscribing(core: &mut Core, key: ConnKey, channel: ChannelId) {
    if core.journal.kinds.has(EventKind::Subscribed) {
        note_subscribing(core, key, channel);
    }
}

#[cold]
fn note_subscribing(core: &mut Core, key: ConnKey, channel: ChannelId) {
    let Some(conn) = core.connections.get(key) else {
        return;
    };
    // One that subscribes again is subscribed once.
    let (dialect, session) = (conn.dialect, conn.session);
    if !core.sessions.is_subscribed(dialect, session, channel) {
        note_subscription(core, key, EventKind::Subscribed, channel, "");
    }
}

/// A session that was subscribed to a channel no longer is; the hub does not know it yet.
#[inline]
pub(crate) fn unsubscribing(core: &mut Core, key: ConnKey, channel: ChannelId, reason: &str) {
    if core.journal.kinds.has(EventKind::Unsubscribed) {
        note_subscription(core, key, EventKind::Unsubscribed, channel, reason);
    }
}

/// A channel whose home is here has its first subscriber, or has lost its last.
#[cold]
pub(crate) fn note_occupancy(core: &mut Core, channel: Name, is_occupied: bool) {
    if core.journal.covers(&channel) {
        let event = HappenedEvent {
            kind: match is_occupied {
                true => EventKind::Occupied,
                false => EventKind::Vacated,
            },
            at: core.now(),
            client: None,
            user: UserName::new(),
            dialect: "",
            channel: Some(channel),
            code: None,
            reason: "".into(),
        };
        core.journal.push(event);
        core.has_for_control = true;
    }
}

/// Why an open connection is about to end, where its end itself does not say.
#[inline]
pub(crate) fn note_end(core: &mut Core, key: ConnKey, code: Option<u16>, reason: &str) {
    if core.journal.is_on() {
        core.journal.noted = Some((key, code, reason.into()));
    }
}

/// The reason of an end without a close frame of ours.
pub(crate) fn reason_of(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Cut => "the connection was cut",
        EndCause::Reset => "the connection was reset",
        EndCause::PongMissing => "no answer to a ping",
        EndCause::Idle => "idle for too long",
        EndCause::SlowConsumer => "slow consumer",
        EndCause::Failed => "protocol error",
        EndCause::Disconnected => "closed by the application",
        EndCause::RateLimited => "rate limit",
    }
}

/// What is to be said of an open connection that ends now, and of its subscriptions. `None` if it is not
/// open, or nothing is asked for.
#[inline]
pub(crate) fn leaving(core: &mut Core, key: ConnKey, told: Option<(u16, &str)>) -> Option<Leaving> {
    match core.journal.is_on() {
        true => describe_leaving(core, key, told),
        false => None,
    }
}

#[cold]
fn describe_leaving(core: &mut Core, key: ConnKey, told: Option<(u16, &str)>) -> Option<Leaving> {
    let conn = core.connections.get(key)?;
    if conn.phase != Phase::Open {
        return None;
    }
    let noted = core.journal.noted.take();
    let noted = noted.filter(|(of, ..)| *of == key);
    let (code, reason) = match (told, noted) {
        (Some((code, reason)), _) => (Some(code), reason.into()),
        (None, Some((_, code, reason))) => (code, reason),
        (None, None) => (None, "".into()),
    };
    let mut event = of_connection(core, key, EventKind::Disconnected)?;
    (event.code, event.reason) = (code, reason);
    Some(Leaving(event))
}

/// It no longer subscribes to a channel.
#[cold]
pub(crate) fn note_left(core: &mut Core, leaving: &Leaving, channel: ChannelId) {
    if core.journal.kinds.has(EventKind::Unsubscribed) {
        let event = HappenedEvent {
            kind: EventKind::Unsubscribed,
            ..leaving.0.clone()
        };
        push_in_channel(core, event, channel);
    }
}

/// It has ended.
#[cold]
pub(crate) fn note_disconnected(core: &mut Core, leaving: Leaving) {
    if core.journal.kinds.has(EventKind::Disconnected) {
        core.journal.push(leaving.0);
        core.has_for_control = true;
    }
}

/// Sends what has happened; what finds no room stays.
#[cold]
pub(crate) fn send_events(core: &mut Core) {
    let now = core.now();
    if now < core.journal.retry_at {
        return;
    }
    while core.journal.has_unsent() {
        let journal = &mut core.journal;
        let behind = journal
            .unsent
            .split_off(journal.unsent.len().min(EVENTS_MAX));
        let events = std::mem::replace(&mut journal.unsent, behind);
        let lost = match journal.unsent.is_empty() {
            true => std::mem::take(&mut journal.lost),
            false => 0,
        };
        let batch = Box::new(EventBatch {
            events,
            lost,
            now,
            unix_ms: unix_ms(),
        });
        let sent = core.channels.send_to_control(PeerMessage::Events(batch));
        let Err(PeerMessage::Events(batch)) = sent else {
            continue;
        };
        let EventBatch {
            mut events, lost, ..
        } = *batch;
        let journal = &mut core.journal;
        events.append(&mut journal.unsent);
        journal.unsent = events;
        journal.lost += lost;
        journal.retry_at = now + 1;
        return;
    }
}

fn note_subscription(
    core: &mut Core,
    key: ConnKey,
    kind: EventKind,
    channel: ChannelId,
    reason: &str,
) {
    if let Some(mut event) = of_connection(core, key, kind).filter(|_| core.journal.kinds.has(kind))
    {
        event.reason = reason.into();
        push_in_channel(core, event, channel);
    }
}

/// Patterns are no channels, and no event says anything of them.
fn push_in_channel(core: &mut Core, mut event: HappenedEvent, channel: ChannelId) {
    let Some(name) = core.channels.full_name(channel) else {
        return;
    };
    if core.journal.covers(&name) {
        event.channel = Some(name);
        core.journal.push(event);
        core.has_for_control = true;
    }
}

fn push_of(core: &mut Core, key: ConnKey, kind: EventKind, code: Option<u16>, reason: &str) {
    let event = of_connection(core, key, kind).filter(|_| core.journal.kinds.has(kind));
    if let Some(mut event) = event {
        (event.code, event.reason) = (code, reason.into());
        core.journal.push(event);
        core.has_for_control = true;
    }
}

fn of_connection(core: &Core, key: ConnKey, kind: EventKind) -> Option<HappenedEvent> {
    let conn = core.connections.get(key)?;
    let identity = core.connections.identities().get(key.slot());
    Some(HappenedEvent {
        kind,
        at: core.now(),
        client: Some(key),
        user: identity
            .map(|identity| identity.user.clone())
            .unwrap_or_default(),
        dialect: conn.dialect.name(),
        channel: None,
        code: None,
        reason: "".into(),
    })
}

/// Only a batch that leaves looks at this clock.
fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Events of one reactor that wait for room in the control thread's ring.
const UNSENT_MAX: usize = 4096;
/// Events in one message.
const EVENTS_MAX: usize = 256;
/// How long a reactor whose connections have all ended waits for that room.
const END_WAIT_TICKS: u32 = 1_000 / TICK_MS;
/// Most bytes that events of one reactor take on their way, beside the ring: names are of 255 bytes at most.
pub const EVENTS_BYTES_MAX: usize = UNSENT_MAX * (size_of::<HappenedEvent>() + 3 * 255);

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> HappenedEvent {
        HappenedEvent {
            kind: EventKind::Connected,
            at: 7,
            client: Some(ConnKey::new(1, 1)),
            user: UserName::new(),
            dialect: "raw",
            channel: None,
            code: None,
            reason: "".into(),
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
}
