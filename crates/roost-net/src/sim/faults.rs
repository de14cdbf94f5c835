//! What goes wrong in the simulated network, how often, and how often it did.

use std::ops::RangeInclusive;

/// How the network behaves. The default is a bad day: everything happens, in amounts that leave
/// most connections alive. [`SimFaults::none`] is a quiet one.
///
/// Rates are in thousandths of the occasions named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimFaults {
    /// Time a segment travels, drawn for each; segments of one direction never overtake.
    pub latency_ns: RangeInclusive<u64>,
    /// Size of a connection's send and receive buffers, drawn for each.
    pub window_bytes: RangeInclusive<u32>,
    /// Size of a segment, drawn for each.
    pub segment_bytes: RangeInclusive<u32>,
    /// Receives that yield less than has arrived.
    pub short_reads_per_mille: u32,
    /// Sends that take less than there is room for.
    pub short_writes_per_mille: u32,
    /// Sends that take nothing at once though there is room.
    pub late_sends_per_mille: u32,
    /// Connections that are reset, both ends, somewhere in their first segments.
    pub resets_per_mille: u32,
    /// Connections that go silent for ever: no FIN, no RST, nothing arrives. An end that has
    /// something to send gets ETIMEDOUT after a minute; one that waits never learns it. 0 by
    /// default, since only a caller with deadlines survives it.
    pub cuts_per_mille: u32,
    /// Accepts that fail with EMFILE though this driver has room; accepting pauses up to 9 ms.
    pub accept_limits_per_mille: u32,
    /// Receives that find no buffer (ENOBUFS) though there is one.
    pub buffers_exhausted_per_mille: u32,
    /// Completions left for a later iteration.
    pub held_back_per_mille: u32,
    /// Waits that end before their time without an event.
    pub spurious_wakes_per_mille: u32,
    /// Wakes whose [`Event::Woken`](crate::Event::Woken) comes up to 1 ms later.
    pub late_wakes_per_mille: u32,
    /// Whether completions of one iteration come in an order of chance. Those of one direction of one
    /// connection keep theirs.
    pub reorder: bool,
}

impl Default for SimFaults {
    fn default() -> SimFaults {
        SimFaults {
            latency_ns: 20_000..=2_000_000,
            window_bytes: 4096..=65_536,
            segment_bytes: 1..=4096,
            short_reads_per_mille: 100,
            short_writes_per_mille: 100,
            late_sends_per_mille: 100,
            resets_per_mille: 50,
            cuts_per_mille: 0,
            accept_limits_per_mille: 20,
            buffers_exhausted_per_mille: 20,
            held_back_per_mille: 100,
            spurious_wakes_per_mille: 20,
            late_wakes_per_mille: 100,
            reorder: true,
        }
    }
}

impl SimFaults {
    /// Nothing goes wrong: 10 µs of latency, 64 KiB of window, and no limit but the options'.
    pub fn none() -> SimFaults {
        SimFaults {
            latency_ns: 10_000..=10_000,
            window_bytes: 65_536..=65_536,
            segment_bytes: 65_536..=65_536,
            short_reads_per_mille: 0,
            short_writes_per_mille: 0,
            late_sends_per_mille: 0,
            resets_per_mille: 0,
            cuts_per_mille: 0,
            accept_limits_per_mille: 0,
            buffers_exhausted_per_mille: 0,
            held_back_per_mille: 0,
            spurious_wakes_per_mille: 0,
            late_wakes_per_mille: 0,
            reorder: false,
        }
    }

    /// The default without broken connections: all that is sent arrives, in pieces and late.
    pub fn lossless() -> SimFaults {
        SimFaults {
            resets_per_mille: 0,
            ..SimFaults::default()
        }
    }

    /// Refuses ranges that are empty and rates at which nothing would ever go on.
    pub(super) fn check(&self) {
        assert!(!self.latency_ns.is_empty(), "latency_ns is empty");
        assert!(
            !self.window_bytes.is_empty() && *self.window_bytes.start() > 0,
            "window_bytes has no positive size"
        );
        assert!(
            !self.segment_bytes.is_empty() && *self.segment_bytes.start() > 0,
            "segment_bytes has no positive size"
        );
        let stopping = [
            self.accept_limits_per_mille,
            self.buffers_exhausted_per_mille,
            self.held_back_per_mille,
            self.spurious_wakes_per_mille,
        ];
        assert!(
            stopping.iter().all(|&rate| rate <= 900),
            "above 900 per mille nothing goes on"
        );
    }
}

/// How often each fault has happened in a [`SimNet`](super::SimNet).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SimCounts {
    /// Connections that both ends saw established.
    pub connections: u64,
    /// Segments with data that arrived.
    pub segments: u64,
    /// Receives cut short.
    pub short_reads: u64,
    /// Sends cut short.
    pub short_writes: u64,
    /// Sends that took nothing though there was room.
    pub late_sends: u64,
    /// Sends and resumptions that found less room than they had bytes.
    pub full_windows: u64,
    /// Connections reset by the network.
    pub resets: u64,
    /// Connections gone silent.
    pub cuts: u64,
    /// Accepts that failed by chance with EMFILE.
    pub accept_limits: u64,
    /// Receives that found no buffer by chance.
    pub buffers_exhausted: u64,
    /// Completions left for a later iteration.
    pub held_back: u64,
    /// Iterations whose completions came in another order than they happened.
    pub reordered: u64,
    /// Waits set to end early.
    pub spurious_wakes: u64,
    /// Wakes told late.
    pub late_wakes: u64,
    /// Connection attempts that found an accept queue full and tried again a second later.
    pub syn_retries: u64,
}
