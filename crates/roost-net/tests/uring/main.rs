//! What is io_uring's alone, beside the contract that `tests/conformance` asks of every backend:
//! refusals that name the remedy, small queues, direct descriptors, and memory given back.

mod direct;
mod memory;
mod options;
mod queues;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use roost_net::uring::{UringDriver, UringOptions, UringSocket};
use roost_net::{ConnKey, ConnectOptions, Driver, Event, ListenAddr, ListenOptions};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// With ordinary and with direct descriptors.
const BOTH: [Option<u32>; 2] = [None, Some(64)];

fn driver(direct_slots: Option<u32>) -> UringDriver {
    let options = UringOptions {
        direct_slots,
        ..UringOptions::default()
    };
    UringDriver::new(&options).unwrap_or_else(|error| panic!("{error}"))
}

fn listen(driver: &mut UringDriver, want_peer: bool) -> SocketAddr {
    let options = ListenOptions {
        addr: ListenAddr::Tcp("127.0.0.1:0".parse().expect("an address")),
        backlog: 1_024,
        reuse_port: false,
        exclusive: false,
        sharers: 0,
        want_peer,
    };
    let (_, addr) = driver.listen(&options).expect("loopback listens");
    addr.tcp().expect("a TCP address")
}

fn connect_to(addr: SocketAddr) -> ConnectOptions {
    ConnectOptions { addr, local: None }
}

/// Turns the driver until `seen` says that an event is the one waited for.
fn until(
    driver: &mut UringDriver,
    what: &str,
    mut seen: impl FnMut(Event<'_, UringSocket>) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        driver.wait(Some(Duration::from_millis(100))).expect("wait");
        let mut found = false;
        while let Some(event) = driver.next_event() {
            found |= seen(event);
        }
        if found {
            return;
        }
    }
}

/// Waits for one accepted socket.
fn accepted(driver: &mut UringDriver) -> (UringSocket, Option<SocketAddr>) {
    let mut found = None;
    until(driver, "a new connection", |event| {
        if let Event::Accepted { socket, peer, .. } = event {
            found = Some((socket, peer));
        }
        found.is_some()
    });
    found.expect("just seen")
}

/// A connection adopted under `key`, and its other end.
fn adopted(driver: &mut UringDriver, key: ConnKey) -> TcpStream {
    let addr = listen(driver, false);
    let peer = connect(addr);
    let (socket, _) = accepted(driver);
    driver.adopt(key, socket).expect("the slot is free");
    peer
}

fn connect(addr: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(addr).expect("the backlog has room");
    peer.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    peer
}

fn std_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback listens");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}
