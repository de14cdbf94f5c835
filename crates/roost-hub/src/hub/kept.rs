//! What the hub keeps of its home's channels beside their order: history, the subscriptions that
//! recover from it, and presence. And the hub counted, taken apart, and put together again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Hub;
use crate::encoding::{Encoding, EncodingSet};
use crate::error::{NameError, StateError, SubscribeError};
use crate::frames::Encode;
use crate::histories::HistoryView;
use crate::history::{Payload, Recovered, Since};
use crate::home::Home;
use crate::ids::{ChannelId, HomeIndex, NamespaceId, ReactorId, Subscriber};
use crate::invariants;
use crate::item::{Item, Output, PresenceAnswer, Recover, Recoverer, Subscribe};
use crate::keeping;
use crate::local::Local;
use crate::local_channel::LocalChannel;
use crate::names::Named;
use crate::options::{HubCounts, HubOptions};
use crate::presence::{Member, PresenceChange, PresenceCounts, PresenceQuery, PresenceView};
use crate::presences::{Presences, UserChange};
use crate::state::HubState;

/// Channels whose history is forgotten at once.
const EXPIRED_MAX: usize = 16_384;
/// Channels whose subscribers are told at once who has come and gone.
const TOLD_MAX: usize = 64;

impl<P: Payload, F: Clone> Hub<P, F> {
    /// A hub that goes on where the one of this state was. `options` name the same reactor among
    /// as many, and the same hash key; their seed is not used.
    ///
    /// # Panics
    /// As [`Hub::new`].
    pub fn import(options: HubOptions, state: HubState<P>) -> Result<Self, StateError> {
        let HubState {
            local,
            home,
            histories,
            histories_evicted,
            presence,
        } = state;
        let mut hub = Hub::new(options);
        hub.local = Local::from_state(hub.hasher, local)?;
        let patterns = hub.options.patterns.clone();
        let kept: BTreeSet<HomeIndex> = histories.iter().map(|one| one.home).collect();
        let is_kept = |index| kept.contains(&index);
        hub.home = Home::from_state(hub.options.me, hub.hasher, patterns, home, is_kept)?;
        hub.histories.set_evicted(histories_evicted);
        for history in histories {
            let index = history.home;
            let channel = hub.home.get(index).ok_or(StateError::Number(index.0))?;
            let namespace = channel.namespace();
            if channel.history().is_some() || hub.options.history.limits(namespace).is_none() {
                return Err(StateError::Number(index.0));
            }
            let history = hub.histories.insert_state(namespace, history);
            hub.home.keep(index, history);
        }
        for state in presence {
            let name = state.name.as_str().to_owned();
            let presences = hub.presences.as_mut();
            if !presences.is_some_and(|presences| presences.insert_state(state)) {
                return Err(StateError::Name(name));
            }
        }
        hub.debug_check();
        Ok(hub)
    }

    /// Takes the hub apart, with all that [`Hub::import`] needs to go on. Outputs that are not done
    /// yet and items under way are the caller's.
    pub fn export(self) -> HubState<P> {
        let Hub {
            options: _, // the caller's
            hasher: _,  // made from them
            local,
            home,
            histories,
            presences,
            made: _,  // empty
            now: _,   // told with the next call
            cause: _, // the same
        } = self;
        let (histories, histories_evicted) = histories.into_state();
        HubState {
            local: local.into_state(),
            home: home.into_state(),
            histories,
            histories_evicted,
            presence: presences.map_or(Vec::new(), |presences| presences.into_state()),
        }
    }

