//! What a caller must not do, and how the simulator says so. Each test undoes to the same call made
//! in time, which is allowed.

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use roost_net::{CloseMode, ConnKey, Driver, Event, SendStatus};

use crate::faults::{pair, until_quiet};

fn quiet_pair() -> (SimNet, SimDriver, SimDriver, ConnKey) {
    let net = SimNet::new(1, SimFaults::none());
    let (client, server, key) = pair(&net);
    (net, client, server, key)
}

#[test]
#[should_panic(expected = "while a batch is in flight")]
fn two_batches_at_once() {
    let (_net, mut client, _server, key) = quiet_pair();
    assert_eq!(client.send_copy(key, &[0; 200_000]), SendStatus::Pending);
    client.send_copy(key, b"more");
}

/// The kernel has taken it all, but the caller has not looked yet.
#[test]
#[should_panic(expected = "while a batch is in flight")]
fn a_batch_before_sent_was_seen() {
    let (net, mut client, mut server, key) = quiet_pair();
    assert_eq!(client.send_copy(key, &[0; 100_000]), SendStatus::Pending);
    while client.unsent_bytes(key) > 0 {
        client.wait(None).unwrap();
        server.wait(None).unwrap();
        while server.next_event().is_some() {}
        assert!(net.step());
    }
    client.send_copy(key, b"more");
}

#[test]
#[should_panic(expected = "names no live connection")]
fn a_call_after_closed() {
    let (net, mut client, mut server, key) = quiet_pair();
    client.close(key, CloseMode::Abort);
    until_quiet(&net, [&mut client, &mut server]);
    client.shutdown_write(key);
}

#[test]
#[should_panic(expected = "wait for Closed")]
fn a_slot_given_away_before_closed_was_seen() {
    let (_net, mut client, _server, key) = quiet_pair();
    client.close(key, CloseMode::Abort);
    let next = ConnKey::new(key.slot(), key.generation() + 1);
    let addr = "127.0.0.1:1".parse().unwrap();
    let options = roost_net::ConnectOptions { addr, local: None };
    client.connect(next, &options).unwrap();
}

#[test]
#[should_panic(expected = "take another generation")]
fn a_key_given_away_twice() {
    let (net, mut client, mut server, key) = quiet_pair();
    client.close(key, CloseMode::Abort);
    until_quiet(&net, [&mut client, &mut server]);
    let addr = "127.0.0.1:1".parse().unwrap();
    let options = roost_net::ConnectOptions { addr, local: None };
    client.connect(key, &options).unwrap();
}

#[test]
#[should_panic(expected = "after shutdown_write")]
fn a_send_after_fin() {
    let (_net, mut client, _server, key) = quiet_pair();
    client.shutdown_write(key);
    client.send_copy(key, b"late");
}

#[test]
#[should_panic(expected = "before Connected")]
fn a_send_before_connected() {
    let (_net, mut client, _server, _key) = quiet_pair();
    let addr = "127.0.0.1:1".parse().unwrap();
    let options = roost_net::ConnectOptions { addr, local: None };
    client.connect(ConnKey::new(0, 0), &options).unwrap();
    client.send_copy(ConnKey::new(0, 0), b"early");
}

#[test]
#[should_panic(expected = "belongs to one SimNet")]
fn a_socket_of_another_net() {
    let (_net, mut client, _server, key) = quiet_pair();
    client.release(key);
    client.wait(None).unwrap();
    let Some(Event::Released(_, socket)) = client.next_event() else {
        panic!("released at once");
    };
    let mut foreign = SimNet::new(1, SimFaults::none()).driver(SimOptions::default());
    foreign.refuse(socket);
}

/// Without `strict` the contract's own consequences follow.
#[test]
fn a_tolerant_driver_counts() {
    let net = SimNet::new(1, SimFaults::none());
    let mut driver = net.driver(SimOptions {
        strict: false,
        ..SimOptions::default()
    });
    let key = ConnKey::new(3, 1);
    assert_eq!(driver.send_copy(key, b"no peer"), SendStatus::Gone);
    driver.pause(key);
    driver.resume(key);
    driver.shutdown_write(key);
    driver.release(key);
    driver.close(key, CloseMode::Abort);
    assert_eq!(driver.unsent_bytes(key), 0);
    assert_eq!(driver.peer_addr(key), None);
    assert_eq!(driver.stats().stale, 8);
    driver.wait(None).unwrap();
    assert!(driver.next_event().is_none());
}
