//! The home's side: the channels whose home is here, and their order.

use crate::encoding::EncodingSet;
use crate::error::{PatternRefusal, StateError};
use crate::histories::HistoryIndex;
use crate::home_channel::{Audience, HomeChannel, Interest};
use crate::ids::{
    EventIds, HomeIndex, NamespaceId, Placement, Position, ReactorId, Snapshot, topic,
};
use crate::item::{LocalRef, MatchedEvent, Output, Target, Watched};
use crate::names::{Name, NameHash, NameHasher, Named, Names};
use crate::patterns::{
    HomePatterns, Matches, Pattern, PatternInterest, PatternOptions, Shapes, is_pattern,
};
use crate::random::PublicationIds;
use crate::state::{HomeState, PatternState};

/// All channels whose home is this reactor.
#[derive(Debug)]
pub(crate) struct Home {
    me: ReactorId,
    hasher: NameHasher,
    channels: Names<HomeChannel>,
    publications: PublicationIds,
    epoch: u64,
    /// No channel that has gone had a higher offset, nor a publication without a channel: where the
    /// next one begins.
    floor: u64,
    options: PatternOptions,
    /// All patterns, as each home has them; none while there is none.
    patterns: Option<Box<HomePatterns>>,
    /// The register's: how many there are, and their arrangements. Empty at all other homes.
    registered: u32,
    registered_patterns: usize,
    shapes: Shapes,
    /// Deliveries through patterns.
    matches: u64,
    /// Channels that reactors have begun or ceased to want, not reported yet; `None`: that is not reported.
    occupancy: Option<Vec<(Name, bool)>>,
    watch: Watch,
}

/// The encodings whose first and last subscribers are reported.
#[derive(Debug, Default)]
struct Watch {
    encodings: EncodingSet,
    /// Not reported yet.
    changed: Vec<Watched>,
    /// Who causes what comes next.
    cause: u64,
}

impl Home {
    pub(crate) fn new(
        me: ReactorId,
        hasher: NameHasher,
        publications: PublicationIds,
        options: PatternOptions,
    ) -> Self {
        Home {
            me,
            hasher,
            channels: Names::new(hasher),
            publications,
            epoch: hasher.epoch(me),
            floor: 0,
            options,
            patterns: None,
            registered: 0,
            registered_patterns: 0,
            shapes: Shapes::default(),
            matches: 0,
            occupancy: None,
            watch: Watch::default(),
        }
    }

    /// Whether it is reported when a channel is wanted first, and no longer.
    pub(crate) fn set_reports_occupancy(&mut self, reports: bool) {
        self.occupancy = reports.then(Vec::new);
    }

    /// Which encodings are watched: none at first.
    pub(crate) fn set_watched(&mut self, encodings: EncodingSet) {
        self.watch.encodings = encodings;
    }

    /// Who causes what comes next; see [`crate::Hub::set_cause`].
    pub(crate) fn set_cause(&mut self, cause: u64) {
        self.watch.cause = cause;
    }

    /// Whether a channel is wanted in an encoding that is watched.
    fn is_watched(&self, index: HomeIndex) -> bool {
        let watched = self.watch.encodings;
        let channel = self.get(index).filter(|_| !watched.is_empty());
        channel.is_some_and(|channel| {
            let mut audience = channel.audience().iter();
            audience.any(|one| !one.encodings.intersection(watched).is_empty())
        })
    }

    /// A channel's interests have changed, or the channel has gone.
    fn note_watched(&mut self, index: HomeIndex, name: &Name, was: bool) {
        let is_wanted = self.is_watched(index);
        if was != is_wanted {
            let watched = Watched {
                name: name.clone(),
                topic: topic(self.me, index),
                is_wanted,
                cause: self.watch.cause,
            };
            self.watch.changed.push(watched);
        }
    }

