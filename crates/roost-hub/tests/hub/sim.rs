//! Several hubs joined by a [`Network`], in one thread. What the reactors would do with the hubs' outputs is
//! done here, and every step is told to the [`Model`].

use std::collections::BTreeSet;

use roost_hub::{
    ChannelId, Encoding, EncodingSet, EventIds, HistoryLimits, HistoryNamespace, HistoryOptions,
    Hub, HubCounts, HubOptions, Item, MatchedEvent, NamespaceId, Output, Pattern, PatternKind,
    PatternOptions, PresenceOptions, Publish, PublishTo, ReactorId, Since, Subscribe,
    SubscribeError, SubscribePattern, Subscriber,
};

use crate::frames::{encoder, recoverer};
use crate::model::{Check, Frame, Model, Place};
use crate::network::Network;
use crate::pattern_model::{PatternModel, PatternPlace};

pub(crate) struct Sim {
    pub(crate) hubs: Vec<Hub<usize, Frame>>,
    options: Vec<HubOptions>,
    pub(crate) model: Model,
    pub(crate) patterns: PatternModel,
    /// Channels that have subscribers, as the hubs say.
    occupied: BTreeSet<String>,
    /// Channels and patterns that have some in an encoding that is watched.
    watched: BTreeSet<String>,
    /// Whether a pattern may be refused.
    patterns_max: u32,
    pub(crate) network: Network,
    /// The generation of each slot of each reactor, so that a key names one connection.
    generations: Vec<Vec<u64>>,
    next_token: u64,
    /// The time of all hubs.
    pub(crate) now: u32,
}

/// How a message is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublishHow {
    /// The publisher shall not hear it.
    pub(crate) exclude: bool,
    pub(crate) ack: bool,
    /// By the channel's number, if the publisher subscribes to it; else by name.
    pub(crate) by_channel: bool,
}

/// Encodings whose first and last subscribers are told of.
fn watched() -> EncodingSet {
    EncodingSet::from_iter([63, 55].map(Encoding))
}

fn reporting_hub(options: HubOptions) -> Hub<usize, Frame> {
    let mut hub = Hub::new(options);
    hub.set_reports_occupancy(true);
    hub.set_watched(watched());
    hub
}

impl Sim {
    pub(crate) fn new(
        reactors: u8,
        slots: usize,
        key: u64,
        patterns_max: u32,
        history: Option<(HistoryLimits, u64)>,
    ) -> Self {
        let mut hash_key = [0; 16];
        hash_key[..8].copy_from_slice(&key.to_le_bytes());
        let options = |me| HubOptions {
            me: ReactorId(me),
            reactors: u16::from(reactors),
            hash_key,
            seed: key ^ u64::from(me) << 32,
            channels_max: 1000,
            channel_name_bytes_max: 100,
            patterns: PatternOptions {
                patterns_max,
                protected: ["a:".to_owned(), "b.a/".to_owned()].into(),
            },
            presence: PresenceOptions::default(),
            history: history.map_or(HistoryOptions::default(), |(limits, bytes_max)| {
                HistoryOptions {
                    namespaces: [("", Some(limits)), (NAMESPACE, None)]
                        .map(|(name, limits)| HistoryNamespace {
                            name: name.to_owned(),
                            limits,
                        })
                        .into(),
                    bytes_max,
                }
            }),
        };
        let options: Vec<HubOptions> = (0..reactors).map(options).collect();
        Sim {
            hubs: options.iter().cloned().map(reporting_hub).collect(),
            options,
            model: Model::default(),
            patterns: PatternModel::default(),
            occupied: BTreeSet::new(),
            watched: BTreeSet::new(),
            patterns_max,
            network: Network::new(usize::from(reactors)),
            generations: vec![vec![0; slots]; usize::from(reactors)],
            next_token: 0,
            now: 0,
        }
    }

    /// The key of the connection that now has the slot.
    pub(crate) fn key(&self, reactor: u8, who: u32) -> u64 {
        let generation = self.generations[usize::from(reactor)][who as usize];
        1 + (generation << 40 | u64::from(reactor) << 32 | u64::from(who))
    }

