//! What a ring keeps of clients that recover: how far they have come, and what they have to catch up with.

use std::collections::HashMap;

use crate::dialect::{Position, Recovered};
use crate::plan::Plan;

/// What a ring keeps for its clients that recover; next to nothing without any.
pub(super) struct Recovery {
    /// First position of each share, and positions of one connection in it.
    places: Vec<(usize, usize)>,
    positions: Vec<Position>,
    /// What the last message said of positions.
    pub(super) said: Recovered,
    /// By track: the connection, and up to where it must come until it has caught up.
    behind: HashMap<usize, (u32, u64)>,
    /// Tracks of a connection that are behind.
    catching_up: HashMap<u32, u32>,
    /// Those that are dropped stay away.
    pub(super) is_leaving: bool,
}

/// A connection's place: its share, and which of it.
pub(super) type Place = (usize, usize);

impl Recovery {
    /// `shares`: the group and the number of connections of each.
    pub(super) fn new(plan: &Plan, shares: impl Iterator<Item = (usize, u32)>) -> Recovery {
        let (mut places, mut positions) = (Vec::new(), Vec::new());
        for (group, count) in shares {
            let group = &plan.groups[group];
            let each = if group.recovers {
                group.subscribe.len()
            } else {
                0
            };
            places.push((positions.len(), each));
            positions.resize(positions.len() + each * count as usize, Position::default());
        }
        Recovery {
            places,
            positions,
            said: Recovered::default(),
            behind: HashMap::new(),
            catching_up: HashMap::new(),
            is_leaving: false,
        }
    }

    pub(super) fn positions_of(&self, place: Place) -> &[Position] {
        let (start, each) = self.range_of(place);
        &self.positions[start..start + each]
    }

    pub(super) fn positions_mut(
        &mut self,
        (share, index): Place,
    ) -> (&mut [Position], &mut Recovered) {
        let (start, each) = self.range_of((share, index));
        (&mut self.positions[start..start + each], &mut self.said)
    }

    fn range_of(&self, (share, index): Place) -> (usize, usize) {
        let (start, each) = self.places[share];
        (start + each * index, each)
    }

    /// A track has come to `sequence`. True if its connection has caught up by that.
    pub(super) fn advance(&mut self, track: usize, sequence: u64) -> bool {
        if self.behind.is_empty() {
            return false;
        }
        let Some(&(slot, target)) = self.behind.get(&track) else {
            return false;
        };
        if sequence + 1 < target {
            return false;
        }
        self.forget(track);
        !self.catching_up.contains_key(&slot)
    }

    /// The phase is over: what has not come is lost, and not waited for.
    pub(super) fn end_phase(&mut self) {
        self.behind.clear();
        self.catching_up.clear();
    }

    /// A track is not waited for any more.
    pub(super) fn forget(&mut self, track: usize) {
        let Some((slot, _)) = self.behind.remove(&track) else {
            return;
        };
        if let Some(left) = self.catching_up.get_mut(&slot) {
            *left -= 1;
            if *left == 0 {
                self.catching_up.remove(&slot);
            }
        }
    }

    /// A connection must come to `target` in each of these tracks.
    pub(super) fn await_tracks(&mut self, slot: u32, targets: &[(usize, u64)]) {
        let behind = u32::try_from(targets.len()).expect("tracks of one connection");
        self.catching_up.insert(slot, behind);
        for &(track, target) in targets {
            self.behind.insert(track, (slot, target));
        }
    }

    /// Nothing of a connection is waited for.
    pub(super) fn forget_connection(&mut self, slot: u32) {
        if self.catching_up.remove(&slot).is_some() {
            self.behind.retain(|_, (of, _)| *of != slot);
        }
    }
}
