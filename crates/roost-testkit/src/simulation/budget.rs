//! The memory budget, checked after every loop iteration: what all connections hold, and which are closed
//! for it.

use roost_net::Driver;
use roost_net::sim::SimDriver;
use roost_reactor::{Reactor, Shared};

use super::peers::Peers;

/// Those of a server that run.
type Reactors = [Option<Reactor<SimDriver>>];

/// What was seen of it.
pub(super) struct Budget {
    /// Connections that each reactor had closed for the memory budget.
    closes: Vec<u64>,
    /// Which reactors have had an iteration since all together held too much.
    over: Vec<usize>,
}

impl Budget {
    pub(super) fn new(reactors: usize) -> Budget {
        Budget {
            closes: vec![0; reactors],
            over: Vec::new(),
        }
    }

    /// What all connections make the reactors hold is within a small budget, plus what loop iterations
    /// add. Of several reactors each closes its part in an iteration of its own: until all have had one,
    /// those that have hold no more than the budget by themselves. Returns what is held, in thousandths of the
    /// budget.
    pub(super) fn check(&mut self, shared: &Shared, reactors: &Reactors, index: usize) -> u64 {
        let budget = shared.settings().limits.buffered_bytes_max;
        if budget >= 1 << 30 {
            return 0;
        }
        let running = reactors.iter().enumerate();
        let running = running.filter_map(|(n, reactor)| Some((n, reactor.as_ref()?.memory_held())));
        let all: Vec<(usize, u64)> = running.collect();
        let held: u64 = all.iter().map(|(_, held)| held).sum();
        if held <= budget + ITERATION_BYTES_MAX {
            self.over.clear();
        } else if !self.over.contains(&index) {
            self.over.push(index);
        }
        let have_closed = all.iter().filter(|(n, _)| self.over.contains(n));
        let (closed, left) = have_closed.fold((0, 0), |(n, sum), (_, held)| (n + 1, sum + held));
        let may_be_over = closed < all.len()
            && left <= budget + ITERATION_BYTES_MAX
            && held <= budget + OVER_BYTES_MAX;
        assert!(
            held <= budget + ITERATION_BYTES_MAX || may_be_over,
            "{held} bytes are held, of {budget}: {all:?} after an iteration of {index}, beyond since \
             iterations of {:?}",
            self.over
        );
        held * 1_000 / budget
    }

    /// A connection that was closed for the budget held at least half as much as waits for any other that
    /// is left; between two counts of the memory a reactor reports no batch in flight.
    pub(super) fn check_closes(
        &mut self,
        (shared, reactors): (&Shared, &Reactors),
        peers: &mut Peers,
        index: usize,
    ) {
        let registry = shared.registry();
        let closed = registry.reactor(index).closed_memory_limit_total.get();
        if std::mem::replace(&mut self.closes[index], closed) == closed {
            return;
        }
        let Some(reactor) = &reactors[index] else {
            return;
        };
        let Some(least) = peers.note_closed_holding(index, reactor) else {
            return; // hostile peers
        };
        let waits = |reactor: &Reactor<SimDriver>| {
            let waiting = reactor.conn_costs().map(|cost| {
                let in_flight = reactor.driver().unsent_bytes(cost.key) as u64;
                cost.output_bytes - in_flight
            });
            waiting.max().unwrap_or(0)
        };
        let largest = reactors.iter().flatten().map(waits).max().unwrap_or(0);
        assert!(
            2 * least >= largest,
            "one that held {least} bytes was closed for the memory budget, and for another wait {largest}"
        );
    }
}

/// What waits for a connection has a limit, or is one frame.
pub(super) fn check_outboxes(shared: &Shared, index: usize) {
    let settings = shared.settings();
    let each = settings.limits.outbox_bytes_max.max(FRAME_BYTES_MAX) + PONG_BYTES_MAX;
    let counters = shared.registry().reactor(index);
    let (bytes, outboxes) = (
        counters.outbox_bytes.get(),
        counters.connections_backlogged.get(),
    );
    assert!(
        bytes <= outboxes * each as u64,
        "{outboxes} outboxes hold {bytes} bytes, each at most {each}"
    );
}

/// The largest frame of the script: 5,000 bytes of raw payload as a WAMP event, in base64.
const FRAME_BYTES_MAX: usize = 7_000;
/// What a loop iteration may add before the budget is checked.
const ITERATION_BYTES_MAX: u64 = 16 << 10;
/// What loop iterations of several reactors may: a flood fills the outboxes of each in one.
const OVER_BYTES_MAX: u64 = 64 << 10;
/// RFC 6455 §5.5: a control frame's payload has at most 125 bytes.
const PONG_BYTES_MAX: usize = 127;
