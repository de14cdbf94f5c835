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
    world.turns(10);
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
        world.turns(2);
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
    world.turns(10);
    assert_eq!(world.conn(first).closed, None);
    assert_eq!(world.conn(second).closed, None);
    world.finish();
}

pub(crate) fn fin_waits_for_resume<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(server);
    world.turns(3);
    world.shutdown_write(client);
    world.turns(30);
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
    world.turns(3);
    world.send_copy(client, &stream.bytes(0, 10_000));
    world.shutdown_write(client);
    world.turns(10);
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

/// What one turn may read of a flood before it reads another's byte, in events.
const TURN_EVENTS: usize = 16;

pub(crate) fn a_flood_leaves_room_for_one_byte<B: Backend>() {
    let options = Options {
        read_buffer_bytes: 4_096,
        ..Options::default()
    };
    let mut world = World::<B>::with(&options, 2);
    let addr = world.listen(SERVER);
    let (noisy, flooded) = world.pair(addr);
    let (shy, server) = world.pair(addr);
    let stream = Stream::new(world.rng.next());
    world.expect(flooded, stream);
    world.pause(flooded);
    world.flood(noisy, stream);
    world.turns(3);
    // Both are there before the server looks.
    world.pause(server);
    world.turns(3);
    world.send_copy(shy, b"!");
    world.turns(10);
    world.resume(flooded);
    world.turns(2);
    world.resume(server);
    let before = world.hosts[SERVER].bytes_events.len();
    world.until_received(server, 1);
    let events = &world.hosts[SERVER].bytes_events[before..];
    let waited = events
        .iter()
        .position(|&key| key == server.key)
        .expect("just received");
    assert!(
        waited <= TURN_EVENTS,
        "one byte waited for {waited} events of another"
    );
    assert!(
        world.conn(noisy).in_flight,
        "the flood was over too soon to show anything"
    );
    world.finish();
}

pub(crate) fn all_floods_are_served_in_turn<B: Backend>() {
    const FLOODS: usize = 20;
    const LEN: usize = 60_000;
    let options = Options {
        read_buffer_bytes: 1_024,
        ..Options::default()
    };
    let mut world = World::<B>::with(&options, 2);
    let addr = world.listen(SERVER);
    let pairs: Vec<_> = (0..FLOODS).map(|_| world.pair(addr)).collect();
    for (i, &(client, server)) in pairs.iter().enumerate() {
        world.expect(server, Stream::new(i as u64));
        world.pause(server);
        let status = world.send_copy(client, &Stream::new(i as u64).bytes(0, LEN));
        assert_ne!(status, SendStatus::Gone);
    }
    world.turns(10);
    for &(_, server) in &pairs {
        world.resume(server);
    }
    world.until("the first to end", |w| {
        pairs
            .iter()
            .any(|&(_, server)| w.conn(server).received_bytes == LEN as u64)
    });
    for &(_, server) in &pairs {
        let bytes = world.conn(server).received_bytes;
        assert!(
            bytes > 0,
            "one was read to its end before another was read at all"
        );
    }
    world.finish();
}
