//! What slow consumers missed under a policy that drops: no more than it must, and the right
//! messages.

use roost_reactor::SlowConsumer;

use super::behavior::{Behavior, Kind, State};
use super::peer::Peer;
use super::plan::{NAMESPACES, Plan};
use super::records::{Sent, Window};
use super::reloads::changes_outboxes;

/// What was missed, by namespace.
#[derive(Debug, Default)]
pub(super) struct Gaps([Missed; NAMESPACES.len()]);

#[derive(Debug, Default)]
struct Missed {
    /// Messages of which it is known that they should have come if nothing was dropped.
    messages: u64,
    /// There may be more: of subscriptions that ended, or whose beginning is not known.
    maybe_more: bool,
}

/// What one subscription of a slow consumer received and missed.
pub(super) struct Gap<'a> {
    pub(super) plan: &'a Plan,
    pub(super) peer: &'a Peer,
    pub(super) window: &'a Window,
    /// The channel's publications, in its order.
    pub(super) sent: Vec<Sent>,
    /// By when each of them was published.
    pub(super) published_by: &'a [u64],
    /// Places in that order of the messages received.
    pub(super) places: &'a [usize],
    /// And of the messages missed.
    pub(super) missing: &'a [usize],
    /// More may have been dropped before the subscription was known to be one.
    pub(super) before: bool,
    /// More may have been dropped behind the last that was received.
    pub(super) behind: bool,
}

impl Gaps {
    /// A closed slow consumer may have had subscriptions whose acknowledgement it never read.
    pub(super) fn note_peer(&mut self, peer: &Peer, plan: &Plan) {
        if peer.reads() || peer.state == State::Open {
            return;
        }
        for channel in 0..plan.channels {
            if matches!(peer.kind, Kind::Wamp(_)) || peer.kind == Kind::Raw(channel) {
                self.note_unknown(channel);
            }
        }
    }

    /// It is not known what was published in this channel.
    pub(super) fn note_unknown(&mut self, channel: usize) {
        self.0[channel % NAMESPACES.len()].maybe_more = true;
    }

    /// Adds what one subscription missed.
    ///
    /// # Errors
    /// When the policy is to drop others.
    pub(super) fn add(&mut self, gap: &Gap<'_>) -> Result<(), String> {
        let missed = &mut self.0[gap.window.channel % NAMESPACES.len()];
        missed.messages += gap.missing.len() as u64;
        missed.maybe_more |= gap.before || gap.behind;
        gap.check()
    }

    /// Compares what was missed with what a namespace's counters say. Returns whether they must be,
    /// and are, equal.
    pub(super) fn check(&self, namespace: usize, dropped: u64) -> Result<bool, String> {
        let Missed {
            messages,
            maybe_more,
        } = self.0[namespace];
        if messages > dropped || (messages < dropped && !maybe_more) {
            let (name, _) = NAMESPACES[namespace];
            return Err(format!(
                "namespace {name}: {messages} messages were missed (or more: {maybe_more}), \
                 {dropped} counted as dropped"
            ));
        }
        Ok(!maybe_more && dropped > 0)
    }
}

