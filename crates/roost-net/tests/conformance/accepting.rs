//! Listening, accepting, connecting.

use std::net::SocketAddr;
use std::time::Duration;

use roost_net::{CloseCause, CloseMode, Driver, ListenOptions};

use crate::backend::{Backend, Options};
use crate::world::{CLIENT, SERVER, World};

pub(crate) fn accept_tells_both_ends<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    assert_ne!(addr.port(), 0, "port 0 is resolved");
    world.hosts[SERVER].auto_adopt = false;
    let client = world.connect(CLIENT, addr);
    world.until("both ends", |w| {
        w.conn(client).connected && w.hosts[SERVER].accepted.len() == 1
    });
    let accepted = world.hosts[SERVER].accepted.pop_front().expect("just seen");
    assert_eq!(accepted.listener, world.listeners[0]);
    let peer = accepted.peer.expect("want_peer was on");
    assert_eq!(peer.ip(), addr.ip());
    assert_ne!(peer.port(), addr.port());
    let server = world.hosts[SERVER].adopt(accepted.socket);
    if B::KNOWS_PEERS {
        assert_eq!(world.hosts[SERVER].driver.peer_addr(server), Some(peer));
        assert_eq!(world.hosts[CLIENT].driver.peer_addr(client.key), Some(addr));
    }
    assert_eq!(world.hosts[SERVER].driver.stats().accepted, 1);
    assert_eq!(world.hosts[SERVER].driver.stats().open, 1);
    world.finish();
}

pub(crate) fn connect_refused<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].driver.stop_listening();
    world.iterate_times(3);
    // Twice, to use the slot again.
    for _ in 0..2 {
        connect_until_refused(&mut world, addr);
    }
    world.finish();
}

pub(crate) fn accepting_pauses_and_resumes<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].driver.set_accepting(false);
    world.iterate_times(3);
    let clients: Vec<_> = (0..5).map(|_| world.connect(CLIENT, addr)).collect();
    world.until("room in the backlog", |w| {
        clients.iter().all(|&end| w.conn(end).connected)
    });
    world.iterate_times(30);
    assert_eq!(
        world.hosts[SERVER].adopted.len(),
        0,
        "accepted although paused"
    );
    world.hosts[SERVER].driver.set_accepting(true);
    world.until("five accepted", |w| w.hosts[SERVER].adopted.len() == 5);
    world.finish();
}

/// Connects to a listener that is being closed until the kernel has closed it. It does so when the
/// accept under way has been cancelled, which a busy machine does late; a connection that came to
/// its backlog meanwhile is reset.
fn connect_until_refused<B: Backend>(world: &mut World<B>, addr: SocketAddr) {
    for _ in 0..1_000 {
        let client = world.connect(CLIENT, addr);
        match world.until_closed(client) {
            CloseCause::ConnectFailed(errno) => {
                assert_eq!(errno, libc::ECONNREFUSED);
                assert!(!world.conn(client).connected);
                return;
            }
            cause => assert_eq!(cause, CloseCause::Reset),
        }
    }
    panic!("it goes on listening");
}

pub(crate) fn stop_listening_refuses_connections<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    let (client, server) = world.pair(addr);
    world.hosts[SERVER].driver.stop_listening();
    world.iterate_times(3);
    connect_until_refused(&mut world, addr);
    // Earlier connections stay.
    world.send_copy(client, b"still here");
    world.until_received(server, 10);
    // And listening can begin again.
    let addr = world.listen(SERVER);
    world.pair(addr);
    world.finish();
}

pub(crate) fn stop_listening_keeps_all_accepted<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].auto_adopt = false;
    let clients: Vec<_> = (0..20).map(|_| world.connect(CLIENT, addr)).collect();
    world.until("the backlog", |w| {
        clients.iter().all(|&end| w.conn(end).connected)
    });
    // Some are accepted by now, some wait in the kernel, some in the driver's hands.
    world.hosts[SERVER]
        .driver
        .wait(Some(Duration::ZERO))
        .expect("wait");
    world.hosts[SERVER].driver.stop_listening();
    world.until("an answer to all", |w| {
        let reset = clients.iter().filter(|&&end| w.conn(end).ended).count();
        reset + w.hosts[SERVER].accepted.len() == clients.len()
    });
    while let Some(accepted) = world.hosts[SERVER].accepted.pop_front() {
        let key = world.hosts[SERVER].adopt(accepted.socket);
        world.hosts[SERVER].send_copy(key, b"!");
    }
    world.until("a message to all that came in time", |w| {
        clients
            .iter()
            .all(|&end| w.conn(end).ended || w.conn(end).received == b"!")
    });
    world.finish();
}

pub(crate) fn an_adopted_listener_accepts_beside_another<B: Backend>() {
    let mut world = World::<B>::new();
    let first = world.listen(SERVER);
    let opened = world.backend.open_listener(&ListenOptions {
        addr: world.backend.listen_addr().into(),
        backlog: 64,
        reuse_port: true,
        exclusive: true,
        sharers: 1,
        want_peer: false,
    });
    let addr = opened.addr().tcp().expect("a TCP address");
    let server = &mut world.hosts[SERVER];
    let id = server.driver.adopt_listener(opened).expect("it is open");
    server.auto_adopt = false;
    let mut arrived = |addr, is_asked: bool| {
        let server = &mut world.hosts[SERVER];
        server.driver.set_want_peer(id, is_asked);
        world.connect(CLIENT, addr);
        world.until("a connection", |w| !w.hosts[SERVER].accepted.is_empty());
        let accepted = world.hosts[SERVER].accepted.pop_front();
        let accepted = accepted.expect("just seen");
        (accepted.listener == id, accepted.peer.is_some())
    };
    assert_eq!(arrived(addr, false), (true, false));
    assert_eq!(arrived(addr, true), (true, true));
    assert_eq!(arrived(first, true), (false, true));
    assert_eq!(arrived(addr, false), (true, false));
    world.finish();
}

