//! Clients that show no token, and whom a certificate names that TLS has verified.

use roost_access::{Identity, Method, Provider, TokenMark};
use roost_net::ConnKey;
use roost_tls::ClientName;

use crate::clock::tick_in;
use crate::core::Core;

/// What such a client is known as from now on.
///
/// # Errors
/// Why it is not let in.
pub(crate) fn identity(
    core: &Core,
    key: ConnKey,
    client: ClientName,
) -> Result<Identity, &'static str> {
    let listener = core.listener(key);
    // A connection may have been open for long before it asks for a WebSocket.
    let setup = listener.tls.as_ref().map(|setup| setup.current());
    let left_s = setup.and_then(|setup| setup.time_left(&client));
    let left_s = left_s.ok_or(EXPIRED)?;
    let ClientName {
        name,
        not_before,
        not_after: _,
    } = client;
    let now = core.now();
    let identity = Identity {
        user: (&*name).into(),
        permissions: listener.client_permissions.clone(),
        expires: Some(tick_in(now, left_s.saturating_mul(1000))),
        method: Method::Certificate,
        provider: Provider::Static,
        token: TokenMark {
            id: [0; 8],
            issued_at: u32::try_from(not_before).unwrap_or(u32::MAX),
        },
    };
    match core.revocations.is_revoked(&identity, now) {
        true => Err(REVOKED),
        false => Ok(identity),
    }
}

const EXPIRED: &str = "The client certificate is not valid at this time.";
const REVOKED: &str = "The user of the client certificate is revoked.";
