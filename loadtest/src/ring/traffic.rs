//! Messages out by the plan, messages in, each accounted for.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::account::Track;
use crate::dialect::Say;
use crate::pace::{Schedule, Window};
use crate::payload::{self, Stamp};
use crate::plan::{Plan, Role};

use super::clients::{Echoing, Publishing, publishers_each};
use super::conn::{DROPPED, RESUMING, State};
use super::{Core, recovery};

impl Core {
    // Beginning and ending.

    pub(super) fn set_traffic(&mut self, on: bool) {
        self.traffic = on;
        self.due.clear();
        self.stalled.clear();
        if !on {
            self.count_unsent();
            return;
        }
        for slot in self.working_slots() {
            if self.conns[slot as usize].state == State::Held {
                self.start_traffic(slot);
            }
        }
    }

    /// What was due by a schedule until now and will not be sent any more.
    fn count_unsent(&mut self) {
        let now = roost_net::clock::now_ns();
        let (results, resumed_at) = (&mut self.results, self.resumed_at);
        let mut count = |schedule: Option<Schedule>, waiting: VecDeque<u64>| {
            // Without a schedule, what waits is due when its answer comes.
            let Some(mut schedule) = schedule else { return };
            let explained = schedule.interval_ns().max(UNSENT_EXPLAINED_NS);
            let late = std::iter::from_fn(|| schedule.take_due(now));
            for due in waiting.into_iter().chain(late) {
                results.unsent += 1;
                let late = now.saturating_sub(due.max(resumed_at));
                results.unsent_overdue += u64::from(late > explained);
            }
        };
        for echoing in self.echoing.values_mut() {
            let waiting = echoing.window.drop_waiting();
            count(echoing.schedule.take(), waiting);
        }
        for publishing in self.publishing.values_mut() {
            count(publishing.schedule.take(), VecDeque::new());
        }
    }

    /// Slots of publishers and echoing connections.
    fn working_slots(&self) -> Vec<u32> {
        let works = |group: usize| self.plan.groups[group].role != Role::Listen;
        self.shares
            .iter()
            .filter(|share| works(share.group))
            .flat_map(|share| share.slot..share.slot + share.count)
            .collect()
    }

    /// A connection is held: its accounts begin, and it takes part in the traffic there is.
    pub(super) fn begin_work(&mut self, slot: u32) {
        let share = self.share_of(slot);
        let group = &self.plan.groups[share.group];
        match group.role {
            Role::Listen if self.conns[slot as usize].has(RESUMING) => {
                recovery::resume(self, slot);
            }
            Role::Listen => self.open_tracks(slot),
            Role::Publish(_) => {
                let publishing = Publishing {
                    schedule: None,
                    owed: 0,
                    owed_size: None,
                    stalled: (self.now, 0),
                };
                self.publishing.insert(slot, publishing);
            }
            Role::Echo(echo) => {
                let echoing = Echoing {
                    window: Window::new(echo.in_flight),
                    schedule: None,
                    sent: 0,
                    back: Track::from(0),
                };
                self.echoing.insert(slot, echoing);
            }
        }
        if self.traffic {
            self.start_traffic(slot);
        }
    }

    /// From now on everything that is published must come.
    fn open_tracks(&mut self, slot: u32) {
        let share = self.share_of(slot);
        let plan = std::sync::Arc::clone(&self.plan);
        let member = share.member + (slot - share.slot);
        let mut at = self.tracks_at(slot);
        for &topic in &plan.groups[share.group].subscribe {
            let each = publishers_each(&plan, topic);
            for local in 0..each {
                let floor = publisher_at(&plan, topic, member, local)
                    .map_or(0, |publisher| self.shared.published(publisher));
                self.tracks[at + local] = Track::from(floor);
            }
            at += each;
        }
    }

    pub(super) fn end_work(&mut self, slot: u32) {
        self.publishing.remove(&slot);
        self.unacknowledged.remove(&slot);
        recovery::end(self, slot);
        if let Some(echoing) = self.echoing.remove(&slot) {
            // What was on its way when the connection ended went with it.
            self.results.echoes.lost += echoing.back.missing(echoing.sent);
        }
    }

