//! Random operations on several connections, compared with the simplest model there is: a
//! direction of a connection is a stream; what arrives is a beginning of what was sent, and all of
//! it unless somebody reset the connection.

use roost_net::{CloseCause, CloseMode, SendStatus};

use crate::backend::{Backend, Options};
use crate::stream::Stream;
use crate::world::{End, SERVER, World};

/// Drivers in the game.
const HOSTS: usize = 3;
const CONNECTIONS: usize = 8;
const STEPS: usize = 400;

/// One end of a connection, as the model sees it.
struct Side {
    end: End,
    /// What this side sends.
    stream: Stream,
    sent_bytes: u64,
    /// Bytes received in former homes.
    received_before: u64,
    fin: bool,
    closed: bool,
    releasing: bool,
}

struct Pair {
    sides: [Side; 2],
    /// Somebody reset it, so that anything may be lost.
    reset: bool,
}

pub(crate) fn random_operations<B: Backend>() {
    for _ in 0..3 {
        let options = Options {
            read_buffer_bytes: 4_096,
            ..Options::default()
        };
        let mut world = World::<B>::with(&options, HOSTS);
        let addr = world.listen(SERVER);
        let mut pairs: Vec<Pair> = (0..CONNECTIONS as u64)
            .map(|number| pair(&mut world, addr, number))
            .collect();
        for _ in 0..STEPS {
            let which = world.rng.below(CONNECTIONS);
            let side = world.rng.below(2);
            step(&mut world, &mut pairs[which], side);
        }
        deliver_all(&mut world, &mut pairs);
        for (number, pair) in pairs.iter().enumerate() {
            check(&world, number, pair);
        }
        world.finish();
    }
}

fn pair<B: Backend>(world: &mut World<B>, addr: std::net::SocketAddr, number: u64) -> Pair {
    let (client, server) = world.pair(addr);
    let side = |end, stream| Side {
        end,
        stream,
        sent_bytes: 0,
        received_before: 0,
        fin: false,
        closed: false,
        releasing: false,
    };
    let (there, back) = (Stream::new(number * 2), Stream::new(number * 2 + 1));
    world.expect(server, there);
    world.expect(client, back);
    Pair {
        sides: [side(client, there), side(server, back)],
        reset: false,
    }
}

/// One operation by one side.
fn step<B: Backend>(world: &mut World<B>, pair: &mut Pair, which: usize) {
    let received_all = received(world, &pair.sides[which]) == pair.sides[which ^ 1].sent_bytes;
    finish_release(world, pair, which);
    let other_closed = pair.sides[which ^ 1].closed;
    let side = &mut pair.sides[which];
    if side.closed || side.releasing || world.conn(side.end).ended {
        return world.iterate();
    }
    match world.rng.below(100) {
        0..=44 => {
            let in_flight = world.conn(side.end).in_flight;
            if in_flight || side.fin {
                return world.iterate();
            }
            let len = random_len(world);
            // Bytes for a peer that has closed come back as a reset, at the earliest between two
            // system calls of one batch.
            pair.reset |= other_closed && len > 0;
            let status = if world.rng.chance(50) {
                world.send_copy(side.end, &side.stream.bytes(side.sent_bytes, len))
            } else {
                let chunk_bytes = 1 + world.rng.below(len.max(1));
                world.send(
                    side.end,
                    &side.stream.chunks(side.sent_bytes, len, chunk_bytes),
                )
            };
            match status {
                SendStatus::Gone => assert!(pair.reset, "Gone, and it was not reset"),
                _ => side.sent_bytes += len as u64,
            }
        }
        45..=59 => world.pause(side.end),
        60..=79 => world.resume(side.end),
        80..=84 => {
            side.fin = true;
            world.shutdown_write(side.end);
        }
        85..=89 => {
            side.releasing = true;
            world.release(side.end);
        }
        90..=92 => {
            side.closed = true;
            world.close(side.end, CloseMode::Graceful);
            // What it has not read comes back as a reset.
            pair.reset |= !received_all;
        }
        93 => {
            side.closed = true;
            world.close(side.end, CloseMode::Abort);
            pair.reset = true;
        }
        _ => world.iterate(),
    }
}

fn random_len<B: Backend>(world: &mut World<B>) -> usize {
    match world.rng.below(10) {
        0 => 0,
        1..=5 => 1 + world.rng.below(300),
        6..=8 => world.rng.below(40_000),
        _ => world.rng.below(1_000_000),
    }
}

/// Adopts the socket of a release that has come to its end.
fn finish_release<B: Backend>(world: &mut World<B>, pair: &mut Pair, which: usize) {
    let side = &mut pair.sides[which];
    if !side.releasing || !world.conn(side.end).ended {
        return;
    }
    side.releasing = false;
    let from = &mut world.hosts[side.end.host];
    let Some(socket) = from.conn_mut(side.end.key).released.take() else {
        assert!(
            pair.reset,
            "closed instead of released, and it was not reset"
        );
        return;
    };
    side.received_before += world.conn(side.end).received_bytes;
    let host = world.rng.below(HOSTS);
    side.end = End {
        host,
        key: world.hosts[host].adopt(socket),
    };
    let (end, before) = (side.end, side.received_before);
    let rest = pair.sides[which ^ 1].stream.from(before);
    world.expect(end, rest);
}

/// Lets all peers read, and waits until all that must arrive has arrived.
fn deliver_all<B: Backend>(world: &mut World<B>, pairs: &mut [Pair]) {
    world.until("the last bytes", |w| {
        let mut delivered = true;
        for pair in pairs.iter_mut() {
            for which in 0..2 {
                finish_release(w, pair, which);
                let end = pair.sides[which].end;
                if w.conn(end).paused && !w.conn(end).ended {
                    w.resume(end);
                }
            }
            // Two ends that close with full windows each wait for the other to read: the caller's
            // deadline is what ends that.
            if pair.sides.iter().all(|side| side.closed) {
                for end in pair.sides.iter().map(|side| side.end) {
                    if !w.conn(end).ended {
                        w.close(end, CloseMode::Abort);
                    }
                }
            }
            delivered &= is_delivered(w, pair);
        }
        delivered
    });
}

fn is_delivered<B: Backend>(world: &World<B>, pair: &Pair) -> bool {
    pair.sides
        .iter()
        .zip([&pair.sides[1], &pair.sides[0]])
        .all(|(side, other)| {
            let conn = world.conn(side.end);
            if side.closed || pair.reset {
                return !side.closed || conn.ended;
            }
            let fin = other.fin || other.closed;
            received(world, side) == other.sent_bytes
                && conn.read_closed == fin
                && !conn.in_flight
                && !side.releasing
        })
}

fn check<B: Backend>(world: &World<B>, number: usize, pair: &Pair) {
    for (side, other) in pair.sides.iter().zip([&pair.sides[1], &pair.sides[0]]) {
        let conn = world.conn(side.end);
        assert!(
            received(world, side) <= other.sent_bytes,
            "{number}: bytes out of nowhere"
        );
        if !pair.reset && !side.closed {
            assert_eq!(
                received(world, side),
                other.sent_bytes,
                "{number}: bytes lost"
            );
            assert_eq!(conn.closed, None, "{number}: closed by neither side");
        }
        if !pair.reset && side.closed {
            assert_eq!(conn.closed, Some(CloseCause::Requested), "{number}");
        }
    }
}

fn received<B: Backend>(world: &World<B>, side: &Side) -> u64 {
    side.received_before + world.conn(side.end).received_bytes
}
