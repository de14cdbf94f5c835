//! One session: from before its `connect` to the end of its connection.

use std::sync::Arc;

use roost_access::UserName;
use roost_hub::ChannelId;

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
            self.known = None;
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
        } = known.map(|known| *known).unwrap_or_default();
        SessionState {
            client,
            user,
            subscriptions: subscriptions.into_list(),
        }
    }

    /// The session that [`Session::into_state`] took apart.
    pub(super) fn from_state(state: SessionState) -> Session {
        let SessionState {
            client,
            user,
            subscriptions,
        } = state;
        let known = (!user.is_empty()).then(|| {
            Box::new(Known {
                user,
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
            size_of::<Known>() + details
        });
        known + self.subscriptions.heap_bytes()
    }
}
