//! One driver and its caller: keeps the connections' books and checks every event against the
//! contract.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use roost_net::{
    Chunk, CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, Event, ListenerId, SendStatus,
};

use crate::stream::Stream;

/// A driver with its caller.
pub(crate) struct Host<D: Driver> {
    pub(crate) driver: D,
    /// All connections there ever were.
    conns: HashMap<ConnKey, Conn<D::Socket>>,
    free: Vec<ConnKey>,
    slots: u32,
    read_buffer_bytes: usize,
    /// Accepted and not yet adopted.
    pub(crate) accepted: VecDeque<Accepted<D::Socket>>,
    /// Adopt what is accepted at once.
    pub(crate) auto_adopt: bool,
    /// Greet what is adopted with one byte, echo, and answer FIN with close.
    pub(crate) serves: bool,
    /// The keys adopted so, in order.
    pub(crate) adopted: Vec<ConnKey>,
    /// Woken events seen.
    pub(crate) woken: u64,
    /// Keys of Bytes events in the order seen.
    pub(crate) bytes_events: Vec<ConnKey>,
}

/// An accepted socket.
pub(crate) struct Accepted<S> {
    pub(crate) listener: ListenerId,
    pub(crate) socket: S,
    pub(crate) peer: Option<SocketAddr>,
}

/// What is known of a connection.
pub(crate) struct Conn<S> {
    /// Received bytes; empty when `expect` says they are only compared.
    pub(crate) received: Vec<u8>,
    pub(crate) received_bytes: u64,
    /// The stream that must arrive.
    pub(crate) expect: Option<Stream>,
    pub(crate) connected: bool,
    pub(crate) read_closed: bool,
    pub(crate) paused: bool,
    /// A send was Pending, and Sent has not come.
    pub(crate) in_flight: bool,
    /// Sent events.
    pub(crate) sent: u32,
    pub(crate) closed: Option<CloseCause>,
    pub(crate) released: Option<S>,
    /// The last event has come.
    pub(crate) ended: bool,
    close_asked: bool,
    fin_asked: bool,
    echo: bool,
    outbox: Vec<u8>,
}

impl<D: Driver> Host<D> {
    pub(crate) fn new(driver: D, read_buffer_bytes: usize) -> Host<D> {
        Host {
            driver,
            conns: HashMap::new(),
            free: Vec::new(),
            slots: 0,
            read_buffer_bytes,
            accepted: VecDeque::new(),
            auto_adopt: true,
            serves: false,
            adopted: Vec::new(),
            woken: 0,
            bytes_events: Vec::new(),
        }
    }