    /// Says which channels reactors have begun or ceased to want.
    pub(crate) fn report_occupancy<P, F>(&mut self, out: &mut Vec<Output<P, F>>) {
        let watched = self.watch.changed.drain(..);
        out.extend(watched.map(|watched| Output::Watched(Box::new(watched))));
        let changed = self.occupancy.iter_mut().flat_map(|list| list.drain(..));
        out.extend(changed.map(|(channel, is_occupied)| Output::Occupancy {
            channel,
            is_occupied,
        }));
    }

    fn note_occupancy(&mut self, name: &Name, is_occupied: bool) {
        if let Some(list) = &mut self.occupancy
            && !is_pattern(name)
        {
            list.push((name.clone(), is_occupied));
        }
    }

    /// Takes what is new of patterns; those above the limit stay.
    pub(crate) fn set_patterns(&mut self, options: PatternOptions) {
        if let Some(patterns) = &mut self.patterns {
            patterns.protect(options.protected.clone());
        }
        self.options = options;
    }

    /// See [`crate::Hub::set_namespaces`].
    pub(crate) fn set_namespaces(
        &mut self,
        from: u32,
        until: u32,
        number_of: impl Fn(&str) -> NamespaceId,
    ) -> bool {
        self.channels.change_some(from, until, |channel| {
            if !is_pattern(channel.name()) {
                channel.set_namespace(number_of(channel.name()));
            }
        })
    }

    /// A reactor wants a channel in exactly these encodings from now on.
    pub(crate) fn interest(
        &mut self,
        name: &Name,
        namespace: NamespaceId,
        interest: Interest<EncodingSet>,
    ) -> (HomeIndex, Snapshot) {
        let hash = self.hasher.hash(name);
        let found = self.channels.find(hash, name);
        let was_watched = found.is_some_and(|index| self.is_watched(HomeIndex(index)));
        let (index, was_wanted) = match found {
            Some(index) => {
                let channel = self.channels.get_mut(index).expect("found just now");
                let was_wanted = channel.is_wanted();
                channel.set_interest(interest);
                (index, was_wanted)
            }
            None => {
                let record = HomeChannel::new(name.clone(), namespace, self.floor, interest);
                let index = self.channels.insert(hash, record);
                if let Some(patterns) = &mut self.patterns {
                    patterns.forget_channel(HomeIndex(index));
                }
                (index, false)
            }
        };
        if !was_wanted {
            self.note_occupancy(name, true);
        }
        let index = HomeIndex(index);
        self.note_watched(index, name, was_watched);
        (index, self.snapshot(index).expect("it lives"))
    }

    /// The register: a reactor has its first subscriber to a pattern. A pattern has a record among
    /// the channels, whose place is its number; nothing is published there.
    pub(crate) fn register(
        &mut self,
        name: &Name,
        namespace: NamespaceId,
        interest: Interest<EncodingSet>,
    ) -> Result<HomeIndex, PatternRefusal> {
        debug_assert_eq!(self.me, ReactorId::REGISTER);
        if self.registered >= self.options.patterns_max {
            return Err(PatternRefusal::Full);
        }
        if self.find(self.hasher.hash(name), name).is_none() {
            let pattern = Pattern::of_name(name).ok_or(PatternRefusal::Shape)?;
            if !self.shapes.has_room(pattern) {
                return Err(PatternRefusal::Shape);
            }
            self.shapes.add(pattern);
            self.registered_patterns += 1;
        }
        self.registered += 1;
        let (index, _) = self.interest(name, namespace, interest);
        Ok(index)
    }

    /// A reactor wants a pattern in exactly these encodings from now on.
    pub(crate) fn pattern_interest(&mut self, pattern: Pattern<'_>, interest: PatternInterest) {
        let (hasher, options) = (self.hasher, &self.options);
        let patterns = self
            .patterns
            .get_or_insert_with(|| Box::new(HomePatterns::new(hasher, options.protected.clone())));
        patterns.interest(pattern, interest);
    }

