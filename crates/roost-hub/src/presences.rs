//! Presence of the channels whose home is here, within its limits.
//!
//! A channel has a record from its first member on, by name: it outlives the channel for as long as a
//! member that has left may come back. What subscribers are told follows what is there: members that were
//! told are apart from those that were not, and those that have left untold wait in a list. At most every
//! so many ticks a part of both is told.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::ids::{NamespaceId, ReactorId, Subscriber};
use crate::members::Members;
use crate::names::{Name, NameHasher, Named, Names};
use crate::presence::{
    Member, MemberInfo, PresenceChange, PresenceCounts, PresenceLimits, PresenceNotify,
    PresenceOptions, PresenceView,
};
use crate::state::PresenceState;

/// The presence of all channels of a home.
#[derive(Debug)]
pub(crate) struct Presences {
    options: PresenceOptions,
    hasher: NameHasher,
    channels: Names<Presence>,
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
    users: Option<Vec<(Name, Name, bool)>>,
    /// Changes of one channel that are told one by one.
    split: VecDeque<(Name, PresenceChange)>,
}

/// That of one channel.
#[derive(Debug)]
struct Presence {
    name: Name,
    namespace: NamespaceId,
    members: Members,
    /// Members that are counted only, because there was no room for more.
    unlisted: u32,
    /// Those that were told and have left, in that order.
    gone: VecDeque<Gone>,
    /// Whether it has changed since subscribers were last told how many there are.
    is_changed: bool,
    /// When there is something to tell or to forget; `NEVER` if there is not.
    due: u32,
    /// Joins alone, so many, are told next, because one that has joined asks.
    hurried: u32,
    /// So many changes were told until that tick, of those that may be told by then.
    told: (u32, u32),
}

/// A member that has left, which is still to be told.
#[derive(Debug)]
struct Gone {
    member: Member,
    since: u32,
    /// Its connection has ended: its user comes back as another client.
    has_ended: bool,
}

const NEVER: u32 = u32::MAX;
/// What a member counts: its record, its places in two indexes, and room that is not used.
const MEMBER_BYTES: u64 = 72;
/// What a channel counts that has members.
const CHANNEL_BYTES: u64 = 256;
/// Lists of members that are kept for the length of a tick.
const VIEWS_MAX: usize = 16;

