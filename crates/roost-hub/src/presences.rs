//! Presence of the channels whose home is here, within its limits.
//!
//! A channel has a record from its first member on, by name: it outlives the channel for as long as a
//! member that has left may come back. What subscribers are told follows what is there: members that were
//! told are apart from those that were not, and those that have left untold wait in a list. At most every
//! so many ticks a part of both is told.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::channel_presence::{ChannelPresence, Left, Listed, NEVER, bytes_of};
use crate::ids::{NamespaceId, ReactorId, Subscriber};
use crate::names::{Name, NameHasher, Named, Names};
use crate::presence::{
    AsTold, Member, PresenceChange, PresenceCounts, PresenceLimits, PresenceNotify,
    PresenceOptions, PresenceView,
};
use crate::state::PresenceState;

/// The presence of all channels of a home.
#[derive(Debug)]
pub(crate) struct Presences {
    options: PresenceOptions,
    hasher: NameHasher,
    channels: Names<ChannelPresence>,
    /// When which channel has something to tell or to forget, by its number.
    agenda: BTreeSet<(u32, u32)>,
    /// Members that are listed.
    members: usize,
    /// As the limit counts them.
    bytes: u64,
    /// Members that there was no room for.
    unlisted: u64,
    /// What was asked for in the tick `views_of`.
    views: Vec<(u32, Arc<[Member]>)>,
    views_of: u32,
    /// If it is reported: users whose first client has come to a channel, or whose last has left it.
    users: Option<Vec<UserChange>>,
    /// Changes of one channel that are told one by one.
    split: VecDeque<(Name, PresenceChange)>,
}

/// A user has its first client in a channel, or has lost its last.
#[derive(Debug)]
pub(crate) struct UserChange {
    pub(crate) channel: Name,
    pub(crate) user: Name,
    pub(crate) is_there: bool,
    /// As what is known of it has it.
    pub(crate) has_number: bool,
}

/// What a channel counts that has members.
const CHANNEL_BYTES: u64 = 256;
/// Lists of members that are kept for the length of a tick.
const VIEWS_MAX: usize = 16;

impl Named for ChannelPresence {
    fn name(&self) -> &Name {
        self.name()
    }
}

impl Presences {
    pub(crate) fn new(options: PresenceOptions, hasher: NameHasher) -> Presences {
        Presences {
            options,
            hasher,
            channels: Names::new(hasher),
            agenda: BTreeSet::new(),
            members: 0,
            bytes: 0,
            unlisted: 0,
            views: Vec::new(),
            views_of: 0,
            users: None,
            split: VecDeque::new(),
        }
    }

    /// Whether it is reported when users come and go.
    pub(crate) fn set_reports_users(&mut self, reports: bool) {
        self.users = reports.then(Vec::new);
    }

    /// Users that have come and gone since the last time.
    pub(crate) fn take_users(&mut self) -> impl Iterator<Item = UserChange> {
        self.users.iter_mut().flat_map(|users| users.drain(..))
    }

    /// How many users were in a channel before one came or left: another number now means that it was
    /// the first or the last of its connections.
    fn note_user(&mut self, number: u32, (user, has_number): (&Name, bool), before: u32) {
        if self.users.is_none() {
            return;
        }
        let presence = self.get(number);
        let (now, channel) = (presence.users(), presence.name().clone());
        if let Some(users) = &mut self.users
            && now != before
        {
            users.push(UserChange {
                channel,
                user: user.clone(),
                is_there: now > before,
                has_number,
            });
        }
    }

    /// Which channels keep presence.
    pub(crate) fn options(&self) -> &PresenceOptions {
        &self.options
    }

    /// There are so many namespaces now; those that are new are as the first one.
    pub(crate) fn name_namespaces(&mut self, count: usize) {
        let own = &self.options.namespaces;
        if let Some(&first) = own.first() {
            let added = std::iter::repeat_n(first, count.saturating_sub(own.len()));
            self.options.namespaces = own.iter().copied().chain(added).collect();
        }
    }

    /// A client has subscribed to a channel of this namespace, to which it was not.
    pub(crate) fn join(
        &mut self,
        (name, namespace): (&Name, NamespaceId),
        member: Member,
        now: u32,
    ) {
        let Some(limits) = self.options.limits(namespace) else {
            return;
        };
        let number = self.find_or_insert(name, namespace);
        let has_room = self.bytes + bytes_of(&member) <= self.options.bytes_max;
        let hasher = self.hasher;
        let presence = self.get_mut(number);
        if presence.contains((member.reactor, member.who)) {
            debug_assert!(false, "a client joins once");
            return;
        }
        let (user, before) = (member.user.clone(), presence.users());
        let has_number = member.has_number();
        match presence.join(member, limits.by_user, has_room, &hasher) {
            None => self.unlisted += 1,
            Some(Listed { bytes, freed }) => {
                self.members += 1;
                self.bytes = self.bytes + bytes - freed;
                self.note_user(number, (&user, has_number), before);
            }
        }
        self.views.clear();
        self.schedule_notify(number, limits, now);
    }

