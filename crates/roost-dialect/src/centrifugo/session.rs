//! One session: from before its `connect` to the end of its connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roost_access::UserName;
use roost_hub::{ChannelId, MemberInfo};

use super::client::{client_id, client_info};
use super::connecting::Connecting;
use super::members::Told;
use super::subscriptions::Subscriptions;
use super::transport::Transport;
use crate::dialect::TokenOutcome;
use crate::{Form, PublishDetails};

/// What is kept of every session.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) subscriptions: Subscriptions,
    /// The client's id, of which [`client_id`] makes what it is told; 0 before it has connected.
    client: u64,
    /// Of a client that has a name, that publishes, or whose token is being checked.
    known: Option<Box<Known>>,
    /// In what encoding, and by what. It has room where the table's entry would have its tag.
    transport: Transport,
}

/// An entry of the sessions' table, as `slab` has it.
#[expect(dead_code, reason = "it has the size that an entry has")]
enum Entry {
    Vacant(usize),
    Occupied(Session),
}

/// An entry of the sessions' table, in bytes.
pub(super) const SESSION_BYTES: usize = size_of::<Entry>();

const _: () = assert!(SESSION_BYTES <= 40);

/// What is kept of some.
#[derive(Debug, Default)]
struct Known {
    user: UserName,
    /// What others are told of it beside that, as a member of channels.
    info: Option<Arc<MemberInfo>>,
    /// The same of the subscription that is asked for now.
    channel_info: Option<Arc<str>>,
    /// What became of the token of the command that is drawn next.
    outcome: Option<TokenOutcome>,
    /// What goes with all that it publishes.
    details: Option<Arc<PublishDetails>>,
    /// Of which channels it is told who comes and who leaves.
    told: Told,
    /// Of its channels, those that the server has subscribed it to.
    served: BTreeSet<ChannelId>,
    /// Those of which it is to be told so, by the numbers of their tokens.
    announced: BTreeMap<u32, Box<str>>,
    /// What few of these have.
    rare: Option<Box<Rare>>,
    /// By what name it sends, where that is by requests of their own.
    emulation: Box<str>,
}

impl Known {
    /// Frees what is empty.
    fn trim(&mut self) {
        let is_empty = |rare: &Rare| rare.connecting.is_none() && rare.deltas.is_empty();
        self.rare.take_if(|rare| is_empty(rare));
    }
}

/// What is kept of few.
#[derive(Debug, Default)]
struct Rare {
    /// A `connect` that waits for subscriptions that the server makes.
    connecting: Option<Box<Connecting>>,
    /// The channels of whose publications the client gets deltas.
    deltas: BTreeSet<ChannelId>,
}

/// A session as plain values. The outcome of a check that nothing was drawn with yet is not among them: it
/// is asked for again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The client's id; 0 before it has connected.
    pub client: u64,
    /// Its user; empty of an anonymous one.
    pub user: UserName,
    /// What others are told of it beside that.
    pub info: Option<Arc<MemberInfo>>,
    /// Its channels, each with the number of the command that subscribes to it, 0 once that is done.
    pub subscriptions: Vec<(ChannelId, u32)>,
    /// Those of which it is told who comes and who leaves.
    pub told: Vec<ChannelId>,
    /// Those that the server has subscribed it to.
    pub served: Vec<ChannelId>,
    /// Those of whose publications it gets deltas.
    pub deltas: Vec<ChannelId>,
    /// What it is sent by.
    pub transport: Transport,
    /// By what name it sends, where that is by requests of their own; else empty.
    pub emulation: Box<str>,
}

impl Session {
    pub(super) fn is_connected(&self) -> bool {
        self.client != 0
    }

    /// The client has connected under this id, which is not 0.
    pub(super) fn connect(&mut self, client: u64, user: UserName, info: Option<&Arc<str>>) {
        debug_assert!(client != 0 && !self.is_connected(), "it connects once");
        self.client = client;
        if user.is_empty() && info.is_none() && !self.transport().is_emulated() {
            self.known = None; // it has subscribed to nothing before
        } else {
            self.known.get_or_insert_default().user = user;
            self.set_info(info);
        }
    }

    /// What others are told of the client beside its user, from now on.
    pub(super) fn set_info(&mut self, info: Option<&Arc<str>>) {
        let before = self.known.as_ref().and_then(|known| known.info.as_deref());
        let before = before.and_then(|info| info.connection.as_deref());
        if before == info.map(|info| &**info) {
            return;
        }
        let known = self.known.get_or_insert_default();
        known.details = None;
        known.info = info.map(|info| {
            Arc::new(MemberInfo {
                connection: Some((**info).into()),
                channel: None,
                has_number: false,
            })
        });
    }

    /// The session is about to ask for a subscription, of which others are told this.
    pub(super) fn subscribes_with(&mut self, info: Option<Arc<str>>) {
        match &mut self.known {
            Some(known) => known.channel_info = info,
            None if info.is_some() => self.known.get_or_insert_default().channel_info = info,
            None => {}
        }
    }

