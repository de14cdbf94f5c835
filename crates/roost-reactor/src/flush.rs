//! The end of a loop iteration: each connection with something pending is written once.

use roost_dialect::dialect::Event;
use roost_hub::{ChannelId, PublishTo};
use roost_net::{CloseMode, ConnKey, Driver};

use crate::closing::{close_dropping, cut};
use crate::connections::{Flushed, Scratch, Writer, Written};
use crate::core::Core;
use crate::dialogue::notify;
use crate::hub_outputs::apply;
use crate::incidents::IncidentKind;

/// Writes what this loop iteration has batched.
pub(crate) fn flush<D: Driver>(core: &mut Core, driver: &mut D, scratch: &mut Scratch) {
    flush_once(core, driver, scratch);
    // To end a subscription is to send something, which may be too much: each time there are fewer.
    while core.connections.has_missed() {
        end_missed(core);
        flush_once(core, driver, scratch);
    }
    if let Some(lost) = core.connections.take_lost() {
        core.channels.note_lost(&lost, &core.connections);
    }
}

/// Ends the subscriptions to channels of which something was dropped, where what follows would look like all
/// there is.
#[cold]
fn end_missed(core: &mut Core) {
    while let Some((key, channels)) = core.connections.pop_missed() {
        for channel in channels {
            let Ok(channel) = u32::try_from(channel).map(ChannelId) else {
                continue; // of a pattern
            };
            let name = core.channels.name_of(PublishTo::Channel(channel));
            if let Some(name) = name.map(str::to_owned) {
                core.counters.subscriptions_insufficient_total.inc();
                let name = &name;
                notify(core, key, Event::Missed { channel, name });
            }
        }
    }
    apply(core);
}

fn flush_once<D: Driver>(core: &mut Core, driver: &mut D, scratch: &mut Scratch) {
    if core.connections.is_flushed() {
        return;
    }
    let dirty = core.connections.begin_flush();
    for &slot in &dirty {
        let written = writer(core, driver, scratch).write_pending(slot);
        if written != Written::Accepted
            && let Some(key) = core.connections.key_at(slot)
        {
            if written == Written::Full {
                drop_slow_consumer(core, key);
            }
            end_if_flushed(core, key);
        }
    }
    core.connections.end_flush(dirty);
    if core.connections.has_owing() {
        send_owed(core, driver, scratch);
    }
    scratch.end_flush();
}

/// Sends what transports have to send beside data: handshakes, key updates, alerts.
fn send_owed<D: Driver>(core: &mut Core, driver: &mut D, scratch: &mut Scratch) {
    let owing = core.connections.take_owing();
    for &slot in &owing {
        if let Some(key) = writer(core, driver, scratch).write_owed(slot) {
            end_if_flushed(core, key);
        }
    }
    core.connections.return_owing(owing);
}

#[inline]
fn writer<'a, D: Driver>(
    core: &'a mut Core,
    driver: &'a mut D,
    scratch: &'a mut Scratch,
) -> Writer<'a, D> {
    Writer {
        connections: &mut core.connections,
        driver,
        scratch,
    }
}

/// Policy `close`: what waits is dropped, a close frame says why.
fn drop_slow_consumer(core: &mut Core, key: ConnKey) {
    core.counters.slow_consumers_total.inc();
    close_dropping(core, key, "slow consumer: outbox full");
}

/// The batch in flight has gone: the next one, or the end.
pub(crate) fn on_sent<D: Driver>(
    core: &mut Core,
    driver: &mut D,
    scratch: &mut Scratch,
    key: ConnKey,
) {
    if !writer(core, driver, scratch).end_in_flight(key) {
        core.counters.stale_completions_total.inc();
        return;
    }
    // Until the kernel takes no more or nothing is left.
    while let Some(is_last) = writer(core, driver, scratch).take_batch_from_outbox(key) {
        if is_last && !tell_dropped(core, key) {
            core.connections.drop_outbox(key.slot());
        }
        if !writer(core, driver, scratch).send_next_batch(key) {
            break;
        }
    }
    end_if_flushed(core, key);
}

/// All that waited is on its way: says behind it how much was dropped, where the receiver wants
/// to know. True if there is something to say.
fn tell_dropped(core: &mut Core, key: ConnKey) -> bool {
    let messages = core.connections.take_dropped(key);
    if messages == 0 {
        return false;
    }
    core.note_incident(key, IncidentKind::Dropped, messages);
    let (words, _) = core.framed_words(key, Event::Dropped { messages });
    if words.is_empty() {
        return false;
    }
    core.connections.push_to_outbox(key, words);
    true
}

/// Sends FIN when nothing is left to send; closes when the peer has sent its own. Or goes on with the
/// requests that wait for that.
fn end_if_flushed(core: &mut Core, key: ConnKey) {
    match core.connections.after_flush(key) {
        Flushed::Nothing => {}
        Flushed::Close => cut(core, key, CloseMode::Graceful),
        Flushed::ReadOn => core.channels.unpark(key), // in the next loop iteration
    }
}
