//! Memory the kernel holds pointers to, when the driver goes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use roost_net::uring::UringDriver;
use roost_net::{Chunk, ConnKey, Driver, Event, SendStatus};

use crate::{BOTH, accepted, adopted, connect, driver, listen, until};

/// More than a connection takes whose peer does not read.
const FLOOD_BYTES: usize = 12 << 20;

#[test]
fn a_dropped_driver_gives_its_batches_back() {
    for slots in BOTH {
        let (mut driver, key) = (driver(slots), ConnKey::new(0, 0));
        let _peer = adopted(&mut driver, key);
        let bytes: Arc<[u8]> = vec![b'x'; FLOOD_BYTES].into();
        let chunks = [
            Chunk::new(Arc::clone(&bytes)),
            Chunk::new(Arc::clone(&bytes)),
        ];
        assert_eq!(driver.send(key, &chunks), SendStatus::Pending);
        drop(chunks);
        for _ in 0..5 {
            driver.wait(Some(Duration::from_millis(10))).expect("wait");
            while driver.next_event().is_some() {}
        }
        assert!(driver.unsent_bytes(key) > 0, "the peer reads nothing");
        assert_eq!(Arc::strong_count(&bytes), 3, "held while in flight");
        drop(driver);
        assert_eq!(Arc::strong_count(&bytes), 1, "given back, {slots:?}");
    }
}

#[test]
fn a_batch_that_was_never_submitted_is_given_back() {
    for slots in BOTH {
        let (mut driver, key) = (driver(slots), ConnKey::new(0, 0));
        let mut peer = adopted(&mut driver, key);
        let bytes: Arc<[u8]> = (*b"late").into();
        assert_eq!(
            driver.send(key, &[Chunk::new(Arc::clone(&bytes))]),
            SendStatus::Pending
        );
        drop(driver);
        assert_eq!(Arc::strong_count(&bytes), 1, "{slots:?}");
        // What was asked is done, even so.
        let mut received = Vec::new();
        peer.read_to_end(&mut received).expect("FIN");
        assert_eq!(received, b"late", "{slots:?}");
    }
}

#[test]
fn a_dropped_driver_closes_its_sockets() {
    for slots in BOTH {
        let mut driver = driver(slots);
        let mut kept = adopted(&mut driver, ConnKey::new(0, 0));
        let addr = listen(&mut driver, true);
        // Accepted by the kernel, and never seen by the caller.
        let mut unseen = connect(addr);
        for _ in 0..5 {
            driver.wait(Some(Duration::from_millis(5))).expect("wait");
        }
        drop(driver);
        for peer in [&mut kept, &mut unseen] {
            // A ring's end interrupts the thread that owned it, once.
            let result = loop {
                match peer.read(&mut [0; 8]) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            match result {
                Ok(n) => assert_eq!(n, 0, "FIN, {slots:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{slots:?}"),
            }
        }
    }
}

#[test]
fn dropped_on_another_thread_it_leaks_and_lives() {
    let (mut driver, key) = (driver(None), ConnKey::new(0, 0));
    let _peer = adopted(&mut driver, key);
    let bytes: Arc<[u8]> = vec![b'x'; FLOOD_BYTES].into();
    assert_eq!(
        driver.send(key, &[Chunk::new(Arc::clone(&bytes))]),
        SendStatus::Pending
    );
    driver.wait(Some(Duration::from_millis(10))).expect("wait");
    std::thread::spawn(move || drop(driver))
        .join()
        .expect("no panic");
    // The kernel refuses to be asked by that thread, so it is not known when it is done.
    assert_eq!(Arc::strong_count(&bytes), 2, "kept for the kernel");
}

/// Accepted connections in slots from 0 on, and their peers.
fn many(driver: &mut UringDriver, count: u32) -> Vec<TcpStream> {
    let addr = listen(driver, false);
    let peers = (0..count).map(|slot| {
        let peer = connect(addr);
        let (socket, _) = accepted(driver);
        let adopted = driver.adopt(ConnKey::new(slot, 0), socket);
        adopted.expect("the slot is free");
        peer
    });
    peers.collect()
}

/// Each peer sends something, and all of it is read.
fn burst(driver: &mut UringDriver, peers: &[TcpStream]) {
    for mut peer in peers {
        peer.write_all(b"hello").expect("it is read");
    }
    let mut received = 0;
    until(driver, "all", |event| {
        received += usize::from(matches!(event, Event::Bytes(..)));
        received == peers.len()
    });
}

#[test]
fn a_burst_leaves_little_behind_though_more_follow() {
    const PEERS: u32 = 60;
    for slots in BOTH {
        let mut driver = driver(slots);
        let peers = many(&mut driver, PEERS);
        for round in 0..3 {
            burst(&mut driver, &peers);
            for _ in 0..2 {
                let wait = driver.wait(Some(Duration::from_millis(150)));
                wait.expect("wait");
                while driver.next_event().is_some() {}
            }
            // Looked at in the last round, for looking gives back as well.
            if round == 2 {
                driver.shrink(); // what was needed until now stays
                let bytes = driver.shrink();
                assert!(bytes <= 16_384 * 34, "{bytes}, {slots:?}");
            }
        }
    }
}

#[test]
fn read_buffers_not_in_use_cost_nothing() {
    const PEERS: u32 = 40;
    for slots in BOTH {
        let mut driver = driver(slots);
        let peers = many(&mut driver, PEERS);
        for round in 0..2 {
            burst(&mut driver, &peers);
            driver.shrink(); // what was needed until now stays
            let bytes = driver.shrink();
            // Some may be in the ring: offered for a receive that found nothing. And where all came in
            // several waits, most have been given back between them.
            let least = 16_384 * 4;
            assert!(bytes >= least, "{bytes} in round {round}, {slots:?}");
            assert_eq!(driver.shrink(), 0, "given back once, {slots:?}");
        }
    }
}
