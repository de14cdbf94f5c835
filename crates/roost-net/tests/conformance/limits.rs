//! Many connections, and no descriptor left for more.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roost_net::{CloseMode, Driver, ListenOptions};

use crate::backend::{Backend, Options};
use crate::child::{self, Child};
use crate::world::{CLIENT, End, SERVER, World};

pub(crate) fn open_counts_what_is_open<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    let pairs: Vec<_> = (0..10).map(|_| world.pair(addr)).collect();
    assert_eq!(world.hosts[SERVER].driver.stats().open, 10);
    for &(client, server) in &pairs[..4] {
        world.close(server, CloseMode::Graceful);
        world.until_closed(server);
        world.close(client, CloseMode::Graceful);
        world.until_closed(client);
    }
    world.release(pairs[4].1);
    world.until("Released", |w| w.conn(pairs[4].1).ended);
    assert_eq!(world.hosts[SERVER].driver.stats().open, 5);
    assert_eq!(world.hosts[CLIENT].driver.stats().open, 6);
    world.finish();
}

/// Descriptors of the server process, and slots of its table.
const DESCRIPTORS_MAX: u32 = 64;
/// More clients than that.
const CLIENTS: usize = 100;

pub(crate) fn no_descriptor_left<B: Backend>() {
    if child::role().is_some() {
        return serve::<B>(
            &Options {
                sockets_max: 40,
                ..Options::default()
            },
            Hogs::None,
        );
    }
    let max = Some(DESCRIPTORS_MAX);
    let mut server = Child::start::<B>("no_descriptor_left", "server", "", max);
    let addr: SocketAddr = server.hear().parse().expect("an address");
    let mut world = World::<B>::new();
    let mut clients: Vec<End> = (0..CLIENTS).map(|_| world.connect(CLIENT, addr)).collect();

    // Some are let in; the others are reset, or wait.
    let mut full = 0;
    world.until("a full server", |w| {
        w.iterate_times(100);
        let before = full;
        full = greeted(w, &clients);
        full > 10 && full == before
    });
    assert!(
        full < CLIENTS,
        "{full} sockets in {DESCRIPTORS_MAX} descriptors"
    );

    if B::RESETS_AT_LIMIT {
        world.until("a reset for the others", |w| {
            clients
                .iter()
                .all(|&end| is_greeted(w, end) || w.conn(end).ended)
        });
    }

    // New connections go on arriving, and cost little.
    let (start, cpu_before) = (Instant::now(), server.cpu_ns());
    while start.elapsed() < Duration::from_secs(1) {
        clients.push(world.connect(CLIENT, addr));
        world.iterate_times(10);
    }
    let share = (server.cpu_ns() - cpu_before) as f64 / start.elapsed().as_nanos() as f64;
    assert!(
        share < SPINNING,
        "{:.1} % of a core while full",
        share * 100.0
    );
    assert_eq!(greeted(&world, &clients), full, "let in although full");

    // One goes, one comes. The best of five tells the machine's noise from a slow retry.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let here = clients
            .iter()
            .position(|&end| is_greeted(&world, end))
            .expect("some are");
        let leaving = clients.swap_remove(here);
        world.close(leaving, CloseMode::Graceful);
        let start = Instant::now();
        let before = greeted(&world, &clients);
        while greeted(&world, &clients) == before {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "no connection accepted"
            );
            if !clients.iter().any(|&end| is_waiting(&world, end)) {
                clients.push(world.connect(CLIENT, addr));
            }
            world.iterate();
        }
        best = best.min(start.elapsed());
    }
    assert!(
        best <= Duration::from_millis(10),
        "{best:?} until the next was let in"
    );
    println!(
        "{full} let in, {:.2} % CPU while full, next after {best:?}",
        share * 100.0
    );
    world.finish();
    server.finish();
}

