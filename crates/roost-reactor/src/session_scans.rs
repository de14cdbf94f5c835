//! How questions about sessions are answered: each reactor looks through its connections, a slice in a
//! loop iteration, and the one that was asked puts together what they have found.

use std::sync::Arc;

use roost_access::{Operation, PatternRef};
use roost_dealer::{Answer, Notice};
use roost_dialect::dialect::{Event, Member, SessionAct, SessionQuery, SessionSelect};
use roost_dialect::wamp::{meta, uri};
use roost_dialect::{Arguments, CallBody, CallBodyRef, PayloadRef};
use roost_hub::ReactorId;
use roost_net::ConnKey;
use roost_wire::CloseCode;

use crate::closing::{note_end, start_close};
use crate::connections::Phase;
use crate::core::Core;
use crate::dialogue::notify;
use crate::hub_outputs;
use crate::incidents::EndCause;
use crate::peer_message::PeerMessage;
use crate::permissions;
use crate::session_queries::{Found, LISTED_MAX, Open, Scan};

/// A client calls a procedure of the router's.
pub(crate) fn ask(
    core: &mut Core,
    key: ConnKey,
    (procedure, takes_permission): (&str, bool),
    request: u64,
    query: SessionQuery,
) {
    let asked = PatternRef::name(procedure);
    let may_ask = match takes_permission {
        true => permissions::is_granted(core, key, procedure, request),
        false => {
            !core.restricts_procedures
                || permissions::allows(core, key, Operation::Call, asked, request)
        }
    };
    if may_ask {
        begin(core, key, request, query);
    }
}

/// All reactors are asked.
fn begin(core: &mut Core, key: ConnKey, request: u64, query: SessionQuery) {
    let query = Arc::new(query);
    let open = Open {
        key,
        request,
        query: query.clone(),
        awaits: core.reactors,
        found: Found::default(),
    };
    let Some(number) = core.session_queries.open(open) else {
        let message = "The router answers as many such calls as it may; try again.";
        return tell(core, key, request, error(uri::UNAVAILABLE, message));
    };
    let me = core.channels.me();
    let all = (0..core.reactors).map(|reactor| u8::try_from(reactor).expect("at most 255"));
    for to in all.map(ReactorId).filter(|to| *to != me) {
        let message = PeerMessage::SessionQuery(Box::new((number, query.clone())));
        core.channels.links_mut().send(to, message);
    }
    look_into(core, me, number, query);
}

/// A reactor is asked.
pub(crate) fn look_into(core: &mut Core, from: ReactorId, number: u32, query: Arc<SessionQuery>) {
    core.session_queries.push(Scan {
        from,
        number,
        query,
        next_slot: 0,
        found: Found::default(),
    });
}

/// Goes on with one of the questions, by a slice of the table.
#[inline(never)]
pub(crate) fn scan_slice(core: &mut Core) {
    let Some(mut scan) = core.session_queries.pop() else {
        return;
    };
    let query = scan.query.clone();
    let end = scan.next_slot.saturating_add(SLICE_SLOTS);
    let end = end.min(core.connections.slots());
    let mut killed = 0;
    while scan.next_slot < end && killed < KILLED_MAX {
        let slot = scan.next_slot;
        scan.next_slot += 1;
        let Some((key, member)) = selected(core, slot, &query) else {
            continue;
        };
        scan.found.count += 1;
        match &query.act {
            SessionAct::List if scan.found.sessions.len() < LISTED_MAX => {
                scan.found.sessions.push(member.session);
            }
            SessionAct::List | SessionAct::Count => {}
            SessionAct::Get => {
                let identity = core.connections.identities().get(slot);
                scan.found.details = Some(meta::details_of(member, identity).into());
            }
            SessionAct::Kill { reason, message } => {
                kill(core, key, reason, message);
                killed += 1;
            }
        }
    }
    if scan.next_slot < core.connections.slots() {
        return core.session_queries.push(scan);
    }
    if scan.from == core.channels.me() {
        return handle_found(core, scan.number, scan.found);
    }
    let message = PeerMessage::SessionsFound(Box::new((scan.number, scan.found)));
    core.channels.links_mut().send(scan.from, message);
}