    pub(crate) fn subscribe(
        &mut self,
        reactor: u8,
        who: u32,
        encoding: u8,
        name: &str,
    ) -> Result<ChannelId, String> {
        let token = self.next_token;
        self.next_token += 1;
        let place = place(reactor, who, encoding, name);
        let mut out = Vec::new();
        let hub = &mut self.hubs[usize::from(reactor)];
        let channel = hub
            .subscribe(
                Subscribe {
                    who: place.who,
                    encoding: place.encoding,
                    name,
                    namespace: namespace_of(name),
                    token,
                },
                self.now,
                &mut out,
            )
            .map_err(|error| error.to_string())?;
        let key = self.key(reactor, who);
        self.model.subscribe(place, key, channel, token)?;
        self.carry_out(reactor, out)?;
        Ok(channel)
    }

    /// Subscribes and asks for what was before.
    pub(crate) fn subscribe_since(
        &mut self,
        reactor: u8,
        who: u32,
        encoding: u8,
        name: &str,
        since: Since,
    ) -> Check {
        let token = self.next_token;
        self.next_token += 1;
        let place = place(reactor, who, encoding, name);
        let mut out = Vec::new();
        let subscribe = Subscribe {
            who: place.who,
            encoding: place.encoding,
            name,
            namespace: namespace_of(name),
            token,
        };
        let hub = &mut self.hubs[usize::from(reactor)];
        let channel = {
            let encode = &mut recoverer(&self.model);
            hub.subscribe_since(subscribe, since, self.now, encode, &mut out)
        };
        let channel = channel.map_err(|error| error.to_string())?;
        let key = self.key(reactor, who);
        self.model
            .subscribe_since(place, key, channel, token, since)?;
        self.carry_out(reactor, out)
    }

    /// Time goes on, and what is too old is forgotten.
    pub(crate) fn pass(&mut self, ticks: u32) {
        self.now += ticks;
        for hub in &mut self.hubs {
            if hub.history_due() <= self.now {
                hub.expire(self.now);
            }
            assert!(hub.history_due() > self.now);
        }
    }

    pub(crate) fn subscribe_pattern(
        &mut self,
        reactor: u8,
        who: u32,
        encoding: u8,
        (kind, text): (PatternKind, &str),
    ) -> Check {
        let token = self.next_token;
        self.next_token += 1;
        let place = pattern_place(reactor, who, encoding, (kind, text));
        let mut out = Vec::new();
        let hub = &mut self.hubs[usize::from(reactor)];
        let subscribe = SubscribePattern {
            who: place.who,
            encoding: place.encoding,
            pattern: Pattern::new(kind, text, 100).expect("a pattern"),
            token,
        };
        match hub.subscribe_pattern(subscribe, self.now, &mut out) {
            Ok(channel) => {
                let key = self.key(reactor, who);
                self.patterns.subscribe(place, key, channel, token)?;
            }
            Err(SubscribeError::Pattern(_)) if self.patterns_max < 100 => {}
            Err(error) => return Err(error.to_string()),
        }
        self.carry_out(reactor, out)
    }

    pub(crate) fn unsubscribe_pattern(
        &mut self,
        reactor: u8,
        who: u32,
        encoding: u8,
        pattern: (PatternKind, &str),
    ) -> Check {
        let place = pattern_place(reactor, who, encoding, pattern);
        let mut out = Vec::new();
        if let Some(known) = self.patterns.subscriptions.remove(&place) {
            let hub = &mut self.hubs[usize::from(reactor)];
            if !hub.unsubscribe(place.who, place.encoding, known.channel, &mut out) {
                return Err(format!("{place:?} did not subscribe"));
            }
        }
        self.carry_out(reactor, out)
    }

    pub(crate) fn unsubscribe(&mut self, reactor: u8, who: u32, encoding: u8, name: &str) -> Check {
        let place = place(reactor, who, encoding, name);
        let mut out = Vec::new();
        let hub = &mut self.hubs[usize::from(reactor)];
        // Without a subscription, ask for the channel that another one has, if any.
        let known = self.model.subscriptions.remove(&place);
        let channel = known.as_ref().map(|subscription| subscription.channel);
        if let Some(channel) = channel.or(hub.channel(name)) {
            let done = hub.unsubscribe(place.who, place.encoding, channel, &mut out);
            if done != known.is_some() {
                return Err(format!("unsubscribing {place:?} said {done}"));
            }
        }
        self.carry_out(reactor, out)
    }