    /// A reactor no longer wants a pattern. False if it did not want it (by another cookie).
    pub(crate) fn pattern_uninterest(
        &mut self,
        name: &Name,
        from: ReactorId,
        local: LocalRef,
    ) -> bool {
        let pattern = Pattern::of_name(name);
        let Some((patterns, pattern)) = self.patterns.as_mut().zip(pattern) else {
            return false;
        };
        let removed = patterns.uninterest(pattern, from, local);
        if patterns.is_empty() {
            self.patterns = None;
        }
        removed
    }

    /// The patterns that match a publication to this channel.
    #[inline]
    pub(crate) fn find_matches(&mut self, place: Place<'_>) -> Option<Matches> {
        match &mut self.patterns {
            None => None,
            Some(patterns) => match place {
                Place::Known(index) => {
                    let channel = self.channels.get(index.0)?;
                    patterns.of_channel(index, channel.name())
                }
                Place::Unknown(name) => patterns.of_name(name),
            },
        }
    }

    /// The reactors that want each of the patterns that match.
    pub(crate) fn wanted(&self, matches: Matches) -> impl Iterator<Item = &[PatternInterest]> {
        let patterns = self.patterns.iter();
        patterns.flat_map(move |patterns| patterns.wanted(matches))
    }

    /// So many deliveries went out through patterns.
    pub(crate) fn count_matches(&mut self, deliveries: u64) {
        self.matches += deliveries;
    }

    pub(crate) fn matches(&self) -> u64 {
        self.matches
    }

    /// Patterns of all reactors.
    pub(crate) fn patterns(&self) -> usize {
        self.patterns.as_ref().map_or(0, |patterns| patterns.len())
    }

    /// How many of the channels stand for patterns.
    pub(crate) fn register_len(&self) -> usize {
        self.registered_patterns
    }

    /// A channel begins that no reactor wants, because its history does.
    pub(crate) fn insert_unwanted(&mut self, name: &str, namespace: NamespaceId) -> HomeIndex {
        let hash = self.hasher.hash(name);
        let record = HomeChannel::unwanted(Name::from(name), namespace, self.floor);
        let index = self.channels.insert(hash, record);
        if let Some(patterns) = &mut self.patterns {
            patterns.forget_channel(HomeIndex(index));
        }
        HomeIndex(index)
    }

    /// A channel keeps history from now on.
    pub(crate) fn keep(&mut self, index: HomeIndex, history: HistoryIndex) {
        let channel = self.channels.get_mut(index.0);
        channel.expect("the caller has found it").keep(history);
    }

    /// The history of a channel has nothing left. True if the channel goes with it: no reactor wants it.
    pub(crate) fn forget(&mut self, index: HomeIndex) -> bool {
        let Some(channel) = self.get(index).filter(|channel| !channel.is_wanted()) else {
            return false;
        };
        self.floor = self.floor.max(channel.offset());
        self.channels.remove(index.0);
        true
    }

    /// A living channel.
    pub(crate) fn get(&self, index: HomeIndex) -> Option<&HomeChannel> {
        self.channels.get(index.0)
    }