    fn start_traffic(&mut self, slot: u32) {
        let share = self.share_of(slot);
        let group = &self.plan.groups[share.group];
        let (index, members) = (
            u64::from(share.member + (slot - share.slot)),
            u64::from(group.count),
        );
        let schedule =
            |rate: Option<f64>| rate.map(|rate| Schedule::share(self.now, rate, index, members));
        let (schedule, in_flight) = match group.role {
            Role::Listen => return,
            Role::Publish(publish) => (schedule(publish.rate), 0),
            Role::Echo(echo) => (schedule(echo.rate), echo.in_flight),
        };
        if let Some(schedule) = schedule {
            self.due.push(Reverse((schedule.next_due(), slot)));
        }
        let now = roost_net::clock::now_ns();
        if let Some(publishing) = self.publishing.get_mut(&slot) {
            publishing.schedule = schedule;
            if schedule.is_none() {
                self.stalled.push(slot);
            }
        }
        if let Some(echoing) = self.echoing.get_mut(&slot) {
            echoing.schedule = schedule;
            if schedule.is_none() {
                for _ in 0..in_flight {
                    echoing.window.push_due(now);
                }
                self.send_echoes(slot);
            }
        }
    }

    pub(super) fn publish_each(&mut self, messages: u32, size: Option<usize>) {
        for slot in self.working_slots() {
            if let Some(publishing) = self.publishing.get_mut(&slot) {
                publishing.owed += messages;
                publishing.owed_size = size;
                self.stalled.push(slot);
            }
        }
    }

    // Out.

    /// Sends what is due by schedules, and what publishers without one may send.
    pub(super) fn send_due(&mut self) {
        let now = roost_net::clock::now_ns();
        while let Some(&Reverse((due, slot))) = self.due.peek() {
            if due > now {
                break;
            }
            self.due.pop();
            self.send_scheduled(slot, now);
        }
        if !self.stalled.is_empty() {
            self.push_on(now);
        }
    }

    fn send_scheduled(&mut self, slot: u32, now: u64) {
        let start = self.scratch.len();
        if let Some(publishing) = self.publishing.get_mut(&slot) {
            let Some(mut schedule) = publishing.schedule else {
                return;
            };
            while let Some(due) = schedule.take_due(now) {
                self.publish(slot, due, None);
            }
            self.queue_send(slot, start);
            self.due.push(Reverse((schedule.next_due(), slot)));
            if let Some(publishing) = self.publishing.get_mut(&slot) {
                publishing.schedule = Some(schedule);
            }
        } else if let Some(echoing) = self.echoing.get_mut(&slot) {
            let Some(schedule) = &mut echoing.schedule else {
                return;
            };
            while let Some(due) = schedule.take_due(now) {
                echoing.window.push_due(due);
            }
            self.due.push(Reverse((schedule.next_due(), slot)));
            self.send_echoes(slot);
        }
    }