pub(crate) fn descriptors_freed_elsewhere<B: Backend>() {
    if child::role().is_some() {
        // A table of slots may not be larger than the limit on descriptors.
        let options = Options {
            sockets_max: 40,
            ..Options::default()
        };
        return serve::<B>(&options, Hogs::All);
    }
    let max = Some(DESCRIPTORS_MAX);
    let mut server = Child::start::<B>("descriptors_freed_elsewhere", "server", "", max);
    let addr: SocketAddr = server.hear().parse().expect("an address");
    let mut world = World::<B>::new();
    let mut clients: Vec<End> = (0..3).map(|_| world.connect(CLIENT, addr)).collect();
    world.iterate_times(20);
    let (start, cpu_before) = (Instant::now(), server.cpu_ns());
    while start.elapsed() < Duration::from_secs(1) {
        world.iterate_times(10);
    }
    let share = (server.cpu_ns() - cpu_before) as f64 / start.elapsed().as_nanos() as f64;
    assert!(
        share < SPINNING,
        "{:.1} % of a core while full",
        share * 100.0
    );

    // The server's driver hears nothing of this, and sleeps for ten seconds unless it looks.
    server.say("free");
    let start = Instant::now();
    while greeted(&world, &clients) == 0 {
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "no connection accepted"
        );
        if !clients.iter().any(|&end| is_waiting(&world, end)) {
            clients.push(world.connect(CLIENT, addr));
        }
        world.iterate();
    }
    println!(
        "{:.2} % CPU while full, next after {:?}",
        share * 100.0,
        start.elapsed()
    );
    world.finish();
    server.finish();
}

pub(crate) fn ten_thousand_connections<B: Backend>() {
    const CONNECTIONS: usize = 10_000;
    const CASE: &str = "ten_thousand_connections";
    let options = Options {
        // As a server would have: each is a connection read per iteration.
        read_buffers: 256,
        sockets_max: 10_100,
        ..Options::default()
    };
    match child::role().as_deref() {
        Some("server") => return serve::<B>(&options, Hogs::None),
        Some(_) => return fill::<B>(&options, CONNECTIONS),
        None => {}
    }
    // Twice ten thousand descriptors are more than one process may have.
    let mut server = Child::start::<B>(CASE, "server", "", None);
    let addr = server.hear();
    let mut client = Child::start::<B>(CASE, "client", &addr, None);
    assert_eq!(client.hear(), "all greeted");
    let start = Instant::now();
    let cpu_before = server.cpu_ns();
    std::thread::sleep(Duration::from_millis(300));
    let share = (server.cpu_ns() - cpu_before) as f64 / start.elapsed().as_nanos() as f64;
    assert!(
        share < SPINNING,
        "{:.1} % of a core for quiet connections",
        share * 100.0
    );
    client.say("go on");
    assert_eq!(client.hear(), "all echoed");
    client.finish();
    server.say("report");
    assert_eq!(server.hear(), "accepted 10000");
    server.finish();
}

pub(crate) fn many_clients_memory_is_freed<B: Backend>() {
    const CLIENTS: usize = 1_500;
    let options = Options {
        read_buffer_bytes: 1_024, // no whole page to give back
        ..Options::default()
    };
    let mut world = World::<B>::with(&options, 2);
    let addr = world.listen(SERVER);
    let shrink = |world: &mut World<B>| world.hosts[SERVER].driver.shrink();
    for _ in 0..2 {
        let clients: Vec<_> = (0..CLIENTS).map(|_| world.connect(CLIENT, addr)).collect();
        world.until("all accepted", |w| {
            w.hosts[SERVER].driver.stats().open == CLIENTS as u64
        });
        let from = world.hosts[SERVER].adopted.len() - CLIENTS;
        let servers = world.hosts[SERVER].adopted[from..].to_vec();
        for key in servers {
            world.hosts[SERVER].echo(key);
        }
        for &client in &clients {
            world.send_copy(client, b"?");
        }
        world.until("an answer to all", |w| {
            clients.iter().all(|&end| w.conn(end).received == b"?")
        });
        for &client in &clients {
            world.close(client, CloseMode::Abort);
        }
        world.until("all gone", |w| w.hosts[SERVER].driver.stats().open == 0);
        shrink(&mut world); // what it needed until now stays
        world.iterate_times(3);
        let bytes = shrink(&mut world);
        assert!(bytes >= CLIENTS * 8, "{bytes} bytes of {CLIENTS} clients");
        assert_eq!(shrink(&mut world), 0, "there is no more to give");
        // What was given back is there when it is needed again.
        let (client, server) = world.pair(addr);
        world.hosts[SERVER].echo(server.key);
        world.send_copy(client, b"again");
        world.until_received(client, 5);
        world.close(client, CloseMode::Abort);
        world.until("the last gone", |w| {
            w.hosts[SERVER].driver.stats().open == 0
        });
        roost_net::memory::trim_heap(u64::MAX);
    }
    world.finish();
}

