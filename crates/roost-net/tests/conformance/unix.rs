//! Unix sockets. The clients are the standard library's: a driver connects by TCP alone.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roost_net::unix_socket::UnixOptions;
use roost_net::{CloseMode, Driver, ListenAddr, ListenOptions};

use crate::backend::{Backend, Options};
use crate::host::Accepted;
use crate::world::World;

/// The hosts that listen; no driver connects here.
const ONE: usize = 0;
const OTHER: usize = 1;

/// A path that no other test has.
fn fresh_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roost-net-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

/// Has a host listen; returns the address, which holds the socket.
fn listen<B: Backend>(world: &mut World<B>, host: usize, addr: ListenAddr) -> ListenAddr {
    let options = ListenOptions {
        addr,
        backlog: 1_024,
        reuse_port: true,
        exclusive: host == ONE,
        sharers: 2,
        want_peer: true,
    };
    let driver = &mut world.hosts[host].driver;
    driver.listen(&options).expect("the path is free").1
}

fn unbound(path: &std::path::Path) -> ListenAddr {
    ListenAddr::unix(UnixOptions {
        path: path.to_owned(),
        mode: 0o600,
        group: None,
    })
}

/// A client that never waits for long.
fn dial(path: &std::path::Path) -> UnixStream {
    let client = UnixStream::connect(path).expect("the backlog has room");
    client
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("an option");
    client
}

/// Reads until the end, turning the hosts meanwhile.
fn read_to_end<B: Backend>(world: &mut World<B>, client: &mut UnixStream) -> Vec<u8> {
    let mut received = Vec::new();
    world.until("the end", |_| {
        let mut bytes = [0; 4_096];
        match client.read(&mut bytes) {
            Ok(0) => return true,
            Ok(len) => received.extend_from_slice(&bytes[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        false
    });
    received
}

pub(crate) fn unix_clients_have_no_address<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 1);
    let path = fresh_path();
    let bound = listen(&mut world, ONE, unbound(&path));
    assert_eq!(bound.path(), Some(path.as_path()));
    world.hosts[ONE].auto_adopt = false;
    let mut client = dial(&path);
    world.until("an accept", |w| !w.hosts[ONE].accepted.is_empty());
    let accepted = world.hosts[ONE].accepted.pop_front().expect("just seen");
    let Accepted { peer, socket, .. } = accepted;
    assert_eq!(peer, None);
    let key = world.hosts[ONE].adopt(socket);
    assert_eq!(world.hosts[ONE].driver.peer_addr(key), None);
    // Back and forth, more than a socket takes at once; then both ends one after the other.
    world.hosts[ONE].echo(key);
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    client.set_nonblocking(true).expect("an option");
    let (mut at, mut back) = (0, Vec::new());
    world.until("the echo", |_| {
        if let Ok(len) = client.write(&sent[at..]) {
            at += len;
        }
        let mut bytes = [0; 65_536];
        if let Ok(len) = client.read(&mut bytes) {
            back.extend_from_slice(&bytes[..len]);
        }
        back.len() >= sent.len()
    });
    assert!(back == sent, "what came back is not what was sent");
    client.shutdown(Shutdown::Write).expect("it is open");
    world.until("FIN", |w| w.hosts[ONE].conn(key).read_closed);
    world.hosts[ONE].close(key, CloseMode::Graceful);
    assert_eq!(read_to_end(&mut world, &mut client), b"");
    drop(bound);
    world.finish();
    assert!(!path.exists(), "the file goes with the listener");
}

pub(crate) fn unix_bytes_before_the_end_come_first<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 1);
    let path = fresh_path();
    let _bound = listen(&mut world, ONE, unbound(&path));
    for length in [1, 70_000] {
        let seen = world.hosts[ONE].adopted.len();
        let mut client = dial(&path);
        client.write_all(&vec![7; length]).expect("it fits");
        drop(client);
        world.until("an accept", |w| w.hosts[ONE].adopted.len() > seen);
        let key = world.hosts[ONE].adopted[seen];
        world.until("the end", |w| w.hosts[ONE].conn(key).read_closed);
        assert_eq!(world.hosts[ONE].conn(key).received_bytes, length as u64);
        // The peer that would read is gone.
        world.hosts[ONE].send_copy(key, b"late");
        world.hosts[ONE].close(key, CloseMode::Graceful);
        world.until("Closed", |w| w.hosts[ONE].conn(key).ended);
    }
    world.finish();
}

pub(crate) fn unix_abort_ends_the_connection<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 1);
    let path = fresh_path();
    let _bound = listen(&mut world, ONE, unbound(&path));
    let mut client = dial(&path);
    client.write_all(b"unread").expect("it fits");
    world.until("an accept", |w| w.hosts[ONE].adopted.len() == 1);
    let key = world.hosts[ONE].adopted[0];
    world.hosts[ONE].close(key, CloseMode::Abort);
    assert_eq!(read_to_end(&mut world, &mut client), b"");
    // Refused at once.
    world.hosts[ONE].auto_adopt = false;
    let mut client = dial(&path);
    world.until("an accept", |w| !w.hosts[ONE].accepted.is_empty());
    let accepted = world.hosts[ONE].accepted.pop_front().expect("just seen");
    world.hosts[ONE].driver.refuse(accepted.socket);
    assert_eq!(read_to_end(&mut world, &mut client), b"");
    world.finish();
}

pub(crate) fn drivers_share_a_unix_socket<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 2);
    let path = fresh_path();
    let bound = listen(&mut world, ONE, unbound(&path));
    let bound = listen(&mut world, OTHER, bound).without_socket();
    let second = ListenOptions {
        addr: bound,
        backlog: 16,
        reuse_port: true,
        exclusive: true,
        sharers: 1,
        want_peer: false,
    };
    let error = world.hosts[OTHER].driver.listen(&second);
    let error = error.expect_err("it is served, and this address holds no socket");
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    let total = |w: &World<B>| w.hosts[ONE].adopted.len() + w.hosts[OTHER].adopted.len();
    // Those that tried whether it is served.
    world.iterate_times(5);
    let tries = total(&world);
    assert!(tries > 0);
    let clients: Vec<_> = (0..200).map(|_| dial(&path)).collect();
    world.until("all accepted", |w| total(w) == tries + clients.len());
    // One that has paused, or has stopped to listen, leaves them to the other.
    world.hosts[ONE].driver.set_accepting(false);
    world.iterate_times(3);
    let before = world.hosts[ONE].adopted.len();
    let more: Vec<_> = (0..20).map(|_| dial(&path)).collect();
    let all = tries + clients.len() + more.len();
    world.until("all accepted", |w| total(w) == all);
    assert_eq!(
        world.hosts[ONE].adopted.len(),
        before,
        "accepted in a pause"
    );
    world.hosts[ONE].driver.set_accepting(true);
    world.hosts[OTHER].driver.stop_listening();
    world.iterate_times(3);
    let last: Vec<_> = (0..20).map(|_| dial(&path)).collect();
    world.until("all accepted", |w| total(w) == all + last.len());
    world.hosts[ONE].driver.stop_listening();
    world.until("the file gone", |_| !path.exists());
    assert!(UnixStream::connect(&path).is_err());
    // Whose place another has taken is left alone.
    fs::write(&path, "").expect("writes");
    world.finish();
    fs::remove_file(&path).expect("it is still there");
}
