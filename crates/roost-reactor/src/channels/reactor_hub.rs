//! The hub of one reactor, by the names and namespaces of its settings: what it is asked, and what it says
//! of channels that no delivery needs.

use std::sync::Arc;

use roost_dialect::Publication;
use roost_hub::{
    ChannelId, Encoding, EncodingSet, EventIds, HistoryView, HomeEntries, Hub, HubLimits,
    HubOptions, Member, Name, NameError, NamespaceId, Position, PresenceQuery, PresenceView,
    PublishTo, ReactorId, Route, Subscriber, SubscriberIter,
};
use roost_metrics::Counters;

use super::notice::HubOutput;
use super::taps::is_canary;
use crate::connections::Codec;
use crate::control::ChannelRecord;
use crate::image::Image;
use crate::settings::Settings;
use crate::watched::Watched;

/// The hub, and what it wants done. What is published, delivered and subscribed to goes to it by
/// [`super::Channels`], which carries that out.
pub(crate) struct ReactorHub {
    pub(super) inner: Watched<Hub<Publication, Image>>,
    /// What it wants done next; reused.
    pub(super) outputs: Vec<HubOutput>,
    settings: Arc<Settings>,
    /// From which place on channels are still given the namespaces that a reload has added.
    unnumbered: Option<u32>,
}

impl ReactorHub {
    /// Without a channel.
    pub(super) fn new(options: HubOptions, settings: &Arc<Settings>) -> ReactorHub {
        ReactorHub {
            inner: Watched::new(hub_of(options, settings)),
            outputs: Vec::new(),
            settings: settings.clone(),
            unnumbered: None,
        }
    }

    /// New settings hold from now on. Channels whose namespace has just been added are of it as soon as
    /// [`ReactorHub::number_some`] has come to them.
    pub(super) fn configure(&mut self, settings: &Arc<Settings>, limits: HubLimits) {
        let before = self.settings.channels.namespaces.len();
        if settings.channels.namespaces.len() > before {
            self.unnumbered = Some(0);
        }
        self.settings = settings.clone();
        self.inner.set_limits(limits);
        self.inner.name_namespaces(&settings.channels.names());
    }

    /// Whether there are channels without the namespace that they have now.
    #[inline]
    pub(crate) fn is_numbering(&self) -> bool {
        self.unnumbered.is_some()
    }

    /// Gives some channels the namespaces that they have now.
    #[cold]
    pub(crate) fn number_some(&mut self) {
        let Some(from) = self.unnumbered.take() else {
            return;
        };
        let until = from.saturating_add(CHANNELS_NUMBERED);
        let policies = &self.settings.channels;
        let number_of = |name: &str| NamespaceId(policies.number_of(name));
        if self.inner.set_namespaces(from, until, number_of) {
            self.unnumbered = Some(until);
        }
    }

    /// The channel of this name, if one is subscribed to here.
    pub(crate) fn find(&self, name: &str) -> Option<ChannelId> {
        self.inner.channel(name)
    }

    /// The namespace of the channel that is published to: searched for by name only where no
    /// record here knows it.
    pub(crate) fn namespace_of(&self, to: PublishTo<'_>) -> u16 {
        match to {
            PublishTo::Channel(channel) => self.inner.namespace(channel).unwrap_or_default().0,
            PublishTo::Name(name) => self.settings.channels.number_of(name),
        }
    }

    /// The reactor that orders a channel, by its name.
    pub(crate) fn home_of(&self, name: &str) -> ReactorId {
        self.inner.home_of(name)
    }

    /// The name of the channel that is published to.
    pub(crate) fn name_of<'a>(&'a self, to: PublishTo<'a>) -> Option<&'a str> {
        match to {
            PublishTo::Name(name) => Some(name),
            PublishTo::Channel(channel) => self.inner.channel_name(channel),
        }
    }