impl Gap<'_> {
    fn check(&self) -> Result<(), String> {
        if changes_outboxes(self.plan.seed) {
            return Ok(()); // the sums are compared
        }
        match Plan::slow_consumer_of(self.window.channel) {
            SlowConsumer::Close => Ok(()),
            SlowConsumer::DropOldest => self.check_oldest(),
            SlowConsumer::DropNewest => self.check_newest(),
            SlowConsumer::Latest => self.check_latest(),
        }
    }

    /// The last message dropped made room for those behind it, which were received.
    fn check_oldest(&self) -> Result<(), String> {
        let (Some(&last), true) = (self.missing.last(), self.has_own_lane()) else {
            return Ok(());
        };
        let behind = self.places.iter().filter(|&&place| place > last);
        let behind: u64 = behind.map(|&place| self.sent[place].frame_bytes).sum();
        let bytes_max = self.plan.outbox_bytes_max_of(self.window.channel);
        if self.is_live() && behind + self.sent[last].frame_bytes <= bytes_max {
            return Err(format!(
                "place {last} was dropped for {behind} bytes, and {bytes_max} may wait"
            ));
        }
        match self.received_after_backlog_full() {
            Some((_, came))
                if came.iter().map(|sent| sent.frame_bytes).sum::<u64>() > bytes_max =>
            {
                Err(format!("more waited than {bytes_max} bytes"))
            }
            _ => Ok(()),
        }
    }

    /// Each message dropped found no room: those before it, which were received, still waited.
    fn check_newest(&self) -> Result<(), String> {
        if !self.has_own_lane() {
            return Ok(());
        }
        let bytes_max = self.plan.outbox_bytes_max_of(self.window.channel);
        for &place in self.missing {
            let dropped = &self.sent[place];
            let came = self.places.iter().zip(&self.window.times);
            let waited = came.filter(|&(&other, &came)| other < place && came >= dropped.at);
            let waited: u64 = waited.map(|(&p, _)| self.sent[p].frame_bytes).sum();
            if waited + dropped.frame_bytes <= bytes_max {
                return Err(format!(
                    "place {place} was dropped beside {waited} bytes, and {bytes_max} may wait"
                ));
            }
        }
        // And while nothing is read, there never is room again.
        match self.received_after_backlog_full() {
            Some((dropped, came))
                if came.iter().map(|sent| sent.frame_bytes).sum::<u64>() >= dropped.frame_bytes =>
            {
                Err(format!("{} came behind one that found no room", came.len()))
            }
            _ => Ok(()),
        }
    }

    /// The channel's last message comes, and while nothing is read only one waits.
    fn check_latest(&self) -> Result<(), String> {
        if self.is_live() && self.missing.last() > self.places.last() {
            return Err("the latest message did not come".to_owned());
        }
        match self.received_after_backlog_full() {
            Some((_, came)) if came.len() > 1 => Err(format!("{} waited at once", came.len())),
            _ => Ok(()),
        }
    }

    /// What came of all that was published from some time after the first drop on and before the
    /// peer read again; and the drop after which that was. The network takes nothing meanwhile.
    fn received_after_backlog_full(&self) -> Option<(&Sent, Vec<&Sent>)> {
        if self.peer.behavior != Behavior::NeverReads {
            return None;
        }
        let full = self.first_drop_with_network_full()?;
        let in_time = |place: usize| {
            let published_by = self.published_by[place];
            published_by.saturating_add(BACKLOG_FULL_NS) < self.plan.end_ns
        };
        let came = self.places.iter().copied();
        let came = came.filter(|&place| place > full && in_time(place));
        let came = came.map(|place| &self.sent[place]);
        Some((&self.sent[full], came.collect()))
    }

    /// The place of the first message dropped that shows that the network takes nothing more: another
    /// was dropped so long before that the network has since taken all it takes.
    ///
    /// Not counted is what was published in a pause, or just behind one: it came to the connection all
    /// at once, and may have been dropped for that. With `latest` a send under way is enough for a drop;
    /// there the network takes nothing when all that was published between two drops was dropped as
    /// well, for it would have taken what waited.
    fn first_drop_with_network_full(&self) -> Option<usize> {
        let pauses = self.plan.pauses.iter();
        let pauses = pauses.filter(|pause| pause.at_ns < self.plan.end_ns);
        let paused_until = pauses.map(|pause| pause.end_ns() + BACKLOG_FULL_NS).max();
        let from = paused_until.unwrap_or(0);
        let one_waits = Plan::slow_consumer_of(self.window.channel) == SlowConsumer::Latest;
        let mut came = self.places.iter().peekable();
        let mut first: Option<u64> = None;
        for &place in self.missing {
            let mut is_between = false;
            while came.next_if(|&&other| other < place).is_some() {
                is_between = true;
            }
            let (at, by) = (self.sent[place].at, self.published_by[place]);
            match first {
                _ if at < from => {}
                Some(_) if one_waits && is_between => first = Some(by),
                Some(first) if at > first.saturating_add(BACKLOG_FULL_NS) => return Some(place),
                Some(_) => {}
                None => first = Some(by),
            }
        }
        None
    }

    /// Nothing of another channel waits in the same lane.
    fn has_own_lane(&self) -> bool {
        matches!(self.peer.kind, Kind::Raw(_))
    }

    fn is_live(&self) -> bool {
        self.peer.alive && !self.window.ended
    }
}

/// After this time the network has taken all it takes for a peer that does not read.
const BACKLOG_FULL_NS: u64 = 200_000_000;