    /// The connection goes; another one may have the slot.
    pub(crate) fn close(&mut self, reactor: u8, who: u32) -> Check {
        let places: Vec<Place> = self
            .model
            .subscriptions
            .keys()
            .filter(|place| place.reactor.0 == reactor && place.who.0 == who)
            .cloned()
            .collect();
        for place in places {
            self.unsubscribe(reactor, who, place.encoding.0, &place.name)?;
        }
        let places: Vec<PatternPlace> = self.patterns.subscriptions.keys().cloned().collect();
        for place in places {
            if (place.reactor.0, place.who.0) == (reactor, who) {
                let pattern = (place.kind, place.text.as_str());
                self.unsubscribe_pattern(reactor, who, place.encoding.0, pattern)?;
            }
        }
        self.generations[usize::from(reactor)][who as usize] += 1;
        Ok(())
    }

    /// Another process takes a reactor's hub over.
    pub(crate) fn hand_over(&mut self, reactor: u8) -> Check {
        let at = usize::from(reactor);
        let options = || HubOptions {
            seed: 0, // is handed over, too
            ..self.options[at].clone()
        };
        let hub = std::mem::replace(&mut self.hubs[at], Hub::new(options()));
        let (counts, memory) = (hub.counts(), hub.memory_bytes());
        let state = hub.export();
        let hub = Hub::<usize, Frame>::import(options(), state.clone());
        let hub = hub.map_err(|error| error.to_string())?;
        hub.check_invariants();
        if hub.counts() != counts {
            return Err(format!("{counts:?} became {:?}", hub.counts()));
        }
        if hub.memory_bytes() > 2 * memory + 1024 {
            return Err(format!("{memory} bytes became {}", hub.memory_bytes()));
        }
        let again = hub.export();
        if again != state {
            return Err(format!("{state:?} became {again:?}"));
        }
        self.hubs[at] = Hub::import(options(), again).map_err(|error| error.to_string())?;
        self.hubs[at].set_reports_occupancy(true);
        self.hubs[at].set_watched(watched());
        Ok(())
    }

    /// Publishes, as a connection.
    pub(crate) fn publish(&mut self, reactor: u8, who: u32, name: &str, how: PublishHow) -> Check {
        let PublishHow {
            exclude,
            ack,
            by_channel,
        } = how;
        let publisher = self.key(reactor, who);
        let message = self.model.publish(name, publisher, exclude, ack);
        let hub = &mut self.hubs[usize::from(reactor)];
        let subscribed = self
            .model
            .subscriptions
            .iter()
            .find(|(place, _)| (place.reactor.0, place.who.0, &*place.name) == (reactor, who, name))
            .map(|(_, subscription)| subscription.channel);
        let target = match subscribed {
            Some(channel) if by_channel => PublishTo::Channel(channel),
            _ => PublishTo::Name(name),
        };
        let publish = Publish {
            target,
            publisher,
            exclude_publisher: exclude,
            ack: ack.then_some(message as u64),
            payload: message,
        };
        let mut out = Vec::new();
        let mut check = Ok(());
        hub.publish(
            publish,
            self.now,
            &mut encoder(&mut self.model, &mut self.patterns, &mut check),
            &mut out,
        )
        .map_err(|error| error.to_string())?;
        check?;
        let sent = out
            .iter()
            .any(|output| matches!(output, Output::ToReactor(_, Item::Publish { .. })));
        if !sent {
            self.order(reactor, message)?;
        }
        self.carry_out(reactor, out)
    }

    /// Takes the oldest item of the `nth` busy pair to its reactor.
    pub(crate) fn step(&mut self, nth: usize) -> Check {
        let Some((from, to, item)) = self.network.take(nth) else {
            return Ok(());
        };
        let ordered = match item {
            Item::Publish { payload, .. } => Some(payload),
            _ => None,
        };
        let mut out = Vec::new();
        let mut check = Ok(());
        self.hubs[usize::from(to.0)].handle(
            from,
            item,
            self.now,
            &mut encoder(&mut self.model, &mut self.patterns, &mut check),
            &mut out,
        );
        check?;
        if let Some(message) = ordered {
            self.order(to.0, message)?;
        }
        self.carry_out(to.0, out)
    }

    /// The home has taken a message up, and says where it stands now.
    fn order(&mut self, home: u8, message: usize) -> Check {
        let name = self.model.messages[message].name.clone();
        let hub = &self.hubs[usize::from(home)];
        let offset = hub.history(&name, self.now).position.offset;
        self.model.order(message, offset)
    }

    /// Takes all items to their reactors.
    pub(crate) fn drain(&mut self) -> Check {
        while self.network.busy_pairs() > 0 {
            self.step(0)?;
        }
        Ok(())
    }

