//! Connections that come back and go on where they were.

use crate::account::Track;
use crate::dialect::{Position, Recovered};

use super::Core;
use super::conn::RESUMING;

/// A connection is about to open. If it does not come back with its positions, it has none.
pub(super) fn begin(core: &mut Core, slot: u32) {
    let place = core.place_of(slot);
    let (positions, _) = core.recovery.positions_mut(place);
    let is_known = !positions.is_empty() && positions.iter().all(Position::is_known);
    let conn = &mut core.conns[slot as usize];
    if !(conn.has(RESUMING) && is_known) {
        conn.flags &= !RESUMING;
        positions.fill(Position::default());
    }
}

/// A connection has come back with its positions: its account goes on where it was.
pub(super) fn resume(core: &mut Core, slot: u32) {
    core.conns[slot as usize].flags &= !RESUMING;
    core.results.resumed += 1;
    let share = core.share_of(slot);
    let member = share.member + (slot - share.slot);
    let mut behind = Vec::new();
    core.each_track_of(slot, share.group, member, &mut |track, published| {
        if core.tracks[track].missing(published) > 0 {
            behind.push((track, published));
        }
    });
    if behind.is_empty() {
        return note_caught_up(core);
    }
    core.recovery.await_tracks(slot, &behind);
}

/// A connection that came back has received all that was published until it was subscribed again.
pub(super) fn note_caught_up(core: &mut Core) {
    let since = core.now.saturating_sub(core.dropped_at);
    core.results.caught_up.record(since);
}

/// What the last message said of positions, if it said something: the losses are taken, the payloads still to
/// be heard.
pub(super) fn take_said(core: &mut Core, slot: u32) -> Option<Recovered> {
    if core.recovery.said.is_empty() {
        return None;
    }
    let said = std::mem::take(&mut core.recovery.said);
    for &index in said.lost() {
        take_loss(core, slot, index);
    }
    Some(said)
}

/// The server says that of the connection's channel in its `index`-th topic messages are lost. How many is
/// known to it alone: those that were published and have not come, some of which may yet come.
fn take_loss(core: &mut Core, slot: u32, index: usize) {
    let share = core.share_of(slot);
    let topics = &core.plan.groups[share.group].subscribe;
    let Some(&topic) = topics.get(index) else {
        return;
    };
    core.results.told += 1;
    let member = share.member + (slot - share.slot);
    let mut tracks = Vec::new();
    core.each_track_in(
        slot,
        (share.group, member),
        topic,
        &mut |track, published| {
            tracks.push((track, published));
        },
    );
    for (track, published) in tracks {
        core.results.told_messages += core.tracks[track].missing(published);
        core.tracks[track] = Track::from(published);
        core.recovery.forget(track);
    }
}

/// The connection ends: nothing is waited for.
pub(super) fn end(core: &mut Core, slot: u32) {
    core.recovery.forget_connection(slot);
}
