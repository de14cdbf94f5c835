//! What is allocated, counted. A program without the test harness, whose own thread allocates: the
//! counts are the process's.

use std::alloc::System;

use roost_tls::testing::pair;
use roost_tls::{End, Sealer, Suite, open};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations that `work` makes in Rust, and the bytes that it leaves allocated. aws-lc allocates its
/// key object itself, outside of the counts: one in each burst, freed in it.
fn count<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let change = region.change();
    let kept = change.bytes_allocated - change.bytes_deallocated;
    (change.allocations + change.reallocations, kept, result)
}

fn main() {
    for suite in Suite::ALL {
        records_allocate_nothing(suite);
    }
}

fn records_allocate_nothing(suite: Suite) {
    let (mut client, mut server) = pair(suite, 3);
    let data = vec![7; 125];
    let mut cork = Vec::with_capacity(64 << 10);
    let (allocations, kept, ()) = count(|| {
        for _ in 0..10 {
            let mut sealer = Sealer::new(&mut client.rest, &mut cork).expect("an open connection");
            for _ in 0..10 {
                sealer.push(&data);
            }
            sealer.finish();
        }
    });
    assert_eq!((allocations, kept), (0, 0), "sealing with {suite:?}");
    let (allocations, kept, opened) = count(|| open(&mut server.rest, &mut cork));
    assert_eq!((allocations, kept), (0, 0), "opening with {suite:?}");
    assert_eq!((opened.plaintext.len(), opened.records), (12_500, 10));
    assert_eq!(opened.end, End::Incomplete(5));
}
