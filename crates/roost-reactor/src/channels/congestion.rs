//! Back-pressure on the publishers of one channel: while its subscribers are behind, they wait, and
//! no other client does.
//!
//! A large channel is delivered incrementally (see [`super::fanout`]), and may be published to faster
//! than that goes. The reactor of the subscribers then calls the channel *congested* to its home, and
//! the home to each reactor from which it gets a publication for it; there, a client that publishes to
//! the channel is not read until the congestion is over. Where it is a pattern that is behind, the
//! publisher itself is named on the same way, for it may publish on another channel next. Other
//! channels, whose messages take the same rings, are published to, joined and left as always.
//!
//! What was sent before all were notified still comes; [`super::fanout::Fanout::is_full`] bounds that,
//! by leaving all messages in the rings.

use std::collections::HashMap;

use roost_hub::{Name, ReactorId};
use roost_net::ConnKey;

use super::wake::SENDERS_MAX;

/// Congested channels, as far as a reactor has to know of them.
#[derive(Default)]
pub(crate) struct Congestion {
    channels: HashMap<Name, Congested>,
}

#[derive(Default)]
struct Congested {
    /// At the channel's home: the reactors whose subscribers are behind. Elsewhere: the home.
    by: Reactors,
    /// At the home: the reactors that know of it.
    notified: Reactors,
    /// Publishers here that are not read meanwhile.
    parked: Vec<ConnKey>,
}

/// What is left to do when a channel's congestion is over.
#[derive(Default)]
pub(crate) struct Cleared {
    /// Reactors to notify.
    pub(crate) notify: Reactors,
    /// Publishers to read again.
    pub(crate) parked: Vec<ConnKey>,
}

impl Congestion {
    /// Whether no channel is congested: nearly always.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Whether publishers of this channel wait.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.channels.contains_key(name)
    }

    /// `by` says that the channel is congested.
    pub(crate) fn begin(&mut self, name: Name, by: ReactorId) {
        self.channels.entry(name).or_default().by.insert(by);
    }

    /// `by` says that it is no longer; it may be so for others yet.
    pub(crate) fn end(&mut self, name: &str, by: ReactorId) -> Option<Cleared> {
        let channel = self.channels.get_mut(name)?;
        channel.by.remove(by);
        if !channel.by.is_empty() {
            return None;
        }
        let Congested {
            notified, parked, ..
        } = self.channels.remove(name)?;
        Some(Cleared {
            notify: notified,
            parked,
        })
    }

    /// Whether `publisher`, from which a publication has come, has yet to be notified that the channel
    /// is congested. Then it counts as notified.
    pub(crate) fn notify_once(&mut self, name: &str, publisher: ReactorId) -> bool {
        let channel = self.channels.get_mut(name);
        channel.is_some_and(|channel| channel.notified.insert(publisher))
    }

    /// A publisher of a congested channel is not read until that is over.
    pub(crate) fn park(&mut self, name: &str, publisher: ConnKey) {
        let channel = self.channels.get_mut(name);
        debug_assert!(channel.is_some(), "the channel is congested");
        if let Some(channel) = channel {
            channel.parked.push(publisher);
        }
    }
}

impl Congestion {
    /// The channel for which a publisher is not read. Looks at all that wait: for people.
    pub(crate) fn parked_for(&self, publisher: ConnKey) -> Option<&Name> {
        let mut all = self.channels.iter();
        let (name, _) = all.find(|(_, channel)| channel.parked.contains(&publisher))?;
        Some(name)
    }
}

/// A set of reactors.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reactors([u64; SENDERS_MAX / 64]);

impl Reactors {
    /// False if it was there.
    fn insert(&mut self, reactor: ReactorId) -> bool {
        let (word, bit) = place(reactor);
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    fn remove(&mut self, reactor: ReactorId) {
        let (word, bit) = place(reactor);
        self.0[word] &= !bit;
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = ReactorId> {
        let all = (0..=u8::MAX).map(ReactorId);
        all.filter(move |&reactor| {
            let (word, bit) = place(reactor);
            self.0[word] & bit != 0
        })
    }
}

fn place(reactor: ReactorId) -> (usize, u64) {
    (usize::from(reactor.0) / 64, 1 << (reactor.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_it_is_for_all() {
        let mut congestion = Congestion::default();
        let (key, name) = (ConnKey::new(7, 1), Name::from("c"));
        for reactor in [3, 255, 3] {
            congestion.begin(name.clone(), ReactorId(reactor));
        }
        assert!(congestion.has("c") && !congestion.has("d"));
        congestion.park("c", key);
        assert!(congestion.notify_once("c", ReactorId(64)));
        assert!(
            !congestion.notify_once("c", ReactorId(64)),
            "it has been notified"
        );
        assert!(
            !congestion.notify_once("d", ReactorId(64)),
            "that one is free"
        );
        assert!(congestion.end("c", ReactorId(3)).is_none());
        assert!(congestion.end("c", ReactorId(4)).is_none());
        let cleared = congestion.end("c", ReactorId(255)).expect("the last");
        assert_eq!(cleared.notify.iter().collect::<Vec<_>>(), [ReactorId(64)]);
        assert_eq!(cleared.parked, [key]);
        assert!(congestion.is_empty());
        assert!(congestion.end("c", ReactorId(255)).is_none(), "once");
    }
}
