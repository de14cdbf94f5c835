//! Clients of event streams and of Centrifugo's protocol that lose their connections and come back, many of them at once, to
//! channels that keep less than is published meanwhile.
//!
//! What is promised: a client gets all that is published behind the position it has, once, in the
//! channel's order and each publisher's own, over all its connections; or it is told that something is
//! missing. All clients see the same publication at the same position. On a network that breaks no
//! connection, those that are connected at the end have it all.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use roost_dialect::sse::parse_id;
use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event, SendStatus};
use roost_reactor::Position;
use roost_reactor::{ChannelPolicy, Delta, Settings, SlowConsumer, policy_for_tests};
use roost_wire::Opcode;
use roost_wire::frame::split_frame;

use super::recovering_client::{Client, Published, Seen, Told};
use super::recovering_sockets::{REQUEST, Socket};
use super::recovering_streams::{SeenOf, Several};
use super::web_socket::append_frame;

/// A namespace for them; returns how many connections they have at once.
pub(super) fn add(seed: u64, settings: &mut Settings) -> usize {
    let mut rng = SimRng::new(seed ^ 0x7265_636f);
    let kept = ChannelPolicy {
        history_messages_max: rng.between(2, 40) as u32,
        history_bytes_max: [200, 100_000][rng.below(2) as usize],
        history_lifetime_ms: rng.between(300, 3_000) as u32,
        ..policy_for_tests()
    };
    let namespaces = &mut settings.channels.namespaces;
    let mut rng_sockets = SimRng::new(seed ^ 0x736f_636b);
    let of_sockets = ChannelPolicy {
        slow_consumer: [
            SlowConsumer::Close,
            SlowConsumer::DropOldest,
            SlowConsumer::DropNewest,
            SlowConsumer::Latest,
        ][rng_sockets.below(4) as usize],
        outbox_messages_max: rng_sockets.between(1, 30) as u32,
        delta: match seed % 4 {
            0 => Delta::Off,
            _ => Delta::Fossil,
        },
        ..kept.clone()
    };
    namespaces.push((NAMESPACE.to_owned(), kept));
    namespaces.push((NAMESPACE_OF_SOCKETS.to_owned(), of_sockets));
    if rng.per_mille(200) {
        settings.limits.history_bytes_max = 3_000;
    }
    PEERS
}

/// All of them, on one simulated driver.
pub(super) struct Recovering {
    driver: SimDriver,
    address: SocketAddr,
    rng: SimRng,
    end_ns: u64,
    peers: Vec<Peer>,
    /// When which peer acts.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    /// What stands at each position.
    published: HashMap<(usize, Position), Published>,
    failure: Option<String>,
    told: Told,
}

struct Peer {
    channel: usize,
    kind: Kind,
    /// Of its connection: a late event is another's.
    generation: u16,
    holds_socket: bool,
    /// The driver has its slot yet.
    has_slot: bool,
    connected: bool,
    is_stalled: bool,
    /// What it has sent is not taken yet.
    is_sending: bool,
    /// Pongs that are to be sent.
    pongs: Vec<u8>,
    has_head: bool,
    unread: Vec<u8>,
}

enum Kind {
    Publisher {
        sent: u32,
    },
    Client(Client),
    Socket(Client, Socket),
    /// A client of all channels of the namespace in one stream.
    Several(Several),
}

/// Lines up to an empty one.
#[derive(Debug, Default)]
struct Block {
    id: Option<Position>,
    name: String,
    data: String,
}

