//! Several listeners on a simulated network: whom each lets in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roost_net::sim::{SimFaults, SimNet, SimOptions, unix_addr};
use roost_net::unix_socket::UnixOptions;
use roost_net::{ConnKey, ConnectOptions, Driver, Event, ListenAddr};

use crate::{Listener, Origins, Reactor, Settings, Shared};

const SOCKET: &str = "/run/roost/clients.sock";

fn settings() -> Settings {
    let mut settings = Settings::for_tests();
    let mut dialects = settings.dialects.clone();
    Arc::make_mut(&mut dialects.raw).enabled = false;
    settings.listeners = vec![
        Listener {
            address: ListenAddr::Tcp("10.0.0.1:80".parse().expect("an address")),
            origins: Origins::Listed(vec!["https://good.example".to_owned()]),
            ..Listener::for_tests()
        },
        Listener {
            address: ListenAddr::Tcp("[fd00::1]:80".parse().expect("an address")),
            dialects: Some(dialects),
            ..Listener::for_tests()
        },
        Listener {
            address: ListenAddr::unix(UnixOptions {
                path: PathBuf::from(SOCKET),
                mode: 0o660,
                group: None,
            }),
            ..Listener::for_tests()
        },
    ];
    settings.limits.connections_per_address_max = 3;
    settings
}

/// The status that each client gets that asks for `/raw/room` or `/echo` from a page of a site.
fn statuses(asks: &[(&str, &str, &str)]) -> Vec<String> {
    let net = SimNet::new(5, SimFaults::none());
    let shared = Shared::new(settings(), 2, 5);
    let mut reactors: Vec<_> = (0..2)
        .map(|id| Reactor::new(net.driver(SimOptions::default()), id, shared.clone()))
        .collect();
    let settings = shared.settings();
    let listeners = settings.listeners.iter();
    let mut addresses = listeners.map(|one| one.address.clone()).collect();
    for reactor in &mut reactors {
        addresses = reactor.listen(addresses).expect("free addresses");
    }
    // A refused client is over before it has sent anything.
    let mut client = net.driver(SimOptions {
        strict: false,
        ..SimOptions::default()
    });
    for (slot, (to, ..)) in asks.iter().enumerate() {
        let addr = to.parse().unwrap_or_else(|_| unix_addr(Path::new(to)));
        let options = ConnectOptions { addr, local: None };
        let key = ConnKey::new(slot as u32, 0);
        client.connect(key, &options).expect("a free slot");
    }
    let mut answers: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for _ in 0..200 {
        for reactor in &mut reactors {
            while reactor.driver.is_due() {
                reactor.run_once().expect("a simulated wait does not fail");
            }
        }
        client.wait(Some(Duration::ZERO)).expect("simulated");
        let mut connected = Vec::new();
        while let Some(event) = client.next_event() {
            match event {
                Event::Connected(key) => connected.push(key),
                Event::Bytes(key, bytes) => {
                    answers
                        .entry(key.slot())
                        .or_default()
                        .extend_from_slice(bytes);
                }
                _ => {}
            }
        }
        for key in connected {
            let (_, path, origin) = asks[key.slot() as usize];
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                 Origin: {origin}\r\n\r\n"
            );
            client.send_copy(key, request.as_bytes());
        }
        net.advance(Duration::from_millis(1));
    }
    let status = |slot| {
        let answer = answers.get(&slot).map(Vec::as_slice).unwrap_or_default();
        let line = String::from_utf8_lossy(answer);
        line.split(' ').nth(1).unwrap_or("none").to_owned()
    };
    (0..asks.len() as u32).map(status).collect()
}

#[test]
fn a_client_is_refused_by_one_listener_and_accepted_by_another() {
    let (good, bad) = ("https://good.example", "https://bad.example");
    let asks = [
        ("10.0.0.1:80", "/raw/room", good),
        ("10.0.0.1:80", "/raw/room", bad),
        ("[fd00::1]:80", "/raw/room", bad),
        ("[fd00::1]:80", "/echo", bad),
        (SOCKET, "/raw/room", bad),
        (SOCKET, "/echo", good),
    ];
    assert_eq!(statuses(&asks), ["101", "403", "404", "101", "101", "101"]);
}

#[test]
fn clients_of_a_unix_socket_count_for_no_address() {
    let unix = [(SOCKET, "/echo", "https://any.example"); 32];
    assert_eq!(statuses(&unix), ["101"; 32]);
    let tcp = [("[fd00::1]:80", "/echo", "https://any.example"); 32];
    let statuses = statuses(&tcp);
    let accepted = statuses.iter().filter(|status| *status == "101").count();
    // Each of two reactors counts for itself.
    assert!((3..=6).contains(&accepted), "{statuses:?}");
}
