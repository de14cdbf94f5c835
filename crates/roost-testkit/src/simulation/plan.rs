//! The plan of a simulation, drawn from its seed.

use std::net::SocketAddr;
use std::sync::Arc;

use roost_net::sim::{SimFaults, SimOptions, SimRng};
use roost_reactor::{
    ChannelPolicy, Delta, FAN_OUT_PIECE, Limits, Settings, SlowConsumer, policy_for_tests,
};

use super::guarded;
use super::journal;
use super::listeners;
use super::pauses::{self, Pause};
use super::pusher_app;
use super::recovering;
use super::{askers, presence};

/// One simulation, decided before it starts.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all of it comes from.
    pub seed: u64,
    /// Reactors of the server.
    pub reactors: usize,
    /// Peers beside the witnesses.
    pub peers: usize,
    /// Channels they meet in.
    pub channels: usize,
    /// Witnesses of each channel: peers that connect first and only receive.
    pub witnesses: usize,
    /// Peers of a channel without publications.
    pub quiet_peers: usize,
    /// Subscribers that never read, of each policy's first channel, to which much is published.
    pub non_readers: usize,
    /// Peers that aim at the server's memory and time.
    pub hostiles: usize,
    /// Clients that come by a listener that does not serve them.
    pub strangers: usize,
    /// Clients of namespaces that not all may use.
    pub guarded: usize,
    /// Peers that speak plain HTTP.
    pub http_peers: usize,
    /// Peers that speak SOAP.
    pub soap_peers: usize,
    /// WAMP sessions that ask the router what there is in their realm.
    pub askers: usize,
    /// Peers that speak Centrifugo's protocol.
    pub centrifugo_peers: usize,
    /// Peers that speak Pusher's protocol.
    pub pusher_peers: usize,
    /// The network breaks no connection: each close has a cause, and all that is held is known.
    pub reliable: bool,
    /// A message of some size has less.
    pub message_bytes_max: u64,
    /// When very many publish at once, and which reactor is suspended meanwhile.
    pub floods: Vec<(u64, usize)>,
    /// How long they publish.
    pub flood_ns: u64,
    /// How long the reactor is suspended.
    pub suspended_ns: u64,
    /// What stops for a while.
    pub pauses: Vec<Pause>,
    /// What stops in the drain, whose begin its time counts from.
    pub drain_pause: Option<Pause>,
    /// When the witnesses are connected and the script begins.
    pub start_ns: u64,
    /// When the script ends.
    pub end_ns: u64,
    /// Time the server gives its peers at the end.
    pub drain_ms: u32,
    /// How long a loop iteration takes: where it is not 0, clients come and go within a fan-out.
    pub iteration_ns: u64,
    /// What goes wrong on the network.
    pub faults: SimFaults,
    /// The reactors' drivers.
    pub driver: SimOptions,
    /// The server's settings.
    pub settings: Settings,
}

impl Plan {
    /// The same, with all clients at the first listener.
    pub fn with_one_listener(mut self) -> Plan {
        self.settings.listeners.truncate(1);
        self.settings.connections_max -= self.strangers as u32;
        self.strangers = 0;
        self
    }

    /// The same without a listener with TLS.
    #[must_use]
    pub fn without_tls(mut self) -> Plan {
        self.settings.listeners.truncate(listeners::ENCRYPTED);
        self
    }

    /// The policy for slow consumers of this channel.
    pub(super) fn slow_consumer_of(channel: usize) -> SlowConsumer {
        NAMESPACES[channel % NAMESPACES.len()].1
    }

    /// The limit of an outbox lane in the channel's namespace.
    pub(super) fn outbox_bytes_max_of(&self, channel: usize) -> u64 {
        let name = Plan::name_of(channel);
        self.settings.channels.of(&name).outbox_bytes_max as u64
    }

    /// Publishers are limited by rate.
    pub(super) fn has_publish_limits(&self) -> bool {
        let mut namespaces = self.settings.channels.namespaces.iter();
        namespaces.any(|(_, policy)| policy.publish_messages_per_second_max > 0)
    }

    /// The memory budget is so small that slow consumers exceed it.
    pub(super) fn has_small_budget(&self) -> bool {
        self.settings.limits.buffered_bytes_max <= SMALL_BUDGET_BYTES_MAX
    }