    /// Subscribes, and asks for what was before: [`Output::Subscribed`] has it, or says what is missing.
    /// Until then nothing is delivered. Who subscribes already is answered as by [`Hub::subscribe`].
    ///
    /// `encode` is called for what is recovered, if the channel's home is here.
    pub fn subscribe_since(
        &mut self,
        subscribe: Subscribe<'_>,
        since: Since,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) -> Result<ChannelId, SubscribeError> {
        self.advance(now);
        self.check_name(subscribe.name)?;
        let hash = self.hasher.hash(subscribe.name);
        let home = ReactorId(hash.home(self.options.reactors));
        let channels_max = self.options.channels_max;
        let (local, mut to_home) = self.sides(out);
        let asked = local.recover(subscribe, (hash, home), channels_max, &mut to_home);
        if let Ok((channel, Some(recoverer))) = asked {
            self.ask_home(home, channel, recoverer, Some(since), (encode, out));
        }
        self.debug_check();
        asked.map(|(channel, _)| channel)
    }

    /// Asks a channel's home what was before; answers at once if that is here.
    pub(super) fn ask_home(
        &mut self,
        home: ReactorId,
        channel: ChannelId,
        recoverer: Recoverer,
        since: Option<Since>,
        (encode, out): (Encode<'_, P, F>, &mut Vec<Output<P, F>>),
    ) {
        let record = self.local.get(channel).expect("it waits to recover");
        let target = record.target();
        if home != self.options.me {
            let recover = Recover {
                target,
                recoverer,
                since,
            };
            out.push(Output::ToReactor(home, Item::Recover(Box::new(recover))));
            return;
        }
        let place = (self.options.me, &self.home, &mut self.histories);
        let how = (recoverer.encoding, self.now);
        let answer = keeping::recover(place, &target, since, how, encode);
        let answer = answer.expect("the home here knows of the interest");
        let (side, mut to_home) = self.sides(out);
        side.handle_recovered((recoverer, answer), &mut to_home);
    }

    /// A home has said what was before.
    pub(super) fn handle_recovered(
        &mut self,
        answer: (Recoverer, Recovered<F>),
        out: &mut Vec<Output<P, F>>,
    ) {
        let (side, mut to_home) = self.sides(out);
        side.handle_recovered(answer, &mut to_home);
    }

    /// Answers one that subscribes on another reactor, and wants what was before.
    pub(super) fn handle_recover(
        &mut self,
        from: ReactorId,
        recover: Recover,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        let Recover {
            target,
            recoverer,
            since,
        } = recover;
        let home = (self.options.me, &self.home, &mut self.histories);
        let wanted = (recoverer.encoding, now);
        let answer = keeping::recover(home, &target, since, wanted, encode);
        let answer = answer.expect("the interest behind which it came keeps the channel");
        let answer = Item::Recovered(Box::new((recoverer, answer)));
        out.push(Output::ToReactor(from, answer));
    }

    /// What a channel keeps whose home is here, at the time `now`.
    ///
    /// # Panics
    /// In debug builds, when its home is not here.
    pub fn history(&self, name: &str, now: u32) -> HistoryView<'_, P> {
        debug_assert_eq!(self.home_of(name), self.options.me, "its home is here");
        let index = self.home.find(self.hasher.hash(name), name);
        keeping::view(&self.home, &self.histories, index, now)
    }

    /// Forgets what a channel keeps whose home is here; positions stay good. False if it keeps nothing.
    pub fn remove_history(&mut self, name: &str, now: u32) -> bool {
        self.advance(now);
        let index = self.home.find(self.hasher.hash(name), name);
        let channel = index.and_then(|index| self.home.get(index));
        let Some(history) = channel.and_then(|channel| channel.history()) else {
            return false;
        };
        self.histories.clear(history);
        self.histories.touch(history, now); // it is remembered as one whose history has expired is not
        self.debug_check();
        true
    }

    /// Forgets what has been kept for long enough, 16,384 channels' at most: tens of milliseconds, in which
    /// nothing else is done. To be called when [`Hub::history_due`] has come.
    pub fn expire(&mut self, now: u32) {
        self.advance(now);
        self.histories.drop_tails(now);
        for _ in 0..EXPIRED_MAX {
            let Some(history) = self.histories.next_expired(now) else {
                break;
            };
            keeping::forget(&mut self.home, &mut self.histories, history);
        }
        self.debug_check();
    }

