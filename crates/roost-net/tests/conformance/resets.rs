//! A peer's reset, in every state a connection can be in.

use roost_net::{CloseCause, CloseMode, SendStatus};

use crate::backend::Backend;
use crate::stream::Stream;
use crate::world::{CLIENT, End, SERVER, World};

pub(crate) fn reset_while_idle<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.close(client, CloseMode::Abort);
    assert_eq!(world.until_closed(server), CloseCause::Reset);
    assert!(!world.conn(server).read_closed, "a reset is no FIN");
    assert_eq!(world.send_copy(server, b"too late"), SendStatus::Gone);
    world.finish();
}

pub(crate) fn reset_with_a_batch_in_flight<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(client);
    world.iterate_times(3);
    world.flood(server, Stream::new(1));
    world.iterate_times(5);
    world.close(client, CloseMode::Abort);
    assert_eq!(world.until_closed(server), CloseCause::Reset);
    assert_eq!(world.conn(server).sent, 0, "Sent, and it was not");
    world.finish();
}

pub(crate) fn reset_while_paused<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(server);
    world.iterate_times(3);
    world.send_copy(client, b"unread");
    world.iterate_times(3);
    world.close(client, CloseMode::Abort);
    assert_eq!(world.until_closed(server), CloseCause::Reset);
    world.finish();
}

pub(crate) fn reset_after_fin<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.shutdown_write(client);
    world.until("FIN", |w| w.conn(server).read_closed);
    world.close(client, CloseMode::Abort);
    assert_eq!(world.until_closed(server), CloseCause::Reset);
    world.finish();
}

pub(crate) fn reset_before_adopt<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    world.hosts[SERVER].auto_adopt = false;
    let client = world.connect(CLIENT, addr);
    world.until("both ends", |w| {
        w.conn(client).connected && w.hosts[SERVER].accepted.len() == 1
    });
    world.close(client, CloseMode::Abort);
    world.until_closed(client);
    world.iterate_times(5);
    let accepted = world.hosts[SERVER].accepted.pop_front().expect("seen");
    let key = world.hosts[SERVER].adopt(accepted.socket);
    assert_eq!(
        world.until_closed(End { host: SERVER, key }),
        CloseCause::Reset
    );
    world.finish();
}

pub(crate) fn reset_while_closing<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(client);
    world.iterate_times(3);
    world.flood(server, Stream::new(1));
    world.close(server, CloseMode::Graceful);
    // `Host::pump` sees that these are not told any more.
    world.send_copy(client, b"not read");
    world.iterate_times(5);
    assert_eq!(world.conn(server).closed, None);
    world.close(client, CloseMode::Abort);
    // Either is true: it was asked for, and it was reset.
    let cause = world.until_closed(server);
    assert!(
        matches!(cause, CloseCause::Requested | CloseCause::Reset),
        "{cause:?}"
    );
    world.finish();
}

pub(crate) fn reset_while_releasing<B: Backend>() {
    let (mut world, client, server) = World::<B>::connected();
    world.pause(client);
    world.iterate_times(3);
    world.flood(server, Stream::new(1));
    world.release(server);
    world.iterate_times(5);
    assert!(!world.conn(server).ended, "released with a batch in flight");
    world.close(client, CloseMode::Abort);
    assert_eq!(world.until_closed(server), CloseCause::Reset);
    world.finish();
}