    /// As whom the session joins the channel that it has just asked to subscribe to; `None`: there is nothing to be
    /// said beside its user.
    pub(super) fn joins_as(&self) -> Option<(UserName, Option<Arc<MemberInfo>>)> {
        let known = self.known.as_ref()?;
        let info = match (&known.info, &known.channel_info) {
            (None, None) => return None,
            (info, None) => info.clone(),
            (info, Some(channel)) => {
                let connection = info.as_ref().and_then(|info| info.connection.clone());
                Some(Arc::new(MemberInfo {
                    connection,
                    channel: Some((**channel).into()),
                    has_number: false,
                }))
            }
        };
        Some((known.user.clone(), info))
    }

    /// A session whose client is sent what it gets by this.
    pub(super) fn of(transport: Transport) -> Session {
        Session {
            transport,
            ..Session::default()
        }
    }

    /// What its client is sent by.
    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    /// By what name its client sends from now on.
    pub(super) fn set_emulation(&mut self, name: &str) {
        self.known.get_or_insert_default().emulation = name.into();
    }

    /// By what name its client sends, if that is by requests of their own.
    pub(super) fn emulation(&self) -> Option<&str> {
        let name = self.known.as_ref().map(|known| &*known.emulation);
        name.filter(|name| !name.is_empty())
    }

    /// The `connect` that waits for subscriptions.
    pub(super) fn connecting(&mut self) -> Option<&mut Connecting> {
        let rare = self.known.as_mut()?.rare.as_mut()?;
        rare.connecting.as_deref_mut()
    }

    /// Takes it out, to be put back.
    pub(super) fn take_connecting(&mut self) -> Option<Box<Connecting>> {
        let known = self.known.as_mut()?;
        let connecting = known.rare.as_mut()?.connecting.take();
        known.trim();
        connecting
    }

    /// A `connect` waits for subscriptions.
    pub(super) fn set_connecting(&mut self, connecting: Box<Connecting>) {
        self.rare().connecting = Some(connecting);
    }

    /// It waits no longer.
    pub(super) fn end_connecting(&mut self) {
        self.take_connecting();
        let is_plain = |known: &Known| {
            known.user.is_empty()
                && known.info.is_none()
                && known.told.is_empty()
                && known.served.is_empty()
                && known.rare.is_none()
                && known.details.is_none()
                && known.emulation.is_empty()
        };
        self.known = self.known.take().filter(|known| !is_plain(known));
    }

    /// The server subscribes the session to a channel of this name: the number of its token. `None` before the
    /// client has connected.
    pub(super) fn announce(&mut self, name: &str) -> Option<u32> {
        if !self.is_connected() || self.connecting().is_some() {
            return None;
        }
        let announced = &mut self.known.get_or_insert_default().announced;
        let last = announced
            .last_key_value()
            .map_or(FIRST_ANNOUNCED, |(&last, _)| last);
        let next = last.checked_add(1).filter(|next| *next < LAST_ANNOUNCED)?;
        announced.insert(next, name.into());
        Some(next)
    }

    /// Takes out the name of a channel that the session is now subscribed to, or is not to be after all.
    pub(super) fn take_announced(&mut self, number: u32) -> Option<Box<str>> {
        self.known.as_mut()?.announced.remove(&number)
    }

    /// The server has subscribed the session to a channel.
    pub(super) fn serve(&mut self, channel: ChannelId) {
        self.known.get_or_insert_default().served.insert(channel);
    }

