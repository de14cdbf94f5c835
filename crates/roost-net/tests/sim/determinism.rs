//! The same seed, the same events.

use roost_net::sim::SimFaults;

use crate::host::busy_network;
use crate::seeds;

#[test]
fn a_seed_repeats_its_run() {
    let run = |seed: u64| {
        let mut network = busy_network(seed, SimFaults::default(), 8, 20_000);
        network.run();
        (
            network.net.trace_hash(),
            network.net.now(),
            network.net.counts(),
        )
    };
    let mut hashes = Vec::new();
    for seed in seeds(24) {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first, second, "seed {seed} ran in two ways");
        hashes.push(first.0);
    }
    let runs = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), runs, "two seeds ran alike");
}

#[test]
fn the_trace_sees_a_single_byte() {
    let run = |stream_bytes: usize| {
        let mut network = busy_network(1, SimFaults::none(), 1, stream_bytes);
        network.run();
        network.net.trace_hash()
    };
    assert_ne!(run(1_000), run(1_001));
}
