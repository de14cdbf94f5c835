//! How much one client may send: messages, bytes, subscriptions, and what is refused to it.
//!
//! Each limit is one number, as in [`crate::channels`] for what is published: the time by which all that
//! was taken would have been taken at the rate that is allowed (ITU-T I.371). A client that is behind its
//! rates has no entry here, so that a quiet one costs nothing.

use std::collections::HashMap;

use roost_net::ConnKey;

use crate::clock::TICK_MS;
use crate::settings::Limits;

/// The clients that are ahead of the rate of a limit, by slot.
#[derive(Debug, Default)]
pub(crate) struct ClientLimits {
    taken: HashMap<u32, Taken>,
}

/// What one client has taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// Of the client that has the slot, unless that is another by now.
    generation: u16,
    /// By limit: when it would have been taken at the rate, in nanoseconds.
    until_ns: [u64; LIMITS],
}

/// What a client takes that is ahead of a rate: its entry, with a byte of the table's.
pub const CLIENT_RATES_BYTES: usize = size_of::<(u32, Taken)>() + 1;

const _: () = assert!(size_of::<Taken>() <= 40 && CLIENT_RATES_BYTES <= 49);

/// What is counted of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientLimit {
    /// `limits.client_messages_per_second_max`.
    Messages,
    /// `limits.client_bytes_per_second_max`.
    Bytes,
    /// `limits.client_subscribes_per_second_max`.
    Subscribes,
    /// `limits.client_refusals_per_second_max`.
    Refusals,
}

const LIMITS: usize = 4;

impl ClientLimit {
    const ALL: [ClientLimit; LIMITS] = [
        ClientLimit::Messages,
        ClientLimit::Bytes,
        ClientLimit::Subscribes,
        ClientLimit::Refusals,
    ];

    /// The key of its rate.
    pub fn key(self) -> &'static str {
        match self {
            ClientLimit::Messages => "limits.client_messages_per_second_max",
            ClientLimit::Bytes => "limits.client_bytes_per_second_max",
            ClientLimit::Subscribes => "limits.client_subscribes_per_second_max",
            ClientLimit::Refusals => "limits.client_refusals_per_second_max",
        }
    }

    /// What a client is told that is closed for it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            ClientLimit::Messages => "too many messages",
            ClientLimit::Bytes => "too many bytes",
            ClientLimit::Subscribes => "too many subscriptions at once",
            ClientLimit::Refusals => "too many refused requests",
        }
    }

    pub(crate) fn per_second(self, limits: &Limits) -> u64 {
        match self {
            ClientLimit::Messages => u64::from(limits.client_messages_per_second_max),
            ClientLimit::Bytes => limits.client_bytes_per_second_max,
            ClientLimit::Subscribes => u64::from(limits.client_subscribes_per_second_max),
            ClientLimit::Refusals => u64::from(limits.client_refusals_per_second_max),
        }
    }
}

/// Whether messages of clients are counted.
pub(crate) fn counts_messages(limits: &Limits) -> bool {
    limits.client_messages_per_second_max > 0 || limits.client_bytes_per_second_max > 0
}

impl ClientLimits {
    /// A client has taken so much at tick `now`. Returns the tick from which on it is within the limit
    /// again: `now`, if it is.
    pub(crate) fn take(
        &mut self,
        key: ConnKey,
        (limit, amount): (ClientLimit, u64),
        limits: &Limits,
        now: u32,
    ) -> u32 {
        let per_second = limit.per_second(limits);
        if per_second == 0 {
            return now;
        }
        let taken = self.taken.entry(key.slot()).or_insert(Taken::none(key));
        if taken.generation != key.generation() {
            *taken = Taken::none(key);
        }
        let cost = u128::from(amount) * 1_000_000_000 / u128::from(per_second);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let now_ns = u64::from(now) * TICK_NS;
        let until = &mut taken.until_ns[limit as usize];
        *until = (*until).max(now_ns).saturating_add(cost);
        let burst_ns = u64::from(limits.client_burst_ms) * 1_000_000;
        let ahead = (*until - now_ns).saturating_sub(burst_ns);
        let wait = u32::try_from(ahead.div_ceil(TICK_NS)).unwrap_or(u32::MAX);
        now.saturating_add(wait)
    }

    /// Other rates hold from now on: what was taken at one that changes is forgotten.
    pub(crate) fn configure(&mut self, before: &Limits, after: &Limits) {
        let changes = |limit: &ClientLimit| limit.per_second(before) != limit.per_second(after);
        for limit in ClientLimit::ALL.into_iter().filter(changes) {
            for taken in self.taken.values_mut() {
                taken.until_ns[limit as usize] = 0;
            }
        }
    }