    /// Publishers without a schedule: as far as the window of each allows.
    fn push_on(&mut self, now: u64) {
        for slot in std::mem::take(&mut self.stalled) {
            let group = &self.plan.groups[self.share_of(slot).group];
            let Role::Publish(publish) = group.role else {
                continue;
            };
            let publishers = u64::from(group.count);
            let subscribers = self.plan.subscribers_each(publish.topic).max(1);
            let allowed = subscribers * u64::from(publish.window) * publishers;
            let shared = std::sync::Arc::clone(&self.shared);
            let some_away = shared.some_away();
            let flow = &shared.flows[publish.topic];
            let start = self.scratch.len();
            let mut sent = 0;
            let waits = loop {
                let Some(publishing) = self.publishing.get_mut(&slot) else {
                    break false;
                };
                let mut size = None;
                if publishing.owed > 0 {
                    publishing.owed -= 1;
                    size = publishing.owed_size;
                } else if !self.traffic || publishing.schedule.is_some() {
                    break false;
                }
                // So that others send too: a publisher sends at most its own window at once.
                let full = match publish.together {
                    // Those that are away receive it later.
                    _ if some_away => false,
                    true => sent == 0 && flow.under_way() > 0,
                    false => flow.under_way() >= allowed,
                };
                if full || sent >= publish.window {
                    if !self.traffic {
                        publishing.owed += 1;
                    }
                    break true;
                }
                sent += 1;
                self.publish(slot, roost_net::clock::now_ns(), size);
            };
            self.queue_send(slot, start);
            if !waits {
                continue;
            }
            self.stalled.push(slot);
            flow.wait();
            let under_way = flow.under_way();
            if let Some(publishing) = self.publishing.get_mut(&slot) {
                let (since, then) = publishing.stalled;
                if sent > 0 || under_way != then {
                    publishing.stalled = (now, under_way);
                } else if now > since.max(self.resumed_at) + STALL_NS {
                    publishing.stalled = (now, 0);
                    self.results.stalls += 1;
                    flow.forget();
                }
            }
        }
    }

    /// One message of a publisher, into the scratch buffer.
    fn publish(&mut self, slot: u32, due: u64, size: Option<usize>) {
        let share = self.share_of(slot);
        let group = &self.plan.groups[share.group];
        let Role::Publish(publish) = group.role else {
            return;
        };
        let member = share.member + (slot - share.slot);
        let topic = &self.plan.topics[publish.topic];
        let index = member % topic.channels;
        let publisher = self.plan.first_of(share.group) + member;
        // Counted before it is sent: a subscription from now on may miss it.
        let sequence = self.shared.published[publisher as usize].fetch_add(1, Ordering::AcqRel);
        let stamp = Stamp {
            publisher,
            channel: self.plan.channels_of(publish.topic).start + index,
            sequence,
            due_ns: due,
            sent_ns: roost_net::clock::now_ns(),
        };
        self.payload.clear();
        payload::append(&stamp, size.unwrap_or(publish.size), &mut self.payload);
        let mut say = Say {
            out: &mut self.scratch,
            random: &mut self.random,
        };
        let name = topic.channel_name(index);
        group
            .dialect
            .publish(&mut say, &name, sequence, &self.payload);
        if group.dialect.acknowledges() {
            *self.unacknowledged.entry(slot).or_default() += 1;
        }
        if !self.shared.some_away() {
            let subscribers = self.plan.subscribers_each(publish.topic);
            self.shared.flows[publish.topic].expect(subscribers);
        }
        self.gauges().sent.add(1);
    }

    fn send_echoes(&mut self, slot: u32) {
        let share = self.share_of(slot);
        let group = &self.plan.groups[share.group];
        let Role::Echo(echo) = group.role else { return };
        let member = share.member + (slot - share.slot);
        let number = self.plan.first_of(share.group) + member;
        // Its own, where the dialect echoes in channels.
        let channel = group.subscribe.first().map_or_else(String::new, |&topic| {
            self.plan.topics[topic].channel_name(member)
        });
        let start = self.scratch.len();
        let mut sent = 0;
        if let Some(echoing) = self.echoing.get_mut(&slot) {
            while let Some(due_ns) = echoing.window.send_next() {
                let stamp = Stamp {
                    publisher: number,
                    channel: 0,
                    sequence: echoing.sent,
                    due_ns,
                    sent_ns: roost_net::clock::now_ns(),
                };
                echoing.sent += 1;
                sent += 1;
                self.payload.clear();
                payload::append(&stamp, echo.size, &mut self.payload);
                let mut say = Say {
                    out: &mut self.scratch,
                    random: &mut self.random,
                };
                group
                    .dialect
                    .publish(&mut say, &channel, stamp.sequence, &self.payload);
            }
        }
        if group.dialect.acknowledges() {
            *self.unacknowledged.entry(slot).or_default() += sent;
        }
        self.gauges().sent.add(sent);
        self.queue_send(slot, start);
    }

    // In.