    /// Whether it was the server that has subscribed the session to a channel.
    pub(super) fn is_served(&self, channel: ChannelId) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| known.served.contains(&channel))
    }

    /// As whom it has connected; empty of an anonymous client.
    pub(super) fn user(&self) -> &str {
        self.known.as_ref().map_or("", |known| &known.user)
    }

    /// The client's id as it is told.
    pub(super) fn client_id(&self) -> String {
        client_id(self.client)
    }

    /// The client's number; `None` before it has connected.
    pub(super) fn client(&self) -> Option<u64> {
        (self.client != 0).then_some(self.client)
    }

    /// A command that subscribes asks to be told who comes to the channel and who leaves it.
    pub(super) fn ask_to_be_told(&mut self, command: u32) {
        self.known.get_or_insert_default().told.ask(command);
    }

    /// A command that subscribes is answered.
    pub(super) fn subscribed(&mut self, command: u32, channel: Option<ChannelId>) {
        if let Some(known) = &mut self.known {
            known.told.answer(command, channel);
        }
    }

    /// The session is not subscribed to a channel any more.
    pub(super) fn unsubscribed(&mut self, channel: ChannelId) {
        if let Some(known) = &mut self.known {
            known.told.remove(channel);
            known.served.remove(&channel);
            if let Some(rare) = &mut known.rare
                && rare.deltas.remove(&channel)
            {
                known.trim();
            }
        }
    }

    /// A subscription is under way, whose client gets deltas.
    pub(super) fn gets_deltas(&mut self, channel: ChannelId) {
        self.rare().deltas.insert(channel);
    }

    fn rare(&mut self) -> &mut Rare {
        let known = self.known.get_or_insert_default();
        known.rare.get_or_insert_default()
    }

    /// The form of its subscription to a channel.
    pub(super) fn form_of(&self, channel: ChannelId) -> Form {
        let rare = self.known.as_ref().and_then(|known| known.rare.as_ref());
        match rare.is_some_and(|rare| rare.deltas.contains(&channel)) {
            true => self.transport().delta_form(),
            false => self.transport().form(),
        }
    }

    /// Whether it is told who comes to a channel and who leaves it.
    pub(super) fn is_told(&self, channel: ChannelId) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| known.told.has(channel))
    }

    /// A token was checked, for the command that is drawn next.
    pub(super) fn keep_outcome(&mut self, outcome: TokenOutcome) {
        self.known.get_or_insert_default().outcome = Some(outcome);
    }

    /// Takes that out.
    pub(super) fn take_outcome(&mut self) -> Option<TokenOutcome> {
        self.known.as_mut()?.outcome.take()
    }

    /// What goes with a publication of the client.
    pub(super) fn details(&mut self) -> Arc<PublishDetails> {
        let client = self.client;
        let known = &mut **self.known.get_or_insert_default();
        let Known {
            user,
            info,
            details,
            ..
        } = known;
        let info = info.as_ref().and_then(|info| info.connection.as_deref());
        let details = details.get_or_insert_with(|| {
            Arc::new(PublishDetails {
                client_info: Some(client_info(user, &client_id(client), info)),
                ..PublishDetails::default()
            })
        });
        details.clone()
    }

    /// Takes the session apart, field by field.
    pub(super) fn into_state(self) -> SessionState {
        let Session {
            subscriptions,
            client,
            known,
            transport,
        } = self;
        let Known {
            user,
            info,
            channel_info: _, // of a command that was carried out at once
            outcome: _,      // asked for again
            details: _,      // made again
            told,
            served,
            announced: _, // the application asks again
            rare,
            emulation,
        } = known.map(|known| *known).unwrap_or_default();
        let Rare {
            connecting: _, // its line is drawn again
            deltas,
        } = rare.map(|rare| *rare).unwrap_or_default();
        SessionState {
            client,
            user,
            info,
            subscriptions: subscriptions.into_list(),
            told: told.into_list(),
            served: served.into_iter().collect(),
            deltas: deltas.into_iter().collect(),
            transport,
            emulation,
        }
    }

    /// The session that [`Session::into_state`] took apart.
    pub(super) fn from_state(state: SessionState) -> Session {
        let SessionState {
            client,
            user,
            info,
            subscriptions,
            told,
            served,
            deltas,
            transport,
            emulation,
        } = state;
        let has_lists = !(told.is_empty() && served.is_empty() && deltas.is_empty());
        let is_known = has_lists || !user.is_empty() || info.is_some();
        let known = (is_known || transport.is_emulated()).then(|| {
            Box::new(Known {
                user,
                info,
                told: Told::from_list(told),
                served: served.into_iter().collect(),
                rare: (!deltas.is_empty()).then(|| {
                    Box::new(Rare {
                        connecting: None,
                        deltas: deltas.into_iter().collect(),
                    })
                }),
                emulation,
                ..Known::default()
            })
        });
        Session {
            subscriptions: Subscriptions::from_list(subscriptions),
            client,
            known,
            transport,
        }
    }

    /// Heap bytes, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        let known = self.known.as_ref().map_or(0, |known| {
            let told = known.details.as_ref();
            let told = told.and_then(|details| details.client_info.as_ref());
            let details = told.map_or(0, |info| size_of::<PublishDetails>() + info.len());
            let info = known
                .info
                .as_ref()
                .and_then(|info| info.connection.as_ref());
            let info = info.map_or(0, |info| size_of::<MemberInfo>() + info.len());
            let channel_info = known.channel_info.as_ref().map_or(0, |info| info.len());
            let rare = known.rare.as_ref();
            let deltas = rare.map_or(0, |rare| rare.deltas.len());
            let served = (known.served.len() + deltas) * size_of::<ChannelId>() * 4 / 3;
            let served = served + rare.map_or(0, |_| size_of::<Rare>());
            let details = details + info + channel_info;
            size_of::<Known>() + details + known.told.heap_bytes() + served + known.emulation.len()
        });
        known + self.subscriptions.heap_bytes()
    }
}

/// Numbers of subscriptions that the application makes are behind those of a `connect`'s.
const FIRST_ANNOUNCED: u32 = 1 << 20;
const LAST_ANNOUNCED: u32 = 1 << 30;
