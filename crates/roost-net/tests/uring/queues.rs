//! Queues and buffers of the least size.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use roost_net::uring::{UringDriver, UringOptions};
use roost_net::{Chunk, CloseMode, ConnKey, Driver, Event, SendStatus};

use crate::{DEADLINE, accepted, connect, listen, until};

const CONNECTIONS: u32 = 300;

/// A driver with queues of eight entries, one buffer of seven bytes, and many connections.
fn with_many_peers(direct: bool) -> (UringDriver, Vec<TcpStream>) {
    let options = UringOptions {
        entries: 8,
        cq_entries: 8,
        buffers: 1,
        buffer_bytes: 7,
        direct_slots: direct.then_some(CONNECTIONS),
    };
    let mut driver = UringDriver::new(&options).unwrap_or_else(|error| panic!("{error}"));
    let addr = listen(&mut driver, false);
    let mut peers = Vec::new();
    for slot in 0..CONNECTIONS {
        peers.push(connect(addr));
        let (socket, _) = accepted(&mut driver);
        driver
            .adopt(ConnKey::new(slot, 0), socket)
            .expect("the slot is free");
    }
    (driver, peers)
}

#[test]
fn a_fanout_is_larger_than_the_queues() {
    for direct in [false, true] {
        let (mut driver, mut peers) = with_many_peers(direct);
        let message: Arc<[u8]> = (*b"to all peers").into();
        let chunk = Chunk::new(Arc::clone(&message));
        for round in 0..3 {
            for slot in 0..CONNECTIONS {
                let key = ConnKey::new(slot, 0);
                let status = driver.send(key, std::slice::from_ref(&chunk));
                assert_eq!(status, SendStatus::Pending);
            }
            // Submitted each time the queue was full, and let go: not one held per connection.
            let held = Arc::strong_count(&message) - 2;
            assert!(held <= 64, "{held} batches held in round {round}");
            let mut sent = vec![false; CONNECTIONS as usize];
            until(&mut driver, "Sent for all", |event| {
                if let Event::Sent(key) = event {
                    let slot = key.slot() as usize;
                    assert!(!std::mem::replace(&mut sent[slot], true), "Sent twice");
                }
                sent.iter().all(|&sent| sent)
            });
            for peer in &mut peers {
                let mut bytes = [0; 12];
                peer.read_exact(&mut bytes).expect("sent");
                assert_eq!(&bytes[..], &message[..]);
            }
        }
    }
}

#[test]
fn one_buffer_serves_all() {
    for direct in [false, true] {
        let (mut driver, mut peers) = with_many_peers(direct);
        let text = b"twenty bytes of text";
        // The second round finds watches that overflowed the completion queue in the first.
        for _ in 0..2 {
            for peer in &mut peers {
                peer.write_all(text).expect("connected");
            }
            let mut received = vec![Vec::new(); CONNECTIONS as usize];
            until(&mut driver, "all bytes", |event| {
                if let Event::Bytes(key, bytes) = event {
                    assert!(bytes.len() <= 7);
                    received[key.slot() as usize].extend_from_slice(bytes);
                }
                received.iter().all(|bytes| bytes.len() >= text.len())
            });
            assert!(received.iter().all(|bytes| bytes == text));
        }
        assert!(
            driver.stats().buffers_exhausted > 0,
            "one buffer is not enough for all"
        );
    }
}

#[test]
fn a_buffer_that_is_not_read_comes_back() {
    let (mut driver, mut peers) = with_many_peers(false);
    for slot in 0..10 {
        peers[slot as usize]
            .write_all(b"unread")
            .expect("connected");
        while driver.stats().receives <= u64::from(slot) {
            driver.wait(Some(DEADLINE)).expect("wait");
        }
        // The bytes are in the one buffer, and the caller has not asked for them.
        driver.close(ConnKey::new(slot, 0), CloseMode::Abort);
        until(&mut driver, "Closed", |event| match event {
            Event::Closed(key, _) => key.slot() == slot,
            event => panic!("{event:?} after close"),
        });
    }
    peers[20].write_all(b"read").expect("connected");
    until(
        &mut driver,
        "Bytes",
        |event| matches!(event, Event::Bytes(_, bytes) if bytes == b"read"),
    );
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "a batch is in flight"))]
fn a_batch_is_in_flight_until_sent_is_told() {
    let (mut driver, mut peers) = with_many_peers(false);
    let key = ConnKey::new(7, 0);
    assert_eq!(driver.send_copy(key, b"first"), SendStatus::Pending);
    driver.wait(Some(DEADLINE)).expect("wait");
    peers[7].read_exact(&mut [0; 5]).expect("sent");
    // The kernel has all of it and the record is gone, but the caller has not been told.
    assert_eq!(driver.unsent_bytes(key), 0);
    assert_eq!(driver.send_copy(key, b"second"), SendStatus::Gone);
    until(
        &mut driver,
        "Closed",
        |event| matches!(event, Event::Closed(of, _) if of == key),
    );
}
