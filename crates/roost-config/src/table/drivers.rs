//! `[epoll]`, `[io_uring]`: the drivers.

use crate::row::section;
use crate::units::{KIB, MIB};
use crate::value::{Auto, Count, Flag, PowerOfTwo, Size};

section! {
    /// The driver epoll.
    "epoll" Epoll
    /// The one buffer through which a reactor reads all its connections. What does not fit is read
    /// in the next loop iteration.
    read_buffer_bytes: usize = 64 * KIB, Size(4 * KIB..=16 * MIB), Restart, r#""128KiB""#;
}

section! {
    /// The driver io_uring. All numbers are per reactor.
    "io_uring" IoUring
    /// Entries of the submission queue. When it is full it is submitted before the loop iteration
    /// ends.
    entries: u32 = 1024, PowerOfTwo(8..=32_768), Restart, "2048";
    /// Receive buffers. Only connections whose bytes have arrived and are not yet handled hold one.
    /// When all are lent, a connection is read again as soon as one is back;
    /// `buffers_exhausted_total` counts it.
    buffers: u32 = 512, PowerOfTwo(8..=32_768), Restart, "1024";
    /// The size of one of them.
    buffer_bytes: usize = 16 * KIB, Size(512..=MIB), Restart, r#""8KiB""#;
    /// Whether sockets live in a table of the ring instead of among the process's files. The limit
    /// on open files then holds for each ring by itself, not for all of them together. Costs 32
    /// bytes of kernel memory more per socket.
    direct_descriptors: bool = false, Flag, Restart, "true";
    /// Slots of that table. When it is full accepting pauses until one is free;
    /// `accept_limit_total` counts it. `"auto"`: as many as the limit on open files allows.
    direct_slots: Option<u32> = None, Auto(Count(1..=100_000_000)), Restart, "20000";
}
