//! What a seed stands for.

use std::net::SocketAddr;

use roost_net::sim::{SimFaults, SimOptions, SimRng};
use roost_reactor::{FAN_OUT_PIECE, Inflow, Outflow, Policy, Settings, SlowConsumer};

use super::crowd::RELAYS;
use super::ends::SWEEP_SLACK_NS;
use super::pauses::{self, Pause};

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
    /// Witnesses of each channel: peers that come first, listen, and do nothing else.
    pub witnesses: usize,
    /// Peers of a channel in which nobody talks.
    pub hermits: usize,
    /// Subscribers that do not read, for much to be published to: of each policy's first channel.
    pub hoarders: usize,
    /// Peers that aim at the server's memory and time.
    pub hostiles: usize,
    /// No connection breaks by itself: every end has its reason, and all that is held is known.
    pub calm: bool,
    /// A message of some size has less.
    pub message_bytes_max: u64,
    /// When very many publish at once, and which reactor is kept from running meanwhile.
    pub floods: Vec<(u64, usize)>,
    /// How long they publish.
    pub flood_ns: u64,
    /// How long the reactor is kept.
    pub kept_ns: u64,
    /// What stops for a while.
    pub pauses: Vec<Pause>,
    /// What stops in the drain, whose begin its time counts from.
    pub drain_pause: Option<Pause>,
    /// When the witnesses are in and the script begins.
    pub start_ns: u64,
    /// When the script ends.
    pub end_ns: u64,
    /// Time the server gives its peers at the end.
    pub drain_ms: u32,
    /// What a turn of a reactor takes: where it is not 0, clients come and go within a fan-out.
    pub turn_ns: u64,
    /// What goes wrong on the network.
    pub faults: SimFaults,
    /// The reactors' drivers.
    pub driver: SimOptions,
    /// What the server obeys.
    pub settings: Settings,
}

impl Plan {
    /// What happens to those of this channel's subscribers that do not read.
    pub(super) fn slow_receivers_of(channel: usize) -> SlowConsumer {
        NAMESPACES[channel % NAMESPACES.len()].1
    }

    /// What may wait for one that does not read, of the channel's namespace.
    pub(super) fn outbox_bytes_max_of(&self, channel: usize) -> u64 {
        let name = Plan::name_of(channel);
        self.settings.channels.of(&name).outflow.outbox_bytes_max as u64
    }

    /// Publishers wait for their turn by the clock.
    pub(super) fn holds_up(&self) -> bool {
        let mut namespaces = self.settings.channels.namespaces.iter();
        namespaces.any(|(_, policy)| policy.inflow != Inflow::default())
    }

    /// All together may hold so little that those who do not read hold too much.
    pub(super) fn has_small_budget(&self) -> bool {
        self.settings.limits.buffered_bytes_max <= SMALL_BUDGET_BYTES_MAX
    }

