//! Holds clients that have been challenged to the time they have to answer.

use roost_dialect::dialect::Event;
use roost_net::ConnKey;

use crate::connections::Phase;
use crate::core::Core;
use crate::dialogue::{await_authentication, notify};

/// A client has been challenged.
pub(crate) fn begin(core: &mut Core, key: ConnKey) {
    await_authentication(core, key);
}

/// Gives up those that have not answered in time: by the time until which all sockets have been read,
/// so that a pause of the process makes no answer late.
pub(crate) fn keep_login_deadlines(core: &mut Core) {
    let until = core.connections.clock().input_until;
    while let Some(key) = core.logins.pop_due(until) {
        let conn = core.connections.get(key);
        // One that has shown a token has a deadline of its own.
        let is_checked = core.token_checks.awaits(key.slot());
        if conn.is_some_and(|conn| conn.phase == Phase::Open) && !is_checked {
            notify(core, key, Event::AuthenticationOver(TOO_LATE));
        }
    }
}

const TOO_LATE: &str = "AUTHENTICATE has not come in time.";
