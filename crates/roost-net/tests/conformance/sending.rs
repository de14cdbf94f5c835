//! Bytes out: batches, back-pressure, FIN.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use roost_net::{Chunk, Driver, SendStatus};

use crate::backend::Backend;
use crate::stream::Stream;
use crate::world::{CLIENT, SERVER, World};

pub(crate) fn many_small_chunks<B: Backend>() {
    const CHUNKS: usize = 3_000;
    let (mut world, client, server) = World::<B>::connected();
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    let mut chunks = Vec::new();
    let mut place = 0;
    for _ in 0..CHUNKS {
        // Some are empty, some are parts of more than is to be sent.
        let len = world.rng.below(4) * 37;
        let margin = world.rng.below(3);
        let mut bytes = vec![0x55; margin];
        bytes.extend(stream.bytes(place, len));
        bytes.extend([0x55; 2]);
        chunks.push(Chunk::slice(bytes.into(), margin..margin + len));
        place += len as u64;
    }
    world.send(client, &chunks);
    drop(chunks);
    world.until_received(server, place as usize);
    world.until("Sent", |w| !w.conn(client).in_flight);
    world.finish();
}

pub(crate) fn nothing_to_send_is_done<B: Backend>() {
    let (mut world, client, _) = World::<B>::connected();
    assert_eq!(world.send(client, &[]), SendStatus::Done);
    assert_eq!(
        world.send(client, &[Chunk::new([].into())]),
        SendStatus::Done
    );
    assert_eq!(world.send_copy(client, &[]), SendStatus::Done);
    world.iterate_times(5);
    assert_eq!(world.conn(client).sent, 0);
    world.finish();
}

pub(crate) fn a_peer_that_stops_reading<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    world.pause(server);
    world.iterate_times(3);
    world.flood(client, stream);
    // It comes to rest.
    let mut unsent = usize::MAX;
    world.until("a full window", |w| {
        w.iterate_times(20);
        let now = w.unsent(client);
        std::mem::replace(&mut unsent, now) == now
    });
    assert!(
        unsent > 0,
        "all of it has gone to a peer that does not read"
    );
    assert!(unsent < B::FLOOD_BYTES, "nothing of it has gone");
    let received = world.conn(server).received_bytes as usize;
    let buffer = world.options().read_buffer_bytes;
    assert!(received <= buffer, "{received} bytes received while paused");
    world.resume(server);
    world.until_received(server, B::FLOOD_BYTES);
    world.until("Sent", |w| !w.conn(client).in_flight);
    assert_eq!(world.conn(client).sent, 1, "one batch, one Sent");
    assert_eq!(world.unsent(client), 0);
    assert_eq!(
        world.hosts[CLIENT].driver.stats().sent_bytes,
        B::FLOOD_BYTES as u64
    );
    world.finish();
}

pub(crate) fn two_batches_at_once_are_a_mistake<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(server);
    world.flood(client, Stream::new(1));
    let driver = &mut world.hosts[CLIENT].driver;
    let second = catch_unwind(AssertUnwindSafe(|| {
        driver.send_copy(client.key, b"too soon")
    }));
    match second {
        // A driver may stop at the mistake where mistakes are looked for.
        Err(_) if cfg!(debug_assertions) => {}
        Err(panic) => resume_unwind(panic),
        Ok(status) => {
            assert_eq!(status, SendStatus::Gone);
            world.until_closed(client);
        }
    }
    world.finish();
}

pub(crate) fn fin_follows_the_batch_in_flight<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    world.pause(server);
    world.flood(client, stream);
    world.shutdown_write(client);
    world.iterate_times(10);
    world.resume(server);
    world.until("FIN", |w| w.conn(server).read_closed);
    assert_eq!(
        world.conn(server).received_bytes,
        B::FLOOD_BYTES as u64,
        "FIN came too soon"
    );
    assert_eq!(world.conn(client).sent, 1);
    // The other direction is open.
    world.send_copy(server, b"thanks");
    world.until_received(client, 6);
    world.finish();
}

pub(crate) fn send_after_fin_is_gone<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.send_copy(client, b"last");
    world.until("the last to go", |w| !w.conn(client).in_flight);
    world.shutdown_write(client);
    assert_eq!(world.send_copy(client, b"one more"), SendStatus::Gone);
    world.until("FIN", |w| w.conn(server).read_closed);
    assert_eq!(world.send_copy(client, b"one more"), SendStatus::Gone);
    world.iterate_times(10);
    assert_eq!(world.conn(server).received, b"last");
    assert_eq!(world.conn(client).closed, None, "a mistake, and no end");
    world.finish();
}

pub(crate) fn both_directions_at_once<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    let (there, back) = (Stream::new(1), Stream::new(2));
    world.expect(server, there);
    world.expect(client, back);
    world.flood(client, there);
    world.flood(server, back);
    world.until("both floods", |w| {
        [client, server]
            .iter()
            .all(|&end| w.conn(end).received_bytes == B::FLOOD_BYTES as u64)
    });
    world.until("Sent", |w| {
        !w.conn(client).in_flight && !w.conn(server).in_flight
    });
    assert_eq!(
        world.hosts[SERVER].driver.stats().sent_bytes,
        B::FLOOD_BYTES as u64
    );
    world.finish();
}