    /// A key that is free; a slot that has become free is used at once.
    pub(crate) fn new_key(&mut self) -> ConnKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            // So that the generation wraps in every test that uses a slot twice.
            ConnKey::new(self.slots - 1, u16::MAX)
        });
        assert!(
            self.conns.get(&key).is_none_or(|conn| conn.ended),
            "{key:?} is in use"
        );
        self.conns.insert(key, Conn::new());
        key
    }

    pub(crate) fn conn(&self, key: ConnKey) -> &Conn<D::Socket> {
        self.conns
            .get(&key)
            .unwrap_or_else(|| panic!("{key:?} was never used"))
    }

    pub(crate) fn conn_mut(&mut self, key: ConnKey) -> &mut Conn<D::Socket> {
        self.conns
            .get_mut(&key)
            .unwrap_or_else(|| panic!("{key:?} was never used"))
    }

    /// Keys that have not had their last event.
    pub(crate) fn live_keys(&self) -> Vec<ConnKey> {
        let mut keys: Vec<ConnKey> = self
            .conns
            .iter()
            .filter(|(_, conn)| !conn.ended)
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        keys
    }

    pub(crate) fn adopt(&mut self, socket: D::Socket) -> ConnKey {
        let key = self.new_key();
        self.driver.adopt(key, socket).expect("adopt");
        self.conn_mut(key).connected = true;
        key
    }

    pub(crate) fn connect(&mut self, addr: SocketAddr, local: Option<SocketAddr>) -> ConnKey {
        let key = self.new_key();
        self.driver
            .connect(key, &ConnectOptions { addr, local })
            .expect("connect");
        key
    }

    pub(crate) fn send_copy(&mut self, key: ConnKey, bytes: &[u8]) -> SendStatus {
        let status = self.driver.send_copy(key, bytes);
        self.note_send(key, status)
    }

    pub(crate) fn send(&mut self, key: ConnKey, chunks: &[Chunk]) -> SendStatus {
        let status = self.driver.send(key, chunks);
        self.note_send(key, status)
    }

    fn note_send(&mut self, key: ConnKey, status: SendStatus) -> SendStatus {
        let conn = self.conn_mut(key);
        if status == SendStatus::Pending {
            assert!(
                !conn.in_flight,
                "{key:?}: Pending while a batch was in flight"
            );
            assert!(
                !conn.close_asked && !conn.fin_asked,
                "{key:?}: Pending after close or FIN"
            );
            conn.in_flight = true;
        }
        status
    }

    pub(crate) fn pause(&mut self, key: ConnKey) {
        self.conn_mut(key).paused = true;
        self.driver.pause(key);
    }

    pub(crate) fn resume(&mut self, key: ConnKey) {
        self.conn_mut(key).paused = false;
        self.driver.resume(key);
    }

    pub(crate) fn shutdown_write(&mut self, key: ConnKey) {
        self.conn_mut(key).fin_asked = true;
        self.driver.shutdown_write(key);
    }

    pub(crate) fn close(&mut self, key: ConnKey, mode: CloseMode) {
        self.conn_mut(key).close_asked = true;
        self.driver.close(key, mode);
    }

    pub(crate) fn release(&mut self, key: ConnKey) {
        self.driver.release(key);
    }

    /// Sends back what arrives.
    pub(crate) fn echo(&mut self, key: ConnKey) {
        self.conn_mut(key).echo = true;
    }

    /// Handles all events of an iteration. False when there were none.
    pub(crate) fn pump(&mut self) -> bool {
        let mut events = 0;
        let mut echoes = Vec::new();
        let mut ends = Vec::new();
        while let Some(event) = self.driver.next_event() {
            events += 1;
            let key = match event {
                Event::Woken => {
                    self.woken += 1;
                    continue;
                }
                Event::Accepted {
                    listener,
                    socket,
                    peer,
                } => {
                    if self.auto_adopt {
                        let key = self.adopt(socket);
                        self.adopted.push(key);
                        if self.serves {
                            self.echo(key);
                            self.send_copy(key, b"!");
                        }
                    } else {
                        self.accepted.push_back(Accepted {
                            listener,
                            socket,
                            peer,
                        });
                    }
                    continue;
                }
                Event::Connected(key)
                | Event::Bytes(key, _)
                | Event::ReadClosed(key)
                | Event::Sent(key)
                | Event::Closed(key, _)
                | Event::Released(key, _) => key,
            };
            let Some(conn) = self.conns.get_mut(&key) else {
                panic!("an event for {key:?}, which was never used");
            };
            assert_eq!(key.op(), 0, "{key:?}: the operation is the driver's own");
            assert!(!conn.ended, "{key:?}: an event after the last");
            if conn.close_asked {
                let last = matches!(event, Event::Closed(..));
                assert!(last, "{key:?}: {} after close", kind_of(&event));
            }
            match event {
                Event::Connected(_) => {
                    assert!(
                        !conn.connected,
                        "{key:?}: Connected twice, or though adopted"
                    );
                    conn.connected = true;
                }
                Event::Bytes(_, bytes) => {
                    assert!(conn.connected, "{key:?}: bytes before Connected");
                    assert!(!conn.read_closed, "{key:?}: bytes after FIN");
                    let n = bytes.len();
                    assert!(n > 0, "{key:?}: no bytes in Bytes");
                    assert!(
                        n <= self.read_buffer_bytes,
                        "{key:?}: {n} bytes in one event"
                    );
                    conn.take(key, bytes);
                    self.bytes_events.push(key);
                    // The lease is ours to spoil.
                    bytes.fill(0xee);
                    if conn.echo {
                        echoes.push(key);
                    }
                }
                Event::ReadClosed(_) => {
                    assert!(conn.connected, "{key:?}: FIN before Connected");
                    assert!(!conn.read_closed, "{key:?}: FIN told twice");
                    assert!(!conn.paused, "{key:?}: FIN told while paused");
                    conn.read_closed = true;
                    if self.serves {
                        ends.push(key);
                    }
                }
                Event::Sent(_) => {
                    assert!(conn.in_flight, "{key:?}: Sent, and nothing was in flight");
                    conn.in_flight = false;
                    conn.sent += 1;
                    if conn.echo {
                        echoes.push(key);
                    }
                }
                Event::Closed(_, cause) => {
                    conn.closed = Some(cause);
                    conn.end();
                    self.free.push(next_generation(key));
                }
                Event::Released(_, socket) => {
                    assert!(!conn.in_flight, "{key:?}: released with a batch in flight");
                    conn.released = Some(socket);
                    conn.end();
                    self.free.push(next_generation(key));
                }
                Event::Woken | Event::Accepted { .. } => unreachable!("handled above"),
            }
        }
        for key in echoes {
            let conn = self.conn_mut(key);
            if !conn.in_flight && !conn.ended && !conn.outbox.is_empty() {
                let bytes = std::mem::take(&mut conn.outbox);
                self.send_copy(key, &bytes);
            }
        }
        for key in ends {
            if !self.conn(key).ended {
                self.close(key, CloseMode::Graceful);
            }
        }
        events > 0
    }
}

impl<S> Conn<S> {
    fn new() -> Conn<S> {
        Conn {
            received: Vec::new(),
            received_bytes: 0,
            expect: None,
            connected: false,
            read_closed: false,
            paused: false,
            in_flight: false,
            sent: 0,
            closed: None,
            released: None,
            ended: false,
            close_asked: false,
            fin_asked: false,
            echo: false,
            outbox: Vec::new(),
        }
    }

    fn take(&mut self, key: ConnKey, bytes: &[u8]) {
        match self.expect {
            Some(stream) => {
                if let Err(at) = stream.check(self.received_bytes, bytes) {
                    panic!("{key:?}: byte {at} is not the one sent");
                }
            }
            None => self.received.extend_from_slice(bytes),
        }
        self.received_bytes += bytes.len() as u64;
        if self.echo {
            self.outbox.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.in_flight = false;
    }
}

fn next_generation(key: ConnKey) -> ConnKey {
    ConnKey::new(key.slot(), key.generation().wrapping_add(1))
}

fn kind_of<S>(event: &Event<'_, S>) -> &'static str {
    match event {
        Event::Accepted { .. } => "Accepted",
        Event::Connected(_) => "Connected",
        Event::Bytes(..) => "Bytes",
        Event::ReadClosed(_) => "ReadClosed",
        Event::Sent(_) => "Sent",
        Event::Closed(..) => "Closed",
        Event::Released(..) => "Released",
        Event::Woken => "Woken",
    }
}
