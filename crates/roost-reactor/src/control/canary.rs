//! Whether each reactor delivers: small publications on a channel of each, and whether they are heard.
//! Pure: the caller sends and hears, and has the clock.
//!
//! A probe goes the way of the API's publications, into the ring of its home, which orders it, and comes
//! back the way of deliveries. One that is not heard in time is a miss, and the next follows at once; with
//! [`MISSES_MAX`] in a row the reactor does not deliver, and where the probe was seen last says which hop
//! is broken. One that is heard late ends that, for it was delivered.

use std::fmt;

use roost_hub::Name;
use roost_metrics::Registry;

use super::messages::Refusal;

/// The probes of all reactors.
#[derive(Debug)]
pub struct Canary {
    interval_ns: u64,
    /// In which a probe is to be heard.
    timeout_ns: u64,
    homes: Vec<Probed>,
}

/// What is done next for a reactor; then [`Canary::sent`] is told what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryStep {
    /// To subscribe to its channel.
    Listen {
        /// The reactor, and the number of the subscription.
        home: usize,
    },
    /// To publish on its channel.
    Publish {
        /// The reactor.
        home: usize,
        /// What is published, as text.
        number: u64,
    },
}

/// What keeps a reactor's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenHop {
    /// Its loop has not run since the probe was sent.
    Stalled,
    /// The ring to it takes nothing.
    RingFull,
    /// It runs, and has not taken the probe: its messages for other reactors wait first.
    Backlog(u64),
    /// It runs, and has not taken the probe.
    NotTaken,
    /// It has refused the probe.
    Refused(Refusal),
    /// It has given the probe a place, and it was not heard.
    NotDelivered,
}

/// One reactor.
#[derive(Debug)]
struct Probed {
    channel: Name,
    stage: Stage,
    /// When something is to be done, or to have happened.
    due_ns: u64,
    /// The number of the last probe.
    number: u64,
    /// When the last of them were sent; 0 once one is heard.
    sent_ns: [u64; IN_FLIGHT_MAX],
    /// Its loop's iterations when the last one was sent.
    iterations: u64,
    /// In a row.
    misses: u32,
    misses_total: u64,
    hop: BrokenHop,
    /// How long the last one that was heard had been on its way.
    latency_ns: Option<u64>,
}

/// How far a probe has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The channel is not subscribed to.
    Apart,
    /// Its home has been asked.
    Asked,
    /// All probes were heard.
    Resting,
    /// One is on its way.
    Sent,
    /// One has its place in the channel's order.
    Placed,
    /// One was refused, or found no room.
    Failed,
}

impl Canary {
    /// Of a server whose reactors have these channels, by [`super::ControlPeer::canary_of`].
    pub fn new(channels: Vec<Name>, interval_ns: u64, now_ns: u64) -> Canary {
        let probed = |channel| Probed {
            channel,
            stage: Stage::Apart,
            due_ns: now_ns,
            number: 0,
            sent_ns: [0; IN_FLIGHT_MAX],
            iterations: 0,
            misses: 0,
            misses_total: 0,
            hop: BrokenHop::NotTaken,
            latency_ns: None,
        };
        Canary {
            interval_ns,
            timeout_ns: interval_ns / 2,
            homes: channels.into_iter().map(probed).collect(),
        }
    }

    /// The channel of a reactor.
    pub fn channel(&self, home: usize) -> &Name {
        &self.homes[home].channel
    }

    /// When [`Canary::next_step`] is to be asked again.
    pub fn due_ns(&self) -> u64 {
        let due = self.homes.iter().map(|probed| probed.due_ns);
        due.min().unwrap_or(u64::MAX)
    }

    /// What is to be done now.
    pub fn next_step(&mut self, now_ns: u64, registry: &Registry) -> Option<CanaryStep> {
        for home in 0..self.homes.len() {
            let iterations = registry.reactor(home).loop_iterations_total.get();
            let backlog = registry.reactor(home).cross_reactor_backlog.get();
            let timeout_ns = self.timeout_ns;
            let probed = &mut self.homes[home];
            if now_ns < probed.due_ns {
                continue;
            }
            probed.due_ns = now_ns + timeout_ns;
            if !matches!(probed.stage, Stage::Apart | Stage::Resting) {
                probed.miss(iterations, backlog);
            }
            let step = probed.step(home, now_ns, iterations);
            if step.is_some() {
                probed.iterations = iterations;
                return step;
            }
        }
        None
    }