    /// The time at which something that is kept expires; `u32::MAX` if nothing does.
    pub fn history_due(&self) -> u32 {
        self.histories.due()
    }

    /// Whether one that subscribes to a channel becomes a member of it: the channel keeps presence, and it is
    /// not subscribed. `number_of` says the namespace of a channel that is not here.
    pub fn takes_member(
        &self,
        who: Subscriber,
        encoding: Encoding,
        name: &str,
        number_of: impl Fn() -> NamespaceId,
    ) -> bool {
        let Some(presences) = &self.presences else {
            return false;
        };
        let channel = self.channel(name);
        let record = channel.and_then(|channel| self.local.get(channel));
        let namespace = record.map_or_else(number_of, |record| record.namespace());
        presences.options().limits(namespace).is_some()
            && !channel.is_some_and(|channel| self.local.has(channel, who, encoding))
    }

    /// One that has just subscribed to a channel, to which it was not subscribed, is a member of it if it
    /// keeps presence. [`Hub::unsubscribe`] ends that.
    pub fn join(
        &mut self,
        channel: ChannelId,
        member: Member,
        now: u32,
        out: &mut Vec<Output<P, F>>,
    ) {
        self.advance(now);
        debug_assert_eq!(member.reactor, self.options.me, "it is connected here");
        let Some((presences, record)) = self.present(channel) else {
            return;
        };
        let home = record.home();
        if home == member.reactor {
            presences.join((record.name(), record.namespace()), member, now);
            self.report_users(out);
        } else {
            let joined = Box::new((record.target(), member));
            out.push(Output::ToReactor(home, Item::Join(joined)));
        }
        self.debug_check();
    }

    /// Whether [`Output::User`] says of channels at home here that keep presence which users come and go.
    pub fn set_reports_users(&mut self, reports: bool) {
        if let Some(presences) = &mut self.presences {
            presences.set_reports_users(reports);
        }
    }

    fn report_users(&mut self, out: &mut Vec<Output<P, F>>) {
        let users = self.presences.iter_mut();
        let users = users.flat_map(|presences| presences.take_users());
        out.extend(users.map(|change| {
            let UserChange {
                channel,
                user,
                is_there,
                has_number,
            } = change;
            Output::User {
                channel,
                user,
                is_there,
                has_number,
            }
        }));
    }

    /// It is this time: that of what is ended without a time of its own.
    pub fn set_time(&mut self, now: u32) {
        self.advance(now);
    }

    /// Ends a subscription, at the time that was told last; false if there was none. Nothing is delivered
    /// to it afterwards, and requests of it that were not yet answered never will be.
    pub fn unsubscribe(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        channel: ChannelId,
        out: &mut Vec<Output<P, F>>,
    ) -> bool {
        self.leave((who, encoding, channel), false, out)
    }

    /// Ends a subscription, and before it the membership: then the channel's place at home is still good.
    fn leave(
        &mut self,
        (who, encoding, channel): (Subscriber, Encoding, ChannelId),
        has_ended: bool,
        out: &mut Vec<Output<P, F>>,
    ) -> bool {
        if self.presences.is_some() && self.local.has(channel, who, encoding) {
            self.end_membership(who, channel, has_ended, out);
        }
        let (local, mut to_home) = self.sides(out);
        let was_subscribed = local.unsubscribe(who, encoding, channel, &mut to_home);
        self.debug_check();
        was_subscribed
    }

    fn end_membership(
        &mut self,
        who: Subscriber,
        channel: ChannelId,
        has_ended: bool,
        out: &mut Vec<Output<P, F>>,
    ) {
        let (me, now) = (self.options.me, self.now);
        let Some((presences, record)) = self.present(channel) else {
            return;
        };
        let home = record.home();
        if home == me {
            presences.leave(record.name(), (me, who), has_ended, now);
            self.report_users(out);
        } else {
            let target = record.target();
            let left = Item::Leave {
                target,
                who,
                has_ended,
            };
            out.push(Output::ToReactor(home, left));
        }
    }