    pub(super) fn on_payload(&mut self, slot: u32, payload: &[u8]) {
        let share = self.share_of(slot);
        match self.plan.groups[share.group].role {
            Role::Listen => self.on_delivery(slot, payload),
            // Whether a publisher hears others is the server's affair.
            Role::Publish(_) => {}
            Role::Echo(_) => self.on_echo(slot, payload),
        }
    }

    /// The server has taken a publish.
    pub(super) fn on_acknowledged(&mut self, slot: u32) {
        self.results.acknowledged += 1;
        if let Some(left) = self.unacknowledged.get_mut(&slot) {
            *left = left.saturating_sub(1);
        }
    }

    fn on_delivery(&mut self, slot: u32, payload: &[u8]) {
        self.gauges().received.add(1);
        let conn = self.conns[slot as usize];
        // What comes before the last of several channels is subscribed again counts: it is asked for.
        let counts =
            conn.state == State::Held || conn.state == State::Opening && conn.has(RESUMING);
        if !counts {
            return;
        }
        let Some(stamp) = payload::read(payload) else {
            self.results.deliveries.corrupt += 1;
            return;
        };
        let Some((topic, track)) = self.track_for(slot, &stamp) else {
            self.results.deliveries.misrouted += 1;
            return;
        };
        self.tracks[track].handle(stamp.sequence, &mut self.results.deliveries);
        if self.recovery.advance(track, stamp.sequence) {
            recovery::note_caught_up(self);
        }
        let ns = self.now.saturating_sub(stamp.due_ns);
        self.results.delivery.record(ns);
        if self.some_dropped {
            match self.conns[slot as usize].has(DROPPED) {
                true => self.results.delivery_returned.record(ns),
                false => self.results.delivery_rest.record(ns),
            }
        }
        self.results.last[stamp.publisher as usize].record(stamp.sequence, ns);
        self.seen[topic] += 1;
    }

    /// Where a message is accounted for, if the connection should hear it.
    fn track_for(&self, slot: u32, stamp: &Stamp) -> Option<(usize, usize)> {
        let share = self.share_of(slot);
        let member = share.member + (slot - share.slot);
        let mut at = self.tracks_at(slot);
        for &topic in &self.plan.groups[share.group].subscribe {
            let channels = self.plan.channels_of(topic);
            let each = publishers_each(&self.plan, topic);
            if channels.contains(&stamp.channel) {
                let index = stamp.channel - channels.start;
                let (group, _) = self.plan.publishers_of(topic)?;
                let publisher = stamp.publisher.checked_sub(self.plan.first_of(group))?;
                let ours = index == member % (channels.end - channels.start)
                    && publisher < self.plan.groups[group].count
                    && publisher % (channels.end - channels.start) == index;
                let local = (publisher / (channels.end - channels.start)) as usize;
                return ours.then_some((topic, at + local));
            }
            at += each;
        }
        None
    }

    fn on_echo(&mut self, slot: u32, payload: &[u8]) {
        self.gauges().received.add(1);
        let share = self.share_of(slot);
        let number = self.plan.first_of(share.group) + share.member + (slot - share.slot);
        let Some(echoing) = self.echoing.get_mut(&slot) else {
            return;
        };
        let tally = &mut self.results.echoes;
        let Some(stamp) = payload::read(payload) else {
            tally.corrupt += 1;
            return;
        };
        if stamp.publisher != number {
            tally.misrouted += 1;
            return;
        }
        echoing.back.handle(stamp.sequence, tally);
        echoing.window.answered();
        self.results
            .echo
            .record(self.now.saturating_sub(stamp.due_ns));
        self.results
            .echo_sent
            .record(self.now.saturating_sub(stamp.sent_ns));
        if self.traffic {
            if echoing.schedule.is_none() {
                echoing.window.push_due(roost_net::clock::now_ns());
            }
            self.send_echoes(slot);
        }
    }