    /// How much later than without pauses everything has come to rest.
    pub(super) fn rest_ns(&self) -> u64 {
        let ends = self.pauses.iter().map(|pause| pause.end_ns() + ANEW_NS);
        ends.max().unwrap_or(0).saturating_sub(self.end_ns)
    }

    /// The time by which a deadline of `ms` that began at `from` is over at the latest: pauses do not
    /// count, and behind each it begins anew.
    pub(super) fn over_by(&self, from: u64, ms: u32) -> u64 {
        let ns = u64::from(ms) * 1_000_000;
        let mut pauses: Vec<&Pause> = self.pauses.iter().collect();
        pauses.sort_by_key(|pause| pause.at_ns);
        let begin = |begin: u64, pause: &Pause| match begin + ns + SWEEP_SLACK_NS > pause.at_ns {
            true => begin.max(pause.end_ns()),
            false => begin,
        };
        pauses.into_iter().fold(from, begin) + ns
    }

    /// The channel's name on the wire.
    pub(super) fn name_of(channel: usize) -> String {
        let (namespace, _) = NAMESPACES[channel % NAMESPACES.len()];
        format!("{namespace}:{channel}")
    }

    /// The pattern that a peer subscribes to instead of channels, if it speaks WAMP; by its index.
    pub(super) fn pattern_of(peer: usize) -> Option<usize> {
        peer.is_multiple_of(3)
            .then_some(peer / 3 % NAMESPACES.len())
    }

    /// A pattern as WAMP writes it: all channels of a namespace. One that all channels match would
    /// bring more than the network takes.
    pub(super) fn pattern(number: usize) -> (&'static str, String) {
        let (namespace, _) = NAMESPACES[number];
        ("prefix", format!("{namespace}:"))
    }

    /// The channels that a pattern matches, of so many.
    pub(super) fn matched(number: usize, channels: usize) -> Vec<usize> {
        (number..channels).step_by(NAMESPACES.len()).collect()
    }

    /// The plan of a seed.
    pub fn from_seed(seed: u64) -> Plan {
        let mut rng = SimRng::new(seed ^ 0x51_6d_5e_ed);
        let mut settings = Settings::for_tests();
        settings.listeners[0].address = SocketAddr::from(([10, 0, 0, 1], 80)).into();
        let reliable = rng.per_mille(500);
        let (reactors, peers) = (rng.between(1, 5) as usize, rng.between(40, 100) as usize);
        let least = NAMESPACES.len() as u64;
        let (channels, witnesses, quiet_peers) = (rng.between(least, 9) as usize, 2, 3);
        draw_timeouts(&mut rng, &mut settings.limits, reliable);
        let has_small_budget = rng.per_mille(333);
        let floods = draw_floods(&mut rng, reactors, has_small_budget);
        let is_flooded = !floods.is_empty();
        // A late peer needs the slot of a closed connection.
        let replacements = floods.len() * REPLACEMENTS_PER_FLOOD;
        settings.connections_max =
            (peers + channels * witnesses + quiet_peers + replacements) as u32;
        draw_fan_out(&mut rng, &mut settings);
        let driver = draw_driver(&mut rng);
        let hostiles = rng.between(4, 13) as usize;
        let [http_peers, soap_peers, centrifugo_peers, pusher_peers] = draw_dialects(seed);
        // They may be slow, and must not keep the others out: that limit has its own tests.
        make_room(&mut settings, hostiles + http_peers + soap_peers);
        make_room(&mut settings, 2 * centrifugo_peers + pusher_peers);
        let api_subscribers = API_SUBSCRIBERS * usize::from(has_control(seed));
        make_room(&mut settings, api_subscribers);
        Arc::make_mut(&mut settings.dialects.soap).request_timeout_ms = 500;
        settings.listeners[0].config.hixie = true;
        // Publishers have to wait, and what they have sent meanwhile is held for them: not beside a
        // small budget, where that may make them the largest.
        let has_publish_limits = !has_small_budget && rng.per_mille(500);
        settings.channels.namespaces = draw_namespaces(&mut rng, has_publish_limits);
        let non_readers = rng.between(4, 10) as usize;
        draw_small_budget(&mut rng, has_small_budget, &mut settings);
        let guarded = guarded::add(seed, has_control(seed), &mut settings);
        let recovering = recovering::add(seed, &mut settings);
        let askers = askers::add(seed, &mut settings);
        make_room(&mut settings, guarded + recovering + askers);
        add_features(seed, &mut settings);
        let strangers = listeners::add(seed, &mut settings);
        settings.connections_max += (non_readers + strangers) as u32;
        let pauses = draw_pauses(seed, reactors, &mut settings);
        let drain_ms = rng.between(500, 6_000) as u32;
        let iteration_ns = if rng.per_mille(250) { 200_000 } else { 0 };
        Plan {
            seed,
            reactors,
            peers,
            channels,
            witnesses,
            quiet_peers,
            non_readers,
            hostiles,
            strangers,
            guarded,
            http_peers,
            soap_peers,
            askers,
            centrifugo_peers,
            pusher_peers,
            reliable,
            // What waits for peers that read is to be little beside the budget.
            message_bytes_max: if is_flooded { 5_000 } else { 1_000 },
            floods,
            flood_ns: FLOOD_MS * 1_000_000,
            suspended_ns: 3 * FLOOD_MS * 1_000_000,
            pauses,
            drain_pause: pauses::of_drain(seed, reactors),
            start_ns: START_NS,
            end_ns: END_MS * 1_000_000,
            drain_ms,
            iteration_ns,
            faults: faults(reliable),
            driver,
            settings,
        }
    }
}

