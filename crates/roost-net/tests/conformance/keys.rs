//! Keys that name nothing any more, and slots that are used again.

use roost_net::{Chunk, CloseCause, CloseMode, ConnKey, ConnectOptions, Driver, SendStatus};

use crate::backend::Backend;
use crate::stream::Stream;
use crate::world::{CLIENT, End, SERVER, World};

pub(crate) fn stale_keys_do_nothing<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    let (first, _) = world.pair(addr);
    world.close(first, CloseMode::Graceful);
    world.until_closed(first);
    // The slot's next owner must not feel any of what follows.
    let (second, server) = world.pair(addr);
    assert_eq!(second.key.slot(), first.key.slot());
    assert_ne!(second.key.generation(), first.key.generation());
    let unknown = ConnKey::new(1_000_000, 7);
    let driver = &mut world.hosts[CLIENT].driver;
    for key in [first.key, unknown] {
        let before = driver.stats().stale;
        assert_eq!(
            driver.send(key, &[Chunk::new((*b"lost").into())]),
            SendStatus::Gone
        );
        assert_eq!(driver.send_copy(key, b"lost"), SendStatus::Gone);
        assert_eq!(driver.unsent_bytes(key), 0);
        driver.pause(key);
        driver.resume(key);
        driver.shutdown_write(key);
        driver.release(key);
        assert_eq!(driver.peer_addr(key), None);
        driver.close(key, CloseMode::Graceful);
        driver.close(key, CloseMode::Abort);
        assert_eq!(driver.stats().stale - before, 10, "each of them counts");
    }
    world.iterate_times(10);
    world.send_copy(second, b"untouched");
    world.until_received(server, 9);
    assert!(!world.conn(server).read_closed);
    world.finish();
}

pub(crate) fn a_taken_slot_is_refused<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    let (client, server) = world.pair(addr);
    world.hosts[SERVER].auto_adopt = false;
    let other = world.connect(CLIENT, addr);
    world.until("a new connection", |w| w.hosts[SERVER].accepted.len() == 1);
    let accepted = world.hosts[SERVER].accepted.pop_front().expect("just seen");
    let taken = ConnKey::new(server.key.slot(), server.key.generation().wrapping_add(1));
    let driver = &mut world.hosts[SERVER].driver;
    assert!(driver.adopt(taken, accepted.socket).is_err());
    assert!(
        driver
            .connect(taken, &ConnectOptions { addr, local: None })
            .is_err()
    );
    assert_eq!(driver.stats().open, 1);
    world.until("the end of the socket", |w| {
        w.conn(other).read_closed || w.conn(other).closed.is_some()
    });
    // The owner of the slot feels nothing.
    world.send_copy(client, b"mine");
    world.until_received(server, 4);
    world.finish();
}

pub(crate) fn slots_are_used_again_at_once<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    let mut slots = Vec::new();
    for round in 0..150 {
        let (client, server) = world.pair(addr);
        slots.push(server.key.slot());
        let (there, back) = (Stream::new(round * 2), Stream::new(round * 2 + 1));
        world.expect(server, there);
        world.expect(client, back);
        // Work of every kind is under way when the connection ends, and its completions come
        // when the slot has its next owner.
        let len = world.rng.below(200_000);
        world.send(client, &there.chunks(0, len, 10_000));
        world.send_copy(server, &back.bytes(0, len));
        if world.rng.chance(30) {
            world.pause(server);
        }
        let iterations = world.rng.below(3);
        world.iterate_times(iterations);
        let (one, other) = if world.rng.chance(50) {
            (client, server)
        } else {
            (server, client)
        };
        if world.conn(one).ended {
            continue;
        }
        world.close(one, CloseMode::Abort);
        let cause = world.until_closed(one);
        assert!(
            matches!(cause, CloseCause::Requested | CloseCause::Reset),
            "{cause:?}"
        );
        if world.rng.chance(70) {
            close_and_wait(&mut world, other);
        }
    }
    slots.sort_unstable();
    slots.dedup();
    assert!(slots.len() < 150, "no slot was used twice");
    world.finish();
}

fn close_and_wait<B: Backend>(world: &mut World<B>, end: End) {
    if !world.conn(end).ended {
        world.close(end, CloseMode::Abort);
    }
    world.until("an end", |w| w.conn(end).ended);
}