    /// Those who read may for a moment hold too much, too: in a flood, or more than all others of
    /// their reactor.
    pub(super) fn may_close_readers(&self) -> bool {
        self.has_small_budget() && !self.floods.is_empty()
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

    /// The plan of a seed: a usual day, with the sizes and limits that differ from day to day.
    pub fn from_seed(seed: u64) -> Plan {
        let mut rng = SimRng::new(seed ^ 0x51_6d_5e_ed);
        let mut settings = Settings::for_tests();
        settings.listeners[0].address = SocketAddr::from(([10, 0, 0, 1], 80)).into();
        let calm = rng.per_mille(500);
        let (reactors, peers) = (rng.between(1, 5) as usize, rng.between(40, 100) as usize);
        let least = NAMESPACES.len() as u64;
        let (channels, witnesses, hermits) = (rng.between(least, 9) as usize, 2, 3);
        let limits = &mut settings.limits;
        limits.handshake_timeout_ms = rng.between(1_000, 3_000) as u32;
        // Without pings nothing but mail wakes a reactor from its sleep.
        if !calm || rng.per_mille(500) {
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
        let mut faults = SimFaults {
            resets_per_mille: 20,
            cuts_per_mille: 4,
            // The network takes little from those who publish to one that does not read.
            window_bytes: 4_096..=16_384,
            ..SimFaults::default()
        };
        if calm {
            (faults.resets_per_mille, faults.cuts_per_mille) = (0, 0);
        }
        // The second comes last of all, and the reactor is kept beyond it: what that leaves undone
        // nobody else will bring to an end.
        let mut floods = Vec::new();
        let has_small_budget = rng.per_mille(333);
        // After the rush: who reads can follow one of them at a time.
        let times = [rng.between(4_700, 5_600), LAST_FLOOD_MS];
        // Without floods, whoever holds much is one that does not read.
        let is_flooded = !has_small_budget || rng.per_mille(500);
        for at in times.into_iter().filter(|_| is_flooded) {
            floods.push((at * 1_000_000, rng.below(reactors as u64) as usize));
        }
        // Who has gone must have given back his place for a latecomer.
        let newcomers = floods.len() * RELAYS;
        settings.connections_max = (peers + channels * witnesses + hermits + newcomers) as u32;
        // Fan-outs as to many: a few subscribers at a time, and often half way at a turn's end.
        settings.fan_out_piece = [1, 2, 5, FAN_OUT_PIECE][rng.below(4) as usize];
        settings.fan_out_at_once = settings.fan_out_piece;
        let driver = SimOptions {
            read_buffer_bytes: rng.between(64, 8_192) as usize,
            buffers: rng.between(2, 16) as usize,
            events_max: rng.between(1, 64) as usize,
            ..SimOptions::default()
        };
        let hostiles = rng.between(4, 13) as usize;
        // They may be slow, and must not keep the others out: that limit has its own tests.
        settings.limits.handshakes_in_flight_max += hostiles as u32;
        settings.connections_max += hostiles as u32;
        settings.listeners[0].early_framings = true;
        // Publishers have to wait, and what they have sent meanwhile is held for them: not beside a
        // small budget, where that may make them the largest.
        let is_held_up = !has_small_budget && rng.per_mille(500);
        // Far less than is published, and more than those who read ever let wait.
        for (name, slow_receivers) in NAMESPACES {
            let outbox_bytes_max = match slow_receivers {
                SlowConsumer::Close => rng.between(45_000, 60_000),
                _ => rng.between(12_000, 20_000),
            };
            let outflow = Outflow {
                slow_receivers,
                outbox_bytes_max: outbox_bytes_max as usize,
                outbox_messages_max: 0,
            };
            let mut policy = Policy {
                outflow,
                ..Policy::default()
            };
            // A flood would hold up the roll call for longer than the day lasts.
            if is_held_up && slow_receivers != SlowConsumer::Close {
                policy.inflow.messages_per_second_max = rng.between(100, 400) as u32;
            }
            let namespaces = &mut settings.channels.namespaces;
            namespaces.push((name.to_owned(), policy));
        }
        let hoarders = rng.between(4, 10) as usize;
        if has_small_budget {
            let bytes_max = rng.between(130_000, SMALL_BUDGET_BYTES_MAX + 1);
            settings.limits.buffered_bytes_max = bytes_max;
        }
        settings.connections_max += hoarders as u32;
        let drain_ms = rng.between(500, 6_000) as u32;
        let has_slow_turns = rng.per_mille(250);
        let turn_ns = if has_slow_turns { 200_000 } else { 0 };
        Plan {
            seed,
            reactors,
            peers,
            channels,
            witnesses,
            hermits,
            hoarders,
            hostiles,
            calm,
            // What those who read let wait is to be little beside the budget.
            message_bytes_max: if is_flooded { 5_000 } else { 1_000 },
            floods,
            flood_ns: FLOOD_MS * 1_000_000,
            kept_ns: 3 * FLOOD_MS * 1_000_000,
            pauses: pauses::of_seed(seed, reactors, START_NS, END_MS * 1_000_000),
            drain_pause: pauses::of_drain(seed, reactors),
            start_ns: START_NS,
            end_ns: END_MS * 1_000_000,
            drain_ms,
            turn_ns,
            faults,
            driver,
            settings,
        }
    }
}

/// Channels take turns to be of each; the first has the floods, which those who read cannot follow
/// at once.
pub(super) const NAMESPACES: [(&str, SlowConsumer); 4] = [
    ("all", SlowConsumer::Close),
    ("recent", SlowConsumer::DropOldest),
    ("early", SlowConsumer::DropNewest),
    ("last", SlowConsumer::Latest),
];

const SMALL_BUDGET_BYTES_MAX: u64 = 250_000;
/// Behind a pause all deadlines begin anew, which takes so much longer than the day has for its rest.
const ANEW_NS: u64 = 1_000_000_000;
/// When the script begins, and when it ends.
const START_NS: u64 = 1_500_000_000;
const END_MS: u64 = 6_000;
/// How long a flood lasts.
const FLOOD_MS: u64 = 30;
const LAST_FLOOD_MS: u64 = END_MS - FLOOD_MS - 10;
