//! What a driver costs: CPU per message of a server thread, on loopback.
//!
//! ```text
//! cargo run --release -p roost-net --example cost -- DRIVER echo CONNECTIONS BYTES [SECONDS]
//! cargo run --release -p roost-net --example cost -- DRIVER fanout SUBSCRIBERS BYTES [SECONDS]
//! ```
//! DRIVER is `epoll`, `uring` or `direct` for the server; the client is always epoll, on a thread
//! of its own. In `echo` each connection has one message on its way; in `fanout` the server sends
//! one shared message to all, and the next when all have been taken by the kernel. CPU time is
//! that of the server's thread, from /proc/thread-self/schedstat, and has the sender's half of
//! TCP's work in it. Compare ratios of runs that follow each other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::uring::{UringDriver, UringOptions};
use roost_net::{
    Chunk, ConnKey, ConnectOptions, Driver, Event, ListenAddr, ListenOptions, SendStatus,
};

#[derive(Clone, Copy)]
struct Plan {
    fanout: bool,
    connections: u32,
    bytes: usize,
    seconds: u64,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [driver, kind, rest @ ..] = &arguments[..] else {
        eprintln!("usage: cost epoll|uring|direct echo|fanout CONNECTIONS BYTES [SECONDS]");
        std::process::exit(2);
    };
    let number = |at: usize, or: u64| rest.get(at).map_or(Some(or), |text| text.parse().ok());
    let (Some(connections), Some(bytes), Some(seconds)) =
        (number(0, 100), number(1, 125), number(2, 5))
    else {
        eprintln!("CONNECTIONS, BYTES and SECONDS are numbers");
        std::process::exit(2);
    };
    let plan = Plan {
        fanout: kind == "fanout",
        connections: connections as u32,
        bytes: bytes as usize,
        seconds,
    };
    let slots = (driver == "direct").then_some(plan.connections + 64);
    let (tx, rx) = mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let client = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let addr = rx.recv().expect("the server listens");
            client(
                EpollDriver::new(&EpollOptions::default())?,
                addr,
                plan,
                &stop,
            )
        }
    });
    let told = |addr| tx.send(addr).expect("the client waits");
    let line = match driver.as_str() {
        "epoll" => server(EpollDriver::new(&EpollOptions::default())?, told, plan)?,
        _ => {
            let options = UringOptions {
                direct_slots: slots,
                ..UringOptions::default()
            };
            server(UringDriver::new(&options)?, told, plan)?
        }
    };
    stop.store(true, Ordering::Relaxed);
    client.join().expect("the client does not panic")?;
    println!("{driver} {kind} {connections} x {bytes} B: {line}");
    Ok(())
}

fn server<D: Driver>(
    mut driver: D,
    told: impl FnOnce(SocketAddr),
    plan: Plan,
) -> io::Result<String> {
    let (_, addr) = driver.listen(&ListenOptions {
        addr: ListenAddr::Tcp("127.0.0.1:0".parse().expect("an address")),
        backlog: 4_096,
        reuse_port: false,
        exclusive: false,
        sharers: 0,
        want_peer: false,
    })?;
    told(addr.tcp().expect("a TCP address"));
    let message = Chunk::new(vec![b'm'; plan.bytes].into());
    let mut outgoing: Vec<Vec<u8>> = vec![Vec::new(); plan.connections as usize];
    let mut busy = vec![false; plan.connections as usize];
    let mut dirty = Vec::new();
    let (mut joined, mut in_flight, mut messages, mut iterations) = (0, 0, 0u64, 0u64);
    let mut measured: Option<(Instant, u64)> = None;
    loop {
        if plan.fanout && joined == plan.connections && in_flight == 0 {
            for slot in 0..joined {
                let status = driver.send(ConnKey::new(slot, 0), std::slice::from_ref(&message));
                in_flight += u32::from(status == SendStatus::Pending);
                messages += 1;
            }
        }
        let wait = if plan.fanout && joined == plan.connections && in_flight == 0 {
            0
        } else {
            100
        };
        driver.wait(Some(Duration::from_millis(wait)))?;
        iterations += 1;
        while let Some(event) = driver.next_event() {
            match event {
                Event::Accepted { socket, .. } => {
                    driver.adopt(ConnKey::new(joined, 0), socket)?;
                    joined += 1;
                    if joined == plan.connections {
                        (messages, iterations) = (0, 0);
                        measured = Some((Instant::now(), cpu_ns()?));
                    }
                }
                Event::Bytes(key, bytes) => {
                    let slot = key.slot() as usize;
                    outgoing[slot].extend_from_slice(bytes);
                    if !busy[slot] {
                        dirty.push(key);
                    }
                }
                Event::Sent(key) => {
                    in_flight = in_flight.saturating_sub(1);
                    busy[key.slot() as usize] = false;
                    if !outgoing[key.slot() as usize].is_empty() {
                        dirty.push(key);
                    }
                }
                _ => {}
            }
        }
        for key in dirty.drain(..) {
            let slot = key.slot() as usize;
            if !busy[slot] && !outgoing[slot].is_empty() {
                messages += (outgoing[slot].len() / plan.bytes) as u64;
                busy[slot] = driver.send_copy(key, &outgoing[slot]) == SendStatus::Pending;
                outgoing[slot].clear();
            }
        }
        if let Some((start, cpu)) = measured
            && start.elapsed() >= Duration::from_secs(plan.seconds)
        {
            let cpu = cpu_ns()? - cpu;
            return Ok(format!(
                "{} ns CPU a message, {} messages/s, {:.1} messages an iteration",
                cpu / messages.max(1),
                messages / plan.seconds,
                messages as f64 / iterations as f64,
            ));
        }
    }
}

fn client<D: Driver>(
    mut driver: D,
    addr: SocketAddr,
    plan: Plan,
    stop: &AtomicBool,
) -> io::Result<()> {
    for slot in 0..plan.connections {
        driver.connect(ConnKey::new(slot, 0), &ConnectOptions { addr, local: None })?;
    }
    let message = vec![b'm'; plan.bytes];
    let mut received = vec![0; plan.connections as usize];
    let mut dirty = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        driver.wait(Some(Duration::from_millis(100)))?;
        while let Some(event) = driver.next_event() {
            match event {
                Event::Connected(key) => dirty.push(key),
                Event::Bytes(key, bytes) => {
                    let count = &mut received[key.slot() as usize];
                    *count += bytes.len();
                    if *count >= plan.bytes {
                        *count -= plan.bytes;
                        dirty.push(key);
                    }
                }
                _ => {}
            }
        }
        for key in dirty.drain(..) {
            if !plan.fanout {
                driver.send_copy(key, &message);
            }
        }
    }
    Ok(())
}

/// CPU time of this thread.
fn cpu_ns() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or(io::ErrorKind::InvalidData.into())
}
