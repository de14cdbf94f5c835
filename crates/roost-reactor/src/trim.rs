//! Memory that a crowd needed is given back when it has gone, at ping_schedule of the reactor's own
//! choice and never on the way of a message.
//!
//! While something happens, every few seconds tables and queues are cut down to what they have
//! needed since the last time. After as long a time in which nothing has happened, scratch memory
//! goes as a whole. Once nothing was left to give, the reactor sleeps without limit.

use std::collections::VecDeque;

use roost_net::Driver;
use slab::Slab;

use crate::conn::NEVER;
use crate::core::{Core, TICK_MS};
use crate::reactor::Reactor;

/// When memory is looked through next.
pub(crate) struct MemoryTrimmer {
    /// The tick; [`NEVER`] while all is asleep.
    due: u32,
    /// Something has happened since the last time.
    active: bool,
    /// Bytes given back since the allocator was asked to pass them on, and until when.
    freed_bytes: usize,
    freed_ns: u64,
    /// The most connections there were since then.
    crowd: usize,
    /// What the table of connections held the last time.
    table_bytes: usize,
}

impl MemoryTrimmer {
    pub(crate) fn new() -> MemoryTrimmer {
        MemoryTrimmer {
            due: NEVER,
            active: false,
            freed_bytes: 0,
            freed_ns: 0,
            crowd: 0,
            table_bytes: 0,
        }
    }

    /// Something has happened at tick `now`, with so many connections.
    #[inline]
    pub(crate) fn note(&mut self, now: u32, connections: usize) {
        self.active = true;
        self.crowd = self.crowd.max(connections);
        if self.due == NEVER {
            self.due = now.saturating_add(INTERVAL_TICKS);
        }
    }

    /// The tick at which it wants to be called.
    pub(crate) fn due(&self) -> u32 {
        self.due
    }
}

impl<D: Driver> Reactor<D> {
    /// Gives memory back, if it is time.
    pub(crate) fn shrink(&mut self) {
        let trimmer = &mut self.core.trimmer;
        if self.core.now < trimmer.due {
            return;
        }
        let active = std::mem::replace(&mut trimmer.active, false);
        // One interval after it was given back: by now the other reactors have done the same. In
        // quiet times little is enough, for many reactors make it much.
        let worth = if active { PAGES_WORTH_BYTES } else { 1 };
        let pages = trimmer.freed_bytes >= worth;
        if pages && self.driver.trim_heap(trimmer.freed_ns) {
            trimmer.freed_bytes = 0;
        }
        let mut freed = self.core.shrink() + self.driver.shrink();
        if !active {
            freed += self.core.shrink_scratch();
            self.scratch = Default::default();
        }
        let left = self.core.table.len();
        let table_bytes = self.core.table.memory_bytes();
        let trimmer = &mut self.core.trimmer;
        let freed_before = trimmer.freed_bytes;
        trimmer.freed_bytes += freed;
        let before = std::mem::replace(&mut trimmer.table_bytes, table_bytes);
        if table_bytes > before {
            trimmer.freed_bytes += before; // it may have moved, and left a hole as large
        }
        if trimmer.crowd / 4 * 3 > left {
            // What they had beside the tables has been freed one by one.
            trimmer.freed_bytes += (trimmer.crowd - left) * CONNECTION_BYTES;
            trimmer.crowd = left;
        }
        if trimmer.freed_bytes > freed_before {
            trimmer.freed_ns = self.driver.now();
        }
        let go_on = active || freed > 0 || pages || trimmer.freed_bytes > 0;
        trimmer.due = match go_on {
            true => self.core.now.saturating_add(INTERVAL_TICKS),
            false => NEVER,
        };
    }
}

impl Core {
    /// Cuts tables down to what was needed since the last call; returns the bytes.
    fn shrink(&mut self) -> usize {
        self.table.shrink()
            + self.turn_output.shrink()
            + self.codec.shrink()
            + self.inputs.shrink()
            + self.outboxes.shrink()
            + self.dialects.shrink()
    }

    /// Drops memory that is only kept for the next turn; returns the bytes.
    fn shrink_scratch(&mut self) -> usize {
        drop_empty(&mut self.outputs)
            + drop_empty(&mut self.driver_ops)
            + drop_empty(&mut self.early_data)
            + self.paused.shrink()
            + self.links.shrink()
            + self.admission.shrink()
    }
}

