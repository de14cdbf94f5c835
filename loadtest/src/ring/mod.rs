//! A ring: one driver, one thread, and the client connections on it.
//!
//! The loop is: obey commands → open what may open → send what is due → wait → handle events. It
//! keeps no timer per connection, and nothing but eight bytes for a quiet one.

mod chunks;
mod clients;
mod conn;
mod event_loop;
mod life;
mod positions;
mod records;
mod recovery;
mod request;
mod results;
mod streams;
mod tls;
mod traffic;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use roost_net::CloseMode;
use roost_tls::ClientSetup;

use crate::account::Track;
use crate::dialect::Random;
use crate::plan::{Loss, Plan};
use crate::shared::{Gauges, Shared};

use clients::{Echoing, Publishing, tracks_each};
use conn::{Conn, Rare};
pub(crate) use event_loop::Ring;
use positions::Recovery;
pub(crate) use results::Results;
use tls::Tls;

/// What the coordinator driver_ops of a ring.
pub(crate) enum Command {
    /// Open members until so many of this ring's were begun, at `rate` a second.
    Open { upto: u32, rate: Option<f64> },
    /// Begin or end traffic.
    Traffic(bool),
    /// Each publisher publishes so many messages, of so many bytes if that is another size than usual.
    PublishEach(u32, Option<usize>),
    /// Drop connections and open them again.
    Drop(Loss),
    /// Drop connections, which stay away.
    Leave(Loss),
    /// Open those again that are away.
    Return,
    /// Close all connections.
    Close,
    /// Messages that should still come to this ring.
    Missing(Sender<u64>),
    /// Hand over what was measured since the last time; what is missing is lost.
    Report(Sender<Results>),
    /// End the thread.
    Quit,
}

/// A ring's part of a group: consecutive members in consecutive slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Index of the group.
    pub(crate) group: usize,
    /// The first slot.
    pub(crate) slot: u32,
    /// How many.
    pub(crate) count: u32,
    /// Which member of the group has the first slot.
    pub(crate) member: u32,
}

/// Everything but the driver, so that an event can borrow that.
struct Core {
    id: usize,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    shares: Vec<Share>,
    /// First track of each share, and tracks of one connection in it.
    track_places: Vec<(usize, usize)>,
    conns: Vec<Conn>,
    rare: HashMap<u32, Rare>,
    /// With `wss://`.
    tls: Option<Box<Tls>>,
    tracks: Vec<Track>,
    recovery: Recovery,
    echoing: HashMap<u32, Echoing>,
    publishing: HashMap<u32, Publishing>,
    /// Publishes of a connection that are not acknowledged, in a dialect that does that.
    unacknowledged: HashMap<u32, u64>,
    /// When which slot has something to send: publishers and echoing connections with a rate.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    traffic: bool,
    /// Publishers without a rate that wait for deliveries.
    stalled: Vec<u32>,
    /// Deliveries seen in this iteration, by topic.
    seen: Vec<u64>,

    /// The next slot to open, and where to stop.
    open_next: u32,
    open_upto: u32,
    open_schedule: Option<crate::pace::Schedule>,
    reopen: VecDeque<u32>,
    /// Connections that were dropped and have not begun again.
    returning: u64,
    /// The next slot to close, while closing.
    close_next: Option<u32>,
    closing_in_flight: u32,
    dropped_at: u64,
    /// Some were dropped in this phase, here or in another ring.
    some_dropped: bool,
    in_flight_max: u32,

    /// The driver waits in whole milliseconds.
    rounds_waits: bool,
    now: u64,
    /// Until when input is known, and when this ring had last been held up: what the server has not
    /// done is judged by these (see [`Driver::polled_until`]).
    input_until: u64,
    resumed_at: u64,
    random: Random,
    /// Frames to send in this loop iteration.
    scratch: Vec<u8>,
    driver_ops: Vec<DriverOp>,
    payload: Vec<u8>,
    decoded: Vec<u8>,
    results: Results,
    checked_at: u64,
}

/// What the driver is to do after an event.
enum DriverOp {
    /// Send `scratch[start..end]`; with TLS, sealed, and behind what TLS has to send, if only that.
    Send {
        slot: u32,
        start: usize,
        end: usize,
    },
    Close(u32, CloseMode),
    /// FIN, behind all that waits and, with TLS, close_notify.
    Fin(u32),
}

