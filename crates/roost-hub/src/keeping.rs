//! Where a home's channels and their histories meet.

use crate::encoding::Encoding;
use crate::encoding::EncodingSet;
use crate::frames::{Encode, Route};
use crate::histories::{Histories, HistoryIndex, HistoryView, missing};
use crate::history::{Loss, Payload, Recovered, Recovery, Retained, Since, Tail};
use crate::home::Home;
use crate::home_channel::Interest;
use crate::ids::{EventIds, HomeIndex, NamespaceId, Position, ReactorId, Snapshot, topic};
use crate::item::{LocalRef, Target};
use crate::names::{Name, Named};

/// A reactor wants a channel. One that begins with this keeps history if its namespace does.
pub(crate) fn interest<P, F>(
    home: &mut Home,
    histories: &mut Histories<P, F>,
    name: &Name,
    namespace: NamespaceId,
    interest: Interest<EncodingSet>,
) -> (HomeIndex, Snapshot) {
    let (index, snapshot) = home.interest(name, namespace, interest);
    if histories.options().is_on() {
        begin(home, histories, index);
    }
    (index, snapshot)
}

/// A reactor wants a channel no longer. One that keeps history is remembered for a while when none
/// wants it.
pub(crate) fn uninterest<P, F>(
    home: &mut Home,
    histories: &mut Histories<P, F>,
    (from, target, local): (ReactorId, &Target, LocalRef),
    now: u32,
) -> bool {
    if !histories.options().is_on() {
        return home.uninterest(from, target, local);
    }
    let index = home.resolve(target);
    let removed = home.uninterest(from, target, local);
    let channel = index.and_then(|index| home.get(index));
    let unwanted = channel.filter(|channel| removed && !channel.is_wanted());
    if let Some(history) = unwanted.and_then(|channel| channel.history()) {
        histories.touch(history, now);
    }
    removed
}

/// A channel that is published to and of which there is no record: one begins if it keeps history.
#[cold]
pub(crate) fn begin_unheard<P, F>(
    home: &mut Home,
    histories: &mut Histories<P, F>,
    name: &str,
) -> Option<HomeIndex> {
    let options = histories.options();
    if !options.is_on() {
        return None;
    }
    let namespace = options.namespace_of(name);
    options.limits(namespace)?;
    let index = home.insert_unwanted(name, namespace);
    begin(home, histories, index);
    Some(index)
}

fn begin<P, F>(home: &mut Home, histories: &mut Histories<P, F>, index: HomeIndex) {
    let channel = home.get(index).expect("the caller has found it");
    let namespace = channel.namespace();
    if channel.history().is_none() && histories.options().limits(namespace).is_some() {
        let history = histories.insert(index, namespace);
        home.keep(index, history);
    }
}

/// A history is kept no longer, and its channel neither if no reactor wants it.
pub(crate) fn forget<P, F>(
    home: &mut Home,
    histories: &mut Histories<P, F>,
    history: HistoryIndex,
) {
    histories.clear(history);
    if home.forget(histories.home_of(history)) {
        histories.remove(history);
    }
}

/// What a channel keeps; of one without a record, nothing.
pub(crate) fn view<'a, P: Payload, F: Clone>(
    home: &Home,
    histories: &'a Histories<P, F>,
    index: Option<HomeIndex>,
    now: u32,
) -> HistoryView<'a, P> {
    let snapshot = index.and_then(|index| home.snapshot(index));
    let position = snapshot.map_or(home.floor(), |snapshot| snapshot.position);
    let history = index.and_then(|index| home.get(index)?.history());
    match history {
        Some(history) => histories.view(history, position, now),
        None => HistoryView {
            position,
            entries: None,
        },
    }
}

/// Answers one that subscribes and wants to know what was before.
pub(crate) fn recover<P: Payload, F: Clone>(
    (me, home, histories): (ReactorId, &Home, &mut Histories<P, F>),
    target: &Target,
    since: Option<Since>,
    (encoding, now): (Encoding, u32),
    encode: Encode<'_, P, F>,
) -> Option<Recovered<F>> {
    let index = home.resolve(target)?;
    let snapshot = home.snapshot(index)?;
    let top = snapshot.position;
    let mut encoded_bytes = 0;
    let recovery = since.map(|since| {
        let channel = home.get(index);
        let kept = channel.and_then(|channel| Some((channel.history()?, channel.name().as_str())));
        let Some((history, name)) = kept else {
            return without_history(since, top);
        };
        if since == Since::Retained {
            let encode = |retained: &Retained<P>| {
                let ids = EventIds {
                    topic: topic(me, index),
                    publication: retained.publication,
                    offset: retained.offset,
                };
                encode(&retained.payload, encoding, ids, Route::Retained(name))
            };
            let found = histories.encode_retained(history, encoding, now, encode);
            let (tail, bytes) = found.unwrap_or_else(|| (nothing(top), 0));
            encoded_bytes = bytes;
            return Recovery::Recovered(tail);
        }
        match histories.find(history, top, since, now) {
            Err(loss) => Recovery::Lost(loss),
            Ok(wanted) => {
                let encode = |payload: &P, offset| {
                    let ids = EventIds {
                        topic: topic(me, index),
                        publication: offset,
                        offset,
                    };
                    encode(payload, encoding, ids, Route::Recovered(name))
                };
                let (tail, bytes) = histories.encode(&wanted, encoding, now, encode);
                encoded_bytes = bytes;
                Recovery::Recovered(tail)
            }
        }
    });
    Some(Recovered {
        snapshot,
        recovery,
        bytes: encoded_bytes,
    })
}

/// No publication.
fn nothing<F>(top: Position) -> Tail<F> {
    Tail::new([].into(), 0, top.offset)
}

/// Of a channel that keeps nothing: who has missed nothing can be told so.
fn without_history<F>(since: Since, top: Position) -> Recovery<F> {
    let nothing = || Recovery::Recovered(nothing(top));
    let position = match since {
        Since::Last(_) | Since::Retained => return nothing(),
        Since::Position(position) => position,
        Since::Offset(offset) => Position { offset, ..top },
        Since::Latest(known) if known == Some(top) => return nothing(),
        Since::Latest(_) => return Recovery::Lost(Loss::TooOld),
    };
    match missing(position, top) {
        Ok(0) => nothing(),
        Ok(_) => Recovery::Lost(Loss::TooOld),
        Err(loss) => Recovery::Lost(loss),
    }
}
