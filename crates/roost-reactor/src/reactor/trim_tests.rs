//! Memory comes back when connections have gone, and a reactor with nothing to do sleeps.

use std::time::Duration;

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use roost_net::{CloseMode, ConnKey, ConnectOptions, Driver, Event};

use crate::clock::NEVER;
use crate::connections::testing;
use crate::core::Core;
use crate::{Reactor, Settings, Shared};

const CONNECTIONS: u32 = 500;

/// What is kept for the next iteration or the next connections.
fn held_bytes(core: &Core) -> usize {
    testing::held_bytes(&core.connections)
}

/// Lets time pass with a reactor and its clients; what clients receive is dropped.
fn run(net: &SimNet, reactor: &mut Reactor<SimDriver>, clients: &mut SimDriver, time: Duration) {
    let until = net.now() + time.as_nanos() as u64;
    while net.now() < until {
        while reactor.driver.is_due() {
            reactor.run_once().expect("a simulated wait does not fail");
        }
        clients.wait(Some(Duration::ZERO)).expect("simulated");
        while let Some(event) = clients.next_event() {
            if let Event::Connected(key) = event {
                let hello = "GET /raw/common HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\r\n";
                clients.send_copy(key, hello.as_bytes());
            }
        }
        net.advance(Duration::from_millis(1));
    }
}

#[test]
fn closed_connections_leave_no_memory_and_the_reactor_sleeps() {
    let net = SimNet::new(7, SimFaults::none());
    let shared = Shared::new(Settings::for_tests(), 1, 7);
    let mut reactor = Reactor::new(net.driver(SimOptions::default()), 0, shared);
    let any = "127.0.0.1:0".parse().expect("an address");
    let addr = super::listen_at(&mut reactor, any);
    let mut clients = net.driver(SimOptions::default());
    let second = Duration::from_secs(1);
    run(&net, &mut reactor, &mut clients, second);
    assert_eq!(
        reactor.core.governor.trim_due(),
        NEVER,
        "nothing has happened"
    );
    let before = held_bytes(&reactor.core);

    for round in 0..2 {
        for slot in 0..CONNECTIONS {
            let options = ConnectOptions { addr, local: None };
            let key = ConnKey::new(slot, round);
            clients.connect(key, &options).expect("a free slot");
        }
        run(&net, &mut reactor, &mut clients, 20 * second);
        assert_eq!(
            reactor.core.counters.websockets_open.get(),
            u64::from(CONNECTIONS)
        );
        let full = held_bytes(&reactor.core);
        assert!(full > before + 20_000, "{full} bytes with all connections");
        for slot in 0..CONNECTIONS {
            clients.close(ConnKey::new(slot, round), CloseMode::Graceful);
        }
        run(&net, &mut reactor, &mut clients, second);
        assert_eq!(reactor.core.connections.len(), 0);
        assert!(
            held_bytes(&reactor.core) > full / 2,
            "it is kept for a while"
        );
        run(&net, &mut reactor, &mut clients, 40 * second);
        assert_eq!(
            reactor.core.governor.trim_due(),
            NEVER,
            "it wakes without need"
        );
        let after = held_bytes(&reactor.core);
        assert!(after <= before + 2_000, "{after} bytes, {before} before");
    }
    assert!(!reactor.driver.is_due());
}