impl Core {
    fn new(id: usize, plan: Arc<Plan>, shared: Arc<Shared>, shares: Vec<Share>) -> Core {
        let mut conns = Vec::new();
        let mut track_places = Vec::new();
        let mut tracks = Vec::new();
        for (index, share) in shares.iter().enumerate() {
            let each = tracks_each(&plan, share.group);
            track_places.push((tracks.len(), each));
            tracks.resize(tracks.len() + each * share.count as usize, Track::from(0));
            let share = u8::try_from(index).expect("a plan has at most 255 groups");
            conns.resize(conns.len() + shares[index].count as usize, Conn::new(share));
        }
        let rings = u32::try_from(shared.gauges.len()).unwrap_or(u32::MAX);
        let tls = shared.tls.clone().map(|setup: ClientSetup| {
            let name = plan.target.host.clone();
            Box::new(Tls::new(setup, name))
        });
        Core {
            id,
            recovery: Recovery::new(&plan, shares.iter().map(|share| (share.group, share.count))),
            shares,
            track_places,
            conns,
            rare: HashMap::new(),
            tls,
            tracks,
            echoing: HashMap::new(),
            publishing: HashMap::new(),
            unacknowledged: HashMap::new(),
            due: BinaryHeap::new(),
            traffic: false,
            stalled: Vec::new(),
            seen: vec![0; plan.topics.len()],
            open_next: 0,
            open_upto: 0,
            open_schedule: None,
            reopen: VecDeque::new(),
            returning: 0,
            close_next: None,
            closing_in_flight: 0,
            dropped_at: 0,
            some_dropped: false,
            in_flight_max: (plan.connects_in_flight_max() / rings).max(1),
            rounds_waits: false,
            now: 0,
            input_until: 0,
            resumed_at: 0,
            random: Random::new(plan.settings.seed ^ (id as u64) << 32),
            scratch: Vec::new(),
            driver_ops: Vec::new(),
            payload: Vec::new(),
            decoded: Vec::new(),
            results: Results::new(plan.publishers_end() as usize),
            checked_at: 0,
            plan,
            shared,
        }
    }

    fn gauges(&self) -> &Gauges {
        &self.shared.gauges[self.id]
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Open { upto, rate } => self.open_upto(upto, rate),
            Command::Traffic(on) => self.set_traffic(on),
            Command::PublishEach(messages, size) => self.publish_each(messages, size),
            Command::Drop(loss) => self.drop_some(loss),
            Command::Leave(loss) => self.leave(loss),
            Command::Return => self.return_all(),
            Command::Close => self.close_all(),
            Command::Missing(reply) => {
                // The coordinator may have given up waiting.
                let _ = reply.send(self.missing());
            }
            Command::Report(reply) => {
                self.count_missing_as_lost();
                self.forget_dropped();
                self.recovery.end_phase();
                let fresh = Results::new(self.plan.publishers_end() as usize);
                let _ = reply.send(std::mem::replace(&mut self.results, fresh));
            }
            Command::Quit => {}
        }
    }

    /// After the events of a loop iteration.
    fn end_iteration(&mut self) {
        self.tell_seen();
        if self.now >= self.checked_at + CHECK_NS {
            self.checked_at = self.now;
            self.check_timeouts();
        }
    }

    /// How long the next wait may last.
    fn wait_ns(&self) -> u64 {
        if self.tls.as_ref().is_some_and(|tls| tls.has_ready()) {
            return 0;
        }
        let mut until = self.now + CHECK_NS;
        if let Some(&Reverse((due, _))) = self.due.peek()
            && self.traffic
        {
            until = until.min(due);
        }
        if let (true, Some(schedule)) = (self.may_open(), self.open_schedule) {
            until = until.min(schedule.next_due());
        }
        if !self.stalled.is_empty() {
            until = until.min(self.now + STALL_CHECK_NS);
        }
        let wait = until.saturating_sub(roost_net::clock::now_ns());
        // epoll rounds up to its millisecond: the last one is spent awake.
        if wait < MILLISECOND_NS && self.rounds_waits {
            return 0;
        }
        wait
    }

    /// Appends to what `slot` says in this iteration.
    fn queue_send(&mut self, slot: u32, start: usize) {
        let end = self.scratch.len();
        if end > start {
            self.driver_ops.push(DriverOp::Send { slot, start, end });
        }
    }

    /// Sends what TLS has to send.
    fn queue_flush(&mut self, slot: u32) {
        let end = self.scratch.len();
        let start = end;
        self.driver_ops.push(DriverOp::Send { slot, start, end });
    }
}

/// How often timeouts are looked for, and the longest wait.
const CHECK_NS: u64 = 200_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// How often publishers that wait for deliveries look again.
const STALL_CHECK_NS: u64 = 5_000_000;