    /// As [`Hub::unsubscribe`], because the subscriber's connection has ended: its user may come back as
    /// another client.
    pub fn end(
        &mut self,
        who: Subscriber,
        encoding: Encoding,
        channel: ChannelId,
        out: &mut Vec<Output<P, F>>,
    ) -> bool {
        self.leave((who, encoding, channel), true, out)
    }

    /// Asks who is in a channel: [`Output::Presence`] follows. `encode` as in [`Hub::tell_presence`].
    pub fn ask_presence(
        &mut self,
        query: PresenceQuery,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) -> Result<(), NameError> {
        self.advance(now);
        self.check_name(&query.name)?;
        let home = self.home_of(&query.name);
        if home == self.options.me {
            self.tell_before(&query, home, encode, out);
            let answer = self.answer_presence(&query);
            out.push(Output::Presence(Box::new(answer)));
        } else {
            out.push(Output::ToReactor(home, Item::AskPresence(Box::new(query))));
        }
        Ok(())
    }

    /// Who is in a channel whose home is here.
    ///
    /// # Panics
    /// In debug builds, when its home is not here.
    pub fn presence(&mut self, name: &str, counts_only: bool, now: u32) -> PresenceView {
        debug_assert_eq!(self.home_of(name), self.options.me, "its home is here");
        match &mut self.presences {
            Some(presences) => presences.view(name, counts_only, now),
            None => PresenceView::empty(),
        }
    }

    /// How many are in a channel whose home is here.
    pub fn presence_counts(&self, name: &str) -> PresenceCounts {
        let presences = self.presences.as_ref();
        presences.map_or_else(PresenceCounts::default, |all| all.counts_of(name))
    }

    /// Tells subscribers who has come and gone, of 64 channels at most. To be called when
    /// [`Hub::presence_due`] has come.
    ///
    /// `encode` is called for each encoding in which that is told.
    pub fn tell_presence(
        &mut self,
        now: u32,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        self.advance(now);
        let mut told = 0;
        while told < TOLD_MAX {
            let Some(presences) = &mut self.presences else {
                return;
            };
            presences.drop_views(now);
            let encodings = presences.options().encodings;
            let Some((name, change)) = presences.next_change(now) else {
                break;
            };
            // What one channel is told one by one is told at once: questions are answered as of then.
            told += usize::from(!presences.is_telling());
            self.tell_change(&name, (change, encodings), encode, out);
        }
        self.debug_check();
    }

    fn tell_change(
        &mut self,
        name: &str,
        (change, encodings): (PresenceChange, EncodingSet),
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        let index = self.home.find(self.hasher.hash(name), name);
        let payload = P::of_presence(Arc::new(change));
        if let Some((index, payload)) = index.zip(payload) {
            let mut publishing = self.publishing(out);
            publishing.tell(index, &payload, encodings, encode);
        }
    }

    /// Before one that has joined is answered with what subscribers were told, they are told of those that
    /// have joined: so the answer has those too.
    fn tell_before(
        &mut self,
        query: &PresenceQuery,
        from: ReactorId,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        let Some((asker, presences)) = query.as_told.zip(self.presences.as_mut()) else {
            return;
        };
        let encodings = presences.options().encodings;
        for change in presences.tell_before(&query.name, (from, asker), self.now) {
            self.tell_change(&query.name, (change, encodings), encode, out);
        }
    }

    /// The time at which there is something to tell; `u32::MAX` if there is not.
    pub fn presence_due(&self) -> u32 {
        let presences = self.presences.as_ref();
        presences.map_or(u32::MAX, |presences| presences.due())
    }