    /// What a channel keeps whose home is here.
    pub(crate) fn history(&self, name: &str, now: u32) -> HistoryView<'_, Publication> {
        self.inner.history(name, now)
    }

    /// Forgets it. False if the channel keeps nothing.
    pub(crate) fn remove_history(&mut self, name: &str, now: u32) -> bool {
        self.inner.remove_history(name, now)
    }

    /// The tick at which something expires.
    pub(crate) fn history_due(&self) -> u32 {
        self.inner.history_due()
    }

    /// Whether a connection that subscribes to a channel becomes a member of it.
    pub(crate) fn takes_member(&self, who: Subscriber, encoding: Encoding, name: &str) -> bool {
        self.inner.takes_member(who, encoding, name, || {
            NamespaceId(self.settings.channels.number_of(name))
        })
    }

    /// It has subscribed.
    pub(crate) fn join(&mut self, channel: ChannelId, member: Member, now: u32) {
        self.inner.join(channel, member, now, &mut self.outputs);
    }

    /// Asks who is in a channel; [`super::Notice::Presence`] follows.
    pub(crate) fn ask_presence(
        &mut self,
        query: PresenceQuery,
        codec: &mut Codec,
        now: u32,
    ) -> Result<(), NameError> {
        let encode = &mut told_by(codec);
        self.inner
            .ask_presence(query, now, encode, &mut self.outputs)
    }

    /// Who is in a channel whose home is here.
    pub(crate) fn presence(&mut self, name: &str, counts_only: bool, now: u32) -> PresenceView {
        self.inner.presence(name, counts_only, now)
    }

    /// Tells subscribers who has come and gone.
    #[cold]
    pub(crate) fn tell_presence(&mut self, codec: &mut Codec, now: u32) {
        let encode = &mut told_by(codec);
        self.inner.tell_presence(now, encode, &mut self.outputs);
    }

    /// The tick at which there is something to tell.
    #[inline]
    pub(crate) fn presence_due(&self) -> u32 {
        self.inner.presence_due()
    }

    /// [`Hub::set_watched`]
    pub(crate) fn watch(&mut self, encodings: EncodingSet) {
        self.inner.set_watched(encodings);
    }

    /// [`Hub::set_cause`]
    pub(crate) fn set_cause(&mut self, cause: u64) {
        self.inner.set_cause(cause);
    }

    /// Whether this number is a pattern's.
    pub(crate) fn is_pattern(&self, channel: ChannelId) -> bool {
        self.inner.pattern_of(channel).is_some()
    }

    /// A channel's name, or a pattern's text and that it is one.
    pub(crate) fn shown_name(&self, channel: ChannelId) -> Option<(&str, bool)> {
        match self.inner.pattern_of(channel) {
            Some(pattern) => Some((pattern.text(), true)),
            None => Some((self.inner.channel_name(channel)?, false)),
        }
    }

    /// A channel's name; `None` of a pattern.
    pub(crate) fn full_name(&self, channel: ChannelId) -> Option<Name> {
        match self.inner.pattern_of(channel) {
            Some(_) => None,
            None => self.inner.channel_name(channel).map(Name::from),
        }
    }

    /// The name of a channel's or pattern's record.
    pub(crate) fn record_name(&self, channel: ChannelId) -> Option<&str> {
        self.inner.channel_name(channel)
    }

    /// [`Hub::topic`]
    pub(crate) fn topic(&self, channel: ChannelId) -> Option<u64> {
        self.inner.topic(channel)
    }

    /// Where a channel stands, as it is known here.
    pub(crate) fn position(&self, channel: ChannelId) -> Option<Position> {
        self.inner
            .snapshot(channel)
            .map(|snapshot| snapshot.position)
    }

    /// The offset of the last publication that has come here.
    pub(crate) fn offset_of(&self, channel: ChannelId) -> u64 {
        let snapshot = self.inner.snapshot(channel);
        snapshot.map_or(0, |snapshot| snapshot.position.offset)
    }

    /// [`Hub::entries`]
    pub(crate) fn entries(&mut self) -> HomeEntries<'_> {
        self.inner.entries()
    }

    /// [`Hub::subscribers_from`]
    pub(crate) fn subscribers_from(
        &self,
        channel: ChannelId,
        encoding: Encoding,
        first: Subscriber,
    ) -> SubscriberIter<'_> {
        self.inner.subscribers_from(channel, encoding, first)
    }

    /// How many subscribe here to a channel.
    pub(crate) fn subscriptions_to(&self, name: &str) -> u32 {
        u32::try_from(self.inner.subscriptions_to(name)).unwrap_or(u32::MAX)
    }

    /// Above all places of channels whose home is here.
    pub(crate) fn home_end(&self) -> u32 {
        self.inner.home_end()
    }

    /// The channel at such a place.
    pub(crate) fn home_channel(&self, place: u32, now: u32) -> Option<ChannelRecord> {
        let (name, namespace, offset) = self.inner.home_channel(place)?;
        if is_canary(name) {
            return None;
        }
        let kept = self.inner.history(name, now).len();
        Some(ChannelRecord {
            name: name.clone(),
            namespace: namespace.0,
            offset,
            kept: u32::try_from(kept).unwrap_or(u32::MAX),
            presence: self.inner.presence_counts(name),
        })
    }

    /// The channel of this name, if its home is here.
    pub(crate) fn home_channel_named(&self, name: &str, now: u32) -> Option<ChannelRecord> {
        self.home_channel(self.inner.home_place(name)?, now)
    }

    /// Brings its gauges up to date. `canaries`: channels whose home is here and that are no client's.
    #[inline]
    pub(super) fn publish_gauges(&self, counters: &Counters, canaries: usize) {
        let hub = self.inner.counts();
        counters.channels.set(hub.local_channels as u64);
        let home_channels = hub.home_channels.saturating_sub(canaries);
        counters.home_channels.set(home_channels as u64);
        counters.subscriptions.set(hub.subscriptions as u64);
        counters.patterns.set(hub.local_patterns as u64);
        counters.pattern_matches_total.set(hub.matches);
        counters.history_channels.set(hub.history_channels as u64);
        counters.history_messages.set(hub.history_messages as u64);
        counters.history_bytes.set(hub.history_bytes);
        counters.histories_evicted_total.set(hub.histories_evicted);
        counters.presence_channels.set(hub.presence_channels as u64);
        counters.presence_members.set(hub.presence_members as u64);
        counters.presence_unlisted.set(hub.presence_unlisted);
        counters.presence_bytes.set(hub.presence_bytes);
    }
}