/// Fan-outs as to many: a few subscribers at a time, and often half way at an iteration's end.
fn draw_fan_out(rng: &mut SimRng, settings: &mut Settings) {
    settings.fan_out_piece = [1, 2, 5, FAN_OUT_PIECE][rng.below(4) as usize];
    settings.fan_out_at_once = settings.fan_out_piece;
}

/// What all connections may hold together, where it is little.
fn draw_small_budget(rng: &mut SimRng, has_small_budget: bool, settings: &mut Settings) {
    if has_small_budget {
        let bytes_max = rng.between(130_000, SMALL_BUDGET_BYTES_MAX + 1);
        settings.limits.buffered_bytes_max = bytes_max;
    }
}

/// What stops for a while. Who comes back meanwhile is there twice when it is over.
fn draw_pauses(seed: u64, reactors: usize, settings: &mut Settings) -> Vec<Pause> {
    let pauses = pauses::of_seed(seed, reactors, START_NS, END_MS * 1_000_000);
    if !pauses.is_empty() {
        let twice = settings.connections_max as usize;
        make_room(settings, twice);
    }
    pauses
}

/// Lets in so many more clients, all at once.
fn make_room(settings: &mut Settings, clients: usize) {
    settings.limits.handshakes_in_flight_max += clients as u32;
    settings.connections_max += clients as u32;
}

/// When and at which reactor very many messages come at once. Without them, only slow consumers hold much.
///
/// The second is the last event of the script, and its reactor is suspended beyond it: what that leaves
/// undone no later event completes.
fn draw_floods(rng: &mut SimRng, reactors: usize, has_small_budget: bool) -> Vec<(u64, usize)> {
    // After the load: readers keep up with one of them at a time.
    let times = [rng.between(4_700, 5_600), LAST_FLOOD_MS];
    if has_small_budget && !rng.per_mille(500) {
        return Vec::new();
    }
    let flood = |at| (at * 1_000_000, rng.below(reactors as u64) as usize);
    times.map(flood).to_vec()
}

/// Whether a seed has a control thread.
pub(super) fn has_control(seed: u64) -> bool {
    seed % 4 == 3
}

/// Clients that subscribe to what the control thread publishes on, where there is one.
pub(super) const API_SUBSCRIBERS: usize = 8;

/// What needs no room for peers of its own.
fn add_features(seed: u64, settings: &mut Settings) {
    journal::add(seed, has_control(seed), settings);
    presence::add(seed, settings);
    pusher_app::add(settings);
    if !seed.is_multiple_of(3) {
        let channels = &mut settings.channels;
        let named = channels.namespaces.iter_mut().map(|(_, policy)| policy);
        for policy in named.chain([&mut channels.default]) {
            policy.delta = Delta::Fossil;
        }
    }
}