impl Recovering {
    pub(super) fn new(
        script: Range<u64>,
        driver: SimDriver,
        address: SocketAddr,
        mut rng: SimRng,
    ) -> Recovering {
        let mut agenda = BinaryHeap::new();
        let mut peers = Vec::new();
        for index in 0..PEERS {
            let (kind, channel) = match index {
                0..PUBLISHERS => (Kind::Publisher { sent: 0 }, index % (2 * CHANNELS)),
                PUBLISHERS..SOCKETS_FROM => (Kind::Client(Client::default()), index % CHANNELS),
                SOCKETS_FROM..SEVERAL_FROM => {
                    let kind = Kind::Socket(Client::default(), Socket::default());
                    (kind, CHANNELS + index % CHANNELS)
                }
                _ => {
                    let all = (0..CHANNELS).map(|channel| (channel, name_of(channel)));
                    (Kind::Several(Several::of(all)), 0)
                }
            };
            peers.push(Peer::new(channel, kind));
            agenda.push(Reverse((script.start + rng.below(FIRST_NS), index)));
        }
        let mut recovering = Recovering {
            driver,
            address,
            rng,
            end_ns: script.end - REST_NS,
            peers,
            agenda,
            published: HashMap::new(),
            failure: None,
            told: Told::default(),
        };
        recovering.run_once(); // the driver must know the next due time
        recovering
    }

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    pub(super) fn run_once(&mut self) {
        let mut ended = Vec::new();
        while let Some(event) = self.driver.next_event() {
            match event {
                Event::Connected(key) => {
                    let Some(peer) = peer_of(&mut self.peers, key) else {
                        continue;
                    };
                    peer.connected = true;
                    let request = peer.request();
                    peer.is_sending = self.driver.send_copy(key, &request) == SendStatus::Pending;
                }
                Event::Bytes(key, bytes) => {
                    let Some(peer) = peer_of(&mut self.peers, key) else {
                        continue;
                    };
                    peer.unread.extend_from_slice(bytes);
                    let mut seen = |channel, position, published| {
                        let before = self.published.entry((channel, position));
                        let before = *before.or_insert(published);
                        (before == published)
                            .then_some(())
                            .ok_or_else(|| format!("{before:?} and {published:?} at {position:?}"))
                    };
                    match peer.read((&mut self.told, &mut seen)) {
                        Ok(true) => peer.answer_pings(&mut self.driver, key),
                        Ok(false) => ended.push(key),
                        Err(what) => {
                            let index = key.slot();
                            let what =
                                format!("client {index} of channel {}: {what}", peer.channel);
                            self.failure.get_or_insert(what);
                        }
                    }
                }
                Event::ReadClosed(key) => ended.push(key),
                Event::Closed(key, _) => {
                    let peer = &mut self.peers[key.slot() as usize];
                    (peer.holds_socket, peer.has_slot) = (false, false);
                }
                Event::Sent(key) => {
                    if let Some(peer) = peer_of(&mut self.peers, key) {
                        peer.is_sending = false;
                        peer.answer_pings(&mut self.driver, key);
                    }
                }
                Event::Woken | Event::Accepted { .. } | Event::Released(..) => {}
            }
        }
        for key in ended {
            self.close(key.slot() as usize, CloseMode::Graceful);
        }
        let now = self.driver.now();
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            if let Some(later) = self.act(index, now) {
                self.agenda.push(Reverse((now + later, index)));
            }
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    /// What a peer does next; in how many nanoseconds it goes on.
    fn act(&mut self, index: usize, now: u64) -> Option<u64> {
        if !self.peers[index].holds_socket {
            if !self.peers[index].has_slot {
                self.dial(index);
            }
            return Some(SOON_NS);
        }
        let key = key_of(index, self.peers[index].generation);
        let peer = &mut self.peers[index];
        if std::mem::take(&mut peer.is_stalled) {
            self.driver.resume(key);
        }
        let is_over = now >= self.end_ns;
        match &mut peer.kind {
            Kind::Publisher { .. } if is_over => None,
            Kind::Publisher { sent } => {
                let mut bytes = Vec::new();
                let mut count = self.rng.below(4);
                if !peer.has_head || !peer.connected || peer.is_sending {
                    count = 0;
                }
                for _ in 0..count {
                    *sent += 1;
                    let filler = "\n".repeat(self.rng.below(3) as usize);
                    // Some are long enough for a delta to be worth it.
                    let width = if index.is_multiple_of(2) { 48 } else { 0 };
                    let text = format!("{index:0width$}.{sent}{filler}");
                    append_frame(&mut bytes, Opcode::Text, text.as_bytes());
                }
                if !bytes.is_empty() {
                    peer.is_sending = self.driver.send_copy(key, &bytes) == SendStatus::Pending;
                }
                Some(self.rng.between(1, 2 * PUBLISH_NS))
            }
            Kind::Client(_) | Kind::Socket(..) | Kind::Several(_) if is_over => Some(SOON_NS),
            Kind::Client(_) | Kind::Socket(..) | Kind::Several(_) => {
                match self.rng.below(100) {
                    0..25 => self.close(index, CloseMode::Abort),
                    25..32 => {
                        peer.is_stalled = true;
                        self.driver.pause(key);
                    }
                    // Many lose their network together.
                    32..36 => {
                        for other in PUBLISHERS..self.peers.len() {
                            self.close(other, CloseMode::Abort);
                        }
                    }
                    _ => {}
                }
                // Back at once, soon, or when much has been forgotten.
                let longest = [SOON_NS, 20 * SOON_NS, 200 * SOON_NS];
                let longest = longest[self.rng.below(3) as usize];
                Some(self.rng.between(1, longest))
            }
        }
    }

    fn dial(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.generation += 1;
        let port = PORT_FIRST + u16::try_from(index).expect("few");
        let options = ConnectOptions {
            addr: self.address,
            local: Some(SocketAddr::from(([10, 0, 5, 1], port))),
        };
        let key = key_of(index, peer.generation);
        peer.holds_socket = self.driver.connect(key, &options).is_ok();
        peer.has_slot = peer.holds_socket;
        (peer.connected, peer.has_head, peer.is_stalled) = (false, false, false);
        peer.is_sending = false;
        peer.pongs.clear();
        peer.unread.clear();
    }

    fn close(&mut self, index: usize, mode: CloseMode) {
        let peer = &mut self.peers[index];
        if std::mem::take(&mut peer.holds_socket) {
            self.driver.close(key_of(index, peer.generation), mode);
        }
    }

    /// All of them vanish.
    pub(super) fn abort_all(&mut self) {
        self.agenda.clear();
        for index in 0..self.peers.len() {
            self.close(index, CloseMode::Abort);
        }
    }

    /// How it was to come back. `has_all`: those that are connected have had the time to get it all.
    ///
    /// # Errors
    /// The first promise found broken.
    pub(super) fn check(&self, has_all: bool) -> Result<Told, String> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let places: Vec<(usize, Option<Position>)> = match &peer.kind {
                Kind::Publisher { .. } => continue,
                Kind::Client(client) | Kind::Socket(client, _) => vec![(peer.channel, client.at)],
                Kind::Several(several) => several.places().collect(),
            };
            for (of, at) in places {
                let positions = self.published.keys();
                let positions = positions.filter(|(channel, _)| *channel == of);
                let top = positions.map(|(_, position)| position.offset).max();
                let at = at.map(|position| position.offset);
                let is_there = peer.holds_socket && peer.has_head && !peer.is_stalled;
                if has_all && is_there && at < top {
                    return Err(format!(
                        "client {index} of channel {of} is at {at:?} of {top:?}"
                    ));
                }
            }
        }
        Ok(self.told)
    }
}

