//! How questions about registrations and subscriptions are answered. Registrations are looked up at the home of
//! procedures, subscriptions at the homes of their topics, and subscribers on each reactor; a slice in a loop
//! iteration. The reactor that was asked puts together what they have found.

use std::sync::Arc;

use roost_access::{Operation, PatternRef};
use roost_dealer::{Answer, Match, Procedure};
use roost_dialect::dialect::{Entry, EntryAsk, EntryKind, EntryQuery};
use roost_dialect::wamp::{entries, uri};
use roost_dialect::{Arguments, CallBody};
use roost_hub::{Encoding, EncodingSet, Name, ReactorId, Subscriber};
use roost_net::ConnKey;

use crate::connections::{Codec, Phase};
use crate::core::Core;
use crate::entry_names::{entry_of, read_record, record_name};
use crate::entry_queries::{EntriesFound, EntryQuestion, EntryScan, OpenEntries};
use crate::peer_message::PeerMessage;
use crate::permissions;
use crate::realms::belongs;
use crate::session_scans::{body, error, tell};

/// A client calls a procedure of the router's.
pub(crate) fn ask(core: &mut Core, key: ConnKey, procedure: &str, request: u64, query: EntryQuery) {
    let asked = PatternRef::name(procedure);
    let may_ask = !core.restricts_procedures
        || permissions::allows(core, key, Operation::Call, asked, request);
    if !may_ask {
        return;
    }
    let query = Arc::new(query);
    let homes = homes_of(core, &query);
    let open = OpenEntries {
        key,
        request,
        query: query.clone(),
        awaits: homes.len(),
        found: EntriesFound::default(),
    };
    if homes.is_empty() {
        let answer = answer_to(open);
        return tell(core, key, request, answer);
    }
    begin(core, open, &homes, &EntryQuestion::Query(query));
}

/// The reactors that can answer a question: none where no number is like that.
fn homes_of(core: &Core, query: &EntryQuery) -> Vec<ReactorId> {
    if query.kind == EntryKind::Registration {
        return vec![core.calls.home()];
    }
    match &query.ask {
        EntryAsk::List => all_reactors(core),
        EntryAsk::Lookup(Match::Exact, name) | EntryAsk::Match(name) => {
            vec![core.channels.home_of(name)]
        }
        EntryAsk::Lookup(..) => vec![ReactorId::REGISTER],
        EntryAsk::Get(number)
        | EntryAsk::ListSessions(number)
        | EntryAsk::CountSessions(number) => {
            let home = ReactorId(number.wrapping_sub(1).to_le_bytes()[0]);
            let is_home = usize::from(home.0) < core.reactors;
            Vec::from_iter(is_home.then_some(home))
        }
    }
}

fn all_reactors(core: &Core) -> Vec<ReactorId> {
    let all = (0..core.reactors).map(|reactor| u8::try_from(reactor).expect("at most 255"));
    all.map(ReactorId).collect()
}

/// Some reactors are asked.
fn begin(core: &mut Core, open: OpenEntries, to: &[ReactorId], question: &EntryQuestion) {
    let (key, request) = (open.key, open.request);
    let Some(number) = core.entry_queries.open(open) else {
        let message = "The router answers as many such calls as it may; try again.";
        return tell(core, key, request, error(uri::UNAVAILABLE, message));
    };
    let me = core.channels.me();
    for &to in to {
        if to == me {
            look_into(core, me, number, question.clone());
            continue;
        }
        let message = PeerMessage::EntryQuery(Box::new((number, question.clone())));
        core.channels.links_mut().send(to, message);
    }
}

/// A reactor is asked.
pub(crate) fn look_into(core: &mut Core, from: ReactorId, number: u32, question: EntryQuestion) {
    core.entry_queries.push(EntryScan {
        from,
        number,
        question,
        next: 0,
        found: EntriesFound::default(),
    });
}

/// Goes on with one of the questions, by a slice of what is here.
#[inline(never)]
pub(crate) fn scan_slice(core: &mut Core) {
    let Some(mut scan) = core.entry_queries.pop() else {
        return;
    };
    let (next, found) = (scan.next, &mut scan.found);
    let next = match &scan.question {
        EntryQuestion::Subscribers(record, realm) => {
            scan_subscribers(core, (record, *realm), next, found)
        }
        EntryQuestion::Query(query) => match query.kind {
            EntryKind::Registration => scan_registrations(core, query, next, found),
            EntryKind::Subscription => scan_subscriptions(core, query, next, found),
        },
    };
    if let Some(next) = next {
        scan.next = next;
        return core.entry_queries.push(scan);
    }
    if scan.from == core.channels.me() {
        return handle_found(core, scan.number, scan.found);
    }
    let message = PeerMessage::EntriesFound(Box::new((scan.number, scan.found)));
    core.channels.links_mut().send(scan.from, message);
}