    /// What came of a step: whether the reactor's ring had room.
    pub fn sent(&mut self, step: CanaryStep, is_sent: bool) {
        let (CanaryStep::Listen { home } | CanaryStep::Publish { home, .. }) = step;
        let probed = &mut self.homes[home];
        match (step, is_sent) {
            (CanaryStep::Listen { .. }, true) => probed.stage = Stage::Asked,
            // It may have been heard by now.
            (CanaryStep::Publish { .. }, true) => {}
            (CanaryStep::Listen { .. }, false) => {
                probed.hop = BrokenHop::RingFull;
                probed.note_miss();
            }
            (CanaryStep::Publish { number, .. }, false) => probed.fail(number, BrokenHop::RingFull),
        }
    }

    /// A reactor's channel is subscribed to.
    pub fn listening(&mut self, home: usize, now_ns: u64) {
        let probed = &mut self.homes[home];
        if probed.stage == Stage::Asked {
            (probed.stage, probed.misses, probed.due_ns) = (Stage::Resting, 0, now_ns);
        }
    }

    /// A probe has its place in its channel's order, or was refused.
    pub fn placed(&mut self, home: usize, number: u64, outcome: Result<(), Refusal>) {
        let probed = &mut self.homes[home];
        match outcome {
            Ok(()) if probed.number == number && probed.stage == Stage::Sent => {
                probed.stage = Stage::Placed;
            }
            Ok(()) => {}
            Err(refusal) => probed.fail(number, BrokenHop::Refused(refusal)),
        }
    }

    /// A probe was heard. Returns for how long it was on its way; `None` if it was not under way.
    pub fn heard(&mut self, home: usize, payload: &[u8], now_ns: u64) -> Option<u64> {
        let number: u64 = std::str::from_utf8(payload).ok()?.parse().ok()?;
        let (interval_ns, probed) = (self.interval_ns, self.homes.get_mut(home)?);
        let is_under_way =
            (1..=probed.number).contains(&number) && probed.number - number < IN_FLIGHT_MAX as u64;
        let sent_ns = match is_under_way {
            true => std::mem::take(&mut probed.sent_ns[slot_of(number)]),
            false => 0,
        };
        if sent_ns == 0 {
            return None;
        }
        let latency_ns = now_ns.saturating_sub(sent_ns);
        probed.latency_ns = Some(latency_ns);
        probed.misses = 0;
        if number == probed.number {
            probed.stage = Stage::Resting;
            probed.due_ns = sent_ns.saturating_add(interval_ns).max(now_ns);
        }
        Some(latency_ns)
    }

    /// What is wrong with a reactor, if so many probes in a row were missed.
    pub fn broken_hop(&self, home: usize) -> Option<BrokenHop> {
        let probed = &self.homes[home];
        (probed.misses >= MISSES_MAX).then_some(probed.hop)
    }

    /// A sentence for each reactor that does not deliver.
    pub fn problems(&self) -> Vec<String> {
        let homes = (0..self.homes.len()).filter_map(|home| Some((home, self.broken_hop(home)?)));
        homes.map(|(home, hop)| hop.explain(home)).collect()
    }

    /// Of a reactor: probes missed in a row, and in all.
    pub fn misses(&self, home: usize) -> (u32, u64) {
        let probed = &self.homes[home];
        (probed.misses, probed.misses_total)
    }

    /// Of a reactor: how long the last probe that was heard was on its way.
    pub fn latency_ns(&self, home: usize) -> Option<u64> {
        self.homes[home].latency_ns
    }
}

