//! Presence: who is subscribed to a channel, as the channel's home knows it.

use std::sync::Arc;

use crate::encoding::EncodingSet;
use crate::ids::{NamespaceId, ReactorId, Subscriber};
use crate::names::Name;

/// Which channels keep presence, and how.
#[derive(Debug, Clone, Default)]
pub struct PresenceOptions {
    /// By a namespace's number; the first is that of channels without one of their own. Without any no
    /// channel keeps presence.
    pub namespaces: Arc<[Option<PresenceLimits>]>,
    /// Bytes that all channels with their home here may hold of their members. Beyond, members are
    /// counted and not listed.
    pub bytes_max: u64,
    /// In which encodings joins and leaves are told.
    pub encodings: EncodingSet,
}

/// How the channels of a namespace keep presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceLimits {
    /// Members of a channel up to which they are listed, and told one by one; above, only how many there
    /// are. 0: never listed.
    pub members_max: u32,
    /// How joins and leaves are told; `None`: they are not.
    pub notify: Option<PresenceNotify>,
    /// A user counts once, however many connections it has: what is known of it is what its first one
    /// said, and joins and leaves are told one by one, each with whether it is the user's.
    pub by_user: bool,
}

/// How joins and leaves are told to a channel's subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceNotify {
    /// Ticks for which they are gathered, at least 1.
    pub every: u32,
    /// Joins and leaves told at once, at least 2; the others wait for the next time.
    pub changes_max: u32,
    /// Ticks for which a member that has left may come back without either being told.
    pub linger: u32,
    /// Told to all subscribers, and not to those alone that have asked for it.
    pub is_for_all: bool,
    /// With each change it is told how many there are, also to dialects that have words for that alone.
    pub tells_counts: bool,
}

/// A client in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// By what other clients know it. One that came back as another client keeps the number it was told
    /// by.
    pub client: u64,
    /// Empty of an anonymous one.
    pub user: Name,
    /// What is known of it beside that.
    pub info: Option<Arc<MemberInfo>>,
    /// Its place among the subscribers of its reactor.
    pub who: Subscriber,
    /// Of that place.
    pub generation: u16,
    /// Where it is connected.
    pub reactor: ReactorId,
}

const _: () = assert!(size_of::<Member>() <= 40);

/// What is known of a member beside its user, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberInfo {
    /// Of its connection.
    pub connection: Option<Box<str>>,
    /// Of its subscription.
    pub channel: Option<Box<str>>,
    /// Its user's name was a number where the application gave it.
    pub has_number: bool,
}

/// How many there are in a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceCounts {
    /// Clients.
    pub clients: u32,
    /// Different users among those that are listed; an anonymous client is none.
    pub users: u32,
    /// An anonymous client is among those that are listed.
    pub has_anonymous: bool,
}

/// Who is in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceView {
    /// How many.
    pub counts: PresenceCounts,
    /// Not all are listed: there are more than are listed in such a channel, or than there was room for.
    pub is_truncated: bool,
    /// All, in no order; none if not all are listed.
    pub members: Arc<[Member]>,
    /// Of those that subscribers were told: with which change that was, by [`PresenceChange::number`].
    pub told: u64,
}

/// Who has come and gone, for the subscribers of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceChange {
    /// These are there now. First: a user that has changed its connection is never absent.
    pub joined: Vec<Member>,
    /// These have gone, each of which was told before.
    pub left: Vec<Member>,
    /// Not all is told: so many are there.
    pub counts: Option<PresenceCounts>,
    /// For all subscribers, and not for those alone that have asked for it.
    pub is_for_all: bool,
    /// Whether the counts are for dialects that have words for them alone.
    pub tells_counts: bool,
    /// One member has joined, and its user was not there; or one has left, and its user is not there any
    /// more. Only where users count once.
    pub is_of_user: bool,
    /// Which of the channel's changes it is, from 1, where users count once; otherwise 0.
    pub number: u64,
}

/// A request for who is in a channel, on its way to the channel's home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceQuery {
    /// The channel.
    pub name: Name,
    /// Who asks, by a number of its reactor.
    pub asker: u64,
    /// Comes back with the answer.
    pub token: u64,
    /// Whether only how many there are is asked for.
    pub counts_only: bool,
    /// Whether those are asked for that subscribers were told, and not those that are there: what they are
    /// told from then on follows that.
    pub as_told: Option<AsTold>,
}

/// Who asks for those that subscribers were told of: it has joined just before. They are told first of those
/// that have joined, as many as may be told by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsTold {
    /// On the reactor that asks.
    pub who: Subscriber,
    /// With more users than this in the channel they are not told of itself: it may not stay.
    pub users_max: u32,
}

impl MemberInfo {
    /// Bytes of the texts.
    pub fn bytes(&self) -> usize {
        let MemberInfo {
            connection,
            channel,
            has_number: _,
        } = self;
        let texts = [connection, channel].into_iter().flatten();
        texts.map(|text| text.len()).sum()
    }
}

impl Member {
    /// Whether the application has named its user by a number.
    pub fn has_number(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.has_number)
    }

    /// Bytes beside its record.
    pub fn bytes_beside(&self) -> usize {
        let user = match self.user.len() {
            ..=15 => 0,
            long => long + 2 * size_of::<usize>(),
        };
        let info = self.info.as_ref();
        user + info.map_or(0, |info| size_of::<MemberInfo>() + info.bytes())
    }
}

impl PresenceView {
    /// Of a channel in which there is none.
    pub fn empty() -> PresenceView {
        PresenceView {
            counts: PresenceCounts::default(),
            is_truncated: false,
            members: [].into(),
            told: 0,
        }
    }

    /// Bytes that go with it.
    pub fn bytes(&self) -> usize {
        let beside = self.members.iter().map(Member::bytes_beside);
        size_of_val(&*self.members) + beside.sum::<usize>()
    }
}

impl PresenceChange {
    /// That nobody has come or gone.
    pub(crate) fn none(notify: PresenceNotify) -> PresenceChange {
        PresenceChange {
            joined: Vec::new(),
            left: Vec::new(),
            counts: None,
            is_for_all: notify.is_for_all,
            tells_counts: notify.tells_counts,
            is_of_user: false,
            number: 0,
        }
    }

    /// The one user that has come or gone, and which of both, if it is that.
    pub fn user(&self) -> Option<(&Member, bool)> {
        let joined = self.joined.first().map(|member| (member, true));
        let left = || self.left.first().map(|member| (member, false));
        joined.or_else(left).filter(|_| self.is_of_user)
    }

    /// How many there are, where that is told by itself.
    pub fn told_counts(&self) -> Option<PresenceCounts> {
        self.counts.filter(|_| self.tells_counts)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let members = self.joined.iter().chain(&self.left);
        let bytes = members.map(|member| size_of::<Member>() + member.bytes_beside());
        size_of::<PresenceChange>() + bytes.sum::<usize>()
    }
}

impl PresenceOptions {
    /// Whether any channel keeps presence.
    pub(crate) fn is_on(&self) -> bool {
        self.namespaces.iter().any(Option::is_some)
    }

    /// How the channels of a namespace keep it, if they do.
    pub(crate) fn limits(&self, namespace: NamespaceId) -> Option<PresenceLimits> {
        *self.namespaces.get(usize::from(namespace.0))?
    }
}
