//! Bytes in: order, content, ends, fairness.

use roost_net::{Driver, SendStatus};

use crate::backend::{Backend, Options};
use crate::stream::Stream;
use crate::world::{CLIENT, End, SERVER, World};

pub(crate) fn echo_1_byte<B: Backend>() {
    echo::<B>(1);
}

pub(crate) fn echo_125_bytes<B: Backend>() {
    echo::<B>(125);
}

pub(crate) fn echo_64_kib<B: Backend>() {
    echo::<B>(65_536);
}

pub(crate) fn echo_1_mb<B: Backend>() {
    echo::<B>(1_000_000);
}

pub(crate) fn echo_8_mb<B: Backend>() {
    echo::<B>(8_000_000);
}

fn echo<B: Backend>(len: usize) {
    let (mut world, client, server) = World::<B>::connected();
    let stream = Stream::new(world.rng.next());
    world.hosts[SERVER].echo(server.key);
    world.expect(server, stream);
    world.expect(client, stream);
    world.send(client, &stream.chunks(0, len, 1 << 20));
    world.until_received(client, len);
    let stats = world.hosts[SERVER].driver.stats();
    assert_eq!(stats.received_bytes, len as u64);
    assert_eq!(stats.sent_bytes, len as u64);
    world.finish();
}

pub(crate) fn small_read_buffer<B: Backend>() {
    const LEN: usize = 300_000;
    let options = Options {
        read_buffer_bytes: 512,
        ..Options::default()
    };
    let mut world = World::<B>::with(&options, 2);
    let addr = world.listen(SERVER);
    let (client, server) = world.pair(addr);
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    // Neither a multiple of the buffer nor less than one.
    world.send(client, &stream.chunks(0, LEN, 1_000));
    world.until_received(server, LEN);
    let events = world.hosts[SERVER].bytes_events.len();
    assert!(
        events >= LEN / 512,
        "{events} events cannot have carried it"
    );
    world.finish();
}

pub(crate) fn bytes_sent_before_adopt<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].auto_adopt = false;
    let client = world.connect(CLIENT, addr);
    world.until("both ends", |w| {
        w.conn(client).connected && w.hosts[SERVER].accepted.len() == 1
    });
    let stream = Stream::new(world.rng.next());
    world.send_copy(client, &stream.bytes(0, 3_000));
    world.shutdown_write(client);
    world.iterate_times(10);
    let accepted = world.hosts[SERVER].accepted.pop_front().expect("seen");
    let key = world.hosts[SERVER].adopt(accepted.socket);
    let server = End { host: SERVER, key };
    world.expect(server, stream);
    world.until_received(server, 3_000);
    world.until("FIN", |w| w.conn(server).read_closed);
    world.finish();
}

pub(crate) fn half_close_by_the_client<B: Backend>() {
    let (world, client, server) = World::<B>::connected();
    half_close(world, client, server);
}

pub(crate) fn half_close_by_the_server<B: Backend>() {
    let (world, client, server) = World::<B>::connected();
    half_close(world, server, client);
}

/// `first` ends its direction, and the other goes on.
fn half_close<B: Backend>(mut world: World<B>, first: End, second: End) {
    let stream = Stream::new(world.rng.next());
    world.expect(first, stream);
    world.expect(second, stream);
    world.send_copy(first, &stream.bytes(0, 1_000));
    world.shutdown_write(first);
    world.until_received(second, 1_000);
    world.until("FIN", |w| w.conn(second).read_closed);
    for part in 0..10 {
        world.until("the last part to go", |w| !w.conn(second).in_flight);
        world.send_copy(second, &stream.bytes(part * 5_000, 5_000));
        world.iterate_times(2);
    }
    world.until_received(first, 50_000);
    assert!(
        !world.conn(first).read_closed,
        "the other direction is still open"
    );
    world.until("the last part to go", |w| !w.conn(second).in_flight);
    world.shutdown_write(second);
    world.until("FIN", |w| w.conn(first).read_closed);
    // Both directions have ended, and the connection has not: that is for the caller to say.
    world.iterate_times(10);
    assert_eq!(world.conn(first).closed, None);
    assert_eq!(world.conn(second).closed, None);
    world.finish();
}

pub(crate) fn fin_waits_for_resume<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(server);
    world.iterate_times(3);
    world.shutdown_write(client);
    world.iterate_times(30);
    assert!(!world.conn(server).read_closed);
    world.resume(server);
    world.until("FIN", |w| w.conn(server).read_closed);
    world.finish();
}

pub(crate) fn bytes_before_fin_come_first<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    let stream = Stream::new(world.rng.next());
    world.expect(server, stream);
    world.pause(server);
    world.iterate_times(3);
    world.send_copy(client, &stream.bytes(0, 10_000));
    world.shutdown_write(client);
    world.iterate_times(10);
    world.resume(server);
    world.until("FIN", |w| w.conn(server).read_closed);
    assert_eq!(
        world.conn(server).received_bytes,
        10_000,
        "FIN overtook bytes"
    );
    world.finish();
}