    /// A client of a channel has unsubscribed, or its connection has ended.
    pub(crate) fn leave(
        &mut self,
        name: &Name,
        place: (ReactorId, Subscriber),
        has_ended: bool,
        now: u32,
    ) {
        let Some(number) = self.channels.find(self.hasher.hash(name), name) else {
            return;
        };
        let hasher = self.hasher;
        let namespace = self.get(number).namespace();
        let limits = self.options.limits(namespace);
        let presence = self.get_mut(number);
        let before = presence.users();
        match presence.leave(place, has_ended, now, &hasher) {
            Left::Unknown => {}
            Left::Unlisted => self.unlisted -= 1,
            Left::Listed {
                user,
                has_number,
                freed,
            } => {
                self.members -= 1;
                self.bytes -= freed;
                self.note_user(number, (&user, has_number), before);
            }
        }
        self.views.clear();
        if !self.remove_if_empty(number)
            && let Some(limits) = limits
        {
            self.schedule_notify(number, limits, now);
        }
    }

    /// Who is in a channel.
    pub(crate) fn view(&mut self, name: &str, counts_only: bool, now: u32) -> PresenceView {
        let number = self.channels.find(self.hasher.hash(name), name);
        let Some(number) = number else {
            return PresenceView::empty();
        };
        if self.views_of != now {
            self.views.clear();
            self.views_of = now;
        }
        let presence = self.get(number);
        let limits = self.options.limits(presence.namespace());
        let is_truncated = limits.is_none_or(|limits| presence.is_counted_only(limits));
        let counts = presence.counts();
        let members = match is_truncated || counts_only {
            true => [].into(),
            false => self.list(number),
        };
        PresenceView {
            counts,
            is_truncated,
            members,
            told: 0,
        }
    }

    /// How many clients and users are in a channel.
    pub(crate) fn counts_of(&self, name: &str) -> PresenceCounts {
        let number = self.channels.find(self.hasher.hash(name), name);
        number.map_or_else(PresenceCounts::default, |number| self.get(number).counts())
    }

    /// One that has joined a channel asks who is there: what subscribers are told before it is answered, one
    /// by one.
    pub(crate) fn tell_before(
        &mut self,
        name: &str,
        (from, asker): (ReactorId, AsTold),
        now: u32,
    ) -> impl Iterator<Item = PresenceChange> + use<> {
        let number = self.channels.find(self.hasher.hash(name), name);
        let hasher = self.hasher;
        let told = number.and_then(|number| {
            let limits = self.options.limits(self.get(number).namespace())?;
            let notify = limits.notify.filter(|_| limits.by_user)?;
            let presence = self.get_mut(number);
            if presence.is_counted_only(limits) {
                return None;
            }
            let may_stay = presence.users() <= asker.users_max;
            let but = (!may_stay).then_some((from, asker.who));
            let change = presence.tell_before(but, notify, now, &hasher);
            Some(presence.split(change))
        });
        told.into_iter().flatten()
    }

    /// The members that a channel's subscribers know of.
    pub(crate) fn view_as_told(&self, name: &str) -> PresenceView {
        let number = self.channels.find(self.hasher.hash(name), name);
        let Some(number) = number else {
            return PresenceView::empty();
        };
        let presence = self.get(number);
        let limits = self.options.limits(presence.namespace());
        presence.view_as_told(limits)
    }

    /// The members of a channel; asked for again within a tick, the same memory.
    fn list(&mut self, number: u32) -> Arc<[Member]> {
        if let Some((_, list)) = self.views.iter().find(|(of, _)| *of == number) {
            return list.clone();
        }
        let list: Arc<[Member]> = self.get(number).members().into();
        if self.views.len() >= VIEWS_MAX {
            self.views.remove(0);
        }
        self.views.push((number, list.clone()));
        list
    }

    /// The next channel that has something to tell its subscribers, and what.
    pub(crate) fn next_change(&mut self, now: u32) -> Option<(Name, PresenceChange)> {
        loop {
            if let Some(next) = self.split.pop_front() {
                return Some(next);
            }
            let &(due, number) = self.agenda.first()?;
            if due > now {
                return None;
            }
            self.schedule(number, NEVER);
            let presence = self.get(number);
            let name = presence.name().clone();
            let limits = self.options.limits(presence.namespace());
            let notify = limits.and_then(|limits| limits.notify);
            let Some((limits, notify)) = limits.zip(notify) else {
                continue;
            };
            let (change, freed) = self.get_mut(number).tell(limits, notify, now);
            self.bytes -= freed;
            if limits.by_user {
                let split = self.get_mut(number).split(change);
                self.split = split.map(|one| (name.clone(), one)).collect();
                self.go_on_telling(number, limits, notify, now);
                continue;
            }
            self.go_on_telling(number, limits, notify, now);
            if change.counts.is_some() || !(change.joined.is_empty() && change.left.is_empty()) {
                return Some((name, change));
            }
        }
    }

