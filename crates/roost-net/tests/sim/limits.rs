//! Limits hold, cost no iterations while they last, and end soon after their cause.

use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions, SimSocket};
use roost_net::{
    CloseCause, ConnKey, ConnectOptions, Driver, Event, ListenAddr, ListenOptions, SendStatus,
};

use crate::faults::{pair, until_quiet};
use crate::seeds;

fn listen(driver: &mut SimDriver, addr: &str, backlog: u32) -> SocketAddr {
    let options = ListenOptions {
        addr: ListenAddr::Tcp(addr.parse().unwrap()),
        backlog,
        reuse_port: false,
        exclusive: false,
        sharers: 0,
        want_peer: true,
    };
    driver.listen(&options).unwrap().1.tcp().unwrap()
}

fn connect(driver: &mut SimDriver, slot: u32, addr: SocketAddr) {
    let options = ConnectOptions { addr, local: None };
    driver.connect(ConnKey::new(slot, 0), &options).unwrap();
}

/// One iteration of a driver whose user keeps what it accepts.
fn gather(driver: &mut SimDriver, accepted: &mut Vec<SimSocket>) -> Vec<CloseCause> {
    driver.wait(None).unwrap();
    let mut ends = Vec::new();
    while let Some(event) = driver.next_event() {
        match event {
            Event::Accepted { socket, peer, .. } => {
                assert!(peer.is_some());
                accepted.push(socket);
            }
            Event::Closed(_, cause) => ends.push(cause),
            _ => {}
        }
    }
    ends
}

fn full_server(net: &SimNet, reset_at_limit: bool) -> (SimDriver, SimDriver, Vec<SimSocket>) {
    let mut server = net.driver(SimOptions {
        sockets_max: 3,
        reset_at_limit,
        ..SimOptions::default()
    });
    let mut client = net.driver(SimOptions::default());
    let addr = listen(&mut server, "127.0.0.1:0", 16);
    for slot in 0..5 {
        connect(&mut client, slot, addr);
    }
    (client, server, Vec::new())
}

#[test]
fn connections_wait_at_the_limit() {
    for seed in seeds(32) {
        let net = SimNet::new(seed, SimFaults::lossless());
        let (mut client, mut server, mut accepted) = full_server(&net, false);
        let mut iterations = 0;
        while net.step() {
            iterations += 1;
            if server.is_due() {
                gather(&mut server, &mut accepted);
            } else {
                gather(&mut client, &mut Vec::new());
            }
        }
        assert!(
            iterations < 200,
            "seed {seed}: {iterations} iterations at the limit"
        );
        assert_eq!(accepted.len(), 3, "seed {seed}");
        assert!(server.stats().accept_limit >= 1);
        assert_eq!(server.stats().accept_reset, 0);
        assert_eq!(net.leaks().backlog, 2);
        // One goes, one comes, within 10 ms.
        let freed = net.now();
        drop(accepted.pop());
        while accepted.len() < 3 {
            assert!(net.step(), "seed {seed}: forgot the backlog");
            assert!(net.now() - freed <= 10_000_000, "seed {seed}: too late");
            if server.is_due() {
                gather(&mut server, &mut accepted);
            } else {
                gather(&mut client, &mut Vec::new());
            }
        }
    }
}

#[test]
fn connections_are_reset_at_the_limit() {
    let net = SimNet::new(1, SimFaults::none());
    let (mut client, mut server, mut accepted) = full_server(&net, true);
    let mut ends = Vec::new();
    while net.step() {
        if server.is_due() {
            gather(&mut server, &mut accepted);
        } else {
            ends.extend(gather(&mut client, &mut Vec::new()));
        }
    }
    assert_eq!(ends, [CloseCause::Reset; 2]);
    assert_eq!(server.stats().accept_reset, 2);
    assert_eq!(accepted.len(), 3);
}