/// Looks through registrations at home here. Returns where to go on.
fn scan_registrations(
    core: &Core,
    query: &EntryQuery,
    next: u64,
    found: &mut EntriesFound,
) -> Option<u64> {
    let registrations = core.calls.registrations();
    let is_shown = |name: &str| is_shown(core, query.realm, name);
    match &query.ask {
        EntryAsk::List => {
            let (mut visited, mut last) = (0, next);
            for (number, name, matching) in registrations.behind(next).take(SLICE) {
                (visited, last) = (visited + 1, number);
                if is_shown(name) {
                    found.add(list_of(matching), number);
                }
            }
            return (visited == SLICE).then_some(last);
        }
        EntryAsk::Lookup(matching, name) => {
            let procedure = Procedure {
                name: Name::from(&**name),
                matching: *matching,
            };
            let number = registrations.find(&procedure).filter(|_| is_shown(name));
            number.into_iter().for_each(|number| found.add(0, number));
        }
        EntryAsk::Match(name) => {
            let matching = registrations.matching(name);
            let matching = matching.filter(|(_, procedure)| is_shown(&procedure.name));
            matching
                .into_iter()
                .for_each(|(number, _)| found.add(0, number));
        }
        EntryAsk::Get(number)
        | EntryAsk::ListSessions(number)
        | EntryAsk::CountSessions(number) => {
            let registration = registrations.get(*number);
            let registration = registration.filter(|one| is_shown(&one.procedure.name));
            let registration = registration?;
            for session in registrations.callees(*number) {
                found.add(0, session);
            }
            found.entry = Some(Box::new(entry_of(core, registration)));
        }
    }
    None
}

/// Looks through topics at home here. Returns where to go on.
fn scan_subscriptions(
    core: &mut Core,
    query: &EntryQuery,
    next: u64,
    found: &mut EntriesFound,
) -> Option<u64> {
    let own_realms = core.settings.dialects.wamp.own_realms.clone();
    let shown = |record: &str, encodings: EncodingSet| {
        let (matching, text) = read_record(record);
        let is_wanted = !encodings.intersection(Codec::wamp_encodings()).is_empty();
        let is_own = belongs(&own_realms, query.realm, text);
        let is_shown = is_wanted && is_own && !is_reserved(own_realms.prefixes().strip(text));
        is_shown.then_some(matching)
    };
    let mut entries = core.channels.hub_mut().entries();
    match &query.ask {
        EntryAsk::List => {
            let next = u32::try_from(next).unwrap_or(u32::MAX);
            let end = entries.end().min(next.saturating_add(PLACES));
            for entry in (next..end).filter_map(|place| entries.at(place)) {
                if let Some(matching) = shown(entry.name, entry.encodings) {
                    found.add(list_of(matching), entry.topic);
                }
            }
            return (end < entries.end()).then_some(u64::from(end));
        }
        EntryAsk::Lookup(matching, text) => {
            let record = record_name(*matching, text)?;
            let entry = entries.named(&record)?;
            if shown(entry.name, entry.encodings).is_some() {
                found.add(0, entry.topic);
            }
        }
        EntryAsk::Match(name) => {
            let record = record_name(Match::Exact, name)?;
            let exact = entries.named(&record);
            let exact = exact.filter(|entry| shown(entry.name, entry.encodings).is_some());
            exact
                .into_iter()
                .for_each(|entry| found.add(0, entry.topic));
            // A pattern that matches a realm's name is the realm's.
            if belongs(&own_realms, query.realm, name) {
                let matching = entries.matching(name);
                matching.into_iter().for_each(|number| found.add(0, number));
            }
        }
        EntryAsk::Get(number)
        | EntryAsk::ListSessions(number)
        | EntryAsk::CountSessions(number) => {
            let entry = entries.numbered(*number)?;
            let matching = shown(entry.name, entry.encodings)?;
            let (_, text) = read_record(entry.name);
            found.count = 1;
            found.record = Some(Name::from(entry.name));
            found.entry = Some(Box::new(Entry {
                number: entry.topic,
                uri: own_realms.prefixes().strip(text).into(),
                matching,
                policy: None,
                created: None, // a channel's record has no room for it
            }));
        }
    }
    None
}