    /// What is watched is told of as long as it is subscribed to, and homes show it. Of patterns the register
    /// knows the first subscribers' encodings alone.
    fn check_watched(&mut self) -> Result<(), String> {
        let wanted = self.model.subscriptions.keys();
        let wanted = wanted.filter(|place| watched().contains(place.encoding));
        let expected: BTreeSet<String> = wanted.map(|place| place.name.to_string()).collect();
        let mut shown = BTreeSet::new();
        for hub in &mut self.hubs {
            let entries = hub.entries();
            let all = (0..entries.end()).filter_map(|place| entries.at(place));
            for entry in all.filter(|one| !one.encodings.intersection(watched()).is_empty()) {
                assert_eq!(entries.numbered(entry.topic), Some(entry));
                assert_eq!(entries.named(entry.name), Some(entry));
                shown.insert(entry.name.to_owned());
            }
        }
        let mut told = self.watched.clone();
        for names in [&mut told, &mut shown] {
            names.retain(|name| Pattern::of_name(name).is_none());
        }
        match told == expected && shown == expected {
            true => Ok(()),
            false => Err(format!(
                "{told:?} are told of and {shown:?} shown, not {expected:?}"
            )),
        }
    }

    /// Nothing is on its way any more.
    pub(crate) fn check_quiescent(&self) -> Check {
        self.model.check_quiescent()?;
        self.patterns.check_quiescent(&self.model)
    }

    /// Ends everything and looks for remains.
    pub(crate) fn finish(&mut self) -> Check {
        self.drain()?;
        self.check_quiescent()?;
        let subscribed = self.model.subscriptions.keys();
        let subscribed: BTreeSet<String> = subscribed.map(|place| place.name.to_string()).collect();
        if self.occupied != subscribed {
            return Err(format!(
                "{:?} are occupied, and {subscribed:?} subscribed to",
                self.occupied
            ));
        }
        self.check_watched()?;
        let places: Vec<PatternPlace> = self.patterns.subscriptions.keys().cloned().collect();
        for place in places {
            let (reactor, who, encoding) = (place.reactor.0, place.who.0, place.encoding.0);
            self.unsubscribe_pattern(reactor, who, encoding, (place.kind, &place.text))?;
        }
        let places: Vec<Place> = self.model.subscriptions.keys().cloned().collect();
        for place in places {
            self.unsubscribe(place.reactor.0, place.who.0, place.encoding.0, &place.name)?;
        }
        self.drain()?;
        self.pass(10_000);
        for hub in &self.hubs {
            hub.check_invariants();
            let counts = hub.counts();
            let empty = HubCounts {
                stale_items: counts.stale_items,
                matches: counts.matches,
                histories_evicted: counts.histories_evicted,
                ..HubCounts::default()
            };
            if counts != empty {
                return Err(format!("left over: {counts:?}"));
            }
        }
        Ok(())
    }

