//! Ends that the caller asks for.

use roost_net::{CloseCause, CloseMode, SendStatus};

use crate::backend::Backend;
use crate::stream::Stream;
use crate::world::{CLIENT, SERVER, World};

pub(crate) fn close_sends_fin<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.send_copy(client, b"goodbye");
    world.close(client, CloseMode::Graceful);
    assert_eq!(world.until_closed(client), CloseCause::Requested);
    world.until("FIN", |w| w.conn(server).read_closed);
    assert_eq!(world.conn(server).received, b"goodbye");
    world.close(server, CloseMode::Graceful);
    assert_eq!(world.until_closed(server), CloseCause::Requested);
    world.finish();
}

pub(crate) fn close_waits_for_the_batch<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    world.pause(server);
    world.iterate_times(3);
    world.flood(client, stream);
    world.close(client, CloseMode::Graceful);
    world.iterate_times(30);
    assert_eq!(world.conn(client).closed, None, "closed with bytes to send");
    world.resume(server);
    assert_eq!(world.until_closed(client), CloseCause::Requested);
    world.until("FIN", |w| w.conn(server).read_closed);
    assert_eq!(world.conn(server).received_bytes, B::FLOOD_BYTES as u64);
    world.finish();
}

pub(crate) fn abort_does_not_wait<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    world.pause(server);
    world.iterate_times(3);
    world.flood(client, stream);
    world.close(client, CloseMode::Abort);
    assert_eq!(world.until_closed(client), CloseCause::Requested);
    world.resume(server);
    assert_eq!(world.until_closed(server), CloseCause::Reset);
    assert!(world.conn(server).received_bytes < B::FLOOD_BYTES as u64);
    world.finish();
}

pub(crate) fn abort_ends_a_waiting_close<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(server);
    world.iterate_times(3);
    world.flood(client, Stream::new(1));
    world.close(client, CloseMode::Graceful);
    world.iterate_times(5);
    assert_eq!(world.conn(client).closed, None);
    world.close(client, CloseMode::Abort);
    assert_eq!(world.until_closed(client), CloseCause::Requested);
    assert_eq!(world.until_closed(server), CloseCause::Reset);
    world.finish();
}

pub(crate) fn close_twice_ends_once<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.close(client, CloseMode::Graceful);
    world.close(client, CloseMode::Graceful);
    world.close(client, CloseMode::Abort);
    assert_eq!(world.send_copy(client, b"late"), SendStatus::Gone);
    world.until_closed(client);
    world.until("the other's end", |w| {
        w.conn(server).read_closed || w.conn(server).closed.is_some()
    });
    assert_eq!(world.conn(server).received, b"");
    // `finish` sees that no second end comes.
    world.finish();
}

pub(crate) fn close_while_connecting<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    for mode in [CloseMode::Graceful, CloseMode::Abort] {
        for iterations in 0..3 {
            let client = world.connect(CLIENT, addr);
            world.iterate_times(iterations);
            world.close(client, mode);
            assert_eq!(world.until_closed(client), CloseCause::Requested);
        }
    }
    world.iterate_times(5);
    world.finish();
}

pub(crate) fn nothing_comes_after_close<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    // Events of each kind are on their way when close is called; `Host::pump` checks.
    for round in 0..20 {
        let (client, server) = world.pair(addr);
        world.send_copy(client, &[1; 10_000]);
        world.send_copy(server, &[2; 10_000]);
        if round % 2 == 0 {
            world.until("the batch to go", |w| !w.conn(client).in_flight);
            world.shutdown_write(client);
        }
        let iterations = world.rng.below(4);
        world.iterate_times(iterations);
        let mode = if round % 3 == 0 {
            CloseMode::Graceful
        } else {
            CloseMode::Abort
        };
        world.close(server, mode);
        world.until_closed(server);
    }
    world.finish();
}
