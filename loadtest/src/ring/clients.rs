//! What publishers and echoing connections keep while there is traffic.

use crate::account::Track;
use crate::pace::{Schedule, Window};
use crate::plan::Plan;

/// A publisher at work.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) schedule: Option<Schedule>,
    /// Messages to send whatever the traffic.
    pub(super) owed: u32,
    /// Bytes of those, if that is another size than usual.
    pub(super) owed_size: Option<usize>,
    /// Since when it waits for deliveries without any, and how many were under way then.
    pub(super) stalled: (u64, u64),
}

/// An echoing connection at work.
#[derive(Debug)]
pub(super) struct Echoing {
    pub(super) window: Window,
    pub(super) schedule: Option<Schedule>,
    pub(super) sent: u64,
    pub(super) back: Track,
}

/// Tracks that a connection of `group` needs: one for each publisher it hears.
pub(super) fn tracks_each(plan: &Plan, group: usize) -> usize {
    let topics = &plan.groups[group].subscribe;
    topics
        .iter()
        .map(|&topic| publishers_each(plan, topic))
        .sum()
}

/// Publishers of one channel of a topic, at most.
pub(super) fn publishers_each(plan: &Plan, topic: usize) -> usize {
    plan.publishers_of(topic).map_or(0, |(group, _)| {
        plan.groups[group]
            .count
            .div_ceil(plan.topics[topic].channels) as usize
    })
}