impl Peer {
    fn new(channel: usize, kind: Kind) -> Peer {
        Peer {
            channel,
            kind,
            generation: 0,
            holds_socket: false,
            has_slot: false,
            connected: false,
            is_stalled: false,
            is_sending: false,
            pongs: Vec::new(),
            has_head: false,
            unread: Vec::new(),
        }
    }

    fn channel_name(&self) -> String {
        name_of(self.channel)
    }

    fn request(&self) -> Vec<u8> {
        let channel = self.channel_name();
        let head = match &self.kind {
            Kind::Publisher { .. } => format!(
                "GET /raw/{channel} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
            Kind::Client(client) => {
                let id = client
                    .at
                    .map_or(String::new(), |Position { epoch, offset }| {
                        format!("Last-Event-ID: {epoch:016x}-{offset}\r\n")
                    });
                format!("GET /sse/{channel} HTTP/1.1\r\nHost: h\r\n{id}\r\n")
            }
            Kind::Socket(..) => REQUEST.to_owned(),
            Kind::Several(several) => several.request(),
        };
        head.into_bytes()
    }

    fn answer_pings(&mut self, driver: &mut SimDriver, key: ConnKey) {
        if !self.is_sending && !self.pongs.is_empty() {
            let pongs = std::mem::take(&mut self.pongs);
            self.is_sending = driver.send_copy(key, &pongs) == SendStatus::Pending;
        }
    }

    /// Reads what has come whole. False if the connection is of no use any more.
    fn read(&mut self, (told, seen_of): (&mut Told, SeenOf<'_>)) -> Result<bool, String> {
        let (number, channel) = (self.channel, self.channel_name());
        let seen: Seen<'_> = &mut |position, published| seen_of(number, position, published);
        if !self.has_head {
            let head = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = head else {
                return Ok(true);
            };
            let is_good = self.unread.starts_with(b"HTTP/1.1 200 ")
                || self.unread.starts_with(b"HTTP/1.1 101 ");
            if !is_good {
                return Ok(false);
            }
            self.unread.drain(..end + 4);
            self.has_head = true;
            match &mut self.kind {
                Kind::Publisher { .. } => {}
                Kind::Client(client) => client.begins = true,
                Kind::Socket(client, socket) => {
                    socket.begin(&channel, client.at, &mut self.pongs);
                }
                Kind::Several(several) => several.begin(),
            }
        }
        match &mut self.kind {
            Kind::Publisher { .. } => {
                // What others publish is of no interest, and a close frame ends it.
                while let Some((header, payload, rest)) = split_frame(&self.unread) {
                    if header.opcode == Opcode::Close {
                        return Ok(false);
                    }
                    if header.opcode == Opcode::Ping {
                        append_frame(&mut self.pongs, Opcode::Pong, payload);
                    }
                    let used = self.unread.len() - rest.len();
                    self.unread.drain(..used);
                }
                Ok(true)
            }
            Kind::Socket(client, socket) => {
                let (unread, out) = (&mut self.unread, &mut self.pongs);
                socket.read((unread, out), &channel, client, (told, seen))
            }
            Kind::Client(client) => {
                while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                    let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                    let block = String::from_utf8(block).map_err(|error| error.to_string())?;
                    client.handle(&Block::parse(&block)?, told, seen)?;
                }
                Ok(true)
            }
            Kind::Several(several) => several.read(&mut self.unread, (told, seen_of)),
        }
    }
}

impl Client {
    fn handle(&mut self, block: &Block, told: &mut Told, seen: Seen<'_>) -> Result<(), String> {
        let Some(id) = block.id else {
            return Ok(()); // a comment, or when to come back
        };
        let before = self.at.replace(id);
        if block.name == "roost.lost" {
            told.lost += 1;
            return Ok(());
        }
        if !block.name.is_empty() {
            return Err(format!("an event {:?}", block.name));
        }
        if block.data.is_empty() {
            // Where the stream begins: where it was, or a loss is told next.
            self.begins = false;
            if let Some(before) = before.filter(|&before| before != id) {
                if before.epoch != id.epoch {
                    return Err(format!("another epoch: {before:?}, {id:?}"));
                }
                if before.offset > id.offset {
                    return Err(format!("{id:?} behind {before:?}"));
                }
                self.at = Some(before); // until that is told
            } else if before.is_some() {
                told.came_back += 1;
            }
            return Ok(());
        }
        if self.begins {
            return Err("an event before the stream's beginning".to_owned());
        }
        let expected = before.map(|before| Position {
            offset: before.offset + 1,
            ..before
        });
        if expected != Some(id) {
            return Err(format!("{block:?} behind {before:?}"));
        }
        let published = self.take(&block.data)?;
        told.received += 1;
        seen(id, published)
    }
}

impl Block {
    fn parse(text: &str) -> Result<Block, String> {
        let mut block = Block::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some(("", _)) | Some(("retry", _)) => {}
                Some(("id", id)) => {
                    let id = parse_id(id.trim_start());
                    block.id = Some(id.ok_or_else(|| format!("an id in {text:?}"))?);
                }
                Some(("event", name)) => block.name = name.trim_start().to_owned(),
                Some(("data", data)) => {
                    block.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                    block.data.push('\n');
                }
                _ => return Err(format!("a line {line:?}")),
            }
        }
        Ok(block)
    }
}

