//! The longest steps while a million connections come: a table that copied itself would show.
//! Takes 1 GB.

const CONNECTIONS: u32 = 1_000_000;

fn main() {
    let steps_ns = roost_reactor::bench::growth(CONNECTIONS);
    for connections in [CONNECTIONS / 2, CONNECTIONS] {
        let first = &steps_ns[..connections as usize];
        let mut sorted: Vec<(u64, usize)> = first.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        let at = |share: f64| sorted[(share * f64::from(connections - 1)) as usize].0 / 1_000;
        let (p50, p9999) = (at(0.5), at(0.9999));
        println!("to {connections}: p50 {p50} µs, p99.99 {p9999} µs, longest:");
        for (ns, number) in sorted.iter().rev().take(5) {
            println!("  {} µs for number {number}", ns / 1_000);
        }
    }
}