impl Named for Presence {
    fn name(&self) -> &Name {
        &self.name
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

    /// The channel, the user, and whether it is there now, since the last time.
    pub(crate) fn take_users(&mut self) -> impl Iterator<Item = (Name, Name, bool)> {
        self.users.iter_mut().flat_map(|users| users.drain(..))
    }

    /// How many users were in a channel before one came or left: another number now means that it was
    /// the first or the last of its connections.
    fn note_user(&mut self, number: u32, user: &Name, before: u32) {
        if self.users.is_none() {
            return;
        }
        let presence = self.get(number);
        let (now, name) = (presence.members.users(), presence.name.clone());
        if let Some(users) = &mut self.users
            && now != before
        {
            users.push((name, user.clone(), now > before));
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
        mut member: Member,
        now: u32,
    ) {
        let Some(limits) = self.options.limits(namespace) else {
            return;
        };
        let number = self.find_or_insert(name, namespace);
        let has_room = self.bytes + bytes_of(&member) <= self.options.bytes_max;
        let hasher = self.hasher;
        let presence = self.get_mut(number);
        if presence.members.contains((member.reactor, member.who)) {
            debug_assert!(false, "a client joins once");
            return;
        }
        presence.is_changed = true;
        if limits.by_user
            && let Some(info) = presence.info_of_user(&member.user, &hasher)
        {
            member.info = info;
        }
        let back = presence.take_back(&member, limits.by_user);
        if back.is_none() && !has_room {
            presence.unlisted += 1;
            self.unlisted += 1;
        } else {
            let freed = back.as_ref().map_or(0, bytes_of);
            let was_told = back.is_some();
            if let Some(back) = back {
                member.client = back.client;
            }
            let (bytes, user) = (bytes_of(&member), member.user.clone());
            let before = presence.members.users();
            presence.members.insert(member, was_told, &hasher);
            self.members += 1;
            self.bytes = self.bytes + bytes - freed;
            self.note_user(number, &user, before);
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
        let namespace = self.get(number).namespace;
        let limits = self.options.limits(namespace);
        let presence = self.get_mut(number);
        presence.is_changed = true;
        let before = presence.members.users();
        match presence.members.remove(place, &hasher) {
            None => {
                let is_known = presence.unlisted > 0;
                presence.unlisted -= u32::from(is_known);
                self.unlisted -= u64::from(is_known);
            }
            Some((member, was_told)) => {
                let (bytes, user) = (bytes_of(&member), member.user.clone());
                if was_told {
                    let since = now;
                    presence.gone.push_back(Gone {
                        member,
                        since,
                        has_ended,
                    });
                }
                self.members -= 1;
                self.bytes -= if was_told { 0 } else { bytes };
                self.note_user(number, &user, before);
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
        let limits = self.options.limits(presence.namespace);
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
        }
    }

    /// How many clients and users are in a channel.
    pub(crate) fn counts_of(&self, name: &str) -> PresenceCounts {
        let number = self.channels.find(self.hasher.hash(name), name);
        number.map_or_else(PresenceCounts::default, |number| self.get(number).counts())
    }

    /// One that has joined asks who is there: whoever joined before it is to be told now, unless those are
    /// more than may be told by now. Only where users count once. True if there is something to tell.
    pub(crate) fn hurry(&mut self, name: &str, place: (ReactorId, Subscriber), now: u32) -> bool {
        let Some(number) = self.channels.find(self.hasher.hash(name), name) else {
            return false;
        };
        let presence = self.get(number);
        let limits = self.options.limits(presence.namespace);
        let Some(limits) = limits.filter(|limits| limits.by_user) else {
            return false;
        };
        let untold = presence.members.untold_before(place).unwrap_or(0);
        let may_tell = limits
            .notify
            .map_or(0, |notify| presence.may_tell(notify, now));
        if presence.is_counted_only(limits) || !(1..=may_tell).contains(&untold) {
            return false;
        }
        self.get_mut(number).hurried = u32::try_from(untold).unwrap_or(u32::MAX);
        self.schedule(number, now);
        true
    }

    /// The members that a channel's subscribers know of.
    pub(crate) fn view_as_told(&self, name: &str) -> PresenceView {
        let number = self.channels.find(self.hasher.hash(name), name);
        let Some(number) = number else {
            return PresenceView::empty();
        };
        let presence = self.get(number);
        let limits = self.options.limits(presence.namespace);
        let is_truncated = limits.is_none_or(|limits| presence.is_counted_only(limits));
        let told = presence.members.list().iter().take(presence.members.told());
        let gone = presence.gone.iter().map(|gone| &gone.member);
        let members: Arc<[Member]> = match is_truncated {
            true => [].into(),
            false => told.chain(gone).cloned().collect(),
        };
        PresenceView {
            counts: presence.counts(),
            is_truncated,
            members,
        }
    }

    /// The members of a channel; asked for again within a tick, the same memory.
    fn list(&mut self, number: u32) -> Arc<[Member]> {
        if let Some((_, list)) = self.views.iter().find(|(of, _)| *of == number) {
            return list.clone();
        }
        let list: Arc<[Member]> = self.get(number).members.list().into();
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
            let name = presence.name.clone();
            let limits = self.options.limits(presence.namespace);
            let notify = limits.and_then(|limits| limits.notify);
            let Some((limits, notify)) = limits.zip(notify) else {
                continue;
            };
            let (change, freed) = self.get_mut(number).tell(limits, notify, now);
            self.bytes -= freed;
            if limits.by_user {
                let split = self.get(number).split(change);
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
        let each = self.channels.iter().map(|(_, presence)| {
            let gone = presence.gone.iter().map(|gone| gone.member.bytes_beside());
            let members = presence.members.list().iter().map(Member::bytes_beside);
            presence.members.memory_bytes()
                + presence.gone.capacity() * size_of::<Gone>()
                + gone.sum::<usize>()
                + members.sum::<usize>()
        });
        let agenda = self.agenda.len() * size_of::<(u32, u32)>() * 4 / 3;
        each.sum::<usize>() + self.channels.memory_bytes() + agenda
    }

    /// Takes all apart, in no order.
    pub(crate) fn into_state(self) -> Vec<PresenceState> {
        let records = self.channels.into_records();
        records
            .map(|(_, presence)| {
                let Presence {
                    name,
                    namespace,
                    members,
                    unlisted,
                    gone,
                    is_changed,
                    due,
                    hurried: _, // told at once
                    told: _,    // the next may be a little early
                } = presence;
                let gone = gone.into_iter().map(|gone| {
                    let Gone {
                        member,
                        since,
                        has_ended,
                    } = gone;
                    (member, since, has_ended)
                });
                PresenceState {
                    name,
                    namespace,
                    told: members.told(),
                    members: members.list().to_vec(),
                    unlisted,
                    gone: gone.collect(),
                    is_changed,
                    due,
                }
            })
            .collect()
    }

    /// The presence of a channel, of a state. False if there is one of that name, or if it cannot be.
    pub(crate) fn insert_state(&mut self, state: PresenceState) -> bool {
        let PresenceState {
            name,
            namespace,
            members,
            told,
            unlisted,
            gone,
            is_changed,
            due,
        } = state;
        let is_known = self.channels.find(self.hasher.hash(&name), &name).is_some();
        let is_empty = members.is_empty() && unlisted == 0 && gone.is_empty();
        if is_known || is_empty || told > members.len() {
            return false;
        }
        let number = self.find_or_insert(&name, namespace);
        let hasher = self.hasher;
        for (at, member) in members.into_iter().enumerate() {
            self.members += 1;
            self.bytes += bytes_of(&member);
            let members = &mut self.get_mut(number).members;
            if members.contains((member.reactor, member.who)) {
                return false;
            }
            members.insert(member, at < told, &hasher);
        }
        self.unlisted += u64::from(unlisted);
        for (member, since, has_ended) in gone {
            self.bytes += bytes_of(&member);
            self.get_mut(number).gone.push_back(Gone {
                member,
                since,
                has_ended,
            });
        }
        let presence = self.get_mut(number);
        presence.unlisted = unlisted;
        presence.is_changed = is_changed;
        self.schedule(number, due);
        true
    }

    pub(crate) fn check_invariants(&self) {
        let (mut members, mut bytes, mut unlisted, mut scheduled) = (0, 0, 0, 0);
        for (number, presence) in self.channels.iter() {
            presence.members.check_invariants();
            members += presence.members.len();
            let gone = presence.gone.iter().map(|gone| &gone.member);
            let all = presence.members.list().iter().chain(gone);
            bytes += all.map(bytes_of).sum::<u64>() + CHANNEL_BYTES;
            unlisted += u64::from(presence.unlisted);
            assert!(
                !presence.is_empty(),
                "a record lives while it has something"
            );
            if presence.due != NEVER {
                assert!(self.agenda.contains(&(presence.due, number)));
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
        self.channels.insert(
            hash,
            Presence {
                name: name.clone(),
                namespace,
                members: Members::default(),
                unlisted: 0,
                gone: VecDeque::new(),
                is_changed: false,
                due: NEVER,
                hurried: 0,
                told: (0, 0),
            },
        )
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
            let due = due.min(self.get(number).due);
            self.schedule(number, due);
        }
    }

    fn schedule(&mut self, number: u32, due: u32) {
        let before = std::mem::replace(&mut self.get_mut(number).due, due);
        if before != NEVER {
            self.agenda.remove(&(before, number));
        }
        if due != NEVER {
            self.agenda.insert((due, number));
        }
    }

    fn get(&self, number: u32) -> &Presence {
        self.channels.get(number).expect("the caller has found it")
    }

    fn get_mut(&mut self, number: u32) -> &mut Presence {
        let presence = self.channels.get_mut(number);
        presence.expect("the caller has found it")
    }
}

impl Presence {
    fn is_empty(&self) -> bool {
        self.members.len() == 0 && self.unlisted == 0 && self.gone.is_empty()
    }

    fn counts(&self) -> PresenceCounts {
        let listed = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        PresenceCounts {
            clients: listed.saturating_add(self.unlisted),
            users: self.members.users(),
            has_anonymous: self.members.has_anonymous(),
        }
    }

    /// Whether only the number of members can be said.
    fn is_counted_only(&self, limits: PresenceLimits) -> bool {
        self.unlisted > 0 || self.members.len() > limits.members_max as usize
    }

    /// One that has left comes back: as the same client, or as another of the same user whose connection
    /// had ended. Returns what was told.
    fn take_back(&mut self, member: &Member, by_user: bool) -> Option<Member> {
        // Where users are told, a client may come back as another one.
        let is_same = |gone: &Gone| {
            let place = (gone.member.reactor, gone.member.who, gone.member.generation);
            place == (member.reactor, member.who, member.generation)
                && (!by_user || gone.member.user == member.user)
        };
        let is_user = |gone: &Gone| gone.has_ended && gone.member.user == member.user;
        let at = self.gone.iter().position(is_same).or_else(|| {
            let has_user = !member.user.is_empty();
            has_user.then(|| self.gone.iter().position(is_user))?
        })?;
        Some(self.gone.remove(at)?.member)
    }

    /// What is told now, and how many bytes are free with it.
    fn tell(
        &mut self,
        limits: PresenceLimits,
        notify: PresenceNotify,
        now: u32,
    ) -> (PresenceChange, u64) {
        let mut change = PresenceChange {
            joined: Vec::new(),
            left: Vec::new(),
            counts: None,
            is_for_all: notify.is_for_all,
            tells_counts: notify.tells_counts,
            is_of_user: false,
        };
        let mut freed = 0;
        let is_changed = std::mem::take(&mut self.is_changed);
        if self.is_counted_only(limits) {
            change.counts = is_changed.then(|| self.counts());
            return (change, freed);
        }
        let hurried = std::mem::take(&mut self.hurried) as usize;
        let over = self
            .gone
            .iter()
            .take_while(|gone| hurried == 0 && gone.is_over(notify, now));
        let over = over.count();
        let changes_max = self.may_tell(notify, now);
        let untold = match self.members.len() - self.members.told() {
            untold if hurried == 0 => untold,
            untold => untold.min(hurried),
        };
        let joins = untold.min(changes_max - over.min(changes_max / 2));
        for _ in 0..joins {
            change.joined.extend(self.members.tell_next().cloned());
        }
        let leaves = over.min(changes_max - joins);
        for gone in self.gone.drain(..leaves) {
            freed += bytes_of(&gone.member);
            change.left.push(gone.member);
        }
        if self.gone.is_empty() {
            self.gone = VecDeque::new();
        }
        self.note_told(joins + leaves, notify, now);
        let is_told = notify.tells_counts && is_changed;
        if is_told || joins < untold || leaves < over {
            change.counts = Some(self.counts());
        }
        (change, freed)
    }

    /// How many changes may be told now: within each `every` ticks, `changes_max`.
    fn may_tell(&self, notify: PresenceNotify, now: u32) -> usize {
        let (told, until) = self.told;
        let before = if now < until { told } else { 0 };
        notify.changes_max.saturating_sub(before) as usize
    }

    fn note_told(&mut self, changes: usize, notify: PresenceNotify, now: u32) {
        let (told, until) = self.told;
        let changes = u32::try_from(changes).unwrap_or(u32::MAX);
        self.told = match now < until {
            true => (told.saturating_add(changes), until),
            false => (changes, now.saturating_add(notify.every)),
        };
    }

    /// What has just been told of users, one by one: each with whether it is the user's first member that
    /// subscribers know of, or was the last.
    fn split(&self, change: PresenceChange) -> impl Iterator<Item = PresenceChange> + use<> {
        let PresenceChange {
            joined,
            left,
            counts,
            is_for_all,
            tells_counts,
            is_of_user: _,
        } = change;
        // How many members of each user were known before.
        let mut known: HashMap<Name, usize> = HashMap::new();
        for member in joined.iter().chain(&left) {
            known.insert(member.user.clone(), 0);
        }
        let told = self.members.list().iter().take(self.members.told());
        let after = told.chain(self.gone.iter().map(|gone| &gone.member));
        for member in after.chain(&left) {
            if let Some(count) = known.get_mut(&member.user) {
                *count += 1;
            }
        }
        for member in &joined {
            if let Some(count) = known.get_mut(&member.user) {
                *count -= 1;
            }
        }
        let one = move |member: Member, has_joined: bool, is_of_user: bool| {
            let (joined, left) = match has_joined {
                true => (vec![member], Vec::new()),
                false => (Vec::new(), vec![member]),
            };
            PresenceChange {
                joined,
                left,
                counts: None,
                is_for_all,
                tells_counts,
                is_of_user,
            }
        };
        let mut split = Vec::with_capacity(joined.len() + left.len() + 1);
        for member in joined {
            let count = known.get_mut(&member.user).expect("each was entered");
            let is_first = *count == 0 && !member.user.is_empty();
            *count += 1;
            split.push(one(member, true, is_first));
        }
        for member in left {
            let count = known.get_mut(&member.user).expect("each was entered");
            *count -= 1;
            let is_last = *count == 0 && !member.user.is_empty();
            split.push(one(member, false, is_last));
        }
        if counts.is_some() {
            split.push(PresenceChange {
                joined: Vec::new(),
                left: Vec::new(),
                counts,
                is_for_all,
                tells_counts,
                is_of_user: false,
            });
        }
        split.into_iter()
    }

    /// What is known of a user that is there, or has left untold; `None`: it is not there.
    fn info_of_user(&self, user: &str, hasher: &NameHasher) -> Option<Option<Arc<MemberInfo>>> {
        if user.is_empty() {
            return None;
        }
        let gone = self.gone.iter().map(|gone| &gone.member);
        let mut gone = gone.filter(|member| member.user == user);
        let member = self.members.of_user(user, hasher).or_else(|| gone.next())?;
        Some(member.info.clone())
    }

    /// When there is something to tell again, if nothing changes.
    fn next_due(&self, limits: PresenceLimits, notify: PresenceNotify, now: u32) -> u32 {
        if self.is_counted_only(limits) {
            return NEVER; // until one leaves
        }
        let next = now.saturating_add(notify.every);
        match self.gone.front() {
            _ if self.members.told() < self.members.len() => next,
            Some(gone) => next.max(gone.since.saturating_add(notify.linger)),
            None => NEVER,
        }
    }
}

impl Gone {
    fn is_over(&self, notify: PresenceNotify, now: u32) -> bool {
        self.since.saturating_add(notify.linger) <= now
    }
}

/// What a member counts.
fn bytes_of(member: &Member) -> u64 {
    MEMBER_BYTES + member.bytes_beside() as u64
}
