//! A ring: one driver, one thread, and the client connections on it.
//!
//! The loop is: obey commands → open what may open → send what is due → wait → handle events. It
//! keeps no timer per connection, and nothing but eight bytes for a quiet one.

mod clients;
mod conn;
mod life;
mod records;
mod results;
mod tls;
mod traffic;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use roost_net::{CloseMode, ConnectOptions, Driver, Event, SendStatus};
use roost_tls::ClientSetup;

use crate::account::Track;
use crate::dialect::Random;
use crate::plan::{Loss, Plan};
use crate::shared::{Gauges, Shared};

use clients::{Echoing, Publishing, tracks_each};
use conn::{Conn, FIN_OWED, Rare, WRITING};
pub(crate) use results::Results;
use tls::Tls;

/// What the coordinator asks of a ring.
pub(crate) enum Command {
    /// Open members until so many of this ring's were begun, at `rate` a second.
    Open { upto: u32, rate: Option<f64> },
    /// Begin or end traffic.
    Traffic(bool),
    /// Each publisher publishes so many messages.
    PublishEach(u32),
    /// Drop connections and open them again.
    Drop(Loss),
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

pub(crate) struct Ring<D: Driver> {
    driver: D,
    core: Core,
    commands: Receiver<Command>,
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
    echoing: HashMap<u32, Echoing>,
    publishing: HashMap<u32, Publishing>,
    /// When which slot has something to send: publishers and echoing connections with a rate.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    traffic: bool,
    /// Publishers without a rate that wait for deliveries.
    stalled: Vec<u32>,
    /// Deliveries seen in this turn, by topic.
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
    /// Frames said in this turn, and who says them.
    scratch: Vec<u8>,
    asks: Vec<Ask>,
    payload: Vec<u8>,
    decoded: Vec<u8>,
    results: Results,
    checked_at: u64,
}

/// What the driver is asked after an event.
enum Ask {
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

impl<D: Driver> Ring<D> {
    pub(crate) fn new(
        driver: D,
        id: usize,
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        shares: Vec<Share>,
        commands: Receiver<Command>,
    ) -> Ring<D> {
        let mut core = Core::new(id, plan, shared, shares);
        core.rounds_waits = driver.name() == "epoll";
        Ring {
            driver,
            core,
            commands,
        }
    }

    /// Runs until told to quit.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.core.now = self.driver.now();
        loop {
            if !self.obey() {
                return Ok(());
            }
            self.open_next();
            self.core.close_next();
            self.core.send_due();
            self.carry_out();
            let timeout = self.core.wait_ns();
            self.driver.wait(Some(Duration::from_nanos(timeout)))?;
            let before = self.core.now;
            self.core.now = self.driver.now();
            self.core.input_until = self.driver.polled_until();
            if self.driver.resumed_at() != self.core.resumed_at {
                self.core.resumed_at = self.driver.resumed_at();
                self.core.results.note_pause(self.core.now - before);
            }
            while let Some(event) = self.driver.next_event() {
                self.core.handle(event);
                if !self.core.asks.is_empty() {
                    self.carry_out();
                }
            }
            if self.core.tls.is_some() {
                records::take_turn(&mut self.core);
            }
            self.core.end_turn();
            self.carry_out();
        }
    }

    /// False when told to quit.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Quit) | Err(TryRecvError::Disconnected) => return false,
                Ok(command) => self.core.handle_command(command),
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Begins as many connections as rate and limits allow.
    fn open_next(&mut self) {
        while let Some(slot) = self.core.next_to_open() {
            let key = self.core.begin(slot);
            let options = ConnectOptions {
                addr: self.core.address_of(slot),
                local: None,
            };
            if let Err(error) = self.driver.connect(key, &options) {
                self.core.handle_no_start(slot, &error);
            }
        }
    }

    fn carry_out(&mut self) {
        for at in 0..self.core.asks.len() {
            match self.core.asks[at] {
                Ask::Send { slot, start, end } => self.send(slot, start, end),
                Ask::Close(slot, mode) => {
                    if mode == CloseMode::Graceful {
                        self.send_close_notify(slot);
                    }
                    let key = self.core.conns[slot as usize].key(slot);
                    self.driver.close(key, mode);
                }
                Ask::Fin(slot) if self.core.conns[slot as usize].has(WRITING) => {
                    self.core.conns[slot as usize].flags |= FIN_OWED;
                }
                Ask::Fin(slot) => {
                    self.send_close_notify(slot);
                    let key = self.core.conns[slot as usize].key(slot);
                    self.driver.shutdown_write(key);
                }
            }
        }
        self.core.asks.clear();
        self.core.scratch.clear();
    }