/// Cuts a table that is mostly empty as far as its last entry.
pub(crate) fn cut<T>(slab: &mut Slab<T>) -> usize {
    let before = slab.capacity();
    if before > FLOOR && before / 4 > slab.len() {
        slab.shrink_to_fit();
    }
    (before - slab.capacity()) * size_of::<T>()
}

fn drop_empty<T>(vec: &mut Vec<T>) -> usize {
    let before = vec.capacity();
    if vec.is_empty() {
        *vec = Vec::new();
    }
    (before - vec.capacity()) * size_of::<T>()
}

/// As [`drop_empty`].
pub(crate) fn drop_empty_queue<T>(queue: &mut VecDeque<T>) -> usize {
    let before = queue.capacity();
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    (before - queue.capacity()) * size_of::<T>()
}

/// How often memory is looked through while something happens: 5 s.
const INTERVAL_TICKS: u32 = 5_000 / TICK_MS;
/// So much is worth a look through the allocator's pools while there is other work.
const PAGES_WORTH_BYTES: usize = 64 << 10;
/// What a connection has in small pieces while it opens, and what its channels take: a guess.
const CONNECTION_BYTES: usize = 64;
/// Room for so many is not worth giving back.
const FLOOR: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
    use roost_net::{CloseMode, ConnKey, ConnectOptions, Event};

    use super::*;
    use crate::reactor::Shared;
    use crate::settings::Settings;

    const CROWD: u32 = 500;

    /// What is kept for the next turn or the next crowd.
    fn held_bytes(core: &Core) -> usize {
        core.table.memory_bytes()
            + core.turn_output.memory_bytes()
            + core.inputs.capacity()
            + core.outputs.capacity()
            + core.driver_ops.capacity()
    }

    /// Lets time pass with a reactor and its clients; what clients are told is thrown away.
    fn run(
        net: &SimNet,
        reactor: &mut Reactor<SimDriver>,
        clients: &mut SimDriver,
        time: Duration,
    ) {
        let until = net.now() + time.as_nanos() as u64;
        while net.now() < until {
            while reactor.driver.is_due() {
                reactor.turn().expect("a simulated wait does not fail");
            }
            clients.wait(Some(Duration::ZERO)).expect("simulated");
            while let Some(event) = clients.next_event() {
                if let Event::Connected(key) = event {
                    let hello = "GET /raw/common HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                        Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\r\n";
                    clients.send_copy(key, hello.as_bytes());
                }
            }
            net.advance(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_crowd_leaves_nothing_behind_and_the_reactor_sleeps() {
        let net = SimNet::new(7, SimFaults::none());
        let shared = Shared::new(Settings::for_tests(), 1, 7);
        let mut reactor = Reactor::new(net.driver(SimOptions::default()), 0, shared);
        let addr = reactor.listen("127.0.0.1:0".parse().expect("an address"));
        let addr = addr.expect("a free address");
        let mut clients = net.driver(SimOptions::default());
        let second = Duration::from_secs(1);
        run(&net, &mut reactor, &mut clients, second);
        assert_eq!(reactor.core.trimmer.due, NEVER, "nothing has happened");
        let before = held_bytes(&reactor.core);

        for crowd in 0..2 {
            for slot in 0..CROWD {
                let options = ConnectOptions { addr, local: None };
                let key = ConnKey::new(slot, crowd);
                clients.connect(key, &options).expect("a free slot");
            }
            run(&net, &mut reactor, &mut clients, 20 * second);
            assert_eq!(
                reactor.core.counters.websockets_open.get(),
                u64::from(CROWD)
            );
            let full = held_bytes(&reactor.core);
            assert!(full > before + 20_000, "{full} bytes with a crowd");
            for slot in 0..CROWD {
                clients.close(ConnKey::new(slot, crowd), CloseMode::Graceful);
            }
            run(&net, &mut reactor, &mut clients, second);
            assert_eq!(reactor.core.table.len(), 0);
            assert!(
                held_bytes(&reactor.core) > full / 2,
                "it is kept for a while"
            );
            run(&net, &mut reactor, &mut clients, 40 * second);
            assert_eq!(reactor.core.trimmer.due, NEVER, "it wakes without need");
            let after = held_bytes(&reactor.core);
            assert!(after <= before + 2_000, "{after} bytes, {before} before");
        }
        assert!(!reactor.driver.is_due());
    }
}