    /// Does what a reactor does with its hub's outputs.
    fn carry_out(&mut self, reactor: u8, out: Vec<Output<usize, Frame>>) -> Check {
        for output in out {
            match output {
                Output::Presence(_) | Output::User { .. } => {
                    return Err("nothing asks for presence".to_owned());
                }
                Output::ToReactor(to, item) => self.network.send(ReactorId(reactor), to, item)?,
                Output::Subscribed {
                    who,
                    encoding,
                    token,
                    channel,
                    topic,
                    snapshot,
                    recovery,
                } => {
                    let hub = &self.hubs[usize::from(reactor)];
                    if let Some(pattern) = hub.pattern_of(channel) {
                        let pattern = (pattern.kind(), pattern.text());
                        let place = pattern_place(reactor, who.0, encoding.0, pattern);
                        self.patterns
                            .subscribed(&place, token, topic, &self.model)?;
                        continue;
                    }
                    let name = hub.channel_name(channel).ok_or("subscribed to nothing")?;
                    let place = place(reactor, who.0, encoding.0, name);
                    if hub.topic(channel) != Some(topic) {
                        return Err(format!("{place:?} is answered with topic {topic}"));
                    }
                    let position = snapshot.position;
                    self.model
                        .subscribed(&place, token, position, recovery.as_deref())?;
                }
                Output::Occupancy {
                    channel,
                    is_occupied,
                } => {
                    let name = channel.to_string();
                    let alternates = match is_occupied {
                        true => self.occupied.insert(name),
                        false => self.occupied.remove(&name),
                    };
                    if !alternates {
                        return Err(format!("{channel} is occupied twice, or left twice"));
                    }
                }
                Output::Watched(watched) => {
                    let name = watched.name.to_string();
                    let alternates = match watched.is_wanted {
                        true => self.watched.insert(name),
                        false => self.watched.remove(&name),
                    };
                    if !alternates {
                        return Err(format!("{watched:?} is told twice"));
                    }
                }
                Output::Published {
                    publisher,
                    token,
                    publication,
                } => self
                    .model
                    .published(token as usize, publisher, publication)?,
                Output::Refused {
                    who,
                    encoding,
                    token,
                    channel,
                    refusal: _,
                } => {
                    let places = self.patterns.subscriptions.iter();
                    let place =
                        places
                            .map(|(place, one)| (place, one.channel))
                            .find(|(place, number)| {
                                (place.reactor.0, place.who, place.encoding, *number)
                                    == (reactor, who, encoding, channel)
                            });
                    let place = place.ok_or("no one subscribes so")?.0.clone();
                    self.patterns.refused(&place, token)?;
                }
                Output::DeliverMatched {
                    pattern,
                    event,
                    exclude,
                    frames,
                } => {
                    for encoded in frames.iter() {
                        self.deliver_matched(reactor, pattern, encoded, exclude, &event)?;
                    }
                }
                Output::Deliver {
                    channel,
                    namespace,
                    ids,
                    exclude,
                    frames,
                } => {
                    let hub = &self.hubs[usize::from(reactor)];
                    if hub.namespace(channel) != Some(namespace) {
                        return Err(format!("{channel:?} is delivered in {namespace:?}"));
                    }
                    for encoded in frames.iter() {
                        self.deliver(reactor, channel, encoded, exclude, ids)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        reactor: u8,
        channel: ChannelId,
        (encoding, frame): (Encoding, &Frame),
        exclude: Option<u64>,
        ids: EventIds,
    ) -> Check {
        let hub = &self.hubs[usize::from(reactor)];
        let name = hub.channel_name(channel).ok_or("delivered to nothing")?;
        if hub.topic(channel) != Some(ids.topic) {
            return Err(format!("{name} gets {ids:?}"));
        }
        let subscribers: Vec<Subscriber> = hub.subscribers(channel, encoding).collect();
        if !subscribers.is_sorted_by(|a, b| a < b) {
            return Err(format!("subscribers out of order: {subscribers:?}"));
        }
        let name = name.to_owned();
        for who in subscribers {
            if exclude != Some(self.key(reactor, who.0)) {
                let place = place(reactor, who.0, encoding.0, &name);
                self.model.deliver(&place, frame, ids)?;
            }
        }
        Ok(())
    }

    fn deliver_matched(
        &mut self,
        reactor: u8,
        pattern: ChannelId,
        (encoding, frame): (Encoding, &Frame),
        exclude: Option<u64>,
        event: &MatchedEvent,
    ) -> Check {
        let hub = &self.hubs[usize::from(reactor)];
        let known = hub.pattern_of(pattern).ok_or("delivered to nothing")?;
        let known = (known.kind(), known.text());
        let subscribers: Vec<Subscriber> = hub.subscribers(pattern, encoding).collect();
        for who in subscribers {
            if exclude != Some(self.key(reactor, who.0)) {
                let place = pattern_place(reactor, who.0, encoding.0, known);
                self.patterns.deliver(&place, frame, event, &self.model)?;
            }
        }
        Ok(())
    }
}

/// What keeps no history, if anything does.
const NAMESPACE: &str = "channel.1/b";

fn namespace_of(name: &str) -> NamespaceId {
    NamespaceId(name.starts_with("channel.1/b:").into())
}

fn place(reactor: u8, who: u32, encoding: u8, name: &str) -> Place {
    Place {
        reactor: ReactorId(reactor),
        who: Subscriber(who),
        encoding: Encoding(encoding),
        name: name.to_owned(),
    }
}

fn pattern_place(
    reactor: u8,
    who: u32,
    encoding: u8,
    (kind, text): (PatternKind, &str),
) -> PatternPlace {
    PatternPlace {
        reactor: ReactorId(reactor),
        who: Subscriber(who),
        encoding: Encoding(encoding),
        kind,
        text: text.to_owned(),
    }
}