    /// What other hubs say of members.
    pub(super) fn handle_presence(
        &mut self,
        from: ReactorId,
        item: Item<P, F>,
        encode: Encode<'_, P, F>,
        out: &mut Vec<Output<P, F>>,
    ) {
        match item {
            Item::Join(joined) => {
                let (target, member) = *joined;
                let channel = self.home.resolve(&target);
                let channel = channel.and_then(|index| self.home.get(index));
                if let (Some(channel), Some(presences)) = (channel, &mut self.presences) {
                    presences.join((channel.name(), channel.namespace()), member, self.now);
                }
                self.report_users(out);
            }
            Item::Leave {
                target,
                who,
                has_ended,
            } => {
                let channel = self.home.resolve(&target);
                let channel = channel.and_then(|index| self.home.get(index));
                if let (Some(channel), Some(presences)) = (channel, &mut self.presences) {
                    presences.leave(channel.name(), (from, who), has_ended, self.now);
                }
                self.report_users(out);
            }
            Item::AskPresence(query) => {
                self.tell_before(&query, from, encode, out);
                let answer = Box::new(self.answer_presence(&query));
                out.push(Output::ToReactor(from, Item::Presence(answer)));
            }
            Item::Presence(answer) => out.push(Output::Presence(answer)),
            _ => unreachable!("handle has the rest"),
        }
    }

    fn answer_presence(&mut self, query: &PresenceQuery) -> PresenceAnswer {
        let told = self.presences.as_ref().filter(|_| query.as_told.is_some());
        let told = told.map(|presences| presences.view_as_told(&query.name));
        let view = match told {
            Some(view) => view,
            None => self.presence(&query.name, query.counts_only, self.now),
        };
        PresenceAnswer {
            asker: query.asker,
            token: query.token,
            view,
        }
    }

    /// Sizes for statistics.
    pub fn counts(&self) -> HubCounts {
        let presences = self.presences.as_deref();
        HubCounts {
            local_channels: self.local.len() - self.local.patterns(),
            home_channels: self.home.len() - self.home.register_len(),
            local_patterns: self.local.patterns(),
            home_patterns: self.home.patterns(),
            matches: self.home.matches(),
            subscriptions: self.local.subscriptions(),
            history_channels: self.histories.channels(),
            history_messages: self.histories.messages(),
            history_bytes: self.histories.bytes(),
            histories_evicted: self.histories.evicted(),
            presence_channels: presences.map_or(0, |all| all.channels()),
            presence_members: presences.map_or(0, |all| all.members().0),
            presence_unlisted: presences.map_or(0, |all| all.members().1),
            presence_bytes: presences.map_or(0, |all| all.bytes()),
            waiting: self.local.waiting(),
            stale_items: self.local.stale_items(),
        }
    }

    /// Heap bytes held, nearly. Looks at every channel: not for the data path.
    pub fn memory_bytes(&self) -> usize {
        let presences = self.presences.as_ref().map_or(0, |all| all.memory_bytes());
        let kept = self.histories.memory_bytes() + presences;
        self.local.memory_bytes() + self.home.memory_bytes() + kept
    }

    /// Panics where the hub contradicts itself. Looks at everything.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        invariants::check(self.options.me, &self.local, &self.home);
        invariants::check_histories(&self.home, &self.histories);
        if let Some(presences) = &self.presences {
            presences.check_invariants();
        }
        for record in self.local.channels() {
            let home = if record.is_pattern() {
                ReactorId::REGISTER
            } else {
                self.home_of(record.name())
            };
            assert_eq!(record.home(), home, "the home is the name's");
        }
    }

    /// A channel here that keeps presence.
    fn present(&mut self, channel: ChannelId) -> Option<(&mut Presences, &LocalChannel)> {
        let record = self.local.get(channel)?;
        let presences = self.presences.as_deref_mut()?;
        let keeps = presences.options().limits(record.namespace()).is_some();
        (keeps && !record.is_pattern()).then_some((presences, record))
    }
}
