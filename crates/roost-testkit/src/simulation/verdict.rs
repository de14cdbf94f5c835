//! What came, compared with what was promised.

use std::collections::HashMap;

use super::Report;
use super::crowd::Crowd;
use super::peer::{Peer, PubId, State, Window};

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
            return Err(format!("peer {}: {failure}", peer.index));
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
        for (n, &(to, _)) in (1..).zip(&peer.sent) {
            let id = (peer.index, n);
            if to != channel || truth.place.contains_key(&id) {
                continue;
            }
            if peer.present {
                return Err(format!(
                    "channel {channel}: {id:?} of a live publisher is lost"
                ));
            }
            if peer.acked.contains(&id) {
                return Err(format!(
                    "channel {channel}: {id:?} was acknowledged and is lost"
                ));
            }
        }
    }
    Ok(())
}

/// A subscription's messages are one stretch of the channel's order, long enough, without the
/// peer's own.
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
    let sent_after_ack = |&(peer, n): &PubId| {
        crowd.peers[peer]
            .sent
            .get(n as usize - 1)
            .is_some_and(|&(_, sent)| sent > window.acked_at)
    };
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
        if id.0 != peer.index {
            let ended = if window.ended { "ended" } else { "live" };
            return Err(at(format!("missed {id:?} at place {place} ({ended})")));
        }
    }
    Ok(())
}

/// Checks that the drain reached everybody.
pub(super) fn on_drain(crowd: &Crowd) -> Result<(), String> {
    debug_assert!(crowd.draining);
    for peer in &crowd.peers {
        if let Some(failure) = &peer.failure {
            return Err(format!("peer {} while draining: {failure}", peer.index));
        }
        if peer.present && peer.state == State::Open {
            return Err(format!("peer {} is still open after the drain", peer.index));
        }
    }
    Ok(())
}
