//! The hub of one reactor: subscriptions here, and the order of the channels at home here. What homes
//! keep of their channels is in `hub/kept.rs`.

mod kept;

use crate::encoding::{Encoding, EncodingSet};
use crate::error::{NameError, PublishError, SubscribeError};
use crate::frames::{Encode, Made};
use crate::histories::Histories;
use crate::history::Payload;
use crate::home::{Home, Place};
use crate::home_channel::Interest;
use crate::home_entries::HomeEntries;
use crate::ids::{ChannelId, HomeIndex, NamespaceId, Placement, ReactorId, Snapshot, Subscriber};
use crate::item::{
    Item, LocalRef, Output, Publish, PublishTo, Subscribe, SubscribePattern, Target,
};
use crate::keeping;
use crate::local::Local;
use crate::names::{Name, NameHash, NameHasher, Named};
use crate::options::{HubLimits, HubOptions};
use crate::patterns::{Pattern, PatternInterest, is_pattern};
use crate::presences::Presences;
use crate::publishing::{Order, Publishing};
use crate::random::PublicationIds;
use crate::set::SubscriberIter;
use crate::to_home::ToHome;

/// Channels of one reactor: who receives what, in which order. See the crate's documentation.
#[derive(Debug)]
pub struct Hub<P, F> {
    options: HubOptions,
    hasher: NameHasher,
    /// Channels with subscribers here.
    local: Local,
    /// Channels whose home is here.
    home: Home,
    /// What they keep of their publications.
    histories: Histories<P, F>,
    /// Who is in them; none if no namespace keeps presence.
    presences: Option<Box<Presences>>,
    /// Of the publication being encoded; empty in between.
    made: Made<F>,
    /// The latest time that was told.
    now: u32,
    /// See [`Hub::set_cause`].
    cause: u64,
}

impl<P: Payload, F: Clone> Hub<P, F> {
    /// An empty hub.
    ///
    /// # Panics
    /// When `reactors` is not in 1..=256, or `me` is not below it.
    pub fn new(options: HubOptions) -> Self {
        assert!(
            (1..=256).contains(&options.reactors),
            "1 to 256 reactors, not {}",
            options.reactors
        );
        assert!(
            u16::from(options.me.0) < options.reactors,
            "reactor {} of {}",
            options.me.0,
            options.reactors
        );
        let hasher = NameHasher::new(&options.hash_key);
        let publications = PublicationIds::new(options.seed);
        Hub {
            local: Local::new(hasher),
            home: Home::new(options.me, hasher, publications, options.patterns.clone()),
            histories: Histories::new(options.history.clone()),
            presences: (options.presence.is_on())
                .then(|| Box::new(Presences::new(options.presence.clone(), hasher))),
            hasher,
            made: Made::new(),
            now: 0,
            cause: 0,
            options,
        }
    }

    /// Whether [`Output::Occupancy`] says of channels at home here when they get their first subscriber,
    /// of all reactors, and when they lose their last.
    pub fn set_reports_occupancy(&mut self, reports: bool) {
        self.home.set_reports_occupancy(reports);
    }

    /// In which encodings a channel's or pattern's first and last subscribers, of all reactors, are reported for
    /// those at home here: [`Output::Watched`]. Of a pattern its first subscriber's on each reactor counts.
    pub fn set_watched(&mut self, encodings: EncodingSet) {
        self.home.set_watched(encodings);
    }

    /// A number of the caller's for whom it subscribes and unsubscribes from now on: [`crate::Watched::cause`]. 0 is
    /// none.
    pub fn set_cause(&mut self, cause: u64) {
        self.cause = cause;
    }

