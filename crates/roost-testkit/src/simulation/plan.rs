//! What a seed stands for.

use std::net::SocketAddr;

use roost_net::sim::{SimFaults, SimOptions, SimRng};
use roost_reactor::Settings;

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
        let limits = &mut settings.limits;
        limits.ping_interval_ms = rng.between(1_000, 8_000) as u32;
        limits.ping_timeout_ms = rng.between(4_000, 8_000) as u32;
        limits.close_timeout_ms = rng.between(1_000, 4_000) as u32;
        limits.handshakes_in_flight_max = rng.between(4, 64) as u32;
        limits.connections_per_address_max = 1_000;
        if rng.per_mille(300) {
            limits.outbox_bytes_max = rng.between(2_000, 20_000) as usize;
        }
        let faults = SimFaults {
            resets_per_mille: 20,
            cuts_per_mille: 4,
            ..SimFaults::default()
        };
        let driver = SimOptions {
            read_buffer_bytes: rng.between(64, 8_192) as usize,
            buffers: rng.between(2, 16) as usize,
            events_max: rng.between(1, 64) as usize,
            ..SimOptions::default()
        };
        Plan {
            seed,
            reactors: rng.between(1, 5) as usize,
            peers: rng.between(60, 160) as usize,
            channels: rng.between(2, 8) as usize,
            witnesses: 2,
            start_ns: 1_500_000_000,
            end_ns: 6_000_000_000,
            drain_ms: 6_000,
            faults,
            driver,
            settings,
        }
    }
}