    /// Where a channel stands of which there is no record.
    pub(crate) fn floor(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.floor,
        }
    }

    /// A living channel as a subscription that begins now finds it.
    pub(crate) fn snapshot(&self, index: HomeIndex) -> Option<Snapshot> {
        let channel = self.get(index)?;
        let position = Position {
            epoch: self.epoch,
            offset: channel.offset(),
        };
        Some(Snapshot { position })
    }

    /// A reactor no longer wants a channel. False if it did not want it (by another cookie).
    pub(crate) fn uninterest(&mut self, from: ReactorId, target: &Target, local: LocalRef) -> bool {
        let Some(index) = self.resolve(target) else {
            return false;
        };
        let was_watched = self.is_watched(index);
        let Some(channel) = self.channels.get_mut(index.0) else {
            return false;
        };
        let watched = was_watched.then(|| channel.name().clone());
        let removed = channel.remove_interest(from, local);
        let is_registered = is_pattern(channel.name());
        self.registered -= u32::from(removed && is_registered);
        let left = (removed && !channel.is_wanted()).then(|| channel.name().clone());
        if channel.is_idle() {
            self.floor = self.floor.max(channel.offset());
            let channel = self.channels.remove(index.0);
            let name = channel.as_ref().map(|channel| channel.name().as_str());
            if let Some(pattern) = name.filter(|_| is_registered).and_then(Pattern::of_name) {
                self.shapes.remove(pattern);
                self.registered_patterns -= 1;
            }
        }
        if let Some(name) = left {
            self.note_occupancy(&name, false);
        }
        if let Some(name) = watched {
            self.note_watched(index, &name, was_watched);
        }
        removed
    }

    /// Where a channel stands, if it lives.
    pub(crate) fn find(&self, hash: NameHash, name: &str) -> Option<HomeIndex> {
        self.channels.find(hash, name).map(HomeIndex)
    }

    /// Where a channel stands, if it lives.
    pub(crate) fn resolve(&self, target: &Target) -> Option<HomeIndex> {
        match target {
            Target::Name(name) => self.find(self.hasher.hash(name), name),
            Target::Home(index) => Some(*index),
        }
    }

    /// What a publication that matches patterns is, and where it stands. One to a channel without a
    /// record gets a place behind all that have gone: those of one channel ascend, with gaps.
    pub(crate) fn matched_event(
        &self,
        place: Place<'_>,
        placement: Placement,
        publisher: (ReactorId, u64),
    ) -> MatchedEvent {
        let Placement {
            publication,
            offset,
        } = placement;
        match place {
            Place::Known(index) => {
                let channel = self.get(index).expect("it was found to match");
                MatchedEvent {
                    channel: channel.name().clone(),
                    namespace: Some(channel.namespace()),
                    publication,
                    offset,
                    publisher,
                }
            }
            Place::Unknown(name) => MatchedEvent {
                channel: Name::from(name),
                namespace: None,
                publication,
                offset,
                publisher,
            },
        }
    }

    /// Gives a publication its number and, in a living channel, its place in the order and those
    /// who want it. This is the one moment that orders a channel.
    pub(crate) fn order(&mut self, place: Place<'_>) -> Ordered<'_> {
        let publication = self.publications.next_id();
        let channel = place.known();
        let found = channel.and_then(|index| Some((index, self.channels.get_mut(index.0)?)));
        debug_assert_eq!(
            channel.is_some(),
            found.is_some(),
            "a place at home is used only while it is held"
        );
        let Some((index, channel)) = found else {
            // A channel that comes later begins behind it.
            self.floor += 1;
            return Ordered {
                placement: Placement {
                    publication,
                    offset: self.floor,
                },
                audience: None,
            };
        };
        let ids = EventIds {
            topic: topic(self.me, index),
            publication,
            offset: channel.advance(),
        };
        Ordered {
            placement: Placement {
                publication,
                offset: ids.offset,
            },
            audience: Some((ids, channel.name().as_str(), channel.audience())),
        }
    }

    /// Above all places that are used.
    pub(crate) fn end(&self) -> u32 {
        self.channels.end()
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Heap bytes; names count where their subscribers are.
    pub(crate) fn memory_bytes(&self) -> usize {
        let channels = self.channels.iter();
        let lists = channels.map(|(_, channel)| channel.memory_bytes());
        let patterns = self.patterns.iter().map(|patterns| patterns.memory_bytes());
        lists.chain(patterns).sum::<usize>() + self.channels.memory_bytes()
    }

    /// All channels that some reactor wants, by place.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (HomeIndex, &HomeChannel)> {
        let channels = self.channels.iter();
        channels.map(|(index, channel)| (HomeIndex(index), channel))
    }

    /// Takes the home apart.
    pub(crate) fn into_state(self) -> HomeState {
        let Home {
            me: _, // as the hub is set up
            hasher: _,
            channels,
            publications,
            epoch: _, // follows from the two
            floor,
            options: _, // as the hub is set up
            patterns,
            registered: _, // counted again, with the next two
            registered_patterns: _,
            shapes: _,
            matches,
            occupancy: _, // as the hub is set up
            watch: _,
        } = self;
        let channels = channels.into_records();
        let channels = channels.map(|(index, channel)| channel.into_state(HomeIndex(index)));
        HomeState {
            channels: channels.collect(),
            patterns: patterns.map_or(Vec::new(), |patterns| patterns.into_state()),
            matches,
            floor,
            publications: publications.into_state(),
        }
    }

    /// The home of a state.
    pub(crate) fn from_state(
        me: ReactorId,
        hasher: NameHasher,
        options: PatternOptions,
        state: HomeState,
        is_kept: impl Fn(HomeIndex) -> bool,
    ) -> Result<Self, StateError> {
        let HomeState {
            channels,
            patterns,
            matches,
            floor,
            publications,
        } = state;
        let mut home = Home::new(me, hasher, PublicationIds::new(publications), options);
        home.floor = floor;
        home.matches = matches;
        for pattern in patterns {
            home.add_pattern(pattern)?;
        }
        for channel in channels {
            let wanted = channel.interests.iter();
            let is_idle = channel.interests.is_empty() && !is_kept(channel.index);
            if is_idle || wanted.into_iter().any(|one| one.2.is_empty()) {
                return Err(StateError::Empty(channel.name.into()));
            }
            let (index, record) = HomeChannel::from_state(channel);
            if is_pattern(record.name()) {
                let pattern = Pattern::of_name(record.name());
                let name = || StateError::Name(record.name().as_str().to_owned());
                home.shapes.add(pattern.ok_or_else(name)?);
                home.registered_patterns += 1;
                home.registered += u32::try_from(record.audience().iter().count())
                    .expect("fewer than there are reactors");
            }
            home.channels.insert_at(index.0, record)?;
        }
        Ok(home)
    }

    /// A pattern of a state.
    fn add_pattern(&mut self, pattern: PatternState) -> Result<(), StateError> {
        let PatternState { name, interests } = pattern;
        if interests.is_empty() || interests.iter().any(|one| one.3.is_empty()) {
            return Err(StateError::Empty(name.into()));
        }
        let Some(pattern) = Pattern::of_name(&name) else {
            return Err(StateError::Name(name.into()));
        };
        for (reactor, local, number, encodings) in interests {
            let interest = PatternInterest {
                local,
                number,
                reactor,
                encodings,
            };
            self.pattern_interest(pattern, interest);
        }
        Ok(())
    }

    pub(crate) fn check_invariants(&self) {
        if let Some(patterns) = &self.patterns {
            patterns.check_invariants();
        }
        let registered = self.channels.iter();
        let registered = registered.filter(|(_, channel)| is_pattern(channel.name()));
        let wanted: Vec<usize> = registered
            .map(|(_, channel)| channel.audience().iter().count())
            .collect();
        assert_eq!(wanted.len(), self.registered_patterns);
        let counted: usize = wanted.iter().sum();
        assert_eq!(counted, self.registered as usize, "patterns are counted");
        self.channels.check_invariants();
        for (_, channel) in self.channels.iter() {
            channel.check_invariants();
        }
    }
}

/// Where a publication goes, at its home.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A channel that lives.
    Known(HomeIndex),
    /// A name that no reactor wants.
    Unknown(&'a str),
}

impl Place<'_> {
    fn known(self) -> Option<HomeIndex> {
        match self {
            Place::Known(index) => Some(index),
            Place::Unknown(_) => None,
        }
    }
}

/// A publication that has its place.
pub(crate) struct Ordered<'a> {
    pub(crate) placement: Placement,
    /// With the channel's name. None if no reactor wants it.
    pub(crate) audience: Option<(EventIds, &'a str, Audience<'a>)>,
}
