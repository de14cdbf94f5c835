//! One session: an application's client, what it is subscribed to, and as whom.

use std::collections::BTreeSet;
use std::sync::Arc;

use roost_access::UserName;
use roost_hub::{ChannelId, MemberInfo};

use super::kind::Kind;

/// What is kept of every session.
#[derive(Debug)]
pub(super) struct Session {
    /// The client's number, of which its socket id is made.
    pub(super) client: u64,
    /// The application's place in the settings, or why there is none, as the terms have it.
    pub(super) app: u8,
    /// The application has signed something for it.
    pub(super) is_authorized: bool,
    /// The first of its channels; most sessions have no more.
    first: Option<ChannelId>,
    /// The others.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes in each record instead of 24: few have more than one"
    )]
    more: Option<Box<BTreeSet<ChannelId>>>,
    known: Option<Box<Known>>,
}

const _: () = assert!(size_of::<Session>() <= 40);

/// What is kept of some.
#[derive(Debug, Default)]
struct Known {
    /// As whom the client has signed in; empty before.
    user: UserName,
    /// Subscriptions that are not answered, in the order in which they were asked for.
    pending: Vec<Pending>,
    /// Presence channels.
    members: Vec<Membership>,
}

/// A subscription that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Of the command.
    pub token: u64,
    /// The channel's whole name.
    pub name: Box<str>,
    /// Its number, once that is known.
    pub channel: Option<ChannelId>,
    /// What it is.
    pub kind: Kind,
    /// As whom, of a presence channel.
    pub member: Option<(UserName, Option<Arc<MemberInfo>>)>,
    /// The channel's last event, of one that remembers it and is not answered as long as its members are not
    /// known.
    pub cached: Option<Box<[u8]>>,
}

/// A presence channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its number.
    pub channel: ChannelId,
    /// Its whole name.
    pub name: Box<str>,
    /// As whom the client is in it.
    pub user_id: UserName,
    /// What is said of that user.
    pub info: Option<Arc<MemberInfo>>,
    /// Which of the channel's changes was the last that was told before the client was answered.
    pub told: u64,
}

impl Membership {
    /// Whether the application has named the user by a number.
    pub(super) fn has_number(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.has_number)
    }

    /// What is said of the user, as JSON.
    pub(super) fn info(&self) -> Option<&str> {
        self.info.as_ref()?.channel.as_deref()
    }
}

/// A session as plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// The client's number.
    pub client: u64,
    /// The application's place in the settings, or why there is none.
    pub app: u8,
    /// The application has signed something for it.
    pub is_authorized: bool,
    /// Its channels, those included that are not answered.
    pub channels: Vec<ChannelId>,
    /// As whom it has signed in; empty before.
    pub user: UserName,
    /// What is not answered.
    pub pending: Vec<Pending>,
    /// Its presence channels.
    pub members: Vec<Membership>,
}

impl Session {
    pub(super) fn new(app: u8) -> Session {
        Session {
            client: 0,
            app,
            is_authorized: false,
            first: None,
            more: None,
            known: None,
        }
    }

    /// As whom the client has signed in; empty before.
    pub(super) fn user(&self) -> &str {
        self.known.as_ref().map_or("", |known| &known.user)
    }

    pub(super) fn sign_in(&mut self, user: UserName) {
        self.known.get_or_insert_default().user = user;
    }

    /// Adds a channel. False if it is here already.
    #[must_use]
    pub(super) fn add(&mut self, channel: ChannelId) -> bool {
        if self.has(channel) {
            return false;
        }
        match self.first {
            None => self.first = Some(channel),
            Some(_) => _ = self.more.get_or_insert_default().insert(channel),
        }
        true
    }

    /// Takes a channel out, with all that is kept of it.
    pub(super) fn remove(&mut self, channel: ChannelId) {
        if self.first == Some(channel) {
            self.first = self.more.as_mut().and_then(|more| more.pop_first());
        } else if let Some(more) = &mut self.more {
            more.remove(&channel);
        }
        if self.more.as_ref().is_some_and(|more| more.is_empty()) {
            self.more = None;
        }
        if let Some(known) = &mut self.known {
            known.pending.retain(|one| one.channel != Some(channel));
            known.members.retain(|one| one.channel != channel);
        }
        self.forget_nothing();
    }

    /// One of its channels, if there is one.
    pub(super) fn any(&self) -> Option<ChannelId> {
        self.first
    }

