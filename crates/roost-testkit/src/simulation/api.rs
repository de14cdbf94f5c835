//! Publications of the control thread, as the HTTP API makes them, and raw clients that are subscribed
//! to their channels.
//!
//! What is promised: a publication that is answered with a place has been delivered once, and they come in
//! the order of their places; one that is refused is not delivered; of those with one idempotency key
//! one is. An answer may be lost, while the control thread does not read: then it was delivered once or
//! not at all.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, Event};
use roost_reactor::{Placement, Refusal};
use roost_wire::Opcode;
use roost_wire::frame::{append_masked_frame, split_frame};

use super::plan::{API_SUBSCRIBERS, Plan};

/// What was published by the control thread.
#[derive(Default)]
pub(super) struct Published {
    all: Vec<ApiPublication>,
}

struct ApiPublication {
    channel: usize,
    sent_at: u64,
    /// Which idempotency key it carries.
    key: Option<u64>,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unanswered,
    Refused,
    Placed(Placement),
}

impl Published {
    /// Notes one that is to be sent; its number is its payload.
    pub(super) fn add(&mut self, channel: usize, key: Option<u64>, sent_at: u64) -> usize {
        self.all.push(ApiPublication {
            channel,
            sent_at,
            key,
            outcome: Outcome::Unanswered,
        });
        self.all.len() - 1
    }

    /// The ring was full.
    pub(super) fn refuse(&mut self, number: usize) {
        self.all[number].outcome = Outcome::Refused;
    }

    /// What the home says.
    pub(super) fn answer(&mut self, number: usize, outcome: Result<Placement, Refusal>) {
        let before = self.all[number].outcome;
        assert_eq!(before, Outcome::Unanswered, "{number} is answered once");
        self.all[number].outcome = match outcome {
            Ok(place) => Outcome::Placed(place),
            Err(_) => Outcome::Refused,
        };
    }

    /// How many have a place.
    pub(super) fn placed(&self) -> u64 {
        let placed = self.all.iter();
        let placed = placed.filter(|one| matches!(one.outcome, Outcome::Placed(_)));
        placed.count() as u64
    }
}

/// The clients, on one simulated driver.
pub(super) struct Subscribers {
    driver: SimDriver,
    address: SocketAddr,
    all: Vec<Subscriber>,
}

struct Subscriber {
    channel: usize,
    holds_socket: bool,
    /// When the 101 came.
    opened_at: Option<u64>,
    /// Its connection ended before the script did.
    was_cut: bool,
    unread: Vec<u8>,
    received: Vec<usize>,
}

impl Subscribers {
    pub(super) fn new(driver: SimDriver, address: SocketAddr) -> Subscribers {
        let all = (0..API_SUBSCRIBERS).map(|index| Subscriber {
            channel: index % CHANNELS,
            holds_socket: false,
            opened_at: None,
            was_cut: false,
            unread: Vec::new(),
            received: Vec::new(),
        });
        let mut subscribers = Subscribers {
            driver,
            address,
            all: all.collect(),
        };
        subscribers.dial();
        subscribers.run_once(); // the driver must know the next due time
        subscribers
    }

