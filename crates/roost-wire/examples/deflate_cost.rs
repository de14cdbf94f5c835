//! What compressing and inflating one message costs, by length: for choosing the threshold. Then
//! what a context that is taken over gains on a stream of small messages, and costs.
//!
//! ```sh
//! cargo run --release -p roost-wire --example deflate_cost
//! ```
#![expect(clippy::disallowed_methods, reason = "it measures time")]

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
    println!(
        "\n{QUOTES} quotes of {} bytes each, on average",
        bytes(quotes().iter()) / QUOTES
    );
    println!("level  context     KiB  bytes each  deflate µs each  inflate µs each");
    for level in [1, 6] {
        stream(level, None);
        for window_bits in [9, 11, 13, 15] {
            stream(level, Some(window_bits));
        }
    }
    println!("\nthe same to {CONTEXTS} receivers: a context each, in memory and not in a cache");
    println!("level  deflate µs each");
    for level in [1, 6] {
        println!("{level:5}  {:15.2}", to_many(level));
    }
}

/// Microseconds for a message in one of many contexts, in the best of five runs.
fn to_many(level: u8) -> f64 {
    let quotes = quotes();
    let mut deflaters: Vec<Deflater> = (0..CONTEXTS)
        .map(|_| Deflater::with_window(level, 15, true))
        .collect();
    let mut best = f64::MAX;
    for quotes in quotes.chunks(QUOTES / 50).take(5) {
        let start = Instant::now();
        for quote in quotes {
            for deflater in &mut deflaters {
                black_box(deflater.deflate_any(quote).expect("zlib").len());
            }
        }
        let messages = (quotes.len() * CONTEXTS) as f64;
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / messages);
    }
    best
}

/// A line on a stream of messages through one context with this window, or each by itself.
fn stream(level: u8, window_bits: Option<u8>) {
    let takeover = window_bits.is_some();
    let bits = window_bits.unwrap_or(15);
    let quotes = quotes();
    let (mut sent, mut deflate, mut inflate) = (Vec::new(), f64::MAX, f64::MAX);
    for _ in 0..5 {
        let mut deflater = Deflater::with_window(level, bits, takeover);
        let start = Instant::now();
        sent = quotes
            .iter()
            .map(|quote| deflater.deflate_any(quote).expect("zlib").to_vec())
            .collect();
        deflate = deflate.min(start.elapsed().as_secs_f64());
        let mut inflater = Inflater::with_takeover(takeover);
        let start = Instant::now();
        for (deflated, quote) in sent.iter().zip(&quotes) {
            assert_eq!(inflater.inflate(deflated, 1000), Ok(&quote[..]));
        }
        inflate = inflate.min(start.elapsed().as_secs_f64());
    }
    let (context, kib) = match takeover {
        true => (format!("{bits} bits"), Deflater::context_bytes(bits) >> 10),
        false => ("none".to_owned(), 0),
    };
    let [deflate, inflate] = [deflate, inflate].map(|seconds| seconds * 1e6 / QUOTES as f64);
    let each = bytes(sent.iter()) as f64 / QUOTES as f64;
    println!("{level:5}  {context:8} {kib:6}  {each:10.1}  {deflate:15.2}  {inflate:15.2}");
}

fn bytes<'m>(messages: impl Iterator<Item = &'m Vec<u8>>) -> usize {
    messages.map(Vec::len).sum()
}

/// Messages as a feed of quotes has them: the same keys, other numbers.
fn quotes() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 33) % limit
    };
    let quote = |number| {
        let symbol = SYMBOLS[below(SYMBOLS.len() as u64) as usize];
        let (bid, cents, volume) = (100 + below(20), below(100), below(100_000));
        format!(
            r#"{{"symbol":"{symbol}","bid":{bid}.{cents:02},"ask":{bid}.{:02},"volume":{volume},"at":"2025-11-22T10:{:02}:{:02}.{:03}Z","venue":"XAMS","flags":["open"]}}"#,
            (cents + 1 + below(9)) % 100,
            number / 600 % 60,
            number / 10 % 60,
            below(1000),
        )
        .into_bytes()
    };
    (0..QUOTES).map(quote).collect()
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

/// Contexts at once: 75 MiB of them.
const CONTEXTS: usize = 200;
const QUOTES: usize = 10_000;
const SYMBOLS: [&str; 8] = [
    "ROOST", "NEST", "PERCH", "WREN", "SWIFT", "FINCH", "HERON", "CRANE",
];
