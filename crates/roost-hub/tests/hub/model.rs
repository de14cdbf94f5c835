//! What a set of hubs must do, said naively: a log for each channel, a cursor for each
//! subscription. Knows nothing of interest, homes or cookies.

use std::collections::{BTreeMap, VecDeque};

use roost_hub::{
    ChannelId, Encoding, EncodingSet, EventIds, Payload, Position, ReactorId, Recovery, Since,
    Subscriber,
};

/// The first thing that went wrong.
pub(crate) type Check = Result<(), String>;

/// Fails the check with a message.
macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(format!($($message)*));
        }
    };
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) messages: Vec<Message>,
    /// Channel name to its messages in their order.
    logs: BTreeMap<String, Vec<usize>>,
    pub(crate) subscriptions: BTreeMap<Place, Subscription>,
    /// What a request asks for, by its token.
    asked: BTreeMap<u64, Since>,
    /// Positions that subscribers were told, and at which they have got all, by channel.
    positions: BTreeMap<String, Vec<Position>>,
    /// Of the subscriptions that asked, those that got something, those that missed nothing, and those
    /// that were told of a loss.
    pub(crate) recovered: usize,
    pub(crate) complete: usize,
    pub(crate) lost: usize,
}

/// Who subscribes to what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) reactor: ReactorId,
    pub(crate) who: Subscriber,
    pub(crate) encoding: Encoding,
    pub(crate) name: String,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) publisher: u64,
    pub(crate) exclude: bool,
    pub(crate) ack: bool,
    /// Place in the log, once it is ordered.
    position: Option<usize>,
    /// What the home counts it as.
    offset: u64,
    ids: Option<EventIds>,
    encoded: EncodingSet,
    publication: Option<u64>,
    /// Its number, as it was encoded for patterns.
    matched_as: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) channel: ChannelId,
    /// The connection's key.
    key: u64,
    /// Subscribe requests not yet answered.
    tokens: VecDeque<u64>,
    /// Length of the log when the first of them was answered.
    since: Option<usize>,
    /// The offset it was told first: what comes begins behind it.
    start: Option<u64>,
    /// Place and offset of what came last.
    last: Option<(usize, u64)>,
}

/// A delivery to one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) message: usize,
    pub(crate) encoding: Encoding,
    pub(crate) ids: EventIds,
}

impl Model {
    pub(crate) fn publish(
        &mut self,
        name: &str,
        publisher: u64,
        exclude: bool,
        ack: bool,
    ) -> usize {
        self.messages.push(Message {
            name: name.to_owned(),
            publisher,
            exclude,
            ack,
            position: None,
            offset: 0,
            ids: None,
            encoded: EncodingSet::EMPTY,
            publication: None,
            matched_as: None,
        });
        self.messages.len() - 1
    }

    /// The home takes the message up.
    pub(crate) fn order(&mut self, message: usize, offset: u64) -> Check {
        let log = self
            .logs
            .entry(self.messages[message].name.clone())
            .or_default();
        let publisher = self.messages[message].publisher;
        let earlier = log
            .iter()
            .rev()
            .find(|&&m| self.messages[m].publisher == publisher);
        ensure!(
            earlier.is_none_or(|&m| m < message),
            "message {message} is ordered after {earlier:?} of the same publisher"
        );
        ensure!(
            self.messages[message].position.is_none(),
            "message {message} is ordered twice"
        );
        let before = log.last().map_or(0, |&last| self.messages[last].offset);
        ensure!(
            before < offset,
            "message {message} is {offset} behind {before}"
        );
        self.messages[message].position = Some(log.len());
        self.messages[message].offset = offset;
        log.push(message);
        Ok(())
    }

    pub(crate) fn is_ordered(&self, message: usize) -> bool {
        self.messages[message].position.is_some()
    }

    /// A position of a channel that some subscriber was at, by a number.
    pub(crate) fn position_of(&self, name: &str, number: u64) -> Option<Position> {
        let positions = self.positions.get(name)?;
        Some(positions[number as usize % positions.len()])
    }

    pub(crate) fn subscribe_since(
        &mut self,
        place: Place,
        key: u64,
        channel: ChannelId,
        token: u64,
        since: Since,
    ) -> Check {
        let is_subscribed = self.subscriptions.get(&place);
        // Who subscribes already recovers nothing; who waits to recover does so once.
        if is_subscribed.is_none() {
            self.asked.insert(token, since);
        }
        self.subscribe(place, key, channel, token)
    }

