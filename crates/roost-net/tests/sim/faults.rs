//! Each fault happens, and means what it says.

use std::time::Duration;

use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};
use roost_net::{
    CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, Event, ListenAddr, ListenOptions,
    SendStatus,
};

use crate::host::busy_network;
use crate::seeds;

#[test]
fn every_fault_happens() {
    let mut network = busy_network(3, SimFaults::default(), 64, 20_000);
    let waker = network.hosts[1].driver.waker();
    for _ in 0..64 {
        waker.wake();
        network.net.advance(Duration::from_millis(2));
        network.hosts[1].iterate();
    }
    network.run();
    let counts = network.net.counts();
    // Everything but the cuts, which are off.
    let happened = [
        ("connections", counts.connections),
        ("segments", counts.segments),
        ("short_reads", counts.short_reads),
        ("short_writes", counts.short_writes),
        ("late_sends", counts.late_sends),
        ("full_windows", counts.full_windows),
        ("resets", counts.resets),
        ("accept_limits", counts.accept_limits),
        ("buffers_exhausted", counts.buffers_exhausted),
        ("held_back", counts.held_back),
        ("reordered", counts.reordered),
        ("spurious_wakes", counts.spurious_wakes),
        ("late_wakes", counts.late_wakes),
    ];
    for (name, count) in happened {
        assert!(count > 0, "no {name} in {counts:?}");
    }
    assert_eq!(counts.cuts, 0);
    assert!(network.hosts[1].woken > 0);
}

#[test]
fn no_fault_happens_when_none_is_asked() {
    let mut network = busy_network(3, SimFaults::none(), 16, 20_000);
    network.run();
    let counts = network.net.counts();
    let faults = [
        counts.short_reads,
        counts.short_writes,
        counts.late_sends,
        counts.resets,
        counts.cuts,
        counts.accept_limits,
        counts.buffers_exhausted,
        counts.held_back,
        counts.reordered,
        counts.spurious_wakes,
        counts.late_wakes,
    ];
    assert_eq!(faults, [0; 11], "{counts:?}");
    assert_eq!(counts.connections, 16);
    network.finish();
}

/// A cut is only found by a peer that has something to send; one that only receives never learns it.
#[test]
fn a_cut_connection_is_silent() {
    let faults = SimFaults {
        cuts_per_mille: 1000,
        ..SimFaults::none()
    };
    for seed in seeds(16) {
        let net = SimNet::new(seed, faults.clone());
        let (mut client, mut server, key) = pair(&net);
        // The cut comes within 48 segments; what one end sends goes unanswered from then on.
        let mut ends = Vec::new();
        for _ in 0..60 {
            client.send_copy(key, b"are you there?");
            ends.extend(until_quiet(&net, [&mut client, &mut server]));
            if !ends.is_empty() {
                break;
            }
        }
        assert_eq!(ends, [CloseCause::Error(libc::ETIMEDOUT)], "seed {seed}");
        assert_eq!(net.counts().cuts, 1);
        assert_eq!(server.stats().open, 1, "the other waits on");
        drop((client, server));
        net.run_to_end();
        assert!(net.leaks().is_none(), "seed {seed}: {:?}", net.leaks());
    }
}

#[test]
fn a_peer_that_does_not_read_stops_the_writer() {
    const WINDOW: usize = 10_000;
    for seed in seeds(32) {
        let faults = SimFaults {
            window_bytes: 10_000..=10_000,
            ..SimFaults::lossless()
        };
        let net = SimNet::new(seed, faults);
        let (mut client, mut server, key) = pair(&net);
        server.pause(ConnKey::new(0, 0));
        until_quiet(&net, [&mut client, &mut server]);
        assert_eq!(client.send_copy(key, &[7; 100_000]), SendStatus::Pending);
        until_quiet(&net, [&mut client, &mut server]);
        // A send buffer and a receive buffer are full, and not a byte more.
        assert_eq!(
            client.unsent_bytes(key),
            100_000 - 2 * WINDOW,
            "seed {seed}"
        );
        assert_eq!(net.leaks().wire_bytes, 2 * WINDOW);
        assert_eq!(server.stats().received_bytes, 0);
        server.resume(ConnKey::new(0, 0));
        until_quiet(&net, [&mut client, &mut server]);
        assert_eq!(client.unsent_bytes(key), 0);
        assert_eq!(server.stats().received_bytes, 100_000, "seed {seed}");
    }
}

