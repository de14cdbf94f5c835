//! Several hubs joined by queues, two for each pair (one for publications, which the others may
//! overtake), in one thread. What the reactors would do
//! with the hubs' outputs is done here, and every step is told to the [`Model`].

use std::collections::{BTreeSet, VecDeque};
use std::iter;

use roost_hub::{
    ChannelId, Encoding, EncodingSet, EventIds, HistoryLimits, HistoryNamespace, HistoryOptions,
    Hub, HubCounts, HubOptions, Item, MatchedEvent, NamespaceId, Output, Pattern, PatternKind,
    PatternOptions, PresenceOptions, Publish, PublishTo, ReactorId, Route, Since, Subscribe,
    SubscribeError, SubscribePattern, Subscriber,
};

use crate::model::{Check, Frame, Model, Place};
use crate::pattern_model::{PatternModel, PatternPlace};

type Message = Item<usize, Frame>;

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
    /// By `from * reactors + to`.
    queues: Vec<VecDeque<Message>>,
    /// The generation of each slot of each reactor, so that a key names one connection.
    generations: Vec<Vec<u64>>,
    next_token: u64,
    /// The time of all hubs.
    pub(crate) now: u32,
    fault: Option<Fault>,
    /// Deliveries until the fault strikes.
    fault_in: u32,
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

/// What may go wrong between two reactors, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    DropDeliver,
    DoubleDeliver,
    SwapDelivers,
    DropPublished,
    DropPublish,
    DropMatched,
    DoubleMatched,
    DropRecovered,
    /// What is published behind the answer comes before it.
    DelayRecovered,
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
            queues: iter::repeat_with(VecDeque::new)
                .take(2 * usize::from(reactors).pow(2))
                .collect(),
            generations: vec![vec![0; slots]; usize::from(reactors)],
            next_token: 0,
            now: 0,
            fault: None,
            fault_in: 0,
        }
    }

    pub(crate) fn inject(&mut self, fault: Fault, after: u32) {
        self.fault = Some(fault);
        self.fault_in = after;
    }

    /// Whether the fault has struck.
    pub(crate) fn struck(&self) -> bool {
        self.fault.is_none()
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

    /// How many pairs have items under way.
    pub(crate) fn busy_pairs(&self) -> usize {
        self.queues.iter().filter(|queue| !queue.is_empty()).count()
    }

    /// Takes the oldest item of the `nth` busy pair to its reactor.
    pub(crate) fn step(&mut self, nth: usize) -> Check {
        let busy = |(_, queue): &(usize, &mut VecDeque<Message>)| !queue.is_empty();
        let found = self.queues.iter_mut().enumerate().filter(busy).nth(nth);
        let Some((pair, queue)) = found else {
            return Ok(());
        };
        let item = queue.pop_front().expect("the pair is busy");
        let pair = pair / 2;
        let (from, to) = (pair / self.hubs.len(), pair % self.hubs.len());
        let ordered = match item {
            Item::Publish { payload, .. } => Some(payload),
            _ => None,
        };
        let mut out = Vec::new();
        let mut check = Ok(());
        self.hubs[to].handle(
            ReactorId(from as u8),
            item,
            self.now,
            &mut encoder(&mut self.model, &mut self.patterns, &mut check),
            &mut out,
        );
        check?;
        if let Some(message) = ordered {
            self.order(to as u8, message)?;
        }
        self.carry_out(to as u8, out)
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
        while self.busy_pairs() > 0 {
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
    pub(crate) fn settled(&self) -> Check {
        self.model.settled()?;
        self.patterns.settled(&self.model)
    }

    /// Ends everything and looks for remains.
    pub(crate) fn finish(&mut self) -> Check {
        self.drain()?;
        self.settled()?;
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
                Output::ToReactor(to, item) => self.send(reactor, to, item)?,
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

    fn send(&mut self, from: u8, to: ReactorId, item: Message) -> Check {
        if to.0 == from {
            return Err("a hub sends to itself".to_owned());
        }
        let pair = usize::from(from) * self.hubs.len() + usize::from(to.0);
        let lane = usize::from(matches!(item, Item::Publish { .. }));
        let queue = &mut self.queues[2 * pair + lane];
        let concerned = match (self.fault, &item) {
            (Some(Fault::DropPublished), Item::Published { .. })
            | (Some(Fault::DropRecovered), Item::Recovered(_))
            | (Some(Fault::DropPublish), Item::Publish { .. })
            | (Some(Fault::DropDeliver | Fault::DoubleDeliver), Item::Deliver { .. })
            | (Some(Fault::DropMatched | Fault::DoubleMatched), Item::DeliverMatched { .. }) => {
                true
            }
            (Some(Fault::DelayRecovered), Item::Deliver { .. }) => {
                matches!(queue.back(), Some(Item::Recovered(_)))
            }
            (Some(Fault::SwapDelivers), Item::Deliver { local, .. }) => {
                matches!(queue.back(), Some(Item::Deliver { local: before, .. }) if before == local)
            }
            _ => false,
        };
        let strikes = concerned && self.fault_in == 0;
        if concerned && !strikes {
            self.fault_in -= 1;
        }
        match self.fault.take_if(|_| strikes) {
            None => queue.push_back(item),
            Some(
                Fault::DropDeliver
                | Fault::DropPublished
                | Fault::DropPublish
                | Fault::DropMatched
                | Fault::DropRecovered,
            ) => {}
            Some(Fault::DoubleDeliver | Fault::DoubleMatched) => {
                queue.extend([item.clone(), item]);
            }
            Some(Fault::SwapDelivers | Fault::DelayRecovered) => {
                queue.insert(queue.len() - 1, item)
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

/// Writes a frame that is recovered at once.
fn recoverer(model: &Model) -> impl FnMut(&usize, Encoding, EventIds, Route<'_>) -> Frame {
    |&message, encoding, ids, route| {
        assert!(
            matches!(route, Route::Recovered(_) | Route::Retained(_)),
            "nothing else is written at once"
        );
        assert!(model.is_ordered(message), "only what has a place is kept");
        Frame {
            message,
            encoding,
            ids,
        }
    }
}

/// Writes a frame that says what it is, and tells the model.
fn encoder(
    model: &mut Model,
    patterns: &mut PatternModel,
    check: &mut Check,
) -> impl FnMut(&usize, Encoding, EventIds, Route<'_>) -> Frame {
    |&message, encoding, ids, route| {
        let seen = match route {
            Route::Recovered(_) | Route::Retained(_) if model.is_ordered(message) => Ok(()),
            Route::Recovered(_) | Route::Retained(_) => {
                Err("what is recovered has no place".into())
            }
            Route::Channel(_) | Route::Kept(_) => model.encode(message, encoding, ids),
            Route::Pattern(channel) => patterns.encode(message, encoding, ids, channel, model),
        };
        if check.is_ok() {
            *check = seen;
        }
        Frame {
            message,
            encoding,
            ids,
        }
    }
}
