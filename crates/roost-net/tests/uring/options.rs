//! What a driver refuses, and what its sockets are set to.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use roost_net::uring::{UringDriver, UringOptions, UringSocket};
use roost_net::{CloseCause, ConnKey, ConnectOptions, Driver, Event};

use crate::{BOTH, accepted, connect, connect_to, driver, listen, std_listener, until};

fn refused(options: UringOptions) -> std::io::Error {
    match UringDriver::new(&options) {
        Ok(_) => panic!("made with {options:?}"),
        Err(error) => error,
    }
}

#[test]
fn too_many_slots_name_the_limit() {
    let error = refused(UringOptions {
        direct_slots: Some(2_000_000_000),
        ..UringOptions::default()
    });
    let text = error.to_string();
    assert!(
        text.contains("RLIMIT_NOFILE") && text.contains("2000000000"),
        "{text}"
    );
}

#[test]
fn no_buffers_are_no_driver() {
    for (buffers, buffer_bytes) in [(0, 4_096), (4, 0), (32_769, 1)] {
        let error = refused(UringOptions {
            buffers,
            buffer_bytes,
            ..UringOptions::default()
        });
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

/// The descriptor of a connection, released.
fn released(driver: &mut UringDriver, key: ConnKey) -> TcpStream {
    driver.release(key);
    let mut found = None;
    until(driver, "Released", |event| {
        if let Event::Released(of, socket) = event {
            assert_eq!(of, key);
            found = Some(socket);
        }
        found.is_some()
    });
    let socket: UringSocket = found.expect("just seen");
    TcpStream::from(OwnedFd::try_from(socket).expect("a released socket is a descriptor"))
}

#[test]
fn small_messages_are_sent_at_once() {
    for slots in BOTH {
        let (mut driver, key) = (driver(slots), ConnKey::new(0, 0));
        let addr = listen(&mut driver, false);
        let _peer = connect(addr);
        let (socket, _) = accepted(&mut driver);
        driver.adopt(key, socket).expect("the slot is free");
        let socket = released(&mut driver, key);
        assert!(
            socket.nodelay().expect("a TCP socket"),
            "accepted, {slots:?}"
        );

        let (_listener, addr) = std_listener();
        driver
            .connect(key, &connect_to(addr))
            .expect("the slot is free");
        until(&mut driver, "Connected", |event| {
            matches!(event, Event::Connected(_))
        });
        let socket = released(&mut driver, key);
        assert!(
            socket.nodelay().expect("a TCP socket"),
            "connected, {slots:?}"
        );
    }
}

#[test]
fn a_local_address_is_used() {
    for slots in BOTH {
        let mut driver = driver(slots);
        let addr = listen(&mut driver, true);
        // Two connections from one address and port 0, and one from a port of our choice.
        let key = |n| ConnKey::new(n, 0);
        let mut ports = Vec::new();
        for n in 0..2 {
            let local = Some("127.0.0.9:0".parse().expect("an address"));
            driver
                .connect(key(n), &ConnectOptions { addr, local })
                .expect("the slot is free");
            let (_socket, peer) = accepted(&mut driver);
            let peer = peer.expect("asked for");
            assert_eq!(peer.ip().to_string(), "127.0.0.9", "{slots:?}");
            ports.push(peer.port());
        }
        assert_ne!(ports[0], ports[1]);
        // A taken port is told as a failed connect, or at once.
        let local = Some(std::net::SocketAddr::from(([127, 0, 0, 9], ports[0])));
        let Err(_) = driver.connect(key(2), &ConnectOptions { addr, local }) else {
            let mut cause = None;
            until(&mut driver, "Closed", |event| {
                if let Event::Closed(of, why) = event
                    && of == key(2)
                {
                    cause = Some(why);
                }
                cause.is_some()
            });
            assert_eq!(
                cause,
                Some(CloseCause::ConnectFailed(98)),
                "EADDRINUSE, {slots:?}"
            );
            continue;
        };
    }
}

#[test]
fn another_thread_may_not_wait() {
    let mut driver = driver(None);
    driver
        .wait(Some(std::time::Duration::ZERO))
        .expect("the first is the owner");
    let result = std::thread::spawn(move || driver.wait(Some(std::time::Duration::ZERO))).join();
    assert!(
        result.expect("no panic").is_err(),
        "two threads submitted to one ring"
    );
}

#[test]
fn made_on_one_thread_used_on_another() {
    let mut driver = driver(None);
    let addr = listen(&mut driver, false);
    let server = std::thread::spawn(move || accepted(&mut driver));
    let _peer = connect(addr);
    server.join().expect("accepted");
}
