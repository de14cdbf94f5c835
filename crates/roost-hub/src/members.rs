//! The members of one channel: those that were told to its subscribers first, the others behind them.

use hashbrown::HashTable;

use crate::ids::{ReactorId, Subscriber};
use crate::names::{NameHash, NameHasher};
use crate::presence::Member;

/// The members, each once by its place on its reactor. A member that moves in the list is moved in the
/// index as well.
#[derive(Debug, Default)]
pub(crate) struct Members {
    list: Vec<Member>,
    /// So many at the beginning of the list were told.
    told: u32,
    /// Different users, without anonymous members.
    users: u32,
    /// Of a channel with more than a few.
    index: Option<Box<Index>>,
}

/// Places in the list.
#[derive(Debug, Default)]
struct Index {
    /// By reactor and subscriber.
    by_place: HashTable<u32>,
    /// By user, of each member that has one. All connections of one user are in one row of the table: to
    /// take one out looks at the others, of which a user has a bounded number.
    by_user: HashTable<u32>,
}

/// Up to so many members are searched one by one.
const SCANNED_MAX: usize = 16;
/// While an entry is moved.
const MOVING: u32 = u32::MAX;

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn users(&self) -> u32 {
        self.users
    }

    /// Whether there is one without a user.
    pub(crate) fn has_anonymous(&self) -> bool {
        match &self.index {
            Some(index) => index.by_user.len() < self.list.len(),
            None => self.list.iter().any(|member| member.user.is_empty()),
        }
    }

    /// All, those that were told first.
    pub(crate) fn list(&self) -> &[Member] {
        &self.list
    }

    /// How many were told.
    pub(crate) fn told(&self) -> usize {
        self.told as usize
    }

    /// One that was not told becomes the last to be told. False if it was told, or is not there.
    pub(crate) fn tell_last(
        &mut self,
        place: (ReactorId, Subscriber),
        hasher: &NameHasher,
    ) -> bool {
        let at = self.find(place).filter(|at| *at >= self.told as usize);
        if let Some(at) = at {
            self.swap(at, self.list.len() - 1, hasher);
        }
        at.is_some()
    }

    /// The next to be told is told now.
    pub(crate) fn tell_next(&mut self) -> Option<&Member> {
        let next = self.list.get(self.told as usize)?;
        self.told += 1;
        Some(next)
    }

    pub(crate) fn contains(&self, place: (ReactorId, Subscriber)) -> bool {
        self.find(place).is_some()
    }

    /// Adds one whose place no other has.
    pub(crate) fn insert(&mut self, member: Member, is_told: bool, hasher: &NameHasher) {
        debug_assert!(!self.contains(place_of(&member)));
        let is_new_user = !member.user.is_empty() && !self.has_user(&member.user, hasher);
        self.users += u32::from(is_new_user);
        if self.list.len() == self.list.capacity() {
            self.list.reserve_exact((self.list.len() / 8).max(2));
        }
        self.list.push(member);
        let last = self.list.len() - 1;
        if self.index.is_some() {
            self.enter(last, hasher);
        } else if self.list.len() > SCANNED_MAX {
            self.index = Some(Box::default());
            for at in 0..self.list.len() {
                self.enter(at, hasher);
            }
        }
        if is_told {
            self.swap(self.told as usize, last, hasher);
            self.told += 1;
        }
    }

    /// Takes one out, and says whether it was told.
    pub(crate) fn remove(
        &mut self,
        place: (ReactorId, Subscriber),
        hasher: &NameHasher,
    ) -> Option<(Member, bool)> {
        let mut at = self.find(place)?;
        let was_told = at < self.told as usize;
        if was_told {
            self.told -= 1;
            self.swap(at, self.told as usize, hasher);
            at = self.told as usize;
        }
        let last = self.list.len() - 1;
        self.swap(at, last, hasher);
        self.leave(last, hasher);
        let member = self.list.pop().expect("it was found");
        if !member.user.is_empty() && !self.has_user(&member.user, hasher) {
            self.users -= 1;
        }
        self.shrink(hasher);
        Some((member, was_told))
    }

    /// Heap bytes, without what members have beside their records.
    pub(crate) fn memory_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, |index| {
            size_of::<Index>() + index.by_place.allocation_size() + index.by_user.allocation_size()
        });
        self.list.capacity() * size_of::<Member>() + index
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            self.told as usize <= self.list.len(),
            "those told are there"
        );
        for (at, member) in self.list.iter().enumerate() {
            assert_eq!(self.find(place_of(member)), Some(at), "found where it is");
        }
        let mut users: Vec<_> = self.list.iter().map(|one| one.user.as_str()).collect();
        users.retain(|user| !user.is_empty());
        let named = users.len();
        users.sort_unstable();
        users.dedup();
        assert_eq!(users.len(), self.users as usize, "users are counted");
        if let Some(index) = &self.index {
            assert_eq!(index.by_place.len(), self.list.len());
            assert_eq!(index.by_user.len(), named);
        }
    }

    fn find(&self, place: (ReactorId, Subscriber)) -> Option<usize> {
        let is_it = |member: &Member| place_of(member) == place;
        let Some(index) = &self.index else {
            return self.list.iter().position(is_it);
        };
        let hash = hash_of_place(place);
        let found = index
            .by_place
            .find(hash, |&at| is_it(&self.list[at as usize]));
        found.map(|&at| at as usize)
    }

    fn has_user(&self, user: &str, hasher: &NameHasher) -> bool {
        self.of_user(user, hasher).is_some()
    }

    /// A member of a user, if there is one.
    pub(crate) fn of_user(&self, user: &str, hasher: &NameHasher) -> Option<&Member> {
        let Some(index) = &self.index else {
            return self.list.iter().find(|member| member.user == user);
        };
        let hash = hasher.hash(user).bucket();
        let found = index
            .by_user
            .find(hash, |&at| self.list[at as usize].user == user);
        found.map(|&at| &self.list[at as usize])
    }

    /// Takes the member at `at` into the index.
    fn enter(&mut self, at: usize, hasher: &NameHasher) {
        let Some(index) = &mut self.index else {
            return;
        };
        let (list, member) = (&self.list, &self.list[at]);
        let at = narrow(at);
        let place = hash_of_place(place_of(member));
        let rehash = |&at: &u32| hash_of_place(place_of(&list[at as usize]));
        index.by_place.insert_unique(place, at, rehash);
        if !member.user.is_empty() {
            let user = hasher.hash(&member.user).bucket();
            let rehash = |&at: &u32| hasher.hash(&list[at as usize].user).bucket();
            index.by_user.insert_unique(user, at, rehash);
        }
    }

    /// Takes the member at `at` out of the index.
    fn leave(&mut self, at: usize, hasher: &NameHasher) {
        let Some(index) = &mut self.index else {
            return;
        };
        let (member, at) = (&self.list[at], narrow(at));
        let place = hash_of_place(place_of(member));
        let entry = index.by_place.find_entry(place, |&other| other == at);
        entry.expect("each is in the index").remove();
        if !member.user.is_empty() {
            let user = hasher.hash(&member.user).bucket();
            let entry = index.by_user.find_entry(user, |&other| other == at);
            entry
                .expect("each that has a user is in the index")
                .remove();
        }
    }

    fn swap(&mut self, one: usize, other: usize, hasher: &NameHasher) {
        if one == other {
            return;
        }
        let (a, b) = (narrow(one), narrow(other));
        for (from, to) in [(a, MOVING), (b, a), (MOVING, b)] {
            let at = if from == MOVING { a } else { from };
            self.renumber(at as usize, (from, to), hasher);
        }
        self.list.swap(one, other);
    }

    /// What the index says of the member at `at` becomes another number.
    fn renumber(&mut self, at: usize, (from, to): (u32, u32), hasher: &NameHasher) {
        let Some(index) = &mut self.index else {
            return;
        };
        let member = &self.list[at];
        let place = hash_of_place(place_of(member));
        let entry = index.by_place.find_mut(place, |&other| other == from);
        *entry.expect("each is in the index") = to;
        if !member.user.is_empty() {
            let user = hasher.hash(&member.user).bucket();
            let entry = index.by_user.find_mut(user, |&other| other == from);
            *entry.expect("each that has a user is in the index") = to;
        }
    }

    /// Gives back what is held for many more.
    fn shrink(&mut self, hasher: &NameHasher) {
        let len = self.list.len();
        if len == 0 {
            *self = Members::default();
            return;
        }
        if len >= self.list.capacity() / 4 {
            return;
        }
        self.list.shrink_to(len * 2);
        if len <= SCANNED_MAX / 2 {
            self.index = None;
        } else if let Some(index) = &mut self.index {
            let list = &self.list;
            let rehash = |&at: &u32| hash_of_place(place_of(&list[at as usize]));
            index.by_place.shrink_to(len * 2, rehash);
            let rehash = |&at: &u32| hasher.hash(&list[at as usize].user).bucket();
            index.by_user.shrink_to(len * 2, rehash);
        }
    }
}

fn place_of(member: &Member) -> (ReactorId, Subscriber) {
    (member.reactor, member.who)
}

fn hash_of_place((reactor, who): (ReactorId, Subscriber)) -> u64 {
    // Slots are the server's own numbers: no client chooses them.
    NameHash::of_bits(u64::from(who.0) << 8 | u64::from(reactor.0)).bucket()
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).expect("fewer members than slots of connections")
}
