//! How often connections ask who is in a channel.

use std::collections::HashMap;

use roost_net::ConnKey;

/// How often connections have asked who is in a channel, in this tick: answers are longer than questions.
#[derive(Debug, Default)]
pub(crate) struct PresenceAsks {
    tick: u32,
    by_connection: HashMap<u64, u8>,
}

impl PresenceAsks {
    /// Whether a connection may ask once more.
    pub(crate) fn take(&mut self, key: ConnKey, now: u32) -> bool {
        if self.tick != now {
            self.tick = now;
            self.by_connection = HashMap::new();
        }
        let asked = self.by_connection.entry(key.to_bits()).or_default();
        let may = *asked < ASKED_MAX;
        *asked += u8::from(may);
        may
    }
}

/// Lists of members that one connection gets in a tick.
const ASKED_MAX: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_asks_twice_in_a_tick_and_the_next_in_its_slot_as_well() {
        let mut asks = PresenceAsks::default();
        let (first, next) = (ConnKey::new(7, 1), ConnKey::new(7, 2));
        for key in [first, next] {
            let answered = [5, 5, 5].map(|tick| asks.take(key, tick));
            assert_eq!(answered, [true, true, false], "{key:?}");
        }
        assert!(asks.take(first, 6), "another tick");
    }
}