impl Probed {
    /// What is due for it: nothing while more probes are under way than are of use.
    fn step(&mut self, home: usize, now_ns: u64, iterations: u64) -> Option<CanaryStep> {
        match self.stage {
            Stage::Apart => return Some(CanaryStep::Listen { home }),
            Stage::Asked => return None,
            Stage::Resting | Stage::Sent | Stage::Placed | Stage::Failed => {}
        }
        let next = self.number + 1;
        let slot = slot_of(next);
        let before_ns = self.sent_ns[slot];
        // One that has left the ring takes no room in it. Others may have been lost with an answer, of a
        // reactor that runs.
        let has_run = iterations != self.iterations;
        let is_lost = self.stage == Stage::Placed || has_run && now_ns - before_ns >= LOST_AFTER_NS;
        if before_ns != 0 && !is_lost {
            return None;
        }
        (self.number, self.sent_ns[slot]) = (next, now_ns.max(1));
        self.stage = Stage::Sent;
        Some(CanaryStep::Publish { home, number: next })
    }

    fn miss(&mut self, iterations: u64, backlog: u64) {
        self.hop = match self.stage {
            Stage::Failed => self.hop,
            Stage::Placed => BrokenHop::NotDelivered,
            _ if iterations == self.iterations => BrokenHop::Stalled,
            _ if backlog > 0 => BrokenHop::Backlog(backlog),
            _ => BrokenHop::NotTaken,
        };
        self.note_miss();
    }

    fn note_miss(&mut self) {
        self.misses = self.misses.saturating_add(1);
        self.misses_total += 1;
    }

    /// A probe has ended without being published; it counts as missed when its time is over.
    fn fail(&mut self, number: u64, hop: BrokenHop) {
        self.sent_ns[slot_of(number)] = 0;
        if self.number == number {
            (self.stage, self.hop) = (Stage::Failed, hop);
        }
    }
}

impl BrokenHop {
    /// A sentence.
    pub fn explain(self, home: usize) -> String {
        match self {
            BrokenHop::Stalled => format!("reactor {home} does not deliver: its loop stands still"),
            BrokenHop::RingFull => format!("the ring to reactor {home} is full"),
            BrokenHop::Backlog(batches) => format!(
                "reactor {home} takes no publications: {batches} batches of it wait for room in \
                 other reactors' rings"
            ),
            BrokenHop::NotTaken => format!("reactor {home} has not taken what is published there"),
            BrokenHop::Refused(refusal) => {
                format!("reactor {home} has refused what is published there ({refusal:?})")
            }
            BrokenHop::NotDelivered => format!(
                "reactor {home} does not deliver: what was published there was not sent to its \
                 subscriber"
            ),
        }
    }
}

impl fmt::Display for BrokenHop {
    /// As a word for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BrokenHop::Stalled => "stalled",
            BrokenHop::RingFull => "ring_full",
            BrokenHop::Backlog(_) => "backlog",
            BrokenHop::NotTaken => "not_taken",
            BrokenHop::Refused(_) => "refused",
            BrokenHop::NotDelivered => "not_delivered",
        })
    }
}

fn slot_of(number: u64) -> usize {
    usize::try_from(number % IN_FLIGHT_MAX as u64).expect("below IN_FLIGHT_MAX")
}

