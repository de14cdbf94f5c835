//! What came, compared with what was promised.

use std::collections::HashMap;

use super::Report;
use super::crowd::Crowd;
use super::peer::{Peer, PubId, Window};

/// One channel's order, as a witness that heard everything saw it.
struct Truth {
    order: Vec<PubId>,
    place: HashMap<PubId, usize>,
}

/// Checks all that peers have received by now.
pub(super) fn on_deliveries(crowd: &Crowd) -> Result<Report, String> {
    let mut report = Report::default();
    for peer in &crowd.peers {
        if let Some(failure) = &peer.failure {
            return Err(format!("peer {} ({:?}): {failure}", peer.index, peer.kind));
        }
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
            continue;
        };
        check_publishers(crowd, channel, &truth)?;
        check_time(crowd, channel, &truth)?;
        for peer in &crowd.peers {
            for window in peer
                .windows
                .iter()
                .filter(|window| window.channel == channel)
            {
                check_window(crowd, peer, window, &truth)?;
                report.windows += 1;
            }
        }
    }
    Ok(report)
}

/// The order of a channel by a witness that is still there; witnesses must agree.
fn truth_of(crowd: &Crowd, channel: usize) -> Result<Option<Truth>, String> {
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

/// Each publisher's own order is kept, what a live one published is there, and so is what was
/// acknowledged.
fn check_publishers(crowd: &Crowd, channel: usize, truth: &Truth) -> Result<(), String> {
    let mut last: HashMap<usize, u32> = HashMap::new();
    for &(peer, n) in &truth.order {
        if last.insert(peer, n).is_some_and(|before| before >= n) {
            return Err(format!(
                "channel {channel}: peer {peer}'s messages out of order at {n}"
            ));
        }
    }
    for peer in &crowd.peers {
        for (n, sent) in (1..).zip(&peer.sent) {
            let id = (peer.index, n);
            if sent.channel != channel || truth.place.contains_key(&id) {
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
    Ok(())
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
/// peer's own unless it asked for them.
fn check_window(crowd: &Crowd, peer: &Peer, window: &Window, truth: &Truth) -> Result<(), String> {
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
    let mut received = places.iter().skip_while(|&&place| place < first).peekable();
    for place in first..end.max(first) {
        if received.next_if(|&&next| next == place).is_some() {
            continue;
        }
        let id = truth.order[place];
        if hears(&id) {
            let ended = if window.ended { "ended" } else { "live" };
            return Err(at(format!("missed {id:?} at place {place} ({ended})")));
        }
    }
    Ok(())
}
