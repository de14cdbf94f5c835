//! The subscribers' side taken apart, and what always holds of it.

use super::Local;
use crate::error::StateError;
use crate::ids::ChannelId;
use crate::local_channel::{COOKIE_END, LocalChannel};
use crate::names::{NameHasher, Named};
use crate::state::LocalState;
use crate::waiting::WaitingList;

impl Local {
    /// Takes this side apart.
    pub(crate) fn into_state(self) -> LocalState {
        let Local {
            hasher: _, // as the hub is set up
            channels,
            waiting,
            recovering,
            rounds,
            next_cookie,
            patterns: _,      // counted again
            subscriptions: _, // counted again
            stale_items,
        } = self;
        let channels = channels.into_records();
        let channels = channels.map(|(number, record)| record.into_state(ChannelId(number)));
        let (recovering, next_ticket) = recovering.into_numbered_state();
        LocalState {
            channels: channels.collect(),
            requests: waiting.into_state(),
            recovering,
            next_ticket,
            rounds: rounds.into_iter().collect(),
            next_cookie,
            stale_items,
        }
    }

    /// This side of a state.
    pub(crate) fn from_state(hasher: NameHasher, state: LocalState) -> Result<Self, StateError> {
        let LocalState {
            channels,
            requests,
            recovering,
            next_ticket,
            rounds,
            next_cookie,
            stale_items,
        } = state;
        let mut local = Local::new(hasher);
        local.rounds = rounds.into_iter().collect();
        local.waiting = WaitingList::from_state(requests);
        local.recovering = WaitingList::from_numbered_state(recovering, next_ticket);
        local.next_cookie = next_cookie % COOKIE_END;
        local.stale_items = stale_items;
        for channel in channels {
            let (channel, record) = LocalChannel::from_state(channel);
            if record.wanted().is_empty() {
                return Err(StateError::Empty(record.name().as_str().to_owned()));
            }
            local.subscriptions += record.subscriptions();
            local.patterns += usize::from(record.is_pattern());
            local.channels.insert_at(channel.0, record)?;
        }
        Ok(local)
    }

    pub(crate) fn check_invariants(&self) {
        self.channels.check_invariants();
        let mut subscriptions = 0;
        for record in self.channels() {
            record.check_invariants();
            subscriptions += record.subscriptions();
        }
        assert_eq!(
            subscriptions, self.subscriptions,
            "subscriptions are counted"
        );
        let patterns = self.channels().filter(|record| record.is_pattern());
        assert_eq!(patterns.count(), self.patterns, "patterns are counted");
        for (&channel, &missing) in &self.rounds {
            let record = self.get(channel).expect("a round is a pattern's");
            assert!(record.is_pattern() && record.unacked() == 1 && missing > 0);
        }
        for (number, record) in self.channels.iter() {
            if record.is_pattern() && record.unacked() > 0 && record.home_index().is_some() {
                let is_asked = self.rounds.contains_key(&ChannelId(number));
                assert!(is_asked, "homes are asked");
            }
        }
        for (number, record) in self.channels.iter() {
            let held = self.recovering.encodings(ChannelId(number));
            assert_eq!(record.held_encodings(), held, "what is waited for is held");
        }
        for waiting in self.recovering.iter() {
            let record = self.get(waiting.channel);
            assert!(record.is_some(), "who recovers, does so in a channel here");
        }
        for waiting in self.waiting.iter() {
            let record = self.get(waiting.channel);
            let record = record.expect("who waits, waits for a channel here");
            let set = record.set(waiting.encoding);
            let subscribed = set.is_some_and(|set| set.contains(waiting.who));
            assert!(subscribed, "who waits is in the set");
            assert!(record.unacked() > 0, "who waits will be answered");
            let is_acked = record.acked().contains(waiting.encoding);
            assert!(!is_acked, "who is acked is answered");
        }
    }
}