pub(crate) fn many_connections_with_few_buffers<B: Backend>() {
    const CONNECTIONS: usize = 200;
    const LEN: usize = 20_000;
    let mut world = World::<B>::new();
    let few = Options {
        read_buffers: 2,
        read_buffer_bytes: 1_024,
        ..Options::default()
    };
    let host = world.add_host(&few);
    world.hosts.swap(SERVER, host);
    let addr = world.listen(SERVER);
    let pairs: Vec<_> = (0..CONNECTIONS).map(|_| world.pair(addr)).collect();
    for (i, &(client, server)) in pairs.iter().enumerate() {
        let stream = Stream::new(i as u64);
        world.expect(server, stream);
        world.send_copy(client, &stream.bytes(0, LEN));
    }
    world.until("all bytes", |w| {
        pairs
            .iter()
            .all(|&(_, server)| w.conn(server).received_bytes == LEN as u64)
    });
    world.finish();
}

/// What one iteration may read of a flood before it reads another's byte, in events.
const TURN_EVENTS: usize = 16;

/// Connections whose bytes wait before the server, which is paused, has looked at any. 1 KiB is
/// read at a time, and 50 are waiting.
fn flooded<B: Backend>(count: u64) -> (World<B>, Vec<(End, End)>) {
    let options = Options {
        read_buffer_bytes: 1_024,
        ..Options::default()
    };
    let mut world = World::<B>::with(&options, 2);
    let addr = world.listen(SERVER);
    let pairs: Vec<_> = (0..count).map(|_| world.pair(addr)).collect();
    for (i, &(client, server)) in pairs.iter().enumerate() {
        let stream = Stream::new(i as u64);
        world.expect(server, stream);
        world.pause(server);
        assert_ne!(
            world.send_copy(client, &stream.bytes(0, FLOODED_BYTES)),
            SendStatus::Gone
        );
    }
    world.iterate_times(20);
    (world, pairs)
}

const FLOODED_BYTES: usize = 50 << 10;

pub(crate) fn a_turn_ends_though_more_is_waiting<B: Backend>() {
    let (mut world, pairs) = flooded::<B>(1);
    let server = pairs[0].1;
    world.resume(server);
    let mut received = 0;
    world.until("all bytes", |w| {
        // `until` has turned every driver once since the last look.
        let now = w.hosts[SERVER].bytes_events.len();
        let events = now - std::mem::replace(&mut received, now);
        assert!(
            events <= TURN_EVENTS,
            "{events} events of one connection in one iteration"
        );
        w.conn(server).received_bytes == FLOODED_BYTES as u64
    });
    world.finish();
}

pub(crate) fn a_flood_leaves_room_for_one_byte<B: Backend>() {
    let (mut world, pairs) = flooded::<B>(2);
    let [(_, before), (_, behind)] = pairs[..] else {
        unreachable!("two")
    };
    let addr = world.listen(SERVER);
    let (shy, server) = world.pair(addr);
    world.pause(server);
    world.iterate_times(3);
    world.send_copy(shy, b"!");
    world.iterate_times(10);
    // In whatever order the driver goes about them, a flood comes before the byte.
    world.resume(before);
    world.resume(server);
    world.resume(behind);
    let from = world.hosts[SERVER].bytes_events.len();
    world.until_received(server, 1);
    let events = &world.hosts[SERVER].bytes_events[from..];
    let waited = events
        .iter()
        .position(|&key| key == server.key)
        .expect("just received");
    assert!(
        waited <= TURN_EVENTS,
        "one byte waited for {waited} events of others"
    );
    world.finish();
}

pub(crate) fn all_floods_are_served_in_turn<B: Backend>() {
    let (mut world, pairs) = flooded::<B>(20);
    for &(_, server) in &pairs {
        world.resume(server);
    }
    world.until("all bytes", |w| {
        pairs
            .iter()
            .all(|&(_, server)| w.conn(server).received_bytes == FLOODED_BYTES as u64)
    });
    let events = &world.hosts[SERVER].bytes_events;
    let last_of = |key| {
        events
            .iter()
            .rposition(|&other| other == key)
            .expect("all have some")
    };
    let first_end = pairs
        .iter()
        .map(|&(_, server)| last_of(server.key))
        .min()
        .expect("twenty");
    for &(_, server) in &pairs {
        let first = events
            .iter()
            .position(|&key| key == server.key)
            .expect("all have some");
        assert!(
            first < first_end,
            "one was read to its end before another was read at all"
        );
    }
    world.finish();
}
