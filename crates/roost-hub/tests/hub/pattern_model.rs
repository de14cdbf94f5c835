//! What a set of hubs must do for patterns, said naively: for each subscription a cursor in the log
//! of each channel that matches.

use std::collections::{BTreeMap, VecDeque};

use roost_hub::{
    ChannelId, Encoding, EventIds, MatchedEvent, PatternKind, ReactorId, Subscriber, fuzz,
};

use crate::model::{Check, Frame, Model};

/// Fails the check with a message.
macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(format!($($message)*));
        }
    };
}

/// Who subscribes to which pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PatternPlace {
    pub(crate) reactor: ReactorId,
    pub(crate) who: Subscriber,
    pub(crate) encoding: Encoding,
    pub(crate) kind: PatternKind,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct PatternSubscription {
    pub(crate) channel: ChannelId,
    /// The connection's key.
    key: u64,
    /// Subscribe requests not yet answered.
    tokens: VecDeque<u64>,
    /// The pattern's number, and the lengths of all logs, when the first of them was answered.
    since: Option<(u64, BTreeMap<String, usize>)>,
    /// Place and offset of what came last, by channel.
    last: BTreeMap<String, (usize, u64)>,
}

/// Subscriptions to patterns, and what was encoded for them.
#[derive(Debug, Default)]
pub(crate) struct PatternModel {
    pub(crate) subscriptions: BTreeMap<PatternPlace, PatternSubscription>,
    /// By message, pattern's number and encoding.
    encoded: BTreeMap<(usize, u64, Encoding), u32>,
}

impl PatternModel {
    pub(crate) fn subscribe(
        &mut self,
        place: PatternPlace,
        key: u64,
        channel: ChannelId,
        token: u64,
    ) -> Check {
        let new = || PatternSubscription {
            channel,
            key,
            tokens: VecDeque::new(),
            since: None,
            last: BTreeMap::new(),
        };
        let subscription = self.subscriptions.entry(place).or_insert_with(new);
        ensure!(
            subscription.channel == channel,
            "a subscription has changed its number"
        );
        subscription.tokens.push_back(token);
        Ok(())
    }

    pub(crate) fn subscribed(
        &mut self,
        place: &PatternPlace,
        token: u64,
        topic: u64,
        model: &Model,
    ) -> Check {
        for (other, subscription) in &self.subscriptions {
            let Some((number, _)) = subscription.since else {
                continue;
            };
            let is_same = (other.kind, &other.text) == (place.kind, &place.text);
            ensure!(
                is_same == (number == topic),
                "{place:?} has number {topic}, {other:?} has {number}"
            );
        }
        let Some(subscription) = self.subscriptions.get_mut(place) else {
            return Err(format!("{place:?} is answered but does not subscribe"));
        };
        let expected = subscription.tokens.pop_front();
        ensure!(
            expected == Some(token),
            "{place:?} is answered {token}, not {expected:?}"
        );
        let since = subscription
            .since
            .get_or_insert_with(|| (topic, model.lengths()));
        ensure!(since.0 == topic, "{place:?} has two numbers");
        Ok(())
    }

    pub(crate) fn refused(&mut self, place: &PatternPlace, token: u64) -> Check {
        let Some(subscription) = self.subscriptions.get_mut(place) else {
            return Err(format!("{place:?} is refused but does not subscribe"));
        };
        let expected = subscription.tokens.pop_front();
        ensure!(
            expected == Some(token) && subscription.since.is_none(),
            "{place:?} is refused {token}, not {expected:?}"
        );
        if subscription.tokens.is_empty() {
            self.subscriptions.remove(place);
        }
        Ok(())
    }

    pub(crate) fn encode(
        &mut self,
        message: usize,
        encoding: Encoding,
        ids: EventIds,
        channel: &str,
        model: &mut Model,
    ) -> Check {
        // Once for each pattern. The number of one may be another's already, while the end of the first
        // one's interest is under way: then it is encoded for both.
        let times = self.encoded.entry((message, ids.topic, encoding));
        let times = times.and_modify(|times| *times += 1).or_insert(1);
        ensure!(
            *times <= 2,
            "message {message} is encoded {times} times for pattern {} as {encoding:?}",
            ids.topic
        );
        ensure!(
            model.messages[message].name == channel,
            "message {message} is of {channel}"
        );
        model.is_published_as(message, ids.publication)
    }

    pub(crate) fn deliver(
        &mut self,
        place: &PatternPlace,
        frame: &Frame,
        event: &MatchedEvent,
        model: &Model,
    ) -> Check {
        let Some(subscription) = self.subscriptions.get(place) else {
            return Err(format!("{place:?} gets a message but does not subscribe"));
        };
        let record = &model.messages[frame.message];
        let name = event.channel.as_str();
        ensure!(
            record.name == name && fuzz::matches(place.kind, &place.text, name),
            "{place:?} gets {record:?} as {event:?}"
        );
        let Some((topic, _)) = subscription.since else {
            return Err(format!("{place:?} gets a message before it is subscribed"));
        };
        ensure!(
            frame.encoding == place.encoding
                && frame.ids.topic == topic
                && (frame.ids.publication, frame.ids.offset) == (event.publication, event.offset),
            "{place:?} gets {frame:?} as {event:?}"
        );
        let position = model
            .position(frame.message)
            .ok_or("an unordered message arrives")?;
        let next = next(subscription, name, model);
        match subscription.last.get(name) {
            Some(&(last, offset)) => ensure!(
                next == Some(position) && event.offset > offset,
                "{place:?} gets {position} at {} after {last} at {offset}, not {next:?}",
                event.offset
            ),
            // What was ordered before it was subscribed may still come.
            None => ensure!(
                next.is_none_or(|next| position <= next)
                    && !model.is_unheard(subscription.key, frame.message),
                "{place:?} begins with {position}, not {next:?}"
            ),
        }
        let subscription = self.subscriptions.get_mut(place).expect("seen above");
        let last = (position, event.offset);
        subscription.last.insert(name.to_owned(), last);
        Ok(())
    }

    /// Nothing is on its way any more.
    pub(crate) fn check_quiescent(&self, model: &Model) -> Check {
        for (place, subscription) in &self.subscriptions {
            ensure!(
                subscription.since.is_some() && subscription.tokens.is_empty(),
                "{place:?} was never answered"
            );
            for name in model.lengths().keys() {
                if fuzz::matches(place.kind, &place.text, name) {
                    let next = next(subscription, name, model);
                    ensure!(next.is_none(), "{place:?} never got {next:?} of {name}");
                }
            }
        }
        Ok(())
    }
}

/// The place in a channel's log that the subscription must get next.
fn next(subscription: &PatternSubscription, name: &str, model: &Model) -> Option<usize> {
    let from = match subscription.last.get(name) {
        Some((last, _)) => last + 1,
        None => {
            let (_, lengths) = subscription.since.as_ref()?;
            lengths.get(name).copied().unwrap_or(0)
        }
    };
    model.next_heard(name, from, subscription.key)
}