    /// A part of what there is to tell was told.
    fn go_on_telling(
        &mut self,
        number: u32,
        limits: PresenceLimits,
        notify: PresenceNotify,
        now: u32,
    ) {
        if !self.remove_if_empty(number) {
            let due = self.get(number).next_due(limits, notify, now);
            self.schedule(number, due);
        }
    }

    /// Whether the channel that was told of last is to be told more at once.
    pub(crate) fn is_telling(&self) -> bool {
        !self.split.is_empty()
    }

    /// The tick at which there is something to tell.
    pub(crate) fn due(&self) -> u32 {
        let due = self.agenda.first().map_or(NEVER, |&(due, _)| due);
        match self.views.is_empty() {
            true => due,
            false => due.min(self.views_of.saturating_add(1)),
        }
    }

    /// Drops lists of earlier ticks.
    pub(crate) fn drop_views(&mut self, now: u32) {
        if self.views_of != now {
            self.views = Vec::new();
        }
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Those that are listed, and those that are not.
    pub(crate) fn members(&self) -> (usize, u64) {
        (self.members, self.unlisted)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Heap bytes, nearly.
    pub(crate) fn memory_bytes(&self) -> usize {
        let each = self.channels.iter();
        let each = each.map(|(_, presence)| presence.memory_bytes());
        let agenda = self.agenda.len() * size_of::<(u32, u32)>() * 4 / 3;
        each.sum::<usize>() + self.channels.memory_bytes() + agenda
    }

    /// Takes all apart, in no order.
    pub(crate) fn into_state(self) -> Vec<PresenceState> {
        let records = self.channels.into_records();
        records.map(|(_, presence)| presence.into_state()).collect()
    }

    /// The presence of a channel, of a state. False if there is one of that name, or if it cannot be.
    pub(crate) fn insert_state(&mut self, state: PresenceState) -> bool {
        let hash = self.hasher.hash(&state.name);
        if self.channels.find(hash, &state.name).is_some() {
            return false;
        }
        let due = state.due;
        let Some(presence) = ChannelPresence::of_state(state, &self.hasher) else {
            return false;
        };
        self.members += presence.members().len();
        self.unlisted += u64::from(presence.unlisted());
        self.bytes += presence.bytes() + CHANNEL_BYTES;
        let number = self.channels.insert(hash, presence);
        self.schedule(number, due);
        true
    }

    pub(crate) fn check_invariants(&self) {
        let (mut members, mut bytes, mut unlisted, mut scheduled) = (0, 0, 0, 0);
        for (number, presence) in self.channels.iter() {
            presence.check_invariants();
            members += presence.members().len();
            bytes += presence.bytes() + CHANNEL_BYTES;
            unlisted += u64::from(presence.unlisted());
            if presence.due() != NEVER {
                assert!(self.agenda.contains(&(presence.due(), number)));
                scheduled += 1;
            }
        }
        assert_eq!(self.agenda.len(), scheduled, "what is due is of a channel");
        assert_eq!(
            (members, bytes, unlisted),
            (self.members, self.bytes, self.unlisted)
        );
    }

    fn find_or_insert(&mut self, name: &Name, namespace: NamespaceId) -> u32 {
        let hash = self.hasher.hash(name);
        if let Some(number) = self.channels.find(hash, name) {
            return number;
        }
        self.bytes += CHANNEL_BYTES;
        self.channels
            .insert(hash, ChannelPresence::new(name.clone(), namespace))
    }

    fn remove_if_empty(&mut self, number: u32) -> bool {
        if !self.get(number).is_empty() {
            return false;
        }
        self.schedule(number, NEVER);
        self.channels.remove(number);
        self.bytes -= CHANNEL_BYTES;
        true
    }

    /// A channel has changed: it is told of when it has gathered for long enough.
    fn schedule_notify(&mut self, number: u32, limits: PresenceLimits, now: u32) {
        if let Some(notify) = limits.notify {
            let due = now.saturating_add(notify.every);
            let due = due.min(self.get(number).due());
            self.schedule(number, due);
        }
    }

    fn schedule(&mut self, number: u32, due: u32) {
        let before = self.get_mut(number).set_due(due);
        if before != NEVER {
            self.agenda.remove(&(before, number));
        }
        if due != NEVER {
            self.agenda.insert((due, number));
        }
    }

    fn get(&self, number: u32) -> &ChannelPresence {
        self.channels.get(number).expect("the caller has found it")
    }

    fn get_mut(&mut self, number: u32) -> &mut ChannelPresence {
        let presence = self.channels.get_mut(number);
        presence.expect("the caller has found it")
    }
}
