//! What the simulator owes its users: the same events for the same seed, faults that do happen,
//! streams that stay whole under them, limits that hold, and mistakes of the caller that are seen.

mod determinism;
mod faults;
mod host;
mod limits;
mod mistakes;
mod streams;
mod unix;

/// The seeds of one test: all of `count`, or the one that `ROOST_SEED` names.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("ROOST_SEED") {
        Ok(seed) => vec![seed.parse().expect("ROOST_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}