fn name_of(channel: usize) -> String {
    let namespace = match channel {
        0..CHANNELS => NAMESPACE,
        _ => NAMESPACE_OF_SOCKETS,
    };
    format!("{namespace}:{channel}")
}

fn peer_of(peers: &mut [Peer], key: ConnKey) -> Option<&mut Peer> {
    let peer = peers.get_mut(key.slot() as usize)?;
    (peer.generation == key.generation() && peer.holds_socket).then_some(peer)
}

fn key_of(index: usize, generation: u16) -> ConnKey {
    ConnKey::new(u32::try_from(index).expect("few"), generation)
}

const NAMESPACE: &str = "recovered";
const NAMESPACE_OF_SOCKETS: &str = "sockets";
/// Of each namespace.
const CHANNELS: usize = 3;
const PUBLISHERS: usize = 12;
const CLIENTS: usize = 9;
/// The first of Centrifugo's clients, the first of streams of several channels, and behind the last.
const SOCKETS_FROM: usize = PUBLISHERS + CLIENTS;
const SEVERAL_FROM: usize = SOCKETS_FROM + 9;
const PEERS: usize = SEVERAL_FROM + 6;
/// When they come, at the latest.
const FIRST_NS: u64 = 500_000_000;
const SOON_NS: u64 = 10_000_000;
/// Between two publications of a publisher, about.
const PUBLISH_NS: u64 = 8_000_000;
/// Before the end of the script nothing is published any more, and all come back.
const REST_NS: u64 = 1_500_000_000;
/// The port of the first.
const PORT_FIRST: u16 = 33_000;
