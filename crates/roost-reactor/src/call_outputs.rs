//! What the dealer says, carried out: items go to other reactors, the rest to the dialect of the
//! client that it is about.

use roost_dealer::{Answer, Notice, Output};
use roost_dialect::dialect::Event;
use roost_net::ConnKey;

use crate::connections::Phase;
use crate::core::Core;
use crate::dialogue::notify;
use crate::peer_message::PeerMessage;
use crate::session_events::note_registration;

/// Does what the dealer wants so far; what follows from it may make it want more.
pub(crate) fn apply_all(core: &mut Core) {
    if !core.calls.has_outputs() {
        return;
    }
    let mut outputs = core.calls.take_outputs();
    for output in outputs.drain(..) {
        match output {
            Output::ToReactor(to, item) => {
                let links = core.channels.links_mut();
                links.send(to, PeerMessage::Call(Box::new(item)));
            }
            Output::Registration(event) => note_registration(core, *event),
            Output::ToClient(client, notice) => {
                let key = ConnKey::from_bits(client.0);
                // What came before may have closed it.
                let conn = core.connections.get(key);
                if conn.is_some_and(|conn| conn.phase == Phase::Open) {
                    if let Notice::Answer {
                        answer: Answer::Failed(_),
                        ..
                    } = notice
                    {
                        core.counters.calls_failed_total.inc();
                    }
                    notify(core, key, Event::Dealer(&notice));
                }
            }
        }
    }
    core.calls.return_outputs(outputs);
}

/// Answers the calls that are overdue.
pub(crate) fn keep_call_deadlines(core: &mut Core) {
    let now = core.now();
    if core.calls.due() <= now {
        core.calls.expire(now);
    }
}