/// The connection in a slot, if a question is about it.
fn selected(core: &Core, slot: u32, query: &SessionQuery) -> Option<(ConnKey, Member)> {
    let key = core.connections.key_at(slot)?;
    let conn = core.connections.get(key)?;
    if conn.phase != Phase::Open {
        return None;
    }
    let member = core.sessions.member(conn.dialect, conn.session)?;
    let is_killed = matches!(query.act, SessionAct::Kill { .. });
    if member.realm != query.realm || (is_killed && member.session == query.caller) {
        return None;
    }
    let identity = core.connections.identities().get(slot);
    let role = meta::role_of(identity);
    let is_selected = match &query.select {
        SessionSelect::All => true,
        SessionSelect::Session(session) => *session == member.session,
        SessionSelect::AuthId(authid) => **authid == *meta::authid_of(member, identity),
        SessionSelect::Roles(roles) => roles.iter().any(|one| **one == *role),
    };
    is_selected.then_some((key, member))
}

fn kill(core: &mut Core, key: ConnKey, reason: &str, message: &str) {
    note_end(core, key, EndCause::Disconnected, reason);
    notify(core, key, Event::Killed { reason, message });
    start_close(core, key, CloseCode::POLICY_VIOLATION, reason);
    core.counters.connections_disconnected_total.inc();
    hub_outputs::apply(core);
}

/// A reactor has looked through its connections.
pub(crate) fn handle_found(core: &mut Core, number: u32, found: Found) {
    if let Some(open) = core.session_queries.add_found(number, found) {
        let answer = answer_to(&open.query, open.found);
        tell(core, open.key, open.request, answer);
    }
}

fn answer_to(query: &SessionQuery, found: Found) -> Answer<CallBody> {
    let is_one = matches!(query.select, SessionSelect::Session(_));
    if is_one && found.count == 0 {
        let message = "No session of this realm has this number.";
        return error(uri::NO_SUCH_SESSION, message);
    }
    let is_cut = found.count > found.sessions.len() as u64;
    let args = match (&query.act, found.details) {
        (SessionAct::List, _) => meta::list_args(&found.sessions),
        (SessionAct::Get, Some(details)) => format!("[{details}]"),
        (SessionAct::Kill { .. }, _) if is_one => "[]".to_owned(),
        _ => format!("[{}]", found.count),
    };
    let kwargs = (query.act == SessionAct::List && is_cut).then_some("{\"is_cut\":true}");
    Answer::Result(body(Arguments::json(Some(&args), kwargs), None))
}

/// An answer that is an error.
pub(crate) fn error(uri: &str, message: &str) -> Answer<CallBody> {
    let args = meta::text_args(message);
    Answer::Error(body(Arguments::json(Some(&args), None), Some(uri)))
}

/// What an answer carries.
pub(crate) fn body(arguments: Arguments<'_>, error: Option<&str>) -> CallBody {
    let body = CallBodyRef {
        payload: PayloadRef::Wamp(arguments),
        caller: None,
        error: error.map(Into::into),
    };
    body.freeze()
}

/// Answers a call, if its caller is still there.
pub(crate) fn tell(core: &mut Core, key: ConnKey, request: u64, answer: Answer<CallBody>) {
    let conn = core.connections.get(key);
    if conn.is_some_and(|conn| conn.phase == Phase::Open) {
        let notice = Notice::Answer { request, answer };
        notify(core, key, Event::Dealer(&notice));
    }
}

/// Slots of the table that are visited in one loop iteration.
const SLICE_SLOTS: u32 = 1024;
/// Connections closed in one loop iteration.
const KILLED_MAX: u32 = 64;
