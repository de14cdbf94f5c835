//! Presence of one channel: its members, what subscribers know of them, and what they are told next.
//!
//! What it counts for the limits of its home is said with each change, and added up in [`crate::presences`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::ids::{NamespaceId, ReactorId, Subscriber};
use crate::members::Members;
use crate::names::{Name, NameHasher};
use crate::presence::{
    Member, MemberInfo, PresenceChange, PresenceCounts, PresenceLimits, PresenceNotify,
    PresenceView,
};
use crate::state::PresenceState;

/// Who is in one channel, and what of it is still to be told.
#[derive(Debug)]
pub(crate) struct ChannelPresence {
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
    /// Changes that were told, where users count once.
    told: u64,
    /// So many changes were told until that tick, of those that may be told by then.
    recent: (u32, u32),
}

/// A member that has left, which is still to be told.
#[derive(Debug)]
struct Gone {
    member: Member,
    since: u32,
    /// Its connection has ended: its user comes back as another client.
    has_ended: bool,
}

/// A member is listed: what it counts, and what that of before has counted if it has come back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) bytes: u64,
    pub(crate) freed: u64,
}

/// Who has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It was not there.
    Unknown,
    /// One that was counted only.
    Unlisted,
    /// One that was listed; one that was told counts until that it has left is told.
    Listed {
        user: Name,
        has_number: bool,
        freed: u64,
    },
}

/// No tick.
pub(crate) const NEVER: u32 = u32::MAX;
/// What a member counts: its record, its places in two indexes, and room that is not used.
const MEMBER_BYTES: u64 = 72;

impl ChannelPresence {
    pub(crate) fn new(name: Name, namespace: NamespaceId) -> ChannelPresence {
        ChannelPresence {
            name,
            namespace,
            members: Members::default(),
            unlisted: 0,
            gone: VecDeque::new(),
            is_changed: false,
            due: NEVER,
            told: 0,
            recent: (0, 0),
        }
    }

    /// A client comes that is not there. `None`: it is counted only, for there is no room.
    pub(crate) fn join(
        &mut self,
        mut member: Member,
        by_user: bool,
        has_room: bool,
        hasher: &NameHasher,
    ) -> Option<Listed> {
        self.is_changed = true;
        if by_user && let Some(info) = self.info_of_user(&member.user, hasher) {
            member.info = info;
        }
        let back = self.take_back(&member, by_user);
        if back.is_none() && !has_room {
            self.unlisted += 1;
            return None;
        }
        let freed = back.as_ref().map_or(0, bytes_of);
        let was_told = back.is_some();
        if let Some(back) = back {
            member.client = back.client;
        }
        let bytes = bytes_of(&member);
        self.members.insert(member, was_told, hasher);
        Some(Listed { bytes, freed })
    }

    /// A client has unsubscribed, or its connection has ended.
    pub(crate) fn leave(
        &mut self,
        place: (ReactorId, Subscriber),
        has_ended: bool,
        now: u32,
        hasher: &NameHasher,
    ) -> Left {
        self.is_changed = true;
        let Some((member, was_told)) = self.members.remove(place, hasher) else {
            if self.unlisted == 0 {
                return Left::Unknown;
            }
            self.unlisted -= 1;
            return Left::Unlisted;
        };
        let (bytes, user) = (bytes_of(&member), member.user.clone());
        let has_number = member.has_number();
        if was_told {
            let since = now;
            self.gone.push_back(Gone {
                member,
                since,
                has_ended,
            });
        }
        let freed = if was_told { 0 } else { bytes };
        Left::Listed {
            user,
            has_number,
            freed,
        }
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// All that are listed.
    pub(crate) fn members(&self) -> &[Member] {
        self.members.list()
    }

    pub(crate) fn contains(&self, place: (ReactorId, Subscriber)) -> bool {
        self.members.contains(place)
    }

    /// Different users among those that are listed.
    pub(crate) fn users(&self) -> u32 {
        self.members.users()
    }

    /// How many are counted only.
    pub(crate) fn unlisted(&self) -> u32 {
        self.unlisted
    }

    /// When there is something to tell or to forget.
    pub(crate) fn due(&self) -> u32 {
        self.due
    }

    /// Sets it; returns what it was.
    pub(crate) fn set_due(&mut self, due: u32) -> u32 {
        std::mem::replace(&mut self.due, due)
    }

    /// What the members count, and those that have left and count yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.counted().map(bytes_of).sum()
    }

    fn counted(&self) -> impl Iterator<Item = &Member> {
        let gone = self.gone.iter().map(|gone| &gone.member);
        self.members.list().iter().chain(gone)
    }

