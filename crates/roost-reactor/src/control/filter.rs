//! Which connections a listing has.

use std::net::IpAddr;

use roost_access::UserName;
use roost_hub::ChannelId;

use super::described::ConnectionFilter;
use crate::connections::{Connections, Phase};
use crate::core::Core;

/// A filter made ready for one reactor and one slice.
pub(super) struct Sieve<'a> {
    filter: &'a ConnectionFilter,
    /// The filter's channel, if one subscribes to it here.
    channel: Option<ChannelId>,
}

impl<'a> Sieve<'a> {
    /// `None`: there is no such connection here.
    pub(super) fn new(filter: &'a ConnectionFilter, core: &Core) -> Option<Sieve<'a>> {
        let channel = match &filter.channel {
            Some(name) => Some(core.channels.find(name)?),
            None => None,
        };
        Some(Sieve { filter, channel })
    }

    /// Whether the connection in `slot` is listed. `address` is asked last: it may be a system call.
    pub(super) fn admits(
        &self,
        core: &Core,
        slot: u32,
        in_flight_bytes: impl FnOnce() -> usize,
        address: impl FnOnce() -> Option<IpAddr>,
    ) -> bool {
        let connections: &Connections = &core.connections;
        let conn = connections
            .key_at(slot)
            .and_then(|key| connections.get(key));
        let Some(conn) = conn else {
            return false;
        };
        let ConnectionFilter {
            user,
            channel: _, // by its number
            address: network,
            dialect,
            is_waiting,
        } = self.filter;
        let is_user = |user: &UserName| {
            let own = connections.identities().get(slot);
            own.map_or("", |own| &own.user) == user
        };
        let is_subscribed = |channel| {
            conn.phase >= Phase::Joining
                && core
                    .sessions
                    .is_subscribed(conn.dialect, conn.session, channel)
        };
        dialect
            .as_deref()
            .is_none_or(|dialect| dialect == conn.dialect.name())
            && user.as_ref().is_none_or(is_user)
            && self.channel.is_none_or(is_subscribed)
            && (!is_waiting || connections.outboxes().get(conn).is_some() || in_flight_bytes() > 0)
            && network
                .as_ref()
                .is_none_or(|network| address().is_some_and(|own| network.contains(own)))
    }
}
