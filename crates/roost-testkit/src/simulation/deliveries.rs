//! Checks what peers received against what is promised.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use roost_reactor::SlowConsumer;
use roost_wire::CloseCode;

use super::closes::OVER_BUDGET;
use super::gaps::{Gap, Gaps};
use super::lanes::Lane;
use super::peer::Peer;
use super::peers::Peers;
use super::plan::Plan;
use super::records::{PubId, Sent, Window};
use super::report::Report;
use super::starts::Starts;

/// One channel's order, as a witness received it.
struct ChannelOrder {
    order: Vec<PubId>,
    place: HashMap<PubId, usize>,
    /// By when each was published: a peer had received it, or one behind it. It may be long after it
    /// was handed to the network, if its publisher was paused.
    published_by: Vec<u64>,
}

impl ChannelOrder {
    fn new(peers: &Peers, channel: usize, order: Vec<PubId>) -> ChannelOrder {
        let place: HashMap<PubId, usize> = order.iter().copied().zip(0..).collect();
        let mut published_by = vec![u64::MAX; order.len()];
        let windows = peers.all.iter().flat_map(|peer| &peer.windows);
        for window in windows.filter(|window| window.channel == channel) {
            for (id, &came) in window.received.iter().zip(&window.times) {
                if let Some(&place) = place.get(id) {
                    published_by[place] = published_by[place].min(came);
                }
            }
        }
        let mut behind = u64::MAX;
        for by in published_by.iter_mut().rev() {
            behind = behind.min(*by);
            *by = behind;
        }
        ChannelOrder {
            order,
            place,
            published_by,
        }
    }
}

/// Checks all that peers have received. Returns also what slow consumers missed.
pub(super) fn check(peers: &Peers, plan: &Plan) -> Result<(Report, Gaps), String> {
    let mut report = Report::default();
    let mut gaps = Gaps::default();
    for peer in &peers.all {
        if let Some(failure) = &peer.failure {
            return Err(format!("peer {} ({:?}): {failure}", peer.index, peer.kind));
        }
        check_reader(peer)?;
        gaps.note_peer(peer, plan);
        report.opened += usize::from(peer.opened);
        report.published += peer.sent.len();
        report.received += peer
            .windows
            .iter()
            .map(|window| window.received.len())
            .sum::<usize>();
    }
    let channels = peers
        .all
        .iter()
        .flat_map(|peer| &peer.windows)
        .map(|window| window.channel);
    for channel in 0..=channels.max().unwrap_or(0) {
        let Some(channel_order) = order_of(peers, channel)? else {
            gaps.note_unknown(channel);
            continue;
        };
        if check_publishers(peers, channel, &channel_order)? {
            gaps.note_unknown(channel);
        }
        check_time(peers, channel, &channel_order)?;
        // Only a complete order says how old a publication is.
        let is_whole = Plan::slow_consumer_of(channel) != SlowConsumer::Latest;
        let starts = is_whole.then(|| Starts::new(peers, channel, &channel_order.place));
        for peer in &peers.all {
            for window in peer
                .windows
                .iter()
                .filter(|window| window.channel == channel)
            {
                let at = |what| {
                    let (index, kind) = (peer.index, &peer.kind);
                    format!("channel {channel}, peer {index} ({kind:?}): {what}")
                };
                let check = WindowCheck {
                    peers,
                    peer,
                    window,
                    channel_order: &channel_order,
                };
                check.check(plan, &mut gaps).map_err(at)?;
                if let Some(starts) = &starts {
                    let first = window.received.first().map(|id| channel_order.place[id]);
                    let begun_later = starts.check(peer, window, first).map_err(at)?;
                    report.begun_later += usize::from(begun_later);
                }
                report.windows += 1;
                let of_pattern = window.of_pattern;
                report.matched += if of_pattern { window.received.len() } else { 0 };
            }
        }
    }
    Ok((report, gaps))
}

/// A peer that reads is not closed as a slow consumer.
fn check_reader(peer: &Peer) -> Result<(), String> {
    let Some((Some(CloseCode::TRY_AGAIN_LATER), reason)) = &peer.close else {
        return Ok(());
    };
    // It may be among those that hold most: `Budget::check_closes` asks whether it was.
    let held_most = reason == OVER_BUDGET && peer.closed_holding.is_some();
    if peer.reads() && !held_most {
        return Err(format!(
            "peer {} reads, and was closed with {reason:?}",
            peer.index
        ));
    }
    Ok(())
}