    fn send(&mut self, slot: u32, start: usize, end: usize) {
        let core = &mut self.core;
        let mut bytes = &core.scratch[start..end];
        let conn = &mut core.conns[slot as usize];
        if conn.has(WRITING) {
            // Sealed when it is sent. What TLS has to send is noted there.
            if !bytes.is_empty() {
                let rare = core.rare.entry(slot).or_default();
                rare.outbox.extend_from_slice(bytes);
            }
            return;
        }
        if let Some(tls) = &mut core.tls {
            bytes = tls.seal(slot, bytes);
            if bytes.is_empty() {
                return;
            }
        }
        match self.driver.send_copy(conn.key(slot), bytes) {
            SendStatus::Pending => conn.flags |= WRITING,
            // If it is gone, its end is reported by an event.
            SendStatus::Done | SendStatus::Gone => {}
        }
    }

    /// With TLS, and nothing in flight: close_notify, if it has not been sent.
    fn send_close_notify(&mut self, slot: u32) {
        let core = &mut self.core;
        let conn = &mut core.conns[slot as usize];
        if let Some(tls) = &mut core.tls
            && !conn.has(WRITING)
            && let bytes = tls.close(slot)
            && !bytes.is_empty()
            && self.driver.send_copy(conn.key(slot), bytes) == SendStatus::Pending
        {
            conn.flags |= WRITING;
        }
    }
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
            shares,
            track_places,
            conns,
            rare: HashMap::new(),
            tls,
            tracks,
            echoing: HashMap::new(),
            publishing: HashMap::new(),
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
            asks: Vec::new(),
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
            Command::PublishEach(messages) => self.publish_each(messages),
            Command::Drop(loss) => self.drop_some(loss),
            Command::Close => self.close_all(),
            Command::Missing(reply) => {
                // The coordinator may have given up waiting.
                let _ = reply.send(self.missing());
            }
            Command::Report(reply) => {
                self.settle();
                self.forget_dropped();
                let fresh = Results::new(self.plan.publishers_end() as usize);
                let _ = reply.send(std::mem::replace(&mut self.results, fresh));
            }
            Command::Quit => {}
        }
    }

    fn handle<S>(&mut self, event: Event<'_, S>) {
        let is_plain = self.tls.is_none();
        match event {
            Event::Connected(key) => self.on_connected(key.slot()),
            Event::Bytes(key, lease) if is_plain => self.on_bytes(key.slot(), lease),
            Event::Bytes(key, lease) => records::handle_bytes(self, key.slot(), lease),
            Event::ReadClosed(key) if is_plain => self.on_read_closed(key.slot()),
            Event::ReadClosed(key) => records::handle_read_closed(self, key.slot()),
            Event::Sent(key) => self.on_sent(key.slot()),
            Event::Closed(key, cause) if is_plain => self.on_closed(key.slot(), cause),
            Event::Closed(key, cause) => records::handle_closed(self, key.slot(), cause),
            // Clients neither listen nor release.
            Event::Accepted { .. } | Event::Released(..) | Event::Woken => {}
        }
    }

    /// After the events of a turn.
    fn end_turn(&mut self) {
        self.tell_seen();
        if self.now >= self.checked_at + CHECK_NS {
            self.checked_at = self.now;
            self.check_timeouts();
        }
    }

    /// How long the next wait may last.
    fn wait_ns(&self) -> u64 {
        if self.tls.as_ref().is_some_and(|tls| tls.has_turns()) {
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

    /// Appends to what `slot` says in this turn.
    fn ask_send(&mut self, slot: u32, start: usize) {
        let end = self.scratch.len();
        if end > start {
            self.asks.push(Ask::Send { slot, start, end });
        }
    }

    /// Sends what TLS has to send.
    fn ask_flush(&mut self, slot: u32) {
        let end = self.scratch.len();
        let start = end;
        self.asks.push(Ask::Send { slot, start, end });
    }
}

/// How often timeouts are looked for, and the longest wait.
const CHECK_NS: u64 = 200_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// How often publishers that wait for deliveries look again.
const STALL_CHECK_NS: u64 = 5_000_000;