    fn dial(&mut self) {
        for (index, one) in self.all.iter_mut().enumerate() {
            let port = PORT_FIRST + u16::try_from(index).expect("a few");
            let options = ConnectOptions {
                addr: self.address,
                local: Some(SocketAddr::from(([10, 0, 4, 1], port))),
            };
            one.holds_socket = self.driver.connect(key_of(index), &options).is_ok();
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    pub(super) fn run_once(&mut self) {
        let now = self.driver.now();
        let mut to_send = Vec::new();
        let mut ended = Vec::new();
        while let Some(event) = self.driver.next_event() {
            match event {
                Event::Connected(key) => {
                    let name = name_of(self.all[index_of(key)].channel);
                    to_send.push((key, request(&name)));
                }
                Event::Bytes(key, bytes) => {
                    let one = &mut self.all[index_of(key)];
                    one.unread.extend_from_slice(bytes);
                    let pongs = one.read(now);
                    if !pongs.is_empty() {
                        to_send.push((key, pongs));
                    }
                }
                Event::ReadClosed(key) => ended.push(key),
                Event::Closed(key, cause) => {
                    let one = &mut self.all[index_of(key)];
                    one.was_cut |= cause != CloseCause::Requested;
                    one.holds_socket = false;
                }
                Event::Sent(_) | Event::Woken | Event::Accepted { .. } | Event::Released(..) => {}
            }
        }
        for (key, bytes) in to_send {
            if self.all[index_of(key)].holds_socket {
                // Little enough to be taken.
                let _ = self.driver.send_copy(key, &bytes);
            }
        }
        for key in ended {
            let one = &mut self.all[index_of(key)];
            one.was_cut = true;
            if std::mem::take(&mut one.holds_socket) {
                self.driver.close(key, CloseMode::Graceful);
            }
        }
        let waited = self.driver.wait(None);
        waited.expect("a simulated wait does not fail");
    }

    /// All of them vanish.
    pub(super) fn abort_all(&mut self) {
        for index in 0..self.all.len() {
            if std::mem::take(&mut self.all[index].holds_socket) {
                self.driver.close(key_of(index), CloseMode::Abort);
            }
        }
    }

    /// # Errors
    /// The first promise found broken.
    pub(super) fn check(&self, published: &Published, plan: &Plan) -> Result<(), String> {
        for (index, one) in self.all.iter().enumerate() {
            let checked = one.check(published, plan.reliable && !one.was_cut);
            let channel = name_of(one.channel);
            checked.map_err(|what| format!("API subscriber {index} of {channel}: {what}"))?;
        }
        Ok(())
    }
}

impl Subscriber {
    /// Reads what has come whole; returns what it says to that.
    fn read(&mut self, now: u64) -> Vec<u8> {
        let mut pongs = Vec::new();
        if self.opened_at.is_none() {
            let head = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = head else {
                return pongs;
            };
            if !self.unread.starts_with(b"HTTP/1.1 101 ") {
                self.was_cut = true; // the server is draining, or has too many connections
                self.unread.clear();
                return pongs;
            }
            self.unread.drain(..end + 4);
            self.opened_at = Some(now);
        }
        while let Some((header, payload, rest)) = split_frame(&self.unread) {
            match header.opcode {
                Opcode::Text => {
                    let number = std::str::from_utf8(payload).ok();
                    let number = number.and_then(|text| text.parse().ok());
                    self.received.push(number.expect("a publication's number"));
                }
                Opcode::Ping => {
                    append_masked_frame(&mut pongs, Opcode::Pong, payload, [1, 2, 3, 4])
                }
                _ => self.was_cut = true, // a close frame
            }
            let used = self.unread.len() - rest.len();
            self.unread.drain(..used);
        }
        pongs
    }

    /// `has_all`: nothing that was published behind its 101 can be missing.
    fn check(&self, published: &Published, has_all: bool) -> Result<(), String> {
        let received: HashSet<usize> = self.received.iter().copied().collect();
        if received.len() < self.received.len() {
            return Err("something was delivered twice".to_owned());
        }
        let mine = published.all.iter().enumerate();
        let mine: Vec<_> = mine
            .filter(|(_, one)| one.channel == self.channel)
            .collect();
        let mut by_key: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut places: HashMap<usize, u64> = HashMap::new();
        for &(number, one) in &mine {
            match one.outcome {
                Outcome::Refused if received.contains(&number) => {
                    return Err(format!("{number} was refused and delivered"));
                }
                Outcome::Placed(place) if one.key.is_none() => {
                    places.insert(number, place.offset);
                    let is_due = self.opened_at.is_some_and(|at| at < one.sent_at);
                    if has_all && is_due && !received.contains(&number) {
                        return Err(format!("{number} has a place and was not delivered"));
                    }
                }
                _ => {}
            }
            if let Some(key) = one.key {
                by_key.entry(key).or_default().push(number);
            }
        }
        for (key, numbers) in by_key {
            self.check_repeats(published, key, &numbers, has_all, &mut places)?;
        }
        let known = self.received.iter().filter_map(|number| places.get(number));
        match known.is_sorted_by(|one, other| one < other) {
            true => Ok(()),
            false => Err("what came is not in the order of the places".to_owned()),
        }
    }

    /// Of publications with one key one is delivered, and all have its place.
    fn check_repeats(
        &self,
        published: &Published,
        key: u64,
        numbers: &[usize],
        has_all: bool,
        places: &mut HashMap<usize, u64>,
    ) -> Result<(), String> {
        let delivered: Vec<usize> = numbers
            .iter()
            .copied()
            .filter(|number| self.received.contains(number))
            .collect();
        if delivered.len() > 1 {
            return Err(format!(
                "{delivered:?} have one key, {key}, and were delivered"
            ));
        }
        let placed: Vec<(usize, Placement)> = numbers
            .iter()
            .filter_map(|&number| match published.all[number].outcome {
                Outcome::Placed(place) => Some((number, place)),
                _ => None,
            })
            .collect();
        let Some(&(_, place)) = placed.first() else {
            return Ok(());
        };
        if placed.iter().any(|&(_, other)| other != place) {
            return Err(format!(
                "publications with the key {key} have several places"
            ));
        }
        let first_sent = numbers
            .iter()
            .map(|&number| published.all[number].sent_at)
            .min();
        let is_due = self
            .opened_at
            .is_some_and(|at| first_sent.is_some_and(|sent| at < sent));
        if has_all && is_due && delivered.is_empty() {
            return Err(format!("none with the key {key} was delivered"));
        }
        places.extend(delivered.iter().map(|&number| (number, place.offset)));
        Ok(())
    }
}

/// What is published on: channels that nothing else uses.
pub(super) fn name_of(channel: usize) -> String {
    format!("api:{channel}")
}

/// A channel, and sometimes a key of a few.
pub(super) fn draw(rng: &mut SimRng) -> (usize, Option<u64>) {
    let channel = rng.below(CHANNELS as u64) as usize;
    let key = rng.per_mille(300).then(|| rng.below(KEYS));
    (channel, key)
}

fn request(channel: &str) -> Vec<u8> {
    let head = format!(
        "GET /raw/{channel} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    head.into_bytes()
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(u32::try_from(index).expect("a few"), 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

/// Channels that the control thread publishes on.
const CHANNELS: usize = 4;
/// Idempotency keys of each channel.
const KEYS: u64 = 40;
/// The port of the first.
const PORT_FIRST: u16 = 32_000;
