//! How often connections ask who is in a channel.

use std::collections::HashMap;

/// How often connections have asked who is in a channel, in this tick: answers are longer than questions.
#[derive(Debug, Default)]
pub(crate) struct PresenceAsks {
    tick: u32,
    by_slot: HashMap<u32, u8>,
}

impl PresenceAsks {
    /// Whether the connection in a slot may ask once more.
    pub(crate) fn take(&mut self, slot: u32, now: u32) -> bool {
        if self.tick != now {
            self.tick = now;
            self.by_slot = HashMap::new();
        }
        let asked = self.by_slot.entry(slot).or_default();
        let may = *asked < ASKED_MAX;
        *asked += u8::from(may);
        may
    }
}

/// Lists of members that one connection gets in a tick.
const ASKED_MAX: u8 = 2;
