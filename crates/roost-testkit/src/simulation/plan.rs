//! What a seed stands for.

use std::net::SocketAddr;

use roost_net::sim::{SimFaults, SimOptions, SimRng};
use roost_reactor::{FAN_OUT_PIECE, Settings};

use super::crowd::RELAYS;

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
    /// Subscribers of the first channel that do not read, for much to be published to.
    pub hoarders: usize,
    /// Peers that aim at the server's memory and time.
    pub hostiles: usize,
    /// No connection breaks by itself: every end has its reason, and all that is held is known.
    pub calm: bool,
    /// When very many publish at once, and which reactor is kept from running meanwhile.
    pub floods: Vec<(u64, usize)>,
    /// How long they publish.
    pub flood_ns: u64,
    /// How long the reactor is kept.
    pub kept_ns: u64,
    /// When the witnesses are in and the script begins.
    pub start_ns: u64,
    /// When the script ends.
    pub end_ns: u64,
    /// Time the server gives its peers at the end.
    pub drain_ms: u32,
    /// What goes wrong on the network.
    pub faults: SimFaults,
    /// The reactors' drivers.
    pub driver: SimOptions,
    /// What the server obeys.
    pub settings: Settings,
}

impl Plan {
    /// The plan of a seed: a usual day, with the sizes and limits that differ from day to day.
    pub fn from_seed(seed: u64) -> Plan {
        let mut rng = SimRng::new(seed ^ 0x51_6d_5e_ed);
        let mut settings = Settings::for_tests();
        settings.address = SocketAddr::from(([10, 0, 0, 1], 80));
        let calm = rng.per_mille(500);
        let (reactors, peers) = (rng.between(1, 5) as usize, rng.between(60, 160) as usize);
        let (channels, witnesses, hermits) = (rng.between(2, 8) as usize, 2, 3);
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
            limits.outbox_bytes_max = rng.between(2_000, 20_000) as usize;
        }
        if rng.per_mille(300) {
            limits.idle_timeout_ms = rng.between(4_500, 6_000) as u32;
        }
        let mut faults = SimFaults {
            resets_per_mille: 20,
            cuts_per_mille: 4,
            ..SimFaults::default()
        };
        if calm {
            (faults.resets_per_mille, faults.cuts_per_mille) = (0, 0);
        }
        // The second comes last of all, and the reactor is kept beyond it: what that leaves undone
        // nobody else will bring to an end.
        let mut floods = Vec::new();
        if rng.per_mille(250) {
            for at in [rng.between(3_000, 5_500), LAST_FLOOD_MS] {
                floods.push((at * 1_000_000, rng.below(reactors as u64) as usize));
            }
        }
        // Who has gone must have given back his place for a latecomer.
        let newcomers = floods.len() * RELAYS;
        settings.limits.connections_max =
            (peers + channels * witnesses + hermits + newcomers) as u32;
        // Fan-outs as to many: a few subscribers at a time, and often half way at a turn's end.
        settings.limits.fan_out_piece = [1, 2, 5, FAN_OUT_PIECE][rng.below(4) as usize];
        settings.limits.fan_out_at_once = settings.limits.fan_out_piece;
        let driver = SimOptions {
            read_buffer_bytes: rng.between(64, 8_192) as usize,
            buffers: rng.between(2, 16) as usize,
            events_max: rng.between(1, 64) as usize,
            ..SimOptions::default()
        };
        let hostiles = rng.between(4, 13) as usize;
        // They may be slow, and must not keep the others out: that limit has its own tests.
        settings.limits.handshakes_in_flight_max += hostiles as u32;
        settings.limits.connections_max += hostiles as u32;
        settings.early_framings = true;
        let hoarders = if rng.per_mille(300) {
            // Far less than is published, and more than those who read ever let wait.
            settings.limits.outbox_bytes_max = rng.between(10_000, 30_000) as usize;
            rng.between(2, 10) as usize
        } else {
            0
        };
        settings.limits.connections_max += hoarders as u32;
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
            floods,
            flood_ns: FLOOD_MS * 1_000_000,
            kept_ns: 3 * FLOOD_MS * 1_000_000,
            start_ns: 1_500_000_000,
            end_ns: END_MS * 1_000_000,
            drain_ms: rng.between(500, 6_000) as u32,
            faults,
            driver,
            settings,
        }
    }
}

/// When the script ends.
const END_MS: u64 = 6_000;
/// How long a flood lasts.
const FLOOD_MS: u64 = 30;
const LAST_FLOOD_MS: u64 = END_MS - FLOOD_MS - 10;
