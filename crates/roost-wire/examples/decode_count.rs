//! What decoding costs beyond unmasking and the UTF-8 check, in instructions per frame of 125 B
//! masked text. Each mode does the same work for the same frames; `copy` is what all three share.
//!
//! ```sh
//! cargo build --release -p roost-wire --example decode_count
//! for mode in copy baseline decode; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!         "${CARGO_TARGET_DIR:-target}/release/examples/decode_count" $mode
//! done
//! ```
//!
//! (`Collected` of the mode minus `Collected` of `copy`) / 100,000 is instructions per frame.

use std::hint::black_box;

use roost_wire::frame::append_masked_frame;
use roost_wire::{Inbound, Input, Limits, Message, Opcode, Role, mask};

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let work: fn(&mut [u8]) -> usize = match &*mode {
        "copy" => copy,
        "baseline" => baseline,
        "decode" => decode,
        _ => {
            eprintln!("usage: decode_count copy|baseline|decode");
            std::process::exit(2);
        }
    };
    let mut frames = Vec::new();
    for _ in 0..FRAMES_PER_LEASE {
        append_masked_frame(&mut frames, Opcode::Text, &[b'a'; PAYLOAD_BYTES], MASK);
    }
    let mut lease = frames.clone();
    let mut text_bytes = 0;
    for _ in 0..LEASES {
        lease.copy_from_slice(black_box(&frames));
        text_bytes += work(black_box(&mut lease));
    }
    println!(
        "{mode}: {text_bytes} bytes in {} frames",
        LEASES * FRAMES_PER_LEASE
    );
}

/// Nothing.
fn copy(lease: &mut [u8]) -> usize {
    lease.len()
}

/// Unmasking and the UTF-8 check of payloads whose place is known (but not, to the compiler, their
/// length).
fn baseline(lease: &mut [u8]) -> usize {
    let mut text_bytes = 0;
    for frame in lease.chunks_exact_mut(black_box(6 + PAYLOAD_BYTES)) {
        let payload = &mut frame[6..];
        mask::apply(payload, black_box(MASK));
        let text = simdutf8::basic::from_utf8(payload).expect("the text is ASCII");
        text_bytes += black_box(text).len();
    }
    text_bytes
}

/// The same, and everything else that makes a frame a message.
fn decode(lease: &mut [u8]) -> usize {
    let limits = Limits {
        frame_bytes_max: 1 << 20,
        message_bytes_max: 1 << 20,
    };
    let mut text_bytes = 0;
    let mut inbound = Inbound::new(Role::Server);
    let mut input = Input::new(lease);
    while let Some(message) = inbound.next(&mut input, &limits).expect("legal frames") {
        if let Message::Text(text) = message {
            text_bytes += black_box(text).len();
        }
    }
    assert!(inbound.is_quiet());
    text_bytes
}

const PAYLOAD_BYTES: usize = 125;
const FRAMES_PER_LEASE: usize = 100;
const LEASES: usize = 1000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
