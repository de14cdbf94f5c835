//! What came, compared with what was promised.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use roost_reactor::SlowConsumer;
use roost_wire::CloseCode;

use super::Report;
use super::crowd::Crowd;
use super::ends::OVER_BUDGET;
use super::gaps::{Gap, Gaps};
use super::peer::{Peer, PubId, Window};
use super::plan::Plan;
use super::starts::Starts;

/// One channel's order, as a witness that heard everything saw it.
struct Truth {
    order: Vec<PubId>,
    place: HashMap<PubId, usize>,
}

/// Checks all that peers have received by now. Returns also what those missed who may.
pub(super) fn on_deliveries(crowd: &Crowd, plan: &Plan) -> Result<(Report, Gaps), String> {
    let mut report = Report::default();
    let mut gaps = Gaps::default();
    for peer in &crowd.peers {
        if let Some(failure) = &peer.failure {
            return Err(format!("peer {} ({:?}): {failure}", peer.index, peer.kind));
        }
        check_reader(peer, plan)?;
        gaps.note_peer(peer, plan);
        report.opened += usize::from(peer.opened);
        report.published += peer.sent.len();
        report.received += peer
            .windows
            .iter()
            .map(|window| window.received.len())
            .sum::<usize>();
    }
    let channels = crowd
        .peers
        .iter()
        .flat_map(|peer| &peer.windows)
        .map(|window| window.channel);
    for channel in 0..=channels.max().unwrap_or(0) {
        let Some(truth) = truth_of(crowd, channel)? else {
            gaps.note_untold(channel);
            continue;
        };
        if check_publishers(crowd, channel, &truth)? {
            gaps.note_untold(channel);
        }
        check_time(crowd, channel, &truth)?;
        // What has heard everything can say how old something is.
        let is_whole = Plan::slow_receivers_of(channel) != SlowConsumer::Latest;
        let starts = is_whole.then(|| Starts::new(crowd, channel, &truth.place));
        for peer in &crowd.peers {
            for window in peer
                .windows
                .iter()
                .filter(|window| window.channel == channel)
            {
                check_window(crowd, plan, peer, window, &truth, &mut gaps)?;
                if let Some(starts) = &starts {
                    let first = window.received.first().map(|id| truth.place[id]);
                    let begun_later = starts.check(peer, window, first).map_err(|what| {
                        format!(
                            "channel {channel}, peer {} ({:?}): {what}",
                            peer.index, peer.kind
                        )
                    })?;
                    report.begun_later += usize::from(begun_later);
                }
                report.windows += 1;
            }
        }
    }
    Ok((report, gaps))
}

/// Who reads is not closed for what waits for it.
fn check_reader(peer: &Peer, plan: &Plan) -> Result<(), String> {
    let Some((Some(CloseCode::TRY_AGAIN_LATER), reason)) = &peer.close else {
        return Ok(());
    };
    let for_all = reason == OVER_BUDGET && plan.may_close_readers();
    if peer.reads() && !for_all {
        return Err(format!(
            "peer {} reads, and was told {reason:?}",
            peer.index
        ));
    }
    Ok(())
}

/// The order of a channel by a witness that is still there; witnesses must agree. Where not even they
/// hear everything, the order that all have heard together.
fn truth_of(crowd: &Crowd, channel: usize) -> Result<Option<Truth>, String> {
    if Plan::slow_receivers_of(channel) == SlowConsumer::Latest {
        return joint_truth_of(crowd, channel).map(Some);
    }
    let mut orders = crowd
        .peers
        .iter()
        .filter(|peer| peer.witness && peer.present)
        .flat_map(|peer| &peer.windows)
        .filter(|window| window.channel == channel)
        .map(|window| &window.received);
    let Some(order) = orders.next() else {
        return Ok(None);
    };
    if orders.any(|other| other != order) {
        return Err(format!(
            "two witnesses of channel {channel} saw different things"
        ));
    }
    let place: HashMap<PubId, usize> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    if place.len() != order.len() {
        return Err(format!("channel {channel}: something was delivered twice"));
    }
    Ok(Some(Truth {
        order: order.clone(),
        place,
    }))
}

/// One order in which all that anybody has heard in a channel has its place, between what came before
/// and behind it at whoever heard it; where that says nothing, as it was published.
fn joint_truth_of(crowd: &Crowd, channel: usize) -> Result<Truth, String> {
    let windows = crowd.peers.iter().flat_map(|peer| &peer.windows);
    let windows = windows.filter(|window| window.channel == channel);
    let mut behind: HashMap<PubId, Vec<PubId>> = HashMap::new();
    let mut before: HashMap<PubId, usize> = HashMap::new();
    for window in windows {
        for &id in &window.received {
            before.entry(id).or_insert(0);
        }
        for pair in window.received.windows(2) {
            let behind = behind.entry(pair[0]).or_default();
            if !behind.contains(&pair[1]) {
                behind.push(pair[1]);
                *before.entry(pair[1]).or_insert(0) += 1;
            }
        }
    }
    let sent_at = |id: PubId| {
        let sent = crowd.peers[id.0].sent.get(id.1 as usize - 1);
        Reverse((sent.map_or(0, |sent| sent.at), id))
    };
    let free = before.iter().filter(|&(_, &count)| count == 0);
    let mut free: BinaryHeap<_> = free.map(|(&id, _)| sent_at(id)).collect();
    let mut order = Vec::new();
    while let Some(Reverse((_, id))) = free.pop() {
        order.push(id);
        for &next in behind.get(&id).into_iter().flatten() {
            let count = before.get_mut(&next).expect("heard");
            *count -= 1;
            if *count == 0 {
                free.push(sent_at(next));
            }
        }
    }
    if order.len() < before.len() {
        return Err(format!(
            "two peers saw different orders of channel {channel}"
        ));
    }
    let place = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    Ok(Truth { order, place })
}