/// A probe of which nothing has come back for so long is not counted as under way.
const LOST_AFTER_NS: u64 = 30_000_000_000;
/// Probes missed in a row after which a reactor does not deliver.
pub const MISSES_MAX: u32 = 2;
/// Probes of a reactor under way at once: with more in its ring there would be less room for others.
const IN_FLIGHT_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn canary() -> (Canary, Registry) {
        let channels = vec![Name::from("a"), Name::from("b")];
        (Canary::new(channels, 2 * SECOND, SECOND), Registry::new(2))
    }

    /// Both channels are subscribed to.
    fn listening() -> (Canary, Registry) {
        let (mut canary, registry) = canary();
        for home in 0..2 {
            let step = canary.next_step(SECOND, &registry).expect("it is due");
            assert_eq!(step, CanaryStep::Listen { home });
            canary.sent(step, true);
        }
        (0..2).for_each(|home| canary.listening(home, SECOND));
        (canary, registry)
    }

    /// Does all that is due; `delivers` says whether a reactor does.
    fn play(canary: &mut Canary, registry: &Registry, now: u64, delivers: impl Fn(usize) -> bool) {
        while let Some(step) = canary.next_step(now, registry) {
            canary.sent(step, true);
            let CanaryStep::Publish { home, number } = step else {
                panic!("it listens");
            };
            if delivers(home) {
                registry.reactor(home).loop_iterations_total.inc();
                canary.placed(home, number, Ok(()));
                let latency = canary.heard(home, number.to_string().as_bytes(), now + 7);
                assert_eq!(latency, Some(7));
            }
        }
    }

    #[test]
    fn each_reactor_is_probed_once_an_interval_while_it_delivers() {
        let (mut canary, registry) = listening();
        for round in 0..10 {
            play(&mut canary, &registry, SECOND + round * 2 * SECOND, |_| {
                true
            });
            assert_eq!(canary.due_ns(), SECOND + (round + 1) * 2 * SECOND);
        }
        assert!(canary.problems().is_empty());
        assert_eq!((canary.misses(1), canary.latency_ns(1)), ((0, 0), Some(7)));
        assert_eq!(registry.reactor(1).loop_iterations_total.get(), 10);
    }

    #[test]
    fn a_reactor_that_stands_still_is_named_within_two_intervals_and_forgiven_when_it_goes_on() {
        let (mut canary, registry) = listening();
        play(&mut canary, &registry, SECOND, |_| true);
        let (stalled_at, mut now) = (SECOND + 1, SECOND);
        while canary.problems().is_empty() {
            now = canary.due_ns();
            play(&mut canary, &registry, now, |home| home == 0);
        }
        assert!(now - stalled_at < 5 * SECOND, "{now}");
        assert_eq!(
            canary.problems(),
            ["reactor 1 does not deliver: its loop stands still"]
        );
        for _ in 0..100 {
            now = canary.due_ns();
            play(&mut canary, &registry, now, |home| home == 0);
        }
        // What was under way comes at last; no more than a few were sent into its ring.
        let last = canary.homes[1].number;
        assert!(last <= 1 + IN_FLIGHT_MAX as u64, "{last} were sent");
        assert!(canary.heard(1, last.to_string().as_bytes(), now).is_some());
        assert!(canary.problems().is_empty());
    }

    #[test]
    fn the_hop_is_where_the_probe_was_seen_last() {
        let (mut canary, registry) = listening();
        let mut now = SECOND;
        let mut miss = |canary: &mut Canary, is_placed: bool, ring_has_room: bool, backlog: u64| {
            registry.reactor(0).cross_reactor_backlog.set(backlog);
            for _ in 0..10 {
                if canary.broken_hop(0).is_some() {
                    break;
                }
                registry.reactor(0).loop_iterations_total.inc();
                registry.reactor(1).loop_iterations_total.inc();
                while let Some(step) = canary.next_step(now, &registry) {
                    canary.sent(step, ring_has_room);
                    if let CanaryStep::Publish { home, number } = step
                        && is_placed
                    {
                        canary.placed(home, number, Ok(()));
                    }
                }
                // The time between two of them; its iterations were counted when it was sent.
                registry.reactor(0).loop_iterations_total.inc();
                now = canary.due_ns();
            }
            let hop = canary.broken_hop(0);
            let last = canary.homes[0].number;
            canary.homes[0].sent_ns = [now; IN_FLIGHT_MAX]; // a ring that was full has its first now
            assert!(canary.heard(0, last.to_string().as_bytes(), now).is_some());
            canary.homes[0].sent_ns = [0; IN_FLIGHT_MAX];
            assert_eq!(canary.broken_hop(0), None);
            hop
        };
        assert_eq!(
            miss(&mut canary, true, true, 0),
            Some(BrokenHop::NotDelivered)
        );
        assert_eq!(
            miss(&mut canary, false, true, 3),
            Some(BrokenHop::Backlog(3))
        );
        assert_eq!(miss(&mut canary, false, true, 0), Some(BrokenHop::NotTaken));
        assert_eq!(
            miss(&mut canary, false, false, 0),
            Some(BrokenHop::RingFull)
        );
    }

    #[test]
    fn what_it_has_not_sent_is_not_heard() {
        let (mut canary, registry) = listening();
        play(&mut canary, &registry, SECOND, |_| true);
        for payload in ["1", "0", "2", "99999", "x", "-1"] {
            assert_eq!(
                canary.heard(0, payload.as_bytes(), SECOND),
                None,
                "{payload}"
            );
        }
        assert_eq!(canary.heard(9, b"1", SECOND), None, "no such reactor");
    }
}