    /// Tells the publishers what was delivered in this iteration.
    pub(super) fn tell_seen(&mut self) {
        let mut wake = false;
        for (flow, seen) in self.shared.flows.iter().zip(&mut self.seen) {
            if *seen > 0 {
                wake |= flow.see(std::mem::take(seen));
            }
        }
        if wake && self.shared.gauges.len() > 1 {
            self.shared.wake_all();
        }
    }

    // Accounting.

    fn tracks_at(&self, slot: u32) -> usize {
        let share = self.conns[slot as usize].share as usize;
        let (start, each) = self.track_places[share];
        start + each * (slot - self.shares[share].slot) as usize
    }

    /// Messages that were sent and should still come.
    pub(super) fn missing(&self) -> u64 {
        let echoes: u64 = self
            .echoing
            .values()
            .map(|echoing| echoing.back.missing(echoing.sent))
            .sum();
        let owed: u64 = self
            .publishing
            .values()
            .map(|publishing| u64::from(publishing.owed))
            .sum();
        let unacknowledged: u64 = self.unacknowledged.values().sum();
        let mut missing = echoes + owed + unacknowledged;
        self.each_track(|track, sent| missing += self.tracks[track].missing(sent));
        missing
    }

    /// What is missing now is lost.
    pub(super) fn count_missing_as_lost(&mut self) {
        let mut due = Vec::new();
        self.each_track(|track, sent| {
            if self.tracks[track].missing(sent) > 0 {
                due.push((track, sent));
            }
        });
        for (track, sent) in due {
            self.tracks[track].count_missing_as_lost(sent, &mut self.results.deliveries);
        }
        for (_, left) in self.unacknowledged.drain() {
            self.results.unacknowledged += left;
        }
        for echoing in self.echoing.values_mut() {
            self.results.echoes.lost += echoing.back.missing(echoing.sent);
            echoing.window.clear();
            echoing.back = Track::from(echoing.sent);
        }
    }

    /// Each track of a connection that is held, with what its publisher has sent.
    fn each_track(&self, mut see: impl FnMut(usize, u64)) {
        for share in &self.shares {
            for slot in share.slot..share.slot + share.count {
                if self.conns[slot as usize].state == State::Held {
                    let member = share.member + (slot - share.slot);
                    self.each_track_of(slot, share.group, member, &mut see);
                }
            }
        }
    }

    /// Those of one connection, the `member`-th of its group.
    pub(super) fn each_track_of(
        &self,
        slot: u32,
        group: usize,
        member: u32,
        see: &mut impl FnMut(usize, u64),
    ) {
        for &topic in &self.plan.groups[group].subscribe {
            self.each_track_in(slot, (group, member), topic, see);
        }
    }

    /// Those of one connection, the `member`-th of its `group`, in a topic.
    pub(super) fn each_track_in(
        &self,
        slot: u32,
        (group, member): (usize, u32),
        topic: usize,
        see: &mut impl FnMut(usize, u64),
    ) {
        let topics = &self.plan.groups[group].subscribe;
        let before = topics.iter().take_while(|&&other| other != topic);
        let before: usize = before
            .map(|&topic| publishers_each(&self.plan, topic))
            .sum();
        let at = self.tracks_at(slot) + before;
        for local in 0..publishers_each(&self.plan, topic) {
            if let Some(publisher) = publisher_at(&self.plan, topic, member, local) {
                see(at + local, self.shared.published(publisher));
            }
        }
    }
}

/// The number of the `local`-th publisher of the channel that subscriber `member` has in `topic`.
fn publisher_at(plan: &Plan, topic: usize, member: u32, local: usize) -> Option<u32> {
    let (group, _) = plan.publishers_of(topic)?;
    let channels = plan.topics[topic].channels;
    let index = member % channels + u32::try_from(local).ok()? * channels;
    (index < plan.groups[group].count).then(|| plan.first_of(group) + index)
}

/// Publishers that saw no delivery for so long go on.
const STALL_NS: u64 = 1_000_000_000;
/// What is unsent for no longer than this had a client that waited for a core, whatever its interval.
const UNSENT_EXPLAINED_NS: u64 = 100_000_000;
