//! Release, and adoption elsewhere.

use roost_net::{CloseCause, CloseMode};

use crate::backend::{Backend, Options};
use crate::stream::Stream;
use crate::world::{SERVER, World};

pub(crate) fn released_sockets_lose_no_byte<B: Backend>() {
    const MOVES: usize = 12;
    let options = Options {
        read_buffer_bytes: 8_192,
        ..Options::default()
    };
    let mut world = World::<B>::with(&options, 3);
    let addr = world.listen(SERVER);
    let (client, mut server) = world.pair(addr);
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    world.flood(client, stream);
    let mut received = 0;
    for round in 0..MOVES {
        let some = received + (B::FLOOD_BYTES / 2 / MOVES) as u64;
        world.until("some bytes", |w| {
            received + w.conn(server).received_bytes > some
        });
        world.release(server);
        let next = [2, 2, SERVER][round % 3];
        let moved = world.readopt(server, next);
        // What came after the call counts as well.
        received += world.conn(server).received_bytes;
        server = moved;
        let rest = stream.from(received);
        world.expect(server, rest);
    }
    world.until_received(server, B::FLOOD_BYTES - received as usize);
    world.finish();
}

pub(crate) fn release_waits_for_the_batch<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 3);
    let addr = world.listen(SERVER);
    let (client, server) = world.pair(addr);
    let stream = Stream::new(world.rng.next());
    world.expect(client, stream);
    world.pause(client);
    world.iterate_times(3);
    world.flood(server, stream);
    world.release(server);
    world.iterate_times(10);
    assert!(!world.conn(server).ended, "released with a batch in flight");
    world.resume(client);
    let moved = world.readopt(server, 2);
    assert_eq!(world.conn(server).sent, 1, "Sent comes before Released");
    // The new home goes on where the old one stopped.
    world.send_copy(moved, &stream.bytes(B::FLOOD_BYTES as u64, 100));
    world.until_received(client, B::FLOOD_BYTES + 100);
    world.finish();
}

pub(crate) fn release_while_paused<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 3);
    let addr = world.listen(SERVER);
    let (client, server) = world.pair(addr);
    world.pause(server);
    world.iterate_times(3);
    world.send_copy(client, b"kept by the kernel");
    world.iterate_times(5);
    world.release(server);
    let moved = world.readopt(server, 2);
    world.until("the bytes", |w| {
        let both = [&w.conn(server).received[..], &w.conn(moved).received[..]].concat();
        both == b"kept by the kernel"
    });
    world.finish();
}

pub(crate) fn release_after_fin<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 3);
    let addr = world.listen(SERVER);
    let (client, server) = world.pair(addr);
    world.shutdown_write(client);
    world.until("FIN", |w| w.conn(server).read_closed);
    world.release(server);
    let moved = world.readopt(server, 2);
    world.until("FIN told to the new owner", |w| w.conn(moved).read_closed);
    world.send_copy(moved, b"half open");
    world.until_received(client, 9);
    world.finish();
}

pub(crate) fn release_keeps_fin_sent<B: Backend>() {
    let mut world = World::<B>::with(&Options::default(), 3);
    let addr = world.listen(SERVER);
    let (client, server) = world.pair(addr);
    world.flood(server, Stream::new(1));
    world.shutdown_write(server);
    world.release(server);
    let moved = world.readopt(server, 2);
    world.until("FIN after the batch", |w| w.conn(client).read_closed);
    assert_eq!(world.conn(client).received_bytes, B::FLOOD_BYTES as u64);
    world.send_copy(client, b"hello");
    world.until_received(moved, 5);
    world.finish();
}

pub(crate) fn close_overrules_release<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.release(server);
    // `Host::pump` lets nothing but Closed pass from here on.
    world.close(server, CloseMode::Abort);
    assert_eq!(world.until_closed(server), CloseCause::Requested);
    assert_eq!(world.until_closed(client), CloseCause::Reset);
    world.finish();
}

pub(crate) fn released_and_dropped<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.release(server);
    world.until("Released", |w| w.conn(server).ended);
    let socket = world.hosts[SERVER].conn_mut(server.key).released.take();
    drop(socket.expect("released, not closed"));
    world.until("the end of it", |w| {
        w.conn(client).read_closed || w.conn(client).closed.is_some()
    });
    world.finish();
}
