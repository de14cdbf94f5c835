//! Proxies that forward requests of others.

use std::net::IpAddr;

use roost_wire::forwarded::ForwardedHeader;

use roost_config::Network;

/// How proxies say whose requests they forward, and which may.
#[derive(Debug, Clone)]
pub struct Forwarded {
    /// Where they say so.
    pub header: ForwardedHeader,
    /// The proxies' networks; a unix socket's clients all may.
    pub from: Vec<Network>,
}

impl Forwarded {
    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        self.from.iter().any(|network| network.contains(address))
    }
}
