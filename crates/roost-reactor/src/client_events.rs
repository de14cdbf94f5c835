//! How often clients publish where they are subscribed, for dialects that have a rate for that.

use std::collections::HashMap;

use roost_net::ConnKey;

use crate::clock::TICK_MS;

/// What connections have published in this second. One that publishes nothing costs nothing.
#[derive(Debug, Default)]
pub(crate) struct ClientEvents {
    second: u32,
    by_connection: HashMap<u64, u32>,
}

impl ClientEvents {
    /// Whether a connection may publish once more, of so many times in a second.
    pub(crate) fn take(&mut self, key: ConnKey, now: u32, max: u32) -> bool {
        let second = now / TICKS;
        if self.second != second {
            self.second = second;
            self.by_connection = HashMap::new();
        }
        let published = self.by_connection.entry(key.to_bits()).or_default();
        let may = *published < max;
        *published += u32::from(may);
        may
    }
}

/// In a second.
const TICKS: u32 = 1000 / TICK_MS;
