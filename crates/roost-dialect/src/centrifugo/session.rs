//! One session: from before its `connect` to the end of its connection.

use std::sync::Arc;

use roost_access::UserName;
use roost_hub::ChannelId;

use super::members::Told;
use super::reply::{client_id, client_info};
use super::subscriptions::Subscriptions;
use crate::PublishDetails;
use crate::dialect::TokenOutcome;

/// What is kept of every session.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) subscriptions: Subscriptions,
    /// The client's id, of which [`client_id`] makes what it is told; 0 before it has connected.
    client: u64,
    /// Of a client that has a name, that publishes, or whose token is being checked.
    known: Option<Box<Known>>,
}

const _: () = assert!(size_of::<Session>() <= 32);

/// What is kept of some.
#[derive(Debug, Default)]
struct Known {
    user: UserName,
    /// What became of the token of the command that is drawn next.
    outcome: Option<TokenOutcome>,
    /// What goes with all that it publishes.
    details: Option<Arc<PublishDetails>>,
    /// Of which channels it is told who comes and who leaves.
    told: Told,
}

/// A session as plain values. The outcome of a check that nothing was drawn with yet is not among them: it
/// is asked for again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The client's id; 0 before it has connected.
    pub client: u64,
    /// Its user; empty of an anonymous one.
    pub user: UserName,
    /// Its channels, each with the number of the command that subscribes to it, 0 once that is done.
    pub subscriptions: Vec<(ChannelId, u32)>,
    /// Those of which it is told who comes and who leaves.
    pub told: Vec<ChannelId>,
}

impl Session {
    pub(super) fn is_connected(&self) -> bool {
        self.client != 0
    }

    /// The client has connected under this id, which is not 0.
    pub(super) fn connect(&mut self, client: u64, user: UserName) {
        debug_assert!(client != 0 && !self.is_connected(), "it connects once");
        self.client = client;
        if user.is_empty() {
            self.known = None; // it has subscribed to nothing before
        } else {
            self.known.get_or_insert_default().user = user;
        }
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
        let Known { user, details, .. } = &mut **self.known.get_or_insert_default();
        let details = details.get_or_insert_with(|| {
            Arc::new(PublishDetails {
                client_info: Some(client_info(user, &client_id(client))),
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
        } = self;
        let Known {
            user,
            outcome: _, // asked for again
            details: _, // made again
            told,
        } = known.map(|known| *known).unwrap_or_default();
        SessionState {
            client,
            user,
            subscriptions: subscriptions.into_list(),
            told: told.into_list(),
        }
    }

    /// The session that [`Session::into_state`] took apart.
    pub(super) fn from_state(state: SessionState) -> Session {
        let SessionState {
            client,
            user,
            subscriptions,
            told,
        } = state;
        let known = (!user.is_empty() || !told.is_empty()).then(|| {
            Box::new(Known {
                user,
                told: Told::from_list(told),
                ..Known::default()
            })
        });
        Session {
            subscriptions: Subscriptions::from_list(subscriptions),
            client,
            known,
        }
    }

    /// Heap bytes, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        let known = self.known.as_ref().map_or(0, |known| {
            let info = known.details.as_ref();
            let info = info.and_then(|details| details.client_info.as_ref());
            let details = info.map_or(0, |info| size_of::<PublishDetails>() + info.len());
            size_of::<Known>() + details + known.told.heap_bytes()
        });
        known + self.subscriptions.heap_bytes()
    }
}