/// An empty hub.
fn hub_of(options: HubOptions, settings: &Settings) -> Hub<Publication, Image> {
    let mut hub = Hub::new(options);
    hub.set_reports_occupancy(settings.events.kinds.has_occupancy());
    hub.set_reports_users(settings.events.kinds.has_users());
    hub
}

/// Channels that are given their namespace in one loop iteration: of each some 50 ns, and as much
/// again for each ten namespaces.
const CHANNELS_NUMBERED: u32 = 4096;

/// Encodes what subscribers are told of members.
pub(super) fn told_by(
    codec: &mut Codec,
) -> impl FnMut(&Publication, Encoding, EventIds, Route<'_>) -> Image + '_ {
    move |payload, encoding, ids, route| {
        if !Codec::carries(payload, encoding) {
            return Image::for_none();
        }
        codec.encode(payload, encoding, ids, route)
    }
}

#[cfg(test)]
mod tests {
    use roost_dialect::Form;
    use roost_hub::{HistoryOptions, PatternOptions, PresenceOptions, Subscribe};

    use super::*;
    use crate::connections::Framing;
    use crate::settings::policy_for_tests;

    #[test]
    fn channels_have_the_namespace_that_a_reload_adds() {
        let mut settings = Settings::for_tests();
        let before = settings.clone().share();
        let limits = HubLimits {
            channels_max: 10,
            channel_name_bytes_max: 100,
            patterns: PatternOptions::default(),
        };
        let options = HubOptions {
            me: ReactorId(0),
            reactors: 1,
            hash_key: [3; 16],
            seed: 1,
            channels_max: limits.channels_max,
            channel_name_bytes_max: limits.channel_name_bytes_max,
            patterns: limits.patterns.clone(),
            history: HistoryOptions::default(),
            presence: PresenceOptions::default(),
        };
        let mut hub = ReactorHub::new(options, &before);
        for (token, name) in (1..).zip(["chat:a", "lobby"]) {
            let subscribe = Subscribe {
                who: Subscriber(7),
                encoding: Framing::Rfc6455.encoding(Form::RAW),
                name,
                namespace: NamespaceId(0),
                token,
            };
            let subscribed = hub.inner.subscribe(subscribe, 0, &mut hub.outputs);
            assert!(subscribed.is_ok());
        }
        let namespace = |hub: &ReactorHub, name| {
            let channel = hub.find(name).expect("it is subscribed to");
            hub.namespace_of(PublishTo::Channel(channel))
        };
        settings.channels.namespaces = vec![("chat".to_owned(), policy_for_tests())];
        hub.configure(&settings.share(), limits);
        assert!(hub.is_numbering());
        assert_eq!(namespace(&hub, "chat:a"), 0, "not come to yet");
        assert_eq!(hub.namespace_of(PublishTo::Name("chat:b")), 1);
        while hub.is_numbering() {
            hub.number_some();
        }
        assert_eq!(namespace(&hub, "chat:a"), 1);
        assert_eq!(namespace(&hub, "lobby"), 0);
        assert_eq!(hub.home_channel_named("chat:b", 0), None);
        let record = hub
            .home_channel_named("chat:a", 0)
            .expect("its home is here");
        assert_eq!((record.name.as_str(), record.namespace), ("chat:a", 1));
    }
}
