//! What compressing and inflating one message costs, by length: for choosing the threshold.
//!
//! ```sh
//! cargo run --release -p roost-wire --example deflate_cost
//! ```

use std::hint::black_box;
use std::time::Instant;

use roost_wire::deflate::{Deflater, Inflater};

fn main() {
    println!("   bytes  level  deflated  deflate µs  inflate µs");
    for len in [64, 256, 1024, 4096, 65536] {
        let message: Vec<u8> = SAMPLE.bytes().cycle().take(len).collect();
        for level in [1, 6] {
            let mut deflater = Deflater::new(level);
            let mut inflater = Inflater::new();
            let Some(deflated) = deflater.deflate(&message).map(<[u8]>::to_vec) else {
                println!("{len:8}  {level:5}  not shorter");
                continue;
            };
            let deflate = best_of_five(|| {
                black_box(deflater.deflate(black_box(&message)));
            });
            let inflate = best_of_five(|| {
                let inflated = inflater.inflate(black_box(&deflated), len);
                black_box(inflated.expect("what we deflated").len());
            });
            let deflated = deflated.len();
            println!("{len:8}  {level:5}  {deflated:8}  {deflate:10.1}  {inflate:10.1}");
        }
    }
}

/// Microseconds per call in the best of five runs of 500 calls.
fn best_of_five(mut work: impl FnMut()) -> f64 {
    (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..500).for_each(|_| work());
            start.elapsed().as_secs_f64() * 1e6 / 500.0
        })
        .fold(f64::MAX, f64::min)
}

/// The kind of text that goes over channels; longer messages repeat it with no change, which
/// flatters the ratio but not the time.
const SAMPLE: &str = r#"{"symbol":"ROOST","bid":101.25,"ask":101.50,"volume":48213,"at":"2025-11-22T10:34:07.125Z","venue":"XAMS","flags":["open","auction"],"note":"quoted"},"#;
