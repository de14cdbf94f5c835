//! What arrives is what was sent.

use roost_net::CloseCause;
use roost_net::sim::SimFaults;

use crate::host::busy_network;
use crate::seeds;

/// `act` never sends less than everything, so every end must have received every byte.
#[test]
fn streams_stay_whole_under_faults() {
    const STREAM_BYTES: usize = 30_000;
    for seed in seeds(96) {
        let mut network = busy_network(seed, SimFaults::lossless(), 6, STREAM_BYTES);
        network.run();
        let ended: Vec<_> = network.hosts.iter().flat_map(|p| &p.ended).collect();
        assert_eq!(ended.len(), 12, "seed {seed}: {ended:?}");
        for end in ended {
            assert_eq!(end.cause, CloseCause::Requested, "seed {seed}");
            assert_eq!(end.received, STREAM_BYTES, "seed {seed}");
            assert!(end.read_closed, "seed {seed}");
        }
        network.finish();
    }
}

/// With resets too: a prefix arrives (the hosts check each byte), each key ends once, and nothing
/// is left behind.
#[test]
fn broken_connections_leave_nothing() {
    let (mut resets, mut quits) = (0, 0);
    let seeds = seeds(96);
    for &seed in &seeds {
        let faults = SimFaults {
            resets_per_mille: 400,
            ..SimFaults::default()
        };
        let mut network = busy_network(seed, faults, 12, 20_000);
        for host in &mut network.hosts {
            host.quits_per_mille = 5;
        }
        network.run();
        let dialled = &network.hosts[0].ended;
        assert_eq!(dialled.len(), 12, "seed {seed}");
        resets += dialled
            .iter()
            .filter(|e| e.cause == CloseCause::Reset)
            .count();
        quits += dialled.iter().filter(|e| e.received < 20_000).count();
        network.finish();
    }
    let both = resets > 0 && quits > resets;
    assert!(
        both || seeds.len() == 1,
        "{resets} resets, {quits} cut short"
    );
}

/// A longer stream through the smallest windows, in both directions at once.
#[test]
fn small_windows_only_cost_time() {
    for seed in seeds(8) {
        let faults = SimFaults {
            window_bytes: 1..=64,
            ..SimFaults::lossless()
        };
        let mut network = busy_network(seed, faults, 2, 10_000);
        network.run();
        let whole = |p: &crate::host::Host| p.ended.iter().all(|e| e.received == 10_000);
        assert!(network.hosts.iter().all(whole), "seed {seed}");
        assert!(network.net.counts().full_windows > 0, "seed {seed}");
        network.finish();
    }
}