    /// The limit that a client is beyond.
    pub(crate) fn exceeded(&self, key: ConnKey, limits: &Limits, now: u32) -> Option<ClientLimit> {
        let taken = self.taken.get(&key.slot())?;
        let now_ns = u64::from(now) * TICK_NS;
        let burst_ns = u64::from(limits.client_burst_ms) * 1_000_000;
        let is_beyond = |limit: &ClientLimit| {
            limit.per_second(limits) > 0 && taken.until_ns[*limit as usize] > now_ns + burst_ns
        };
        let found = ClientLimit::ALL.into_iter().find(is_beyond);
        found.filter(|_| taken.generation == key.generation())
    }

    /// Forgets clients that have sent no more than their rates allow; returns the bytes.
    pub(crate) fn shrink(&mut self, now: u32) -> usize {
        let now_ns = u64::from(now) * TICK_NS;
        let before = self.taken.capacity();
        self.taken
            .retain(|_, taken| taken.until_ns.iter().any(|&until| until > now_ns));
        if self.taken.capacity() > 4 * self.taken.len() {
            self.taken.shrink_to(2 * self.taken.len());
        }
        (before - self.taken.capacity()) * size_of::<(u32, Taken)>()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.taken.len()
    }
}

impl Taken {
    fn none(key: ConnKey) -> Taken {
        Taken {
            generation: key.generation(),
            until_ns: [0; LIMITS],
        }
    }
}

const TICK_NS: u64 = TICK_MS as u64 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: u32, burst_ms: u32) -> Limits {
        Limits {
            client_messages_per_second_max: per_second,
            client_burst_ms: burst_ms,
            ..Limits::default()
        }
    }

    #[test]
    fn a_client_sends_a_burst_and_then_at_its_rate() {
        let (mut clients, limits) = (ClientLimits::default(), limits(20, 2_000));
        let key = ConnKey::new(3, 1);
        let mut next = 0;
        let mut sent = Vec::new();
        for now in 0..600 {
            let mut count = 0;
            while next <= now {
                next = clients.take(key, (ClientLimit::Messages, 1), &limits, now);
                count += 1;
            }
            sent.push(count);
        }
        assert_eq!(sent[0], 41, "a burst, and the one that was too many");
        let sum: u32 = sent.iter().sum();
        assert!((1_200..=1_245).contains(&sum), "{sum} in a minute");
        assert!(sent[1..].iter().all(|&count| count <= 4), "{sent:?}");
    }

    #[test]
    fn one_that_is_quiet_again_costs_nothing_and_another_begins_anew() {
        let (mut clients, limits) = (ClientLimits::default(), limits(10, 1_000));
        let take = |clients: &mut ClientLimits, key, amount, now| {
            clients.take(key, (ClientLimit::Messages, amount), &limits, now)
        };
        let first = ConnKey::new(7, 1);
        assert_eq!(take(&mut clients, first, 10, 100), 100);
        assert_eq!(take(&mut clients, first, 10, 100), 110);
        let next = ConnKey::new(7, 2);
        assert_eq!(take(&mut clients, next, 10, 100), 100, "another client");
        assert_eq!(clients.len(), 1);
        clients.shrink(105);
        assert_eq!(clients.len(), 1, "its burst is not full again");
        assert!(clients.shrink(111) > 0);
        assert_eq!(clients.len(), 0);
    }

    #[test]
    fn a_rate_that_changes_begins_anew_and_another_goes_on() {
        let before = Limits {
            client_messages_per_second_max: 1,
            client_bytes_per_second_max: 1,
            client_burst_ms: 1_000,
            ..Limits::default()
        };
        let mut clients = ClientLimits::default();
        let key = ConnKey::new(3, 1);
        for limit in [ClientLimit::Messages, ClientLimit::Bytes] {
            assert_eq!(clients.take(key, (limit, 3_601), &before, 0), 36_000);
        }
        let after = Limits {
            client_messages_per_second_max: 2,
            client_burst_ms: 2_000,
            ..before.clone()
        };
        clients.configure(&before, &after);
        let take = |clients: &mut ClientLimits, limit| clients.take(key, (limit, 1), &after, 10);
        assert_eq!(take(&mut clients, ClientLimit::Messages), 10);
        assert_eq!(take(&mut clients, ClientLimit::Bytes), 36_000);
        clients.configure(&after, &after);
        assert_eq!(take(&mut clients, ClientLimit::Bytes), 36_010);
    }

    #[test]
    fn no_limit_is_none() {
        let mut clients = ClientLimits::default();
        let key = ConnKey::new(0, 0);
        let taken = clients.take(key, (ClientLimit::Bytes, u64::MAX), &limits(1, 100), 5);
        assert_eq!((taken, clients.len()), (5, 0));
    }
}