/// The client's role: connects, is greeted, and sends a byte on each connection.
fn fill<B: Backend>(options: &Options, connections: usize) {
    let addr: SocketAddr = child::argument().parse().expect("an address");
    let mut world = World::<B>::with(options, 1);
    let mut clients = Vec::new();
    while clients.len() < connections {
        // In waves that the backlog holds.
        clients.extend((0..500).map(|_| world.connect(CLIENT, addr)));
        world.until("all greeted", |w| greeted(w, &clients) == clients.len());
    }
    child::tell("all greeted");
    let go_on = Arc::new(AtomicBool::new(false));
    child::listen({
        let go_on = go_on.clone();
        move |_| go_on.store(true, Ordering::Relaxed)
    });
    world.until("the word", |_| go_on.load(Ordering::Relaxed));
    for &client in &clients {
        world.send_copy(client, b"?");
    }
    world.until("all echoes", |w| {
        clients.iter().all(|&end| w.conn(end).received == b"!?")
    });
    child::tell("all echoed");
    world.finish();
}

/// Whether the server's process uses its descriptors up by itself.
#[derive(PartialEq)]
enum Hogs {
    None,
    All,
}

/// The server's role: greets, echoes, and closes after the peer, until the parent is done.
fn serve<B: Backend>(options: &Options, hogs: Hogs) {
    let mut world = World::<B>::with(options, 1);
    let addr = world.backend.listen_addr();
    let host = &mut world.hosts[CLIENT];
    host.serves = true;
    let mut hogged: Vec<File> = Vec::new();
    if hogs == Hogs::All {
        hogged.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    }
    // With as many descriptors as it takes to listen, and not one more.
    let listen = ListenOptions {
        addr: addr.into(),
        backlog: 4_096,
        reuse_port: false,
        exclusive: false,
        sharers: 0,
        want_peer: false,
    };
    let addr = loop {
        match host.driver.listen(&listen) {
            Ok((_, addr)) => break addr,
            Err(error) => drop(hogged.pop().unwrap_or_else(|| panic!("listen: {error}"))),
        }
    };
    child::tell(&addr.to_string());
    let (done, report) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    child::listen({
        let (done, report, waker) = (done.clone(), report.clone(), host.driver.waker());
        let hogged = Mutex::new(hogged);
        move |line| match line.as_deref() {
            Some("free") => hogged.lock().expect("never poisoned").clear(),
            Some(_) => {
                report.store(true, Ordering::SeqCst);
                waker.wake();
            }
            None => {
                done.store(true, Ordering::SeqCst);
                waker.wake();
            }
        }
    });
    while !done.load(Ordering::SeqCst) {
        host.driver
            .wait(Some(Duration::from_secs(10)))
            .expect("wait");
        host.pump();
        if report.load(Ordering::SeqCst) && host.live_keys().is_empty() {
            report.store(false, Ordering::SeqCst);
            child::tell(&format!("accepted {}", host.driver.stats().accepted));
        }
    }
    world.finish();
}

fn is_greeted<B: Backend>(world: &World<B>, end: End) -> bool {
    world.conn(end).received_bytes > 0 && !world.conn(end).ended
}

/// Neither let in nor reset.
fn is_waiting<B: Backend>(world: &World<B>, end: End) -> bool {
    world.conn(end).received_bytes == 0 && !world.conn(end).ended
}

fn greeted<B: Backend>(world: &World<B>, clients: &[End]) -> usize {
    clients
        .iter()
        .filter(|&&end| is_greeted(world, end))
        .count()
}

/// A share of a core that waiting never takes, however busy the machine is and however cold its caches. A
/// loop that asks again at once takes all that it gets.
const SPINNING: f64 = 0.2;
