//! What is allocated, counted. A program without the test harness, whose own thread allocates: the
//! counts are the process's.

use std::alloc::System;

use roost_wire::deflate::{Deflater, Inflater};
use roost_wire::frame::append_masked_frame;
use roost_wire::{Frozen, Inbound, Input, Limits, Opcode, Role, hixie};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations that `work` makes, and the bytes that it leaves allocated.
fn count<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let change = region.change();
    let kept = change.bytes_allocated - change.bytes_deallocated;
    (change.allocations + change.reallocations, kept, result)
}

fn main() {
    messages_in_the_lease_allocate_nothing();
    a_frozen_message_is_one_allocation();
    contexts_take_what_they_say();
}

fn messages_in_the_lease_allocate_nothing() {
    let limits = Limits {
        frame_bytes_max: 1 << 20,
        message_bytes_max: 1 << 20,
    };
    let mut lease = Vec::new();
    for len in [0, 5, 125, 126, 70_000] {
        append_masked_frame(&mut lease, Opcode::Text, &vec![b'a'; len], [1, 2, 3, 4]);
        append_masked_frame(&mut lease, Opcode::Ping, b"ping", [1, 2, 3, 4]);
    }
    let (allocations, _, messages) = count(|| {
        let mut inbound = Inbound::new(Role::Server);
        let mut input = Input::new(&mut lease);
        let mut messages = 0;
        while inbound.next(&mut input, &limits).expect("legal").is_some() {
            messages += 1;
        }
        assert!(inbound.is_quiet());
        messages
    });
    assert_eq!((allocations, messages), (0, 10));

    let mut lease = Vec::new();
    hixie::append_message(&mut lease, Opcode::Text, b"Hello");
    hixie::append_message(&mut lease, Opcode::Binary, &[7; 70_000]);
    let (allocations, _, messages) = count(|| {
        let mut inbound = hixie::Inbound::new();
        let mut input = Input::new(&mut lease);
        let mut messages = 0;
        while inbound.next(&mut input, &limits).expect("legal").is_some() {
            messages += 1;
        }
        messages
    });
    assert_eq!((allocations, messages), (0, 2));
}

fn a_frozen_message_is_one_allocation() {
    for len in [0, 125, 70_000] {
        let payload = vec![b'a'; len];
        let (allocations, kept, frozen) = count(|| Frozen::message(Opcode::Text, &payload));
        assert_eq!(allocations, 1);
        // Two counters of references and at most a word of padding.
        assert!(
            kept <= frozen.len() + 24,
            "{kept} bytes for {}",
            frozen.len()
        );
        let (allocations, kept, _clone) = count(|| frozen.clone());
        assert_eq!((allocations, kept), (0, 0));
    }
}

fn contexts_take_what_they_say() {
    let text = "to be or not to be, that is the question ".repeat(2000);
    for window_bits in 9..=15 {
        let allowed = Deflater::context_bytes(window_bits);
        for level in 1..=9 {
            let (_, context, mut deflater) =
                count(|| Deflater::with_window(level, window_bits, true));
            // Its buffer holds the last message, at its longest, beside that.
            let (_, buffer, len) =
                count(|| deflater.deflate(text.as_bytes()).expect("shorter").len());
            assert!(buffer <= text.len() * 5 / 4, "{buffer} bytes for {len}");
            let of = format!("{window_bits} bits at level {level}");
            println!("{of}: {context} bytes");
            assert!(context <= allowed, "{of}: {context}");
            assert!(context > allowed / 100 * 97, "{of}: {context}");
        }
    }
    let mut deflater = Deflater::new(6);
    let deflated = deflater.deflate(text.as_bytes()).expect("shorter");
    let (_, kept, inflater) = count(|| {
        let mut inflater = Inflater::with_takeover(true);
        inflater.inflate(deflated, text.len()).expect("whole");
        inflater
    });
    let context = kept - inflater.buffer_bytes();
    println!("inflater: {context} bytes");
    assert!(context <= Inflater::CONTEXT_BYTES, "{context}");
    assert!(2 * context > Inflater::CONTEXT_BYTES, "{context}");
}