    pub(super) fn has(&self, channel: ChannelId) -> bool {
        let more = self.more.as_ref();
        self.first == Some(channel) || more.is_some_and(|more| more.contains(&channel))
    }

    /// Whether it is subscribed to a channel, has been told so, and is no member there.
    pub(super) fn is_plain(&self, channel: ChannelId) -> bool {
        let mut pending = self.known.iter().flat_map(|known| &known.pending);
        self.has(channel)
            && self.membership(channel).is_none()
            && !pending.any(|pending| pending.channel == Some(channel))
    }

    pub(super) fn each(&self, visit: &mut dyn FnMut(ChannelId)) {
        let more = self.more.iter().flat_map(|more| more.iter());
        self.first.iter().chain(more).copied().for_each(visit);
    }

    /// Channels, those included of which no number is known yet.
    pub(super) fn len(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| more.len());
        let pending = self.known.iter().flat_map(|known| &known.pending);
        let unnumbered = pending.filter(|pending| pending.channel.is_none()).count();
        usize::from(self.first.is_some()) + more + unnumbered
    }

    /// A subscription is under way.
    pub(super) fn begin(&mut self, pending: Pending) {
        self.known.get_or_insert_default().pending.push(pending);
    }

    pub(super) fn pending(&mut self, token: u64) -> Option<&mut Pending> {
        let mut pending = self.known.as_mut()?.pending.iter_mut();
        pending.find(|pending| pending.token == token)
    }

    /// It is answered.
    pub(super) fn end(&mut self, token: u64) -> Option<Pending> {
        let known = self.known.as_mut()?;
        let at = known.pending.iter().position(|one| one.token == token)?;
        let ended = known.pending.remove(at);
        self.forget_nothing();
        Some(ended)
    }

    /// The client is a member of a presence channel now.
    pub(super) fn join(&mut self, membership: Membership) -> &Membership {
        let members = &mut self.known.get_or_insert_default().members;
        members.push(membership);
        members.last().expect("it was pushed")
    }

    /// As whom it is in a channel, by number.
    pub(super) fn membership(&self, channel: ChannelId) -> Option<&Membership> {
        let mut members = self.known.as_ref()?.members.iter();
        members.find(|one| one.channel == channel)
    }

    /// The same by the channel's whole name.
    pub(super) fn membership_of(&self, name: &str) -> Option<&Membership> {
        let mut members = self.known.as_ref()?.members.iter();
        members.find(|one| &*one.name == name)
    }

    /// What is kept of some sessions is not kept of one that has nothing of it.
    fn forget_nothing(&mut self) {
        let is_nothing = self.known.as_ref().is_some_and(|known| {
            known.user.is_empty() && known.pending.is_empty() && known.members.is_empty()
        });
        if is_nothing {
            self.known = None;
        }
    }

    /// Takes the session apart, field by field.
    pub(super) fn into_state(self) -> SessionState {
        let mut channels = Vec::new();
        self.each(&mut |channel| channels.push(channel));
        let Session {
            client,
            app,
            is_authorized,
            first: _, // among the channels
            more: _,
            known,
        } = self;
        let Known {
            user,
            pending,
            members,
        } = known.map(|known| *known).unwrap_or_default();
        SessionState {
            client,
            app,
            is_authorized,
            channels,
            user,
            pending,
            members,
        }
    }

    /// The session that [`Session::into_state`] took apart.
    pub(super) fn from_state(state: SessionState) -> Session {
        let SessionState {
            client,
            app,
            is_authorized,
            channels,
            user,
            pending,
            members,
        } = state;
        let mut session = Session::new(app);
        session.client = client;
        session.is_authorized = is_authorized;
        for channel in channels {
            let _ = session.add(channel);
        }
        session.known = Some(Box::new(Known {
            user,
            pending,
            members,
        }));
        session.forget_nothing();
        session
    }

    /// Heap bytes, nearly: nodes of a B-tree are three quarters full at a guess.
    pub(super) fn heap_bytes(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            size_of::<BTreeSet<ChannelId>>() + more.len() * size_of::<ChannelId>() * 4 / 3
        });
        let known = self.known.as_ref().map_or(0, |known| {
            let pending = known.pending.iter().map(|one| one.name.len());
            let members = known.members.iter().map(|one| one.name.len());
            size_of::<Known>()
                + known.pending.capacity() * size_of::<Pending>()
                + known.members.capacity() * size_of::<Membership>()
                + pending.chain(members).sum::<usize>()
        });
        more + known
    }
}
