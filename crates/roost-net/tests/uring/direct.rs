//! Sockets in slots of the ring's own table.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use roost_net::{CloseCause, CloseMode, ConnKey, Driver, Event};

use crate::{accepted, connect, connect_to, driver, listen, std_listener, until};

#[test]
fn a_socket_dropped_by_another_thread_is_closed() {
    let mut driver = driver(Some(8));
    let addr = listen(&mut driver, false);
    let mut peer = connect(addr);
    let (socket, _) = accepted(&mut driver);
    let dropper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(socket);
    });
    // The drop ends this wait, and the next submits the close.
    until(&mut driver, "the drop", |event| {
        matches!(event, Event::Woken)
    });
    driver.wait(Some(Duration::ZERO)).expect("wait");
    assert_eq!(peer.read(&mut [0; 8]).expect("FIN"), 0);
    dropper.join().expect("dropped");
}

#[test]
fn a_socket_outlives_its_driver() {
    let mut driver = driver(Some(8));
    let addr = listen(&mut driver, false);
    let _peer = connect(addr);
    let (socket, _) = accepted(&mut driver);
    drop(driver);
    drop(socket);
}

#[test]
fn another_ring_refuses_a_slot() {
    let (mut one, mut other) = (driver(Some(8)), driver(Some(8)));
    let addr = listen(&mut one, false);
    let mut peer = connect(addr);
    let (socket, _) = accepted(&mut one);
    let error = other
        .adopt(ConnKey::new(0, 0), socket)
        .expect_err("not its own");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // And so it was dropped, which closes it.
    one.wait(Some(Duration::ZERO)).expect("wait");
    assert_eq!(peer.read(&mut [0; 8]).expect("FIN"), 0);
}

#[test]
fn no_slot_for_a_connect() {
    let mut driver = driver(Some(2));
    let (_listener, addr) = std_listener();
    for slot in 0..3 {
        driver
            .connect(ConnKey::new(slot, 0), &connect_to(addr))
            .expect("the key is free");
    }
    let (mut connected, mut failed) = (0, None);
    until(&mut driver, "two connections and a failure", |event| {
        match event {
            Event::Connected(_) => connected += 1,
            Event::Closed(key, cause) => failed = Some((key.slot(), cause)),
            _ => {}
        }
        connected == 2 && failed.is_some()
    });
    assert_eq!(failed, Some((2, CloseCause::ConnectFailed(23))), "ENFILE");
    // The slots are used again.
    for slot in 0..2 {
        driver.close(ConnKey::new(slot, 0), CloseMode::Graceful);
    }
    let mut closed = 0;
    until(&mut driver, "two ends", |event| {
        closed += u32::from(matches!(event, Event::Closed(..)));
        closed == 2
    });
    driver
        .connect(ConnKey::new(0, 1), &connect_to(addr))
        .expect("the key is free");
    until(&mut driver, "Connected", |event| {
        matches!(event, Event::Connected(_))
    });
}

#[test]
fn a_full_table_lets_in_as_many_as_leave() {
    const SLOTS: u32 = 4;
    let mut driver = driver(Some(SLOTS));
    let addr = listen(&mut driver, true);
    let (mut peers, mut generations) = (Vec::new(), [0; SLOTS as usize]);
    for slot in 0..SLOTS {
        peers.push(connect(addr));
        let (socket, peer) = accepted(&mut driver);
        assert_eq!(
            peer,
            Some(peers[slot as usize].local_addr().expect("connected"))
        );
        driver
            .adopt(ConnKey::new(slot, 0), socket)
            .expect("the key is free");
    }
    for round in 1..=20 {
        // No connection is accepted and closed again for want of a slot: reset, with the reset counted.
        let mut late = connect(addr);
        let before = driver.stats().accept_reset;
        while driver.stats().accept_reset == before {
            driver.wait(Some(Duration::from_millis(10))).expect("wait");
            assert!(driver.next_event().is_none(), "let in without a slot");
        }
        let error = late.read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "round {round}");

        let slot = round % SLOTS;
        let leaving = ConnKey::new(slot, generations[slot as usize]);
        driver.close(leaving, CloseMode::Graceful);
        until(&mut driver, "Closed", |event| {
            matches!(event, Event::Closed(..))
        });
        peers[slot as usize] = connect(addr);
        let (socket, _) = accepted(&mut driver);
        generations[slot as usize] += 1;
        let key = ConnKey::new(slot, generations[slot as usize]);
        driver.adopt(key, socket).expect("the key is free");
        peers[slot as usize].write_all(b"here").expect("connected");
        until(
            &mut driver,
            "Bytes",
            |event| matches!(event, Event::Bytes(of, bytes) if of == key && bytes == b"here"),
        );
    }
    assert_eq!(driver.stats().accept_reset, 20);
}
