//! The least a server can do: accept and hold. What it costs to connect here at all, to compare a
//! server with (`roost-load idle --bare`).

use std::io;
use std::net::SocketAddr;
use std::thread;

use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::uring::{UringDriver, UringOptions};
use roost_net::{CloseMode, ConnKey, Driver, Event, ListenOptions};

/// Accepts on `address` with `loops` threads, each with a driver of its own, until the process
/// ends. `slots`: io_uring with so many direct slots in each; otherwise epoll. `started` is told
/// the address.
///
/// # Errors
/// When a driver or listener cannot be made, or a loop ends.
pub fn accept_loop(
    address: SocketAddr,
    loops: usize,
    slots: Option<u32>,
    started: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let mut address = address;
    let mut threads = Vec::new();
    for _ in 0..loops {
        let (told, bound) = std::sync::mpsc::channel();
        let here = address;
        threads.push(thread::spawn(move || match slots {
            Some(slots) => {
                let options = UringOptions {
                    direct_slots: Some(slots),
                    ..UringOptions::default()
                };
                hold(UringDriver::new(&options)?, here, &told)
            }
            None => hold(EpollDriver::new(&EpollOptions::default())?, here, &told),
        }));
        address = bound
            .recv()
            .map_err(|_| io::Error::other("a loop could not listen"))?;
    }
    started(address);
    for thread in threads {
        thread
            .join()
            .map_err(|_| io::Error::other("a loop panicked"))??;
    }
    Ok(())
}

fn hold<D: Driver>(
    mut driver: D,
    address: SocketAddr,
    bound: &std::sync::mpsc::Sender<SocketAddr>,
) -> io::Result<()> {
    let (_, address) = driver.listen(&ListenOptions {
        addr: address.into(),
        backlog: 4_096,
        reuse_port: true,
        exclusive: false,
        sharers: 0,
        want_peer: false,
    })?;
    let _ = bound.send(address.tcp().expect("a TCP address"));
    let mut free: Vec<u32> = Vec::new();
    let mut generations: Vec<u16> = Vec::new();
    let mut over: Vec<ConnKey> = Vec::new();
    loop {
        driver.wait(None)?;
        loop {
            let accepted = match driver.next_event() {
                None => break,
                Some(Event::Accepted { socket, .. }) => socket,
                Some(Event::ReadClosed(key)) => {
                    over.push(key);
                    continue;
                }
                Some(Event::Closed(key, _)) => {
                    free.push(key.slot());
                    continue;
                }
                Some(_) => continue,
            };
            let slot = free.pop().unwrap_or_else(|| {
                generations.push(0);
                (generations.len() - 1) as u32
            });
            let generation = &mut generations[slot as usize];
            *generation = generation.wrapping_add(1);
            if driver
                .adopt(ConnKey::new(slot, *generation), accepted)
                .is_err()
            {
                free.push(slot);
            }
        }
        for key in over.drain(..) {
            driver.close(key, CloseMode::Graceful);
        }
    }
}
