//! What only epoll does, or only a raw peer can: the rest is in `tests/conformance`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::{EpollDriver, EpollOptions, EpollSocket};
use crate::{ConnKey, Driver, Event, ListenAddr, ListenOptions, SendStatus};

const KEY: ConnKey = ConnKey::new(0, 0);

fn receive(driver: &mut EpollDriver, len: usize) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut received = Vec::new();
    while received.len() < len && Instant::now() < deadline {
        driver.wait(Some(Duration::from_millis(100))).expect("wait");
        while let Some(event) = driver.next_event() {
            if let Event::Bytes(_, bytes) = event {
                received.extend_from_slice(bytes);
            }
        }
    }
    received
}

#[test]
fn a_foreign_socket_is_made_non_blocking() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback listens");
    let addr = listener.local_addr().expect("bound");
    let mut peer = TcpStream::connect(addr).expect("the backlog has room");
    let (ours, _) = listener.accept().expect("one is waiting");
    assert!(!SockRef::from(&ours).nonblocking().expect("a socket"));
    let socket = EpollSocket::from_fd(OwnedFd::from(ours)).expect("a socket");
    assert!(SockRef::from(&socket).nonblocking().expect("a socket"));

    let mut driver = EpollDriver::new(&EpollOptions::default()).expect("epoll is always there");
    driver.adopt(KEY, socket).expect("the slot is free");
    peer.write_all(b"ping").expect("connected");
    assert_eq!(receive(&mut driver, 4), b"ping");
    assert_eq!(driver.send_copy(KEY, b"pong"), SendStatus::Done);
    let mut reply = [0; 4];
    peer.read_exact(&mut reply).expect("connected");
    assert_eq!(&reply, b"pong");
}

#[test]
fn bytes_behind_urgent_data_are_read() {
    let options = ListenOptions {
        addr: ListenAddr::Tcp("127.0.0.1:0".parse().expect("an address")),
        backlog: 8,
        reuse_port: false,
        exclusive: false,
        sharers: 0,
        want_peer: false,
    };
    let mut driver = EpollDriver::new(&EpollOptions::default()).expect("epoll is always there");
    let (_, addr) = driver.listen(&options).expect("loopback listens");
    let mut peer =
        TcpStream::connect(addr.tcp().expect("a TCP address")).expect("the backlog has room");
    // All is there when the driver first looks, and nothing comes later to wake it.
    peer.write_all(b"before").expect("connected");
    SockRef::from(&peer)
        .send_out_of_band(b"!")
        .expect("connected");
    peer.write_all(b"behind").expect("connected");
    let deadline = Instant::now() + Duration::from_secs(10);
    while driver.stats().open == 0 && Instant::now() < deadline {
        driver.wait(Some(Duration::from_millis(100))).expect("wait");
        if let Some(Event::Accepted { socket, .. }) = driver.next_event() {
            driver.adopt(KEY, socket).expect("the slot is free");
        }
    }
    assert_eq!(receive(&mut driver, 13), b"before!behind");
}