/// Without a listener a connect is refused; with one that does not accept it times out.
#[test]
fn attempts_that_fail() {
    let net = SimNet::new(1, SimFaults::none());
    let mut server = net.driver(SimOptions::default());
    let mut client = net.driver(SimOptions::default());
    let nowhere = "127.0.0.1:9".parse().unwrap();
    connect(&mut client, 0, nowhere);
    let ends = until_quiet(&net, [&mut client, &mut server]);
    assert_eq!(ends, [CloseCause::ConnectFailed(libc::ECONNREFUSED)]);

    let addr = listen(&mut server, "127.0.0.1:0", 1);
    server.set_accepting(false);
    for slot in 1..5 {
        connect(&mut client, slot, addr);
    }
    let ends = until_quiet(&net, [&mut client, &mut server]);
    assert_eq!(ends, [CloseCause::ConnectFailed(libc::ETIMEDOUT); 2]);
    assert_eq!(net.leaks().backlog, 2);
    // A client in the queue was never told of it.
    server.stop_listening();
    let ends = until_quiet(&net, [&mut client, &mut server]);
    assert_eq!(ends, [CloseCause::Reset; 2]);
    drop((server, client));
    net.run_to_end();
    assert!(net.leaks().is_none(), "{:?}", net.leaks());
}

#[test]
fn addresses_are_taken_once() {
    let net = SimNet::new(1, SimFaults::none());
    let mut driver = net.driver(SimOptions::default());
    let addr = listen(&mut driver, "0.0.0.0:0", 1);
    let clash = ListenOptions {
        addr: SocketAddr::new("127.0.0.1".parse().unwrap(), addr.port()).into(),
        backlog: 64,
        reuse_port: true,
        exclusive: false,
        sharers: 0,
        want_peer: false,
    };
    let error = driver.listen(&clash).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    driver.stop_listening();
    driver.listen(&clash).unwrap();
    let mut other = net.driver(SimOptions::default());
    other.listen(&clash).unwrap();
    // They share what comes.
    let mut client = net.driver(SimOptions::default());
    for slot in 0..64 {
        connect(&mut client, slot, clash.addr.tcp().unwrap());
    }
    until_quiet(&net, [&mut client, &mut driver, &mut other]);
    let (first, second) = (driver.stats().accepted, other.stats().accepted);
    assert_eq!(first + second, 64);
    assert!(first > 8 && second > 8, "{first} and {second}");
}

#[test]
fn one_buffer_serves_all_in_turn() {
    for seed in seeds(16) {
        let net = SimNet::new(seed, SimFaults::lossless());
        let mut server = net.driver(SimOptions {
            buffers: 1,
            read_buffer_bytes: 100,
            ..SimOptions::default()
        });
        let mut client = net.driver(SimOptions::default());
        let addr = listen(&mut server, "127.0.0.1:0", 64);
        for slot in 0..8 {
            connect(&mut client, slot, addr);
        }
        until_quiet(&net, [&mut client, &mut server]);
        for slot in 0..8 {
            client.send_copy(ConnKey::new(slot, 0), &[1; 5_000]);
        }
        until_quiet(&net, [&mut client, &mut server]);
        assert_eq!(server.stats().received_bytes, 40_000, "seed {seed}");
        assert!(server.stats().buffers_exhausted > 0, "seed {seed}");
    }
}

#[test]
fn wait_ends_when_its_time_is_over() {
    let net = SimNet::new(1, SimFaults::none());
    let mut driver = net.driver(SimOptions::default());
    driver.wait(Some(Duration::from_millis(25))).unwrap();
    assert!(!driver.is_due());
    let started = driver.now();
    assert_eq!(net.next_due(), Some(started + 25_000_000));
    assert!(net.step());
    assert!(driver.is_due());
    // The first call finds the wait over.
    assert_eq!(driver.now(), started + 25_000_000);
    driver.wait(None).unwrap();
    assert!(!net.step(), "nothing will ever happen");
    driver.waker().wake();
    assert!(net.step());
    assert!(matches!(driver.next_event(), Some(Event::Woken)));
}

/// Between two iterations that end with `wait`, a driver whose user did nothing must not be called.
#[test]
fn a_quiet_driver_is_not_called() {
    let net = SimNet::new(1, SimFaults::none());
    let (mut client, mut server, key) = pair(&net);
    assert!(!net.step());
    assert_eq!(client.send_copy(key, b"x"), SendStatus::Done);
    assert!(
        net.due().contains(&client.id()),
        "a client that sends is awake"
    );
    client.wait(None).unwrap();
    assert!(net.step());
    assert_eq!(net.due(), [server.id()]);
    assert!(matches!(server.next_event(), Some(Event::Bytes(..))));
    assert!(server.next_event().is_none());
    server.wait(None).unwrap();
    assert!(!net.step());
}