/// `close(2)` with unread bytes sends RST, which overtakes nothing but destroys what the peer had
/// not yet sent.
#[test]
fn closing_unread_resets_the_peer() {
    let net = SimNet::new(1, SimFaults::none());
    let (mut client, mut server, key) = pair(&net);
    server.pause(ConnKey::new(0, 0));
    until_quiet(&net, [&mut client, &mut server]);
    assert_eq!(client.send_copy(key, b"unread"), SendStatus::Done);
    until_quiet(&net, [&mut client, &mut server]);
    server.close(ConnKey::new(0, 0), CloseMode::Graceful);
    let ends = until_quiet(&net, [&mut client, &mut server]);
    assert!(ends.contains(&CloseCause::Reset), "{ends:?}");
    assert!(ends.contains(&CloseCause::Requested), "{ends:?}");
}

/// A connection that both ends have closed is gone when the last FIN has arrived.
#[test]
fn a_closed_connection_leaves_no_trace() {
    let net = SimNet::new(1, SimFaults::none());
    let (mut client, mut server, key) = pair(&net);
    client.close(key, CloseMode::Graceful);
    server.close(ConnKey::new(0, 0), CloseMode::Graceful);
    until_quiet(&net, [&mut client, &mut server]);
    let leaks = net.leaks();
    assert_eq!(
        (leaks.connections, leaks.orphans, leaks.listeners),
        (0, 0, 1)
    );
    assert!(
        net.now() < 1_000_000,
        "no timer was needed: {} ns",
        net.now()
    );
}

/// An end that closed and whose peer neither closes nor resets is given up after a minute.
#[test]
fn an_orphan_is_given_up() {
    let net = SimNet::new(1, SimFaults::none());
    let (mut client, mut server, key) = pair(&net);
    client.close(key, CloseMode::Graceful);
    assert_eq!(net.leaks().orphans, 1);
    let ends = until_quiet(&net, [&mut client, &mut server]);
    assert_eq!(ends, [CloseCause::Requested]);
    assert_eq!(net.leaks().orphans, 0);
    assert!(net.now() > 60_000_000_000);
    // A peer that still sends learns that the other is gone.
    server.send_copy(ConnKey::new(0, 0), b"hello?");
    let ends = until_quiet(&net, [&mut client, &mut server]);
    assert_eq!(ends, [CloseCause::Reset]);
}

/// A client and a server, connected; the server's end is 0.0.
pub(crate) fn pair(net: &SimNet) -> (SimDriver, SimDriver, ConnKey) {
    let mut server = net.driver(SimOptions::default());
    let mut client = net.driver(SimOptions::default());
    let listen = ListenOptions {
        addr: ListenAddr::Tcp("[::1]:0".parse().unwrap()),
        backlog: 1,
        reuse_port: false,
        exclusive: false,
        sharers: 0,
        want_peer: true,
    };
    let (_, addr) = server.listen(&listen).unwrap();
    let addr = addr.tcp().unwrap();
    let key = ConnKey::new(5, 0);
    let options = ConnectOptions { addr, local: None };
    client.connect(key, &options).unwrap();
    until_quiet(net, [&mut client, &mut server]);
    assert_eq!((client.stats().open, server.stats().open), (1, 1));
    (client, server, key)
}

/// Lets the drivers work until they sleep, adopts new connections, and returns how connections ended.
pub(crate) fn until_quiet<const N: usize>(
    net: &SimNet,
    mut drivers: [&mut SimDriver; N],
) -> Vec<CloseCause> {
    let mut ends = Vec::new();
    while net.step() {
        let due: Vec<usize> = (0..N).filter(|&i| drivers[i].is_due()).collect();
        let driver = &mut drivers[due[net.choose(due.len())]];
        driver.wait(None).unwrap();
        let mut accepted = Vec::new();
        while let Some(event) = driver.next_event() {
            match event {
                Event::Accepted { socket, .. } => accepted.push(socket),
                Event::Closed(_, cause) => ends.push(cause),
                _ => {}
            }
        }
        for socket in accepted {
            let slot = driver.stats().open as u32;
            driver.adopt(ConnKey::new(slot, 0), socket).unwrap();
        }
        net.check_invariants();
    }
    ends
}
