//! How fast a payload is unmasked in place, out of the first-level cache.
//!
//! ```sh
//! cargo run --release -p roost-wire --example mask_speed
//! ```
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use roost_wire::mask;

fn main() {
    for len in [16, 125, 1024, 4096, 65536] {
        println!("{len:6} B  {:6.1} GB/s", best_of_ten(len));
    }
}

/// GB/s in the best of ten runs of 50 ms.
fn best_of_ten(len: usize) -> f64 {
    let mut bytes = vec![0x5a; len];
    let mut best: f64 = 0.0;
    for _ in 0..10 {
        let start = Instant::now();
        let mut rounds = 0_u64;
        while start.elapsed() < Duration::from_millis(50) {
            for _ in 0..ROUNDS_PER_LOOK {
                mask::apply(black_box(&mut bytes), black_box([1, 2, 3, 4]));
            }
            rounds += ROUNDS_PER_LOOK;
        }
        let bytes_done = rounds as f64 * len as f64;
        best = best.max(bytes_done / start.elapsed().as_nanos() as f64);
    }
    best
}

/// Payloads between two looks at the clock, so that the look costs nothing.
const ROUNDS_PER_LOOK: u64 = 1000;
