//! What a WAMP peer is subscribed to, asks for and leaves.

use std::collections::BTreeMap;

use super::plan::Plan;

/// What a WAMP peer subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Channel(usize),
    /// By number: see [`Plan::pattern`].
    Pattern(usize),
}

impl Topic {
    /// The channels of so many that it has, and whether it is a pattern.
    pub(super) fn channels(self, channels: usize) -> (Vec<usize>, bool) {
        match self {
            Topic::Channel(channel) => (vec![channel], false),
            Topic::Pattern(pattern) => (Plan::matched(pattern, channels), true),
        }
    }
}

/// The subscriptions of one peer.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// What each id is to, and its open windows: one for each channel.
    by_id: BTreeMap<u64, (Topic, Vec<usize>)>,
    /// What each request under way is for, and when that left.
    asked: BTreeMap<u64, (Topic, u64)>,
    /// The subscription of each UNSUBSCRIBE under way.
    leaving: BTreeMap<u64, u64>,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Asks for one; the message that says so.
    pub(super) fn ask(&mut self, request: u64, topic: Topic, now: u64) -> String {
        let (options, name) = match topic {
            Topic::Channel(channel) => (String::new(), Plan::name_of(channel)),
            Topic::Pattern(pattern) => {
                let (policy, text) = Plan::pattern(pattern);
                (format!(r#""match":"{policy}""#), text)
            }
        };
        self.asked.insert(request, (topic, now));
        format!(r#"[32,{request},{{{options}}},"{name}"]"#)
    }

    /// A request is answered: what it was for, and when it left.
    pub(super) fn take_asked(&mut self, request: u64) -> Option<(Topic, u64)> {
        self.asked.remove(&request)
    }

    /// One begins, with a window for each channel.
    pub(super) fn begin(&mut self, id: u64, topic: Topic, windows: Vec<usize>) {
        self.by_id.insert(id, (topic, windows));
    }

    /// Ends one, if there is one that is not being asked for as well: the answer to that would come from
    /// before the end. Returns its id and its windows.
    pub(super) fn end_first(&mut self) -> Option<(u64, Vec<usize>)> {
        let free = self.by_id.iter().find(|(_, (topic, _))| {
            let mut asked = self.asked.values();
            !asked.any(|(asked, _)| asked == topic)
        });
        let &id = free?.0;
        let (_, windows) = self.by_id.remove(&id)?;
        Some((id, windows))
    }

    /// UNSUBSCRIBE leaves.
    pub(super) fn leave(&mut self, request: u64, id: u64) {
        self.leaving.insert(request, id);
    }

    /// UNSUBSCRIBED has come. False if nothing was asked for by this number.
    pub(super) fn has_left(&mut self, request: u64) -> bool {
        self.leaving.remove(&request).is_some()
    }

    /// The window that an event belongs to, which names its channel if it is a pattern's; `None` if its
    /// subscription is being left.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn window(
        &self,
        id: u64,
        channel: Option<&str>,
        channel_of: impl Fn(usize) -> String,
    ) -> Result<Option<usize>, &'static str> {
        let Some((topic, windows)) = self.by_id.get(&id) else {
            // Events may be on their way until UNSUBSCRIBED comes.
            return match self.leaving.values().any(|&leaving| leaving == id) {
                true => Ok(None),
                false => Err("EVENT outside of a subscription"),
            };
        };
        let window = match (topic, channel) {
            (Topic::Channel(_), None) => windows.first().copied(),
            (Topic::Pattern(_), Some(name)) => {
                let is_it = |&&window: &&usize| channel_of(window) == name;
                windows.iter().find(is_it).copied()
            }
            _ => None,
        };
        match window {
            Some(window) => Ok(Some(window)),
            None => Err("EVENT of no channel of its subscription"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_belong_to_a_window_until_their_subscription_is_left() {
        let mut subscriptions = Subscriptions::default();
        let name_of = |window: usize| Plan::name_of(window);
        let json = subscriptions.ask(1, Topic::Channel(3), 5);
        assert!(json.contains(&Plan::name_of(3)), "{json}");
        assert_eq!(subscriptions.take_asked(1), Some((Topic::Channel(3), 5)));
        assert_eq!(subscriptions.take_asked(1), None);
        subscriptions.begin(40, Topic::Channel(3), vec![3]);
        assert_eq!(subscriptions.window(40, None, name_of), Ok(Some(3)));
        let named = Plan::name_of(3);
        assert!(subscriptions.window(40, Some(&named), name_of).is_err());
        // One that is asked for again is not ended.
        subscriptions.ask(2, Topic::Channel(3), 6);
        assert_eq!(subscriptions.end_first(), None);
        subscriptions.take_asked(2);
        assert_eq!(subscriptions.end_first(), Some((40, vec![3])));
        subscriptions.leave(3, 40);
        assert_eq!(subscriptions.window(40, None, name_of), Ok(None));
        assert!(subscriptions.has_left(3) && !subscriptions.has_left(3));
        assert!(subscriptions.window(40, None, name_of).is_err());
    }
}