/// Looks through the subscribers here to one channel or pattern. Returns where to go on: encoding and slot.
fn scan_subscribers(
    core: &Core,
    (record, realm): (&Name, u16),
    next: u64,
    found: &mut EntriesFound,
) -> Option<u64> {
    let channel = core.channels.find(record)?;
    let (first, slot) = (next >> 32, next & u64::from(u32::MAX));
    let first = u8::try_from(first).ok()?;
    let slot = u32::try_from(slot).ok()?;
    let encoding = Codec::wamp_encodings().iter().find(|one| one.0 >= first)?;
    let from = match encoding.0 == first {
        true => Subscriber(slot),
        false => Subscriber(0),
    };
    let (mut visited, mut last) = (0, from.0);
    for who in core
        .channels
        .hub()
        .subscribers_from(channel, encoding, from)
        .take(SLICE)
    {
        (visited, last) = (visited + 1, who.0);
        let key = core.connections.key_at(who.0);
        let conn = key.and_then(|key| core.connections.get(key));
        let conn = conn.filter(|conn| conn.phase == Phase::Open);
        let confirmed = conn.filter(|conn| {
            core.sessions
                .is_confirmed(conn.dialect, conn.session, channel)
        });
        let member = confirmed.and_then(|conn| core.sessions.member(conn.dialect, conn.session));
        if let Some(member) = member.filter(|member| member.realm == realm) {
            found.add(0, member.session);
        }
    }
    let next = match visited == SLICE {
        true => (encoding, u64::from(last) + 1),
        false => (Encoding(encoding.0 + 1), 0),
    };
    Some(u64::from(next.0.0) << 32 | next.1)
}

/// A reactor has looked through what is there.
pub(crate) fn handle_found(core: &mut Core, number: u32, found: EntriesFound) {
    let Some(mut open) = core.entry_queries.add_found(number, found) else {
        return;
    };
    let asks_for_sessions = matches!(
        open.query.ask,
        EntryAsk::ListSessions(_) | EntryAsk::CountSessions(_)
    );
    // Its home knows the topic's name, and all reactors their subscribers.
    if asks_for_sessions && let Some(record) = open.found.record.take() {
        let all = all_reactors(core);
        open.awaits = all.len();
        open.found.count = 0;
        let question = EntryQuestion::Subscribers(record, open.query.realm);
        return begin(core, open, &all, &question);
    }
    let (key, request) = (open.key, open.request);
    let answer = answer_to(open);
    tell(core, key, request, answer);
}

fn answer_to(open: OpenEntries) -> Answer<CallBody> {
    let OpenEntries { query, found, .. } = open;
    if query.ask.number().is_some() && found.entry.is_none() {
        let (uri, message) = entries::no_such(query.kind);
        return error(uri, message);
    }
    let is_cut = found.count > found.listed() as u64;
    let numbers = &found.numbers[0];
    let (args, is_list) = match (&query.ask, query.kind) {
        (EntryAsk::List, _) => (entries::lists_args(&found.numbers), true),
        (EntryAsk::Match(_), EntryKind::Subscription) => (
            entries::numbers_args(Some(numbers).filter(|all| !all.is_empty())),
            true,
        ),
        (EntryAsk::Lookup(..) | EntryAsk::Match(_), _) => {
            (entries::number_args(numbers.first().copied()), false)
        }
        (EntryAsk::Get(_), _) => {
            let entry = found.entry.as_ref().map(|entry| entries::details_of(entry));
            (format!("[{}]", entry.unwrap_or_default()), false)
        }
        (EntryAsk::ListSessions(_), _) => (entries::numbers_args(Some(numbers)), true),
        (EntryAsk::CountSessions(_), _) => (entries::number_args(Some(found.count)), false),
    };
    let kwargs = (is_list && is_cut).then_some("{\"is_cut\":true}");
    Answer::Result(body(Arguments::json(Some(&args), kwargs), None))
}

/// Whether a name or pattern is shown to sessions of a realm.
fn is_shown(core: &Core, realm: u16, name: &str) -> bool {
    let own_realms = &core.settings.dialects.wamp.own_realms;
    belongs(own_realms, realm, name) && !is_reserved(own_realms.prefixes().strip(name))
}

/// The router's own topics and procedures are shown to no session, as Crossbar has it.
fn is_reserved(own_name: &str) -> bool {
    own_name.starts_with("wamp.")
}

fn list_of(matching: Match) -> usize {
    match matching {
        Match::Exact => 0,
        Match::Prefix => 1,
        Match::Wildcard => 2,
    }
}

/// What is visited in one loop iteration.
const SLICE: usize = 1024;
/// The same of places in a table.
const PLACES: u32 = 1024;