pub(crate) fn a_closed_listener_hands_over_what_waits_and_others_go_on<B: Backend>() {
    let mut world = World::<B>::new();
    let stays = world.listen(SERVER);
    let goes = world.listen(SERVER);
    let id = *world.listeners.last().expect("just added");
    let (client, server) = world.pair(goes);
    world.hosts[SERVER].driver.set_accepting(false);
    world.iterate_times(3);
    let late: Vec<_> = (0..5).map(|_| world.connect(CLIENT, goes)).collect();
    world.until("room in the backlog", |w| {
        late.iter().all(|&end| w.conn(end).connected)
    });
    world.hosts[SERVER].driver.close_listener(id);
    world.hosts[SERVER].driver.set_accepting(true);
    world.until("what waited", |w| w.hosts[SERVER].adopted.len() == 6);
    connect_until_refused(&mut world, goes);
    world.send_copy(client, b"still here");
    world.until_received(server, 10);
    world.pair(stays);
    // Twice is once, and so is all.
    world.hosts[SERVER].driver.close_listener(id);
    world.pair(stays);
    world.finish();
}

pub(crate) fn connect_from_a_local_address<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].auto_adopt = false;
    let local = "127.0.0.77:0".parse().expect("an address");
    let client = world.connect_from(CLIENT, addr, local);
    world.until("both ends", |w| {
        w.conn(client).connected && w.hosts[SERVER].accepted.len() == 1
    });
    let peer = world.hosts[SERVER].accepted[0]
        .peer
        .expect("want_peer was on");
    assert_eq!(peer.ip(), local.ip());
    assert_ne!(peer.port(), 0);
    world.finish();
}

pub(crate) fn ipv6_echo<B: Backend>() {
    let mut world = World::<B>::new();
    let any = "[::1]:0".parse().expect("an address");
    let addr = world.listen_on(SERVER, any, false);
    let local = "[::1]:0".parse().expect("an address");
    let client = world.connect_from(CLIENT, addr, local);
    world.until("a connection", |w| !w.hosts[SERVER].adopted.is_empty());
    let server = world.hosts[SERVER].adopted[0];
    world.hosts[SERVER].echo(server);
    world.until("Connected", |w| w.conn(client).connected);
    world.send_copy(client, b"six");
    world.until_received(client, 3);
    world.finish();
}

pub(crate) fn refuse_resets<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].auto_adopt = false;
    let client = world.connect(CLIENT, addr);
    world.until("a new connection", |w| w.hosts[SERVER].accepted.len() == 1);
    let accepted = world.hosts[SERVER].accepted.pop_front().expect("just seen");
    world.hosts[SERVER].driver.refuse(accepted.socket);
    assert_eq!(world.until_closed(client), CloseCause::Reset);
    world.finish();
}

pub(crate) fn a_dropped_socket_is_closed<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].auto_adopt = false;
    let client = world.connect(CLIENT, addr);
    world.until("a new connection", |w| w.hosts[SERVER].accepted.len() == 1);
    world.hosts[SERVER].accepted.clear();
    world.until("the end of it", |w| {
        w.conn(client).read_closed || w.conn(client).closed.is_some()
    });
    world.finish();
}

pub(crate) fn many_clients_connect_at_once<B: Backend>() {
    const CLIENTS: usize = 500;
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    let clients: Vec<_> = (0..CLIENTS).map(|_| world.connect(CLIENT, addr)).collect();
    world.until("all accepted", |w| {
        w.hosts[SERVER].adopted.len() == CLIENTS && clients.iter().all(|&end| w.conn(end).connected)
    });
    assert_eq!(world.hosts[SERVER].driver.stats().accepted, CLIENTS as u64);
    // All go at once as well.
    for &client in &clients {
        world.close(client, CloseMode::Graceful);
    }
    world.until("all gone", |w| {
        let server = &w.hosts[SERVER];
        server
            .adopted
            .iter()
            .all(|&key| server.conn(key).read_closed)
    });
    world.finish();
}

pub(crate) fn listeners_share_a_port<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 3);
    let any = world.backend.listen_addr();
    let addr = world.listen_on(SERVER, any, true);
    let same = world.listen_on(2, addr, true);
    assert_eq!(addr, same);
    let clients: Vec<_> = (0..100).map(|_| world.connect(CLIENT, addr)).collect();
    world.until("all accepted", |w| {
        w.hosts[SERVER].adopted.len() + w.hosts[2].adopted.len() == clients.len()
    });
    // The kernel spreads by a hash: that 100 fall on one side happens once in 2^99 runs.
    assert!(
        !world.hosts[SERVER].adopted.is_empty(),
        "the first listener had none"
    );
    assert!(
        !world.hosts[2].adopted.is_empty(),
        "the second listener had none"
    );
    world.finish();
}
