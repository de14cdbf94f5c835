//! Clients that come by a listener that does not serve them, on seeds with several.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimRng};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event};
use roost_wire::handshake::ClientRequest;

use super::listeners::{ORIGIN_ELSEWHERE, ORIGIN_TCP, ORIGIN_UNIX, TCP, UNIX};
use super::plan::Plan;

/// Clients that a listener refuses, and another one would not.
pub(super) struct Strangers {
    driver: SimDriver,
    addresses: Vec<SocketAddr>,
    all: Vec<Stranger>,
    /// When which dials.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
}

struct Stranger {
    case: Case,
    holds_socket: bool,
    answer: Vec<u8>,
}

/// What a client asks for, by which listener, and the status it gets.
#[derive(Debug, Clone, Copy)]
struct Case {
    listener: usize,
    target: &'static str,
    origin: Option<&'static str>,
    status: u16,
}

impl Strangers {
    /// Of each case some, if the plan has several listeners.
    pub(super) fn new(
        plan: &Plan,
        driver: SimDriver,
        addresses: Vec<SocketAddr>,
        mut rng: SimRng,
    ) -> Strangers {
        let (mut all, mut agenda) = (Vec::new(), BinaryHeap::new());
        for index in 0..plan.strangers {
            all.push(Stranger {
                case: CASES[index % CASES.len()],
                holds_socket: false,
                answer: Vec::new(),
            });
            let at = plan.start_ns + rng.below(plan.end_ns - plan.start_ns);
            agenda.push(Reverse((at, index)));
        }
        let mut strangers = Strangers {
            driver,
            addresses,
            all,
            agenda,
        };
        strangers.run_once(); // the driver must know the next due time
        strangers
    }

    pub(super) fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    pub(super) fn run_once(&mut self) {
        while let Some(event) = self.driver.next_event() {
            match event {
                Event::Connected(key) => {
                    let request = self.all[index_of(key)].case.request();
                    // The network may have broken it by now; then `Closed` follows.
                    let _ = self.driver.send_copy(key, &request);
                }
                Event::Bytes(key, bytes) => {
                    self.all[index_of(key)].answer.extend_from_slice(bytes);
                }
                Event::ReadClosed(key) => {
                    if std::mem::take(&mut self.all[index_of(key)].holds_socket) {
                        self.driver.close(key, CloseMode::Graceful);
                    }
                }
                Event::Closed(key, _) => self.all[index_of(key)].holds_socket = false,
                Event::Sent(_) | Event::Woken | Event::Accepted { .. } | Event::Released(..) => {}
            }
        }
        let now = self.driver.now();
        while let Some(&Reverse((at, index))) = self.agenda.peek()
            && at <= now
        {
            self.agenda.pop();
            let options = ConnectOptions {
                addr: self.addresses[self.all[index].case.listener],
                local: None,
            };
            let connected = self.driver.connect(key_of(index), &options);
            self.all[index].holds_socket = connected.is_ok();
        }
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        let waited = self.driver.wait(timeout);
        waited.expect("a simulated wait does not fail");
    }

    /// Each was refused with the status that its listener has for it; on a network that breaks
    /// connections it may have got no answer. `origins_refused` is what the server has counted.
    pub(super) fn check(&mut self, plan: &Plan, origins_refused: u64) -> Result<(), String> {
        for stranger in &self.all {
            let answer = String::from_utf8_lossy(&stranger.answer);
            let status = answer.split(' ').nth(1);
            let status = status.and_then(|status| status.parse::<u16>().ok());
            if status != Some(stranger.case.status) && (plan.reliable || status.is_some()) {
                let case = stranger.case;
                return Err(format!("{case:?} was answered with {status:?}"));
            }
        }
        let forbidden = self.all.iter().filter(|one| one.case.status == 403).count();
        if plan.reliable && origins_refused != forbidden as u64 {
            return Err(format!(
                "{origins_refused} origins were refused, with cause for {forbidden}"
            ));
        }
        Ok(())
    }

    /// Closes all sockets that are left: a connection may have gone silent.
    pub(super) fn abort_all(&mut self) {
        for index in 0..self.all.len() {
            if std::mem::take(&mut self.all[index].holds_socket) {
                self.driver.close(key_of(index), CloseMode::Abort);
            }
        }
    }
}

impl Case {
    fn request(&self) -> Vec<u8> {
        let protocols: &[&str] = match self.target {
            "/wamp" => &["wamp.2.json"],
            _ => &[],
        };
        let mut request = Vec::new();
        ClientRequest {
            host: "roost.test",
            target: self.target,
            key: "dGhlIHNhbXBsZSBub25jZQ==",
            protocols,
            extensions: None,
            origin: self.origin,
        }
        .write(&mut request);
        request
    }
}

fn key_of(index: usize) -> ConnKey {
    ConnKey::new(index as u32, 1)
}

fn index_of(key: ConnKey) -> usize {
    key.slot() as usize
}

/// Dialects that a listener does not serve, and origins that only another one lets in.
const CASES: [Case; 7] = [
    case(TCP, "/raw/all:0", None, 404),
    case(TCP, "/raw/all:0", Some(ORIGIN_TCP), 404),
    case(TCP, "/wamp", Some(ORIGIN_UNIX), 403),
    case(TCP, "/echo", Some(ORIGIN_ELSEWHERE), 403),
    case(UNIX, "/wamp", None, 404),
    case(UNIX, "/echo", Some(ORIGIN_UNIX), 404),
    case(UNIX, "/raw/all:0", Some(ORIGIN_TCP), 403),
];
const fn case(
    listener: usize,
    target: &'static str,
    origin: Option<&'static str>,
    status: u16,
) -> Case {
    Case {
        listener,
        target,
        origin,
        status,
    }
}