/// The order of a channel by a witness that is still open; witnesses must agree. With `latest`, which
/// drops for witnesses too, the order that all peers saw together.
fn order_of(peers: &Peers, channel: usize) -> Result<Option<ChannelOrder>, String> {
    if Plan::slow_consumer_of(channel) == SlowConsumer::Latest {
        return joint_order_of(peers, channel).map(Some);
    }
    let mut orders = peers
        .all
        .iter()
        .filter(|peer| peer.witness && peer.alive)
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
    let channel_order = ChannelOrder::new(peers, channel, order.clone());
    if channel_order.place.len() != order.len() {
        return Err(format!("channel {channel}: something was delivered twice"));
    }
    Ok(Some(channel_order))
}

/// One order of all publications that any peer received in a channel (a topological sort of what each
/// received); where that leaves a choice, by time of publication.
fn joint_order_of(peers: &Peers, channel: usize) -> Result<ChannelOrder, String> {
    let windows = peers.all.iter().flat_map(|peer| &peer.windows);
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
        let sent = peers.all[id.0].sent.get(id.1 as usize - 1);
        Reverse((sent.map_or(0, |sent| sent.at), id))
    };
    let free = before.iter().filter(|&(_, &count)| count == 0);
    let mut free: BinaryHeap<_> = free.map(|(&id, _)| sent_at(id)).collect();
    let mut order = Vec::new();
    while let Some(Reverse((_, id))) = free.pop() {
        order.push(id);
        for &next in behind.get(&id).into_iter().flatten() {
            let count = before.get_mut(&next).expect("received");
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
    Ok(ChannelOrder::new(peers, channel, order))
}

/// Each publisher's own order is kept, and nothing is lost that an open publisher sent or that was
/// acknowledged. Returns whether there are publications that no peer received.
fn check_publishers(
    peers: &Peers,
    channel: usize,
    channel_order: &ChannelOrder,
) -> Result<bool, String> {
    let mut last: HashMap<usize, u32> = HashMap::new();
    for &(peer, n) in &channel_order.order {
        if last.insert(peer, n).is_some_and(|before| before >= n) {
            return Err(format!(
                "channel {channel}: peer {peer}'s messages out of order at {n}"
            ));
        }
    }
    // It may have been replaced for all.
    let replaces = Plan::slow_consumer_of(channel) == SlowConsumer::Latest;
    let mut undelivered = false;
    for peer in &peers.all {
        for (n, sent) in (1..).zip(&peer.sent) {
            let id = (peer.index, n);
            if sent.channel != channel || channel_order.place.contains_key(&id) {
                continue;
            }
            undelivered = true;
            if replaces {
                continue;
            }
            if peer.alive && peer.opened {
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
    Ok(undelivered)
}

/// Acknowledged is ordered: what is published after an acknowledgement comes behind it.
fn check_time(peers: &Peers, channel: usize, channel_order: &ChannelOrder) -> Result<(), String> {
    let mut newest = 0;
    for id in &channel_order.order {
        let publisher = &peers.all[id.0];
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

/// One subscription of a peer, beside its channel's order.
struct WindowCheck<'a> {
    peers: &'a Peers,
    peer: &'a Peer,
    window: &'a Window,
    channel_order: &'a ChannelOrder,
}

impl WindowCheck<'_> {
    /// A subscription's messages are one stretch of the channel's order, long enough, without the
    /// peer's own unless it asked for them. Something may be missing from it only where the policy
    /// drops and the peer did not read or its lane was full, or where only the latest message is of
    /// interest.
    fn check(&self, plan: &Plan, gaps: &mut Gaps) -> Result<(), String> {
        let (peer, window) = (self.peer, self.window);
        let places = self.places()?;
        if let Some(own) = window.received.iter().find(|id| !self.is_due(id)) {
            return Err(format!("received {own:?}, its own"));
        }
        let stretch = self.stretch(&places);
        let missing = self.missing(&places, stretch.clone());
        let may_miss = match Plan::slow_consumer_of(window.channel) {
            SlowConsumer::Close => false,
            SlowConsumer::DropOldest | SlowConsumer::DropNewest if peer.reads() => {
                if missing.is_empty() {
                    return Ok(());
                }
                self.check_lane_full(plan, &missing)?;
                true
            }
            SlowConsumer::DropOldest | SlowConsumer::DropNewest => true,
            SlowConsumer::Latest => true, // a send under way is enough
        };
        let order = &self.channel_order.order;
        if !may_miss {
            return match missing.first() {
                None => Ok(()),
                Some(&place) => {
                    let (id, ended) = (order[place], if window.ended { "ended" } else { "live" });
                    Err(format!("missed {id:?} at place {place} ({ended})"))
                }
            };
        }
        let any_due = |ids: &[PubId]| ids.iter().any(|id| self.is_due(id));
        let sent = order.iter().map(|id| self.sent(id).copied());
        gaps.add(&Gap {
            plan,
            peer,
            window,
            sent: sent
                .collect::<Option<Vec<_>>>()
                .expect("witnessed, so sent"),
            published_by: &self.channel_order.published_by,
            places: &places,
            missing: &missing,
            before: (peer.reads() || window.acked_at >= peer.stalled_at)
                && any_due(&order[..stretch.start]),
            behind: any_due(&order[stretch.end..]),
        })
    }

    /// What is missing for a peer that reads was dropped when as much waited for it as its namespace
    /// lets wait.
    fn check_lane_full(&self, plan: &Plan, missing: &[usize]) -> Result<(), String> {
        let mut lane = Lane::of(self.peers, self.peer, self.window, plan);
        let came: HashMap<PubId, u64> = {
            let received = self.window.received.iter().copied();
            received.zip(self.window.times.iter().copied()).collect()
        };
        let order = &self.channel_order.order;
        let next = |place: usize| order[place..].iter().find_map(|id| came.get(id).copied());
        let dropped = |place: usize| {
            let id = order[place];
            self.sent(&id).ok_or_else(|| format!("missed {id:?}"))
        };
        for &place in missing {
            let dropped = dropped(place)?;
            lane.add_dropped(dropped.at, next(place), dropped);
        }
        for &place in missing {
            let id = order[place];
            lane.check_full(dropped(place)?, next(place))
                .map_err(|what| format!("missed {id:?} at place {place}: {what}"))?;
        }
        Ok(())
    }

    /// Where in the channel's order the messages received stand: they rise.
    fn places(&self) -> Result<Vec<usize>, String> {
        let mut places = Vec::new();
        for id in &self.window.received {
            match self.channel_order.place.get(id) {
                Some(&place) => places.push(place),
                None => return Err(format!("received {id:?}, which the witness did not")),
            }
        }
        match places.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => Err(format!("order broken or doubled at places {pair:?}")),
            None => Ok(places),
        }
    }

    /// The places that belong to the subscription: from what was published behind its
    /// acknowledgement, or from the first received, to the last received or to the end.
    fn stretch(&self, places: &[usize]) -> Range<usize> {
        let order = &self.channel_order.order;
        let is_after_ack = |id| {
            let sent = self.sent(id);
            sent.is_some_and(|sent| sent.at > self.window.acked_at)
        };
        let first_due = order.iter().position(is_after_ack).unwrap_or(order.len());
        let first = places
            .first()
            .copied()
            .unwrap_or(order.len())
            .min(first_due);
        let end = if self.window.ended || !self.peer.alive {
            places.last().map_or(first, |last| last + 1)
        } else {
            order.len()
        };
        first..end.max(first)
    }

    /// The places of the stretch that are due and were not received.
    fn missing(&self, places: &[usize], stretch: Range<usize>) -> Vec<usize> {
        let start = stretch.start;
        let received = places.iter().skip_while(|&&place| place < start);
        let mut received = received.peekable();
        let is_missing = |&place: &usize| {
            let came = received.next_if(|&&next| next == place).is_some();
            !came && self.is_due(&self.channel_order.order[place])
        };
        stretch.filter(is_missing).collect()
    }

    fn sent(&self, &(peer, n): &PubId) -> Option<&Sent> {
        self.peers.all[peer].sent.get(n as usize - 1)
    }

    /// Whether the peer is to receive a publication: its own only if it asked for it.
    fn is_due(&self, id: &PubId) -> bool {
        id.0 != self.peer.index || self.sent(id).is_some_and(|sent| sent.receives_own)
    }
}