    /// Heap bytes, nearly.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.members.memory_bytes()
            + self.gone.capacity() * size_of::<Gone>()
            + self.counted().map(Member::bytes_beside).sum::<usize>()
    }

    /// The members that subscribers know of.
    pub(crate) fn view_as_told(&self, limits: Option<PresenceLimits>) -> PresenceView {
        let is_truncated = limits.is_none_or(|limits| self.is_counted_only(limits));
        let told = self.members.list().iter().take(self.members.told());
        let gone = self.gone.iter().map(|gone| &gone.member);
        let members: Arc<[Member]> = match is_truncated {
            true => [].into(),
            false => told.chain(gone).cloned().collect(),
        };
        PresenceView {
            counts: self.counts(),
            is_truncated,
            members,
            told: self.told,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.len() == 0 && self.unlisted == 0 && self.gone.is_empty()
    }

    pub(crate) fn counts(&self) -> PresenceCounts {
        let listed = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        PresenceCounts {
            clients: listed.saturating_add(self.unlisted),
            users: self.members.users(),
            has_anonymous: self.members.has_anonymous(),
        }
    }

    /// Whether only the number of members can be said.
    pub(crate) fn is_counted_only(&self, limits: PresenceLimits) -> bool {
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
    pub(crate) fn tell(
        &mut self,
        limits: PresenceLimits,
        notify: PresenceNotify,
        now: u32,
    ) -> (PresenceChange, u64) {
        let mut change = PresenceChange::none(notify);
        let mut freed = 0;
        let is_changed = std::mem::take(&mut self.is_changed);
        if self.is_counted_only(limits) {
            change.counts = is_changed.then(|| self.counts());
            return (change, freed);
        }
        let over = self
            .gone
            .iter()
            .take_while(|gone| gone.is_over(notify, now));
        let over = over.count();
        let changes_max = notify.changes_max.saturating_sub(self.told_recently(now)) as usize;
        let untold = self.members.len() - self.members.told();
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

    /// One that has joined asks who is there: those that have joined and were not told are told now, but for
    /// those above half of what may be told at once. The other half is for whom the next time comes: so no
    /// one that has left waits for ever. `but` is not told.
    pub(crate) fn tell_before(
        &mut self,
        but: Option<(ReactorId, Subscriber)>,
        notify: PresenceNotify,
        now: u32,
        hasher: &NameHasher,
    ) -> PresenceChange {
        let is_left_out = but.is_some_and(|place| self.members.tell_last(place, hasher));
        let untold = self.members.len() - self.members.told() - usize::from(is_left_out);
        let may_tell = (notify.changes_max / 2).saturating_sub(self.told_recently(now));
        let joins = untold.min(may_tell as usize);
        self.note_told(joins, notify, now);
        let joined = (0..joins).filter_map(|_| self.members.tell_next().cloned());
        PresenceChange {
            joined: joined.collect(),
            ..PresenceChange::none(notify)
        }
    }

    /// How many changes were told of those that may be told within the same `every` ticks.
    fn told_recently(&self, now: u32) -> u32 {
        let (told, until) = self.recent;
        if now < until { told } else { 0 }
    }

    fn note_told(&mut self, changes: usize, notify: PresenceNotify, now: u32) {
        let before = self.told_recently(now);
        let until = match before {
            0 => now.saturating_add(notify.every),
            _ => self.recent.1,
        };
        let changes = u32::try_from(changes).unwrap_or(u32::MAX);
        self.recent = (before.saturating_add(changes), until);
    }

    /// What has just been told of users, one by one: each with whether it is the user's first member that
    /// subscribers know of, or was the last.
    pub(crate) fn split(
        &mut self,
        change: PresenceChange,
    ) -> impl Iterator<Item = PresenceChange> + use<> {
        let PresenceChange {
            joined,
            left,
            counts,
            is_for_all,
            tells_counts,
            is_of_user: _,
            number: _,
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
                number: 0,
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
                number: 0,
            });
        }
        for change in &mut split {
            self.told += 1;
            change.number = self.told;
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
    pub(crate) fn next_due(&self, limits: PresenceLimits, notify: PresenceNotify, now: u32) -> u32 {
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

    /// Takes it apart.
    pub(crate) fn into_state(self) -> PresenceState {
        let ChannelPresence {
            name,
            namespace,
            members,
            unlisted,
            gone,
            is_changed,
            due,
            told: changes,
            recent: _, // a few more may be told once
        } = self;
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
            changes,
        }
    }

    /// Of a state, not due yet. `None` if it cannot be.
    pub(crate) fn of_state(state: PresenceState, hasher: &NameHasher) -> Option<ChannelPresence> {
        let PresenceState {
            name,
            namespace,
            members,
            told,
            unlisted,
            gone,
            is_changed,
            due: _,
            changes,
        } = state;
        let is_empty = members.is_empty() && unlisted == 0 && gone.is_empty();
        if is_empty || told > members.len() {
            return None;
        }
        let mut presence = ChannelPresence::new(name, namespace);
        for (at, member) in members.into_iter().enumerate() {
            if presence.contains((member.reactor, member.who)) {
                return None;
            }
            presence.members.insert(member, at < told, hasher);
        }
        let gone = gone.into_iter().map(|(member, since, has_ended)| Gone {
            member,
            since,
            has_ended,
        });
        presence.gone = gone.collect();
        presence.unlisted = unlisted;
        presence.is_changed = is_changed;
        presence.told = changes;
        Some(presence)
    }

    pub(crate) fn check_invariants(&self) {
        self.members.check_invariants();
        assert!(!self.is_empty(), "a record lives while it has something");
    }
}

impl Gone {
    fn is_over(&self, notify: PresenceNotify, now: u32) -> bool {
        self.since.saturating_add(notify.linger) <= now
    }
}

/// What a member counts.
pub(crate) fn bytes_of(member: &Member) -> u64 {
    MEMBER_BYTES + member.bytes_beside() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PresenceLimits = PresenceLimits {
        members_max: 4,
        notify: Some(NOTIFY),
        by_user: false,
    };
    const NOTIFY: PresenceNotify = PresenceNotify {
        every: 2,
        changes_max: 8,
        linger: 10,
        is_for_all: true,
        tells_counts: false,
    };

    fn hasher() -> NameHasher {
        NameHasher::new(&[7; 16])
    }

    fn member(who: u32, user: &str) -> Member {
        Member {
            client: u64::from(who),
            user: Name::from(user),
            info: None,
            who: Subscriber(who),
            generation: 1,
            reactor: ReactorId(0),
        }
    }

    fn place(who: u32) -> (ReactorId, Subscriber) {
        (ReactorId(0), Subscriber(who))
    }

    fn told(presence: &mut ChannelPresence, now: u32) -> (Vec<u64>, Vec<u64>) {
        let (change, _) = presence.tell(LIMITS, NOTIFY, now);
        let clients = |all: Vec<Member>| all.iter().map(|one| one.client).collect();
        (clients(change.joined), clients(change.left))
    }

    #[test]
    fn bytes_are_as_the_changes_have_said() {
        let (mut presence, hasher) = (
            ChannelPresence::new(Name::from("room"), NamespaceId(1)),
            hasher(),
        );
        let mut bytes = 0;
        let mut join = |presence: &mut ChannelPresence, one: Member| {
            let listed = presence.join(one, false, true, &hasher).expect("room");
            bytes = bytes + listed.bytes - listed.freed;
            assert_eq!(presence.bytes(), bytes);
        };
        join(&mut presence, member(1, "ann"));
        join(&mut presence, member(2, "bob"));
        assert_eq!(told(&mut presence, 2), (vec![1, 2], vec![]));
        // It was told: it counts until that it has left is told, or until its user is back.
        let left = presence.leave(place(1), true, 3, &hasher);
        let user = Name::from("ann");
        let listed = Left::Listed {
            user,
            has_number: false,
            freed: 0,
        };
        assert_eq!(left, listed);
        join(&mut presence, member(9, "ann"));
        assert_eq!(told(&mut presence, 20), (vec![], vec![]));
        let clients = presence.members().iter().map(|one| one.client);
        assert_eq!(clients.collect::<Vec<_>>(), [2, 1], "known by its number");
    }

    #[test]
    fn one_without_room_is_counted_and_leaves_as_such() {
        let (mut presence, hasher) = (
            ChannelPresence::new(Name::from("room"), NamespaceId(1)),
            hasher(),
        );
        assert_eq!(presence.join(member(1, ""), false, false, &hasher), None);
        assert_eq!((presence.unlisted(), presence.counts().clients), (1, 1));
        assert_eq!(presence.leave(place(1), false, 1, &hasher), Left::Unlisted);
        assert!(presence.is_empty());
        assert_eq!(presence.leave(place(1), false, 1, &hasher), Left::Unknown);
    }

    #[test]
    fn a_state_that_cannot_be_is_refused() {
        let (mut presence, hasher) = (
            ChannelPresence::new(Name::from("room"), NamespaceId(1)),
            hasher(),
        );
        presence.join(member(1, "ann"), false, true, &hasher);
        presence.join(member(2, "bob"), false, true, &hasher);
        told(&mut presence, 2);
        presence.leave(place(2), false, 3, &hasher);
        let state = presence.into_state();
        let again = ChannelPresence::of_state(state.clone(), &hasher).expect("it was one");
        assert_eq!(again.into_state(), state);
        let mut twice = state.clone();
        twice.members.push(twice.members[0].clone());
        assert!(ChannelPresence::of_state(twice, &hasher).is_none());
        let mut too_many = state.clone();
        too_many.told = 2;
        assert!(ChannelPresence::of_state(too_many, &hasher).is_none());
        let (mut empty, members) = (state, Vec::new());
        (empty.members, empty.told) = (members, 0);
        empty.gone.clear();
        assert!(ChannelPresence::of_state(empty, &hasher).is_none());
    }
}