    /// What was recovered is all that was published behind the position, up to where the subscription
    /// begins; or it is said that it is not there.
    fn check_recovery(
        &mut self,
        place: &Place,
        since: Since,
        Position { epoch, offset: top }: Position,
        recovery: &Recovery<Frame>,
    ) -> Check {
        let tail = match recovery {
            Recovery::Recovered(tail) => tail,
            Recovery::Lost(_) => {
                self.lost += 1;
                return Ok(());
            }
        };
        let log = self.logs.get(&place.name).into_iter().flatten();
        let published = log.map(|&message| (self.messages[message].offset, message));
        let published: Vec<_> = published.filter(|&(offset, _)| offset <= top).collect();
        let expected = match since {
            Since::Position(position) => {
                ensure!(
                    position.epoch == epoch,
                    "{place:?} recovers since {position:?} in {epoch}"
                );
                let missed = published.partition_point(|&(offset, _)| offset <= position.offset);
                &published[missed..]
            }
            Since::Offset(offset) => {
                let missed = published.partition_point(|&(at, _)| at <= offset);
                &published[missed..]
            }
            Since::Latest(known) => {
                let is_there = known.is_some_and(|at| (at.epoch, at.offset) == (epoch, top));
                ensure!(
                    tail.len() == usize::from(!is_there),
                    "{place:?} gets {} as the last behind {known:?}",
                    tail.len()
                );
                &published[published.len().saturating_sub(tail.len())..]
            }
            // The last of those that are marked, if it is kept.
            Since::Retained => {
                let marked = |&&(_, message): &&(u64, usize)| message.is_retained();
                let last = published.iter().rposition(|one| marked(&one));
                let at = last.map_or(0, |last| last + 1);
                ensure!(tail.len() <= 1, "{place:?} gets more than one");
                &published[at.saturating_sub(tail.len())..at]
            }
            Since::Last(count) => {
                ensure!(
                    tail.len() <= count as usize,
                    "{place:?} gets more than {count}"
                );
                &published[published.len().saturating_sub(tail.len())..]
            }
        };
        let got: Vec<_> = tail
            .iter()
            .map(|(offset, frame)| (offset, frame.message))
            .collect();
        ensure!(
            got == expected,
            "{place:?} recovers {got:?} since {since:?} up to {top}, not {expected:?}"
        );
        ensure!(
            tail.iter().all(|(offset, frame)| {
                frame.encoding == place.encoding && frame.ids.offset == offset
            }),
            "{place:?} recovers {tail:?}"
        );
        self.complete += usize::from(got.is_empty());
        self.recovered += usize::from(!got.is_empty());
        Ok(())
    }

    pub(crate) fn encode(&mut self, message: usize, encoding: Encoding, ids: EventIds) -> Check {
        let record = &mut self.messages[message];
        ensure!(
            !record.encoded.contains(encoding),
            "message {message} is encoded twice as {encoding:?}"
        );
        record.encoded = record.encoded.union(EncodingSet::of(encoding));
        ensure!(
            record.ids.is_none_or(|known| known == ids),
            "message {message} has two sets of numbers"
        );
        ensure!(
            (1..1 << 53).contains(&ids.topic) && (1..1 << 53).contains(&ids.publication),
            "numbers out of range: {ids:?}"
        );
        record.ids = Some(ids);
        self.is_published_as(message, ids.publication)
    }

    /// The message has this number at every receiver.
    pub(crate) fn is_published_as(&mut self, message: usize, publication: u64) -> Check {
        let known = *self.messages[message].matched_as.get_or_insert(publication);
        ensure!(
            known == publication,
            "message {message} is {known} and {publication}"
        );
        Ok(())
    }

    pub(crate) fn subscribe(
        &mut self,
        place: Place,
        key: u64,
        channel: ChannelId,
        token: u64,
    ) -> Check {
        let subscription = self.subscriptions.entry(place).or_insert(Subscription {
            channel,
            key,
            tokens: VecDeque::new(),
            since: None,
            start: None,
            last: None,
        });
        ensure!(
            subscription.channel == channel,
            "a subscription has changed its channel"
        );
        subscription.tokens.push_back(token);
        Ok(())
    }

    pub(crate) fn subscribed(
        &mut self,
        place: &Place,
        token: u64,
        position: Position,
        recovery: Option<&Recovery<Frame>>,
    ) -> Check {
        let offset = position.offset;
        let asked = self.asked.remove(&token);
        if let Some((since, recovery)) = asked.zip(recovery) {
            self.check_recovery(place, since, position, recovery)?;
        }
        ensure!(
            asked.is_some() == recovery.is_some(),
            "{place:?} asked {asked:?} and gets {recovery:?}"
        );
        let log = self.logs.get(&place.name).into_iter().flatten();
        let before = log.filter(|&&message| self.messages[message].offset <= offset);
        let before = before.count();
        let positions = self.positions.entry(place.name.clone()).or_default();
        positions.push(position);
        let Some(subscription) = self.subscriptions.get_mut(place) else {
            return Err(format!("{place:?} is answered but does not subscribe"));
        };
        let expected = subscription.tokens.pop_front();
        ensure!(
            expected == Some(token),
            "{place:?} is answered {token}, not {expected:?}"
        );
        let log = self.logs.get(&place.name).map_or(0, Vec::len);
        // What is published from where a recovered one begins is not missed.
        let since = if asked.is_some() { before } else { log };
        subscription.since.get_or_insert(since);
        let start = *subscription.start.get_or_insert(offset);
        let last = subscription.last.map_or(start, |(_, last)| last);
        ensure!(offset >= last, "{place:?} is told {offset} behind {last}");
        Ok(())
    }

