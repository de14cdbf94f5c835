//! What homes say of histories, told to the clients that wait for it, and what these have sent behind.

use crate::commands::go_on;
use crate::connections::{Flags, Phase};
use crate::core::Core;
use crate::history_asks::HistoryAnswer;
use crate::history_reads::tell;
use crate::input::read_again;

/// A home has answered.
pub(crate) fn handle_answer(core: &mut Core, answer: HistoryAnswer) {
    let HistoryAnswer { asker, page } = answer;
    let Some(waiting) = core.history_asks.take(asker) else {
        return; // its connection has ended
    };
    let key = asker.key;
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if conn.phase != Phase::Open {
        return;
    }
    conn.flags.clear(Flags::PAUSED); // so that what follows may pause it anew
    tell(core, key, waiting.token, &page);
    if let Some(rest) = waiting.rest {
        go_on(core, key, &rest);
    }
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    if !conn.flags.has(Flags::PAUSED) {
        conn.flags.set(Flags::PAUSED);
        read_again(core, key);
    }
}