    /// The channels and patterns at home here that have subscribers, to look at.
    pub fn entries(&mut self) -> HomeEntries<'_> {
        HomeEntries {
            me: self.options.me,
            hasher: self.hasher,
            home: &mut self.home,
        }
    }

    /// Subscribes. [`Output::Subscribed`] with `token` follows once the home knows: at once if it
    /// already does. Who subscribes again is answered again and stays subscribed once.
    pub fn subscribe(
        &mut self,
        subscribe: Subscribe<'_>,
        now: u32,
        out: &mut Vec<Output<P, F>>,
    ) -> Result<ChannelId, SubscribeError> {
        self.advance(now);
        self.check_name(subscribe.name)?;
        let hash = self.hasher.hash(subscribe.name);
        let home = ReactorId(hash.home(self.options.reactors));
        let channels_max = self.options.channels_max;
        let (local, mut to_home) = self.sides(out);
        if local.is_recovering(hash, &subscribe) {
            // It is answered behind what it asked for first.
            let asked = local.recover(subscribe, (hash, home), channels_max, &mut to_home);
            if let Ok((channel, Some(recoverer))) = asked {
                let encode: Encode<'_, P, F> =
                    &mut |_, _, _, _| unreachable!("nothing is asked for");
                self.ask_home(home, channel, recoverer, None, (encode, out));
            }
            return asked.map(|(channel, _)| channel);
        }
        let subscribed = local.subscribe(subscribe, (hash, home), channels_max, &mut to_home);
        self.debug_check();
        subscribed
    }

    /// Subscribes to all channels that a pattern matches, those included that are not there yet.
    /// [`Output::Subscribed`] with `token` follows once all homes know, or [`Output::Refused`].
    /// From then on the subscription is as one to a channel, with a number of the same kind; what
    /// is published comes as [`Output::DeliverMatched`], in the order of its channel, and once for
    /// each pattern that matches beside the channel itself.
    pub fn subscribe_pattern(
        &mut self,
        subscribe: SubscribePattern<'_>,
        now: u32,
        out: &mut Vec<Output<P, F>>,
    ) -> Result<ChannelId, SubscribeError> {
        self.advance(now);
        let SubscribePattern {
            who,
            encoding,
            pattern,
            token,
        } = subscribe;
        let name = pattern.to_name();
        let hash = self.hasher.hash(&name);
        let subscribe = Subscribe {
            who,
            encoding,
            name: &name,
            namespace: NamespaceId::default(),
            token,
        };
        let channels_max = self.options.channels_max;
        let home = (hash, ReactorId::REGISTER);
        let (local, mut to_home) = self.sides(out);
        let subscribed = local.subscribe(subscribe, home, channels_max, &mut to_home);
        self.debug_check();
        subscribed
    }

    /// Publishes. What one publisher publishes on one channel keeps its order, whichever way the
    /// channel is named. Without a subscriber it is acknowledged all the same.
    ///
    /// `encode` is called for each encoding that somebody wants, if the channel's home is here.
    pub fn publish(
        &mut self,
        publish: Publish<'_, P>,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) -> Result<(), PublishError> {
        self.advance(now);
        let Publish {
            target,
            publisher,
            exclude_publisher,
            ack,
            payload,
        } = publish;
        let order = Order {
            from: self.options.me,
            publisher,
            exclude_publisher,
            ack,
            payload,
        };
        match self.destination(target)? {
            Destination::Here(place) => {
                self.publishing(out).publish(place, order, encode);
            }
            Destination::There(home, name) => out.push(Output::ToReactor(
                home,
                Item::Publish {
                    name,
                    publisher,
                    exclude_publisher,
                    ack,
                    payload: order.payload,
                },
            )),
        }
        Ok(())
    }

    /// Publishes for a peer that has no connections, on a channel whose home is here. Returns the
    /// place of the publication; nothing else acknowledges it.
    pub fn publish_at_home(
        &mut self,
        name: &str,
        payload: P,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) -> Placement {
        self.advance(now);
        let hash = self.hasher.hash(name);
        debug_assert_eq!(
            hash.home(self.options.reactors),
            self.options.me.0,
            "its home is here"
        );
        let place = self.place(hash, name);
        let order = Order {
            from: self.options.me,
            publisher: 0,
            exclude_publisher: false,
            ack: None,
            payload,
        };
        self.publishing(out).publish(place, order, encode)
    }

    /// Takes in what another reactor's hub has sent.
    pub fn handle(
        &mut self,
        from: ReactorId,
        item: Item<P, F>,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        self.advance(now);
        match item {
            interest @ Item::Interest { .. } => self.take_interest(from, interest, out),
            Item::InterestAck {
                local,
                home,
                encodings,
                snapshot,
            } => {
                let (side, mut to_home) = self.sides(out);
                side.handle_ack(local, home, encodings, snapshot, &mut to_home);
            }
            Item::Recover(recover) => self.handle_recover(from, *recover, now, encode, out),
            Item::Recovered(answer) => self.handle_recovered(*answer, out),
            Item::Uninterest {
                target,
                local,
                cause,
            } => {
                self.home.set_cause(cause);
                self.handle_uninterest(from, (&target, local), now, out);
            }
            Item::Publish {
                name,
                publisher,
                exclude_publisher,
                ack,
                payload,
            } => {
                debug_assert!(!is_pattern(&name), "the sender has checked the name");
                let place = self.place(self.hasher.hash(&name), &name);
                let order = Order {
                    from,
                    publisher,
                    exclude_publisher,
                    ack,
                    payload,
                };
                self.publishing(out).publish(place, order, encode);
            }
            Item::Published {
                publisher,
                token,
                publication,
            } => out.push(Output::Published {
                publisher,
                token,
                publication,
            }),
            Item::Deliver {
                local,
                ids,
                exclude,
                frames,
            } => out.extend(self.local.deliver(local, ids, exclude, frames)),
            Item::DeliverMatched { .. }
            | Item::InterestRefused { .. }
            | Item::PatternInterest { .. }
            | Item::PatternAck { .. }
            | Item::PatternUninterest { .. } => self.handle_pattern(from, item, out),
            of_members => self.handle_presence(from, of_members, encode, out),
        }
        self.debug_check();
    }

    /// Another reactor wants a channel.
    fn take_interest(&mut self, from: ReactorId, item: Item<P, F>, out: &mut Vec<Output<P, F>>) {
        let Item::Interest {
            name,
            namespace,
            local,
            encodings,
            cause,
        } = item
        else {
            return;
        };
        let interest = Interest {
            local,
            reactor: from,
            encodings,
        };
        self.home.set_cause(cause);
        self.handle_interest(&name, namespace, interest, out);
    }

    /// Another reactor wants a channel no longer.
    fn handle_uninterest(
        &mut self,
        from: ReactorId,
        (target, local): (&Target, LocalRef),
        now: u32,
        out: &mut Vec<Output<P, F>>,
    ) {
        let (home, histories) = (&mut self.home, &mut self.histories);
        let removed = keeping::uninterest(home, histories, (from, target, local), now);
        // Unless the register has refused it, and its answer has not come there yet.
        let is_refused = matches!(target, Target::Name(name) if is_pattern(name));
        debug_assert!(removed || is_refused, "interest ends once");
        self.home.report_occupancy(out);
    }

    /// What other hubs say of patterns.
    fn handle_pattern(&mut self, from: ReactorId, item: Item<P, F>, out: &mut Vec<Output<P, F>>) {
        match item {
            Item::DeliverMatched {
                local,
                event,
                exclude,
                frames,
            } => out.extend(self.local.deliver_matched(local, event, exclude, frames)),
            Item::InterestRefused { local, refusal } => {
                self.local.handle_refusal(local, refusal, out);
            }
            Item::PatternInterest {
                name,
                number,
                local,
                encodings,
            } => {
                let interest = PatternInterest {
                    local,
                    number,
                    reactor: from,
                    encodings,
                };
                let pattern = Pattern::of_name(&name).expect("hubs name patterns as this one");
                self.home.pattern_interest(pattern, interest);
                out.push(Output::ToReactor(from, Item::PatternAck { local }));
            }
            Item::PatternAck { local } => {
                let (side, mut to_home) = self.sides(out);
                side.handle_pattern_ack(local, &mut to_home);
            }
            Item::PatternUninterest { name, local } => {
                let removed = self.home.pattern_uninterest(&name, from, local);
                debug_assert!(removed, "interest ends once");
            }
            _ => unreachable!("handle has the rest"),
        }
    }

    /// The subscribers of a channel in one encoding, in ascending order of slots.
    pub fn subscribers(&self, channel: ChannelId, encoding: Encoding) -> SubscriberIter<'_> {
        self.subscribers_from(channel, encoding, Subscriber(0))
    }

    /// As [`Hub::subscribers`], from a slot on: goes on where a walk was interrupted.
    pub fn subscribers_from(
        &self,
        channel: ChannelId,
        encoding: Encoding,
        first: Subscriber,
    ) -> SubscriberIter<'_> {
        self.local
            .get(channel)
            .and_then(|record| record.set(encoding))
            .map_or(SubscriberIter::empty(), |set| set.iter_from(first))
    }

    /// Whether a subscriber has asked for a channel in one encoding, answered or not.
    pub fn is_subscribed(&self, who: Subscriber, encoding: Encoding, channel: ChannelId) -> bool {
        let set = self.local.get(channel);
        let set = set.and_then(|record| record.set(encoding));
        set.is_some_and(|set| set.contains(who))
    }

    /// How many subscribe to a channel in one encoding.
    pub fn subscriber_count(&self, channel: ChannelId, encoding: Encoding) -> usize {
        self.local
            .get(channel)
            .and_then(|record| record.set(encoding))
            .map_or(0, |set| set.len())
    }

    /// A channel here, by name.
    pub fn channel(&self, name: &str) -> Option<ChannelId> {
        self.local.find(self.hasher.hash(name), name)
    }

    /// A channel's name; of a pattern, the name of its record, which is no channel's.
    pub fn channel_name(&self, channel: ChannelId) -> Option<&str> {
        let record = self.local.get(channel)?;
        Some(record.name())
    }

    /// A pattern here.
    pub fn pattern(&self, pattern: Pattern<'_>) -> Option<ChannelId> {
        let name = pattern.to_name();
        self.local.find(self.hasher.hash(&name), &name)
    }

    /// A number for what a pattern and a channel that matches it are together, the same each time
    /// and hard to guess.
    pub fn hash_matched(&self, pattern: ChannelId, channel: &str) -> u64 {
        self.hasher.hash(channel).beside(pattern.0).bits()
    }

    /// The pattern of this number here; none if it is a channel's.
    pub fn pattern_of(&self, number: ChannelId) -> Option<Pattern<'_>> {
        Pattern::of_name(self.local.get(number)?.name())
    }

    /// Takes limits that are new. What is above them stays; patterns match as these say from now on.
    pub fn set_limits(&mut self, limits: HubLimits) {
        let HubLimits {
            channels_max,
            channel_name_bytes_max,
            patterns,
        } = limits;
        self.options.channels_max = channels_max;
        self.options.channel_name_bytes_max = channel_name_bytes_max;
        self.options.patterns = patterns.clone();
        self.home.set_patterns(patterns);
    }

    /// The namespaces have these names now, by number; there are no fewer than before. What those keep that
    /// are new is what channels without a namespace keep.
    pub fn name_namespaces(&mut self, names: &[String]) {
        self.histories.name_namespaces(names);
        if let Some(presences) = &mut self.presences {
            presences.name_namespaces(names.len());
        }
    }

    /// Gives the channels at the places `from..until` the namespaces that their names have now. Whether
    /// there are channels behind.
    pub fn set_namespaces(
        &mut self,
        from: u32,
        until: u32,
        number_of: impl Fn(&str) -> NamespaceId,
    ) -> bool {
        let local = self.local.set_namespaces(from, until, &number_of);
        let home = self.home.set_namespaces(from, until, &number_of);
        local || home
    }

    /// The namespace of a channel here.
    pub fn namespace(&self, channel: ChannelId) -> Option<NamespaceId> {
        Some(self.local.get(channel)?.namespace())
    }

    /// A channel as a subscription that begins here and now finds it, once its home has answered.
    pub fn snapshot(&self, channel: ChannelId) -> Option<Snapshot> {
        let (_, snapshot) = self.local.snapshot(channel)?;
        Some(snapshot)
    }

    /// A channel's number in the whole server, once its home has answered.
    pub fn topic(&self, channel: ChannelId) -> Option<u64> {
        self.local.get(channel)?.topic()
    }

    /// The reactor that orders the channel of this name.
    pub fn home_of(&self, name: &str) -> ReactorId {
        ReactorId(self.hasher.hash(name).home(self.options.reactors))
    }

    /// Above all places of channels whose home is here.
    pub fn home_end(&self) -> u32 {
        self.home.end()
    }

    /// The channel at a place of those whose home is here: its name, its namespace, and the offset of its
    /// last publication.
    pub fn home_channel(&self, place: u32) -> Option<(&Name, NamespaceId, u64)> {
        let channel = self.home.get(HomeIndex(place))?;
        let is_channel = !is_pattern(channel.name());
        is_channel.then(|| (channel.name(), channel.namespace(), channel.offset()))
    }

    /// The place of a channel whose home is here.
    pub fn home_place(&self, name: &str) -> Option<u32> {
        Some(self.home.find(self.hasher.hash(name), name)?.0)
    }

    /// How many subscribe here to a channel, in all encodings.
    pub fn subscriptions_to(&self, name: &str) -> usize {
        let channel = self.local.find(self.hasher.hash(name), name);
        let record = channel.and_then(|channel| self.local.get(channel));
        record.map_or(0, |record| record.subscriptions())
    }

    /// The home's side: a reactor wants a channel in exactly these encodings.
    fn handle_interest(
        &mut self,
        name: &Name,
        namespace: NamespaceId,
        interest: Interest<EncodingSet>,
        out: &mut Vec<Output<P, F>>,
    ) {
        if is_pattern(name) {
            return self.handle_registration(name, namespace, interest, out);
        }
        debug_assert_eq!(
            self.home_of(name),
            self.options.me,
            "interest comes to the home"
        );
        let (home, histories) = (&mut self.home, &mut self.histories);
        let (home, snapshot) = keeping::interest(home, histories, name, namespace, interest);
        let ack = Item::InterestAck {
            local: interest.local,
            home,
            encodings: interest.encodings,
            snapshot,
        };
        out.push(Output::ToReactor(interest.reactor, ack));
        self.home.report_occupancy(out);
    }

    /// The register's side: a reactor has its first subscriber to a pattern.
    fn handle_registration(
        &mut self,
        name: &Name,
        namespace: NamespaceId,
        interest: Interest<EncodingSet>,
        out: &mut Vec<Output<P, F>>,
    ) {
        let local = interest.local;
        let answer = match self.home.register(name, namespace, interest) {
            Ok(home) => Item::InterestAck {
                local,
                home,
                encodings: interest.encodings,
                snapshot: Snapshot::OF_PATTERN,
            },
            Err(refusal) => Item::InterestRefused { local, refusal },
        };
        out.push(Output::ToReactor(interest.reactor, answer));
        self.home.report_occupancy(out);
    }

    /// Where a publication has to go.
    fn destination<'a>(&mut self, target: PublishTo<'a>) -> Result<Destination<'a>, PublishError> {
        let record = match target {
            PublishTo::Channel(channel) => {
                let record = self.local.get(channel);
                let record = record.filter(|record| !record.is_pattern());
                record.ok_or(PublishError::UnknownChannel(channel))?
            }
            PublishTo::Name(name) => {
                self.check_name(name)?;
                let hash = self.hasher.hash(name);
                let home = ReactorId(hash.home(self.options.reactors));
                if home == self.options.me {
                    return Ok(Destination::Here(self.place(hash, name)));
                }
                let channel = self.local.find(hash, name);
                match channel.and_then(|channel| self.local.get(channel)) {
                    Some(record) => record,
                    None => return Ok(Destination::There(home, Name::from(name))),
                }
            }
        };
        Ok(if record.home() == self.options.me {
            let index = record.home_index().expect("the home here answers at once");
            Destination::Here(Place::Known(index))
        } else {
            Destination::There(record.home(), record.name().clone())
        })
    }

    fn advance(&mut self, now: u32) {
        debug_assert!(now >= self.now, "time goes on: {now} after {}", self.now);
        self.now = now;
    }

    fn check_name(&self, name: &str) -> Result<(), NameError> {
        let bytes_max = self.options.channel_name_bytes_max;
        if name.is_empty() {
            Err(NameError::Empty)
        } else if is_pattern(name) {
            Err(NameError::Control)
        } else if name.len() > bytes_max as usize {
            Err(NameError::TooLong {
                bytes: name.len(),
                bytes_max,
            })
        } else {
            Ok(())
        }
    }

    /// Both sides, to publish.
    fn publishing<'a>(&'a mut self, out: &'a mut Vec<Output<P, F>>) -> Publishing<'a, P, F> {
        Publishing {
            me: self.options.me,
            home: &mut self.home,
            local: &mut self.local,
            made: &mut self.made,
            histories: &mut self.histories,
            now: self.now,
            out,
        }
    }

    /// The subscribers' side, and its way to the homes.
    fn sides<'a>(
        &'a mut self,
        out: &'a mut Vec<Output<P, F>>,
    ) -> (&'a mut Local, ToHome<'a, P, F>) {
        let to_home = ToHome {
            me: self.options.me,
            reactors: self.options.reactors,
            home: &mut self.home,
            histories: &mut self.histories,
            now: self.now,
            cause: self.cause,
            out,
        };
        (&mut self.local, to_home)
    }

    /// Where a publication goes whose channel has its home here.
    fn place<'a>(&mut self, hash: NameHash, name: &'a str) -> Place<'a> {
        match self.home.find(hash, name) {
            Some(index) => Place::Known(index),
            None => {
                let index = keeping::begin_unheard(&mut self.home, &mut self.histories, name);
                index.map_or(Place::Unknown(name), Place::Known)
            }
        }
    }

    /// In debug builds every mutation is followed by the whole check while the hub is small.
    fn debug_check(&self) {
        const SMALL: usize = 64;
        let patterns = self.home.patterns();
        let size = self.local.len() + self.home.len() + self.local.subscriptions() + patterns;
        if cfg!(debug_assertions) && size <= SMALL {
            self.check_invariants();
        }
    }
}

enum Destination<'a> {
    /// The home is here.
    Here(Place<'a>),
    There(ReactorId, Name),
}