    pub(crate) fn deliver(&mut self, place: &Place, frame: &Frame, ids: EventIds) -> Check {
        let Some(subscription) = self.subscriptions.get(place) else {
            return Err(format!("{place:?} gets a message but does not subscribe"));
        };
        let Frame { message, .. } = *frame;
        let record = &self.messages[message];
        ensure!(record.name == place.name, "{place:?} gets {record:?}");
        ensure!(
            frame.encoding == place.encoding && frame.ids == ids && record.ids == Some(ids),
            "{place:?} gets {frame:?} as {ids:?}"
        );
        ensure!(
            subscription.since.is_some(),
            "{place:?} gets a message before it is subscribed"
        );
        let position = record.position.ok_or("an unordered message arrives")?;
        match (subscription.last, self.next(place)) {
            (Some((last, offset)), next) => {
                ensure!(
                    next == Some(position),
                    "{place:?} gets {position} after {last}, not {next:?}"
                );
                ensure!(
                    ids.offset - offset == (position - last) as u64,
                    "{place:?}: offset {offset} then {} at {last} then {position}",
                    ids.offset
                );
            }
            // What was ordered before it was subscribed may still come, and is then behind the
            // position it was told, to which nothing is missing.
            (None, next) => {
                ensure!(
                    next.is_none_or(|next| position <= next)
                        && !self.unheard(subscription, message),
                    "{place:?} begins with {position}, not {next:?}"
                );
                let start = subscription.start.unwrap_or(0);
                ensure!(ids.offset > start, "{place:?} gets {ids:?}, told {start}");
                let between = (ids.offset - start - 1) as usize;
                let skipped = position.checked_sub(between).map(|first| first..position);
                let skipped = skipped.ok_or("an offset before the first")?;
                let log = &self.logs[&place.name];
                let mut skipped = skipped.map(|position| log[position]);
                ensure!(
                    skipped.all(|message| self.unheard(subscription, message)),
                    "{place:?} misses something from {start} to {ids:?}"
                );
            }
        }
        let last = Some((position, ids.offset));
        let positions = self.positions.entry(place.name.clone()).or_default();
        let epoch = positions.last().map_or(0, |position| position.epoch);
        positions.push(Position {
            epoch,
            offset: ids.offset,
        });
        self.subscriptions.get_mut(place).expect("seen above").last = last;
        Ok(())
    }

    pub(crate) fn published(&mut self, message: usize, publisher: u64, publication: u64) -> Check {
        let record = &mut self.messages[message];
        ensure!(
            record.ack && record.publisher == publisher && record.position.is_some(),
            "{record:?} is acknowledged to {publisher}"
        );
        ensure!(
            record.publication.is_none(),
            "message {message} is acknowledged twice"
        );
        ensure!(
            record.matched_as.is_none_or(|known| known == publication),
            "message {message} is acknowledged as {publication}"
        );
        record.publication = Some(publication);
        Ok(())
    }

    /// Nothing is on its way any more.
    pub(crate) fn check_quiescent(&self) -> Check {
        for (place, subscription) in &self.subscriptions {
            ensure!(
                subscription.since.is_some() && subscription.tokens.is_empty(),
                "{place:?} was never answered"
            );
            let next = self.next(place);
            ensure!(next.is_none(), "{place:?} never got {next:?}");
        }
        for (number, message) in self.messages.iter().enumerate() {
            ensure!(
                message.position.is_some() && message.publication.is_some() == message.ack,
                "message {number} is unfinished: {message:?}"
            );
        }
        Ok(())
    }

    /// The place in the log that the subscription must get next.
    fn next(&self, place: &Place) -> Option<usize> {
        let subscription = &self.subscriptions[place];
        let from = match subscription.last {
            Some((last, _)) => last + 1,
            None => subscription.since?,
        };
        self.next_heard(&place.name, from, subscription.key)
    }

    /// The first place in a log, from one on, that the connection with this key must hear.
    pub(crate) fn next_heard(&self, name: &str, from: usize, key: u64) -> Option<usize> {
        let log = self.logs.get(name)?;
        (from..log.len()).find(|&position| !self.is_unheard(key, log[position]))
    }

    /// How long each channel's log is.
    pub(crate) fn lengths(&self) -> BTreeMap<String, usize> {
        let logs = self.logs.iter();
        logs.map(|(name, log)| (name.clone(), log.len())).collect()
    }

    /// A message's place in its log.
    pub(crate) fn position(&self, message: usize) -> Option<usize> {
        self.messages[message].position
    }

    /// Whether this connection published the message and shall not hear it.
    fn unheard(&self, subscription: &Subscription, message: usize) -> bool {
        self.is_unheard(subscription.key, message)
    }

    /// The same, by the connection's key.
    pub(crate) fn is_unheard(&self, key: u64, message: usize) -> bool {
        let message = &self.messages[message];
        message.exclude && message.publisher == key
    }
}
