//! Prints docs/counters.md.

fn main() {
    print!("{}", roost_metrics::reference::markdown());
}