/// Each publisher's own order is kept, what a live one published is there, and so is what was
/// acknowledged. Returns whether there are publications that nobody has heard.
fn check_publishers(crowd: &Crowd, channel: usize, truth: &Truth) -> Result<bool, String> {
    let mut last: HashMap<usize, u32> = HashMap::new();
    for &(peer, n) in &truth.order {
        if last.insert(peer, n).is_some_and(|before| before >= n) {
            return Err(format!(
                "channel {channel}: peer {peer}'s messages out of order at {n}"
            ));
        }
    }
    // It may have been replaced for all.
    let replaces = Plan::slow_receivers_of(channel) == SlowConsumer::Latest;
    let mut unheard = false;
    for peer in &crowd.peers {
        for (n, sent) in (1..).zip(&peer.sent) {
            let id = (peer.index, n);
            if sent.channel != channel || truth.place.contains_key(&id) {
                continue;
            }
            unheard = true;
            if replaces {
                continue;
            }
            if peer.present && peer.opened {
                return Err(format!(
                    "channel {channel}: {id:?} of a live publisher is lost"
                ));
            }
            if peer.acked.contains_key(&id) {
                return Err(format!(
                    "channel {channel}: {id:?} was acknowledged and is lost"
                ));
            }
        }
    }
    Ok(unheard)
}

/// Acknowledged is ordered: what is published after an acknowledgement comes behind it.
fn check_time(crowd: &Crowd, channel: usize, truth: &Truth) -> Result<(), String> {
    let mut newest = 0;
    for id in &truth.order {
        let publisher = &crowd.peers[id.0];
        if let Some(&acked) = publisher.acked.get(id)
            && acked < newest
        {
            return Err(format!(
                "channel {channel}: {id:?}, acknowledged at {acked}, \
                 is behind what was published at {newest}"
            ));
        }
        let sent = publisher.sent.get(id.1 as usize - 1);
        newest = newest.max(sent.map_or(0, |sent| sent.at));
    }
    Ok(())
}

/// A subscription's messages are one stretch of the channel's order, long enough, without the
/// peer's own unless it asked for them. Something may be missing from it only where the policy drops
/// and the peer did not read, or where only the latest message is of interest.
fn check_window(
    crowd: &Crowd,
    plan: &Plan,
    peer: &Peer,
    window: &Window,
    truth: &Truth,
    gaps: &mut Gaps,
) -> Result<(), String> {
    let at = |what: String| {
        format!(
            "channel {}, peer {} ({:?}): {what}",
            window.channel, peer.index, peer.kind
        )
    };
    let mut places = Vec::new();
    for id in &window.received {
        match truth.place.get(id) {
            Some(&place) => places.push(place),
            None => return Err(at(format!("received {id:?}, which the witness did not"))),
        }
    }
    if let Some(pair) = places.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(at(format!("order broken or doubled at places {pair:?}")));
    }
    let sent = |&(peer, n): &PubId| crowd.peers[peer].sent.get(n as usize - 1);
    let sent_after_ack = |id: &PubId| sent(id).is_some_and(|sent| sent.at > window.acked_at);
    let hears = |id: &PubId| id.0 != peer.index || sent(id).is_some_and(|sent| sent.hears_own);
    if let Some(own) = window.received.iter().find(|id| !hears(id)) {
        return Err(at(format!("heard {own:?}, its own")));
    }
    let first_due = truth
        .order
        .iter()
        .position(sent_after_ack)
        .unwrap_or(truth.order.len());
    let first = places
        .first()
        .copied()
        .unwrap_or(truth.order.len())
        .min(first_due);
    let end = if window.ended || !peer.present {
        places.last().map_or(first, |last| last + 1)
    } else {
        truth.order.len()
    };
    let may_miss = match Plan::slow_receivers_of(window.channel) {
        SlowConsumer::Close => false,
        SlowConsumer::DropOldest | SlowConsumer::DropNewest => !peer.reads(),
        SlowConsumer::Latest => true, // a send under way is enough
    };
    let mut received = places.iter().skip_while(|&&place| place < first).peekable();
    let mut missing = Vec::new();
    for place in first..end.max(first) {
        if received.next_if(|&&next| next == place).is_some() {
            continue;
        }
        let id = truth.order[place];
        if !hears(&id) {
            continue;
        }
        if !may_miss {
            let ended = if window.ended { "ended" } else { "live" };
            return Err(at(format!("missed {id:?} at place {place} ({ended})")));
        }
        missing.push(place);
    }
    if may_miss {
        let heard = |places: &[PubId]| places.iter().any(hears);
        let sent = truth.order.iter().map(|id| sent(id).copied());
        let gap = Gap {
            plan,
            peer,
            window,
            sent: sent
                .collect::<Option<Vec<_>>>()
                .expect("witnessed, so sent"),
            places: &places,
            missing: &missing,
            before: (peer.reads() || window.acked_at >= peer.stalled_at)
                && heard(&truth.order[..first]),
            behind: heard(&truth.order[end.max(first)..]),
        };
        gaps.add(&gap).map_err(at)?;
    }
    Ok(())
}
