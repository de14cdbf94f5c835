//! Safe ways to a shared frame, by length of payload: why `Frozen` zeroes its bytes first.
//!
//! ```sh
//! cargo run --release -p roost-wire --example freeze_speed
//! ```
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use roost_wire::{Frozen, Opcode};

fn main() {
    println!("  bytes   frozen ns  through a Vec ns  collected ns");
    for len in [16, 125, 1024, 16384] {
        let payload = vec![7; len];
        let header = &Frozen::message(Opcode::Binary, &payload)
            .as_bytes()
            .to_vec();
        let header = &header[..header.len() - len];
        let frozen = best_of_ten(|| {
            black_box(Frozen::message(Opcode::Binary, black_box(&payload)));
        });
        let vec = best_of_ten(|| {
            let bytes = [header, black_box(&payload)].concat();
            black_box(Arc::<[u8]>::from(bytes));
        });
        let collected = best_of_ten(|| {
            let bytes = header.iter().chain(black_box(&payload)).copied();
            black_box(bytes.collect::<Arc<[u8]>>());
        });
        println!("{len:7}  {frozen:10.0}  {vec:16.0}  {collected:12.0}");
    }
}

/// Nanoseconds per call in the best of ten runs of 10,000 calls.
fn best_of_ten(mut work: impl FnMut()) -> f64 {
    (0..10)
        .map(|_| {
            let start = Instant::now();
            (0..10_000).for_each(|_| work());
            start.elapsed().as_secs_f64() * 1e9 / 10_000.0
        })
        .fold(f64::MAX, f64::min)
}