/// How many peers speak plain HTTP, SOAP, Centrifugo's protocol, and Pusher's.
fn draw_dialects(seed: u64) -> [usize; 4] {
    let draw =
        |salt: u64, least: u64, end: u64| SimRng::new(seed ^ salt).between(least, end) as usize;
    [
        SimRng::new(seed ^ 0x48_54_54_50).below(5) as usize,
        draw(0x53_4f_41_50, 2, 7),
        draw(0x0043_454e_5452, 2, 7),
        draw(0x5055_5348, 3, 8),
    ]
}

fn draw_timeouts(rng: &mut SimRng, limits: &mut Limits, reliable: bool) {
    limits.handshake_timeout_ms = rng.between(1_000, 3_000) as u32;
    // Without pings only messages of other reactors wake a sleeping reactor.
    if !reliable || rng.per_mille(500) {
        limits.ping_interval_ms = rng.between(1_000, 8_000) as u32;
    } else {
        limits.ping_interval_ms = 0;
    }
    limits.ping_timeout_ms = rng.between(1_000, 6_000) as u32;
    limits.close_timeout_ms = rng.between(1_000, 4_000) as u32;
    limits.handshakes_in_flight_max = rng.between(4, 64) as u32;
    limits.connections_per_address_max = 1_000;
    if rng.per_mille(300) {
        limits.idle_timeout_ms = rng.between(4_500, 6_000) as u32;
    }
}

fn faults(reliable: bool) -> SimFaults {
    let (resets_per_mille, cuts_per_mille) = if reliable { (0, 0) } else { (20, 4) };
    SimFaults {
        resets_per_mille,
        cuts_per_mille,
        // The network takes little from publishers to a peer that does not read.
        window_bytes: 4_096..=16_384,
        ..SimFaults::default()
    }
}

fn draw_driver(rng: &mut SimRng) -> SimOptions {
    SimOptions {
        read_buffer_bytes: rng.between(64, 8_192) as usize,
        buffers: rng.between(2, 16) as usize,
        events_max: rng.between(1, 64) as usize,
        ..SimOptions::default()
    }
}

/// Limits of far less than is published, and of more than ever waits for a peer that reads.
fn draw_namespaces(rng: &mut SimRng, has_publish_limits: bool) -> Vec<(String, ChannelPolicy)> {
    let mut draw = |(name, slow_consumer): (&str, SlowConsumer)| {
        let outbox_bytes_max = match slow_consumer {
            SlowConsumer::Close => rng.between(45_000, 60_000),
            _ => rng.between(12_000, 20_000),
        };
        let mut policy = ChannelPolicy {
            slow_consumer,
            outbox_bytes_max: outbox_bytes_max as usize,
            ..policy_for_tests()
        };
        // A flood would delay the final pings beyond the end.
        if has_publish_limits && slow_consumer != SlowConsumer::Close {
            policy.publish_messages_per_second_max = rng.between(100, 400) as u32;
        }
        (name.to_owned(), policy)
    };
    NAMESPACES.into_iter().map(&mut draw).collect()
}

/// Channels are of each in turn; the first has the floods, with which even readers cannot keep up
/// at once.
pub(super) const NAMESPACES: [(&str, SlowConsumer); 4] = [
    ("all", SlowConsumer::Close),
    ("recent", SlowConsumer::DropOldest),
    ("early", SlowConsumer::DropNewest),
    ("last", SlowConsumer::Latest),
];

/// New connections at a flood.
pub(super) const REPLACEMENTS_PER_FLOOD: usize = 8;
/// How late a deadline may be seen at a peer: the grain of the deadline sweep, a tick and the network's
/// delay.
pub(super) const SWEEP_SLACK_NS: u64 = 1_500_000_000;
const SMALL_BUDGET_BYTES_MAX: u64 = 250_000;
/// After a pause all deadlines begin anew: how much longer the end of the script takes for that.
const ANEW_NS: u64 = 1_000_000_000;
/// When the script begins, and when it ends.
const START_NS: u64 = 1_500_000_000;
const END_MS: u64 = 6_000;
/// How long a flood lasts.
const FLOOD_MS: u64 = 30;
const LAST_FLOOD_MS: u64 = END_MS - FLOOD_MS - 10;
