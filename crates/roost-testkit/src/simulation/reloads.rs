//! Reloads in the middle of a simulation: other limits and rates, other policies for slow consumers,
//! namespaces that take channels which are there, and a listener that comes and goes. Of each kind so
//! much that nothing of what is promised changes.

use std::net::SocketAddr;

use roost_net::sim::SimRng;
use roost_reactor::{ChannelPolicy, Listener, OpenedListener, Settings, SlowConsumer};

use super::plan::Plan;

/// The reloads to come.
pub(super) struct Reloads {
    /// When; the next one last.
    at_ns: Vec<u64>,
    rng: SimRng,
    has_publish_limits: bool,
    changes_outboxes: bool,
    extra: Extra,
    /// Listeners that were opened.
    opened: u64,
    begun: u64,
}

/// A listener that serves what the first one does, from one reload to another. Its connections stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extra {
    None,
    /// Some reactors may not listen yet.
    Opening(u8),
    /// Peers come by it.
    Open(u8),
    /// None comes any more, from that time on.
    Leaving(u8, u64),
}

impl Reloads {
    /// On one seed of three, up to a few before the end of the script.
    pub(super) fn new(plan: &Plan) -> Reloads {
        let mut rng = SimRng::new(plan.seed ^ 0x4e_10_ad);
        let count = match plan.seed % 3 {
            1 => rng.between(1, 9),
            _ => 0,
        };
        let mut at_ns: Vec<u64> = (0..count).map(|_| rng.between(1, plan.end_ns)).collect();
        at_ns.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        Reloads {
            at_ns,
            rng,
            has_publish_limits: plan.has_publish_limits(),
            changes_outboxes: changes_outboxes(plan.seed),
            extra: Extra::None,
            opened: 0,
            begun: 0,
        }
    }

    /// When the next one is.
    pub(super) fn due(&self) -> Option<u64> {
        self.at_ns.last().copied()
    }

    /// The settings of the next one, if it is due, and what it opens for so many reactors.
    pub(super) fn next(
        &mut self,
        now: u64,
        current: &Settings,
        reactors: usize,
    ) -> Option<(Settings, Vec<OpenedListener>)> {
        self.at_ns.pop_if(|at| *at <= now)?;
        self.begun += 1;
        let mut settings = current.clone();
        let opened = self.change_listeners(now, &mut settings, reactors);
        for (_, policy) in &mut settings.channels.namespaces {
            self.change(policy);
        }
        // Channels of these names are there, and had the policy of all that have no section.
        let channels = &mut settings.channels;
        let is_known = |name: &str| channels.namespaces.iter().any(|(known, _)| known == name);
        if let Some(name) = ADDED.into_iter().find(|name| !is_known(name)) {
            let policy = channels.default.clone();
            channels.namespaces.push((name.to_owned(), policy));
        }
        settings.limits.channels_max += self.rng.between(0, 100) as u32;
        settings.limits.patterns_max += self.rng.between(0, 100) as u32;
        Some((settings, opened))
    }

    fn change_listeners(
        &mut self,
        now: u64,
        settings: &mut Settings,
        reactors: usize,
    ) -> Vec<OpenedListener> {
        match self.extra {
            Extra::None => {
                let number = u8::try_from(settings.listeners.len()).expect("a few");
                let address = SocketAddr::from(([10, 0, 0, 3], 8_000 + u16::from(number)));
                settings.listeners.push(Listener {
                    address: address.into(),
                    ..settings.listeners[0].clone()
                });
                self.opened += 1;
                self.extra = Extra::Opening(number);
                return vec![OpenedListener::unopened(settings, number, reactors)];
            }
            Extra::Open(number) => self.extra = Extra::Leaving(number, now),
            Extra::Leaving(number, since) if now > since + DIALLED_NS => {
                settings.listeners[usize::from(number)].is_open = false;
                self.extra = Extra::None;
            }
            Extra::Opening(..) | Extra::Leaving(..) => {}
        }
        Vec::new()
    }

    /// Where peers can connect besides, now that all reactors have what they were given.
    pub(super) fn extra_address(&mut self, settings: &Settings) -> Option<SocketAddr> {
        match self.extra {
            Extra::Opening(number) => {
                self.extra = Extra::Open(number);
                settings.listeners[usize::from(number)].address.tcp()
            }
            Extra::Open(number) => settings.listeners[usize::from(number)].address.tcp(),
            Extra::None | Extra::Leaving(..) => None,
        }
    }

    /// Whether peers are to be told of another listener when all reactors have it.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.extra, Extra::Opening(..))
    }

    /// How many listeners were opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// How many there were.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Within what the plan draws from.
    fn change(&mut self, policy: &mut ChannelPolicy) {
        if self.has_publish_limits && policy.publish_messages_per_second_max > 0 {
            policy.publish_messages_per_second_max = self.rng.between(100, 400) as u32;
        }
        if self.changes_outboxes && policy.slow_consumer != SlowConsumer::Close {
            policy.outbox_bytes_max = self.rng.between(6_000, 40_000) as usize;
            policy.slow_consumer = match (policy.slow_consumer, self.rng.per_mille(500)) {
                (SlowConsumer::DropOldest, true) => SlowConsumer::DropNewest,
                (SlowConsumer::DropNewest, true) => SlowConsumer::DropOldest,
                (same, _) => same,
            };
        }
        policy.outbox_messages_max = 1_000_000 + self.rng.between(0, 1_000) as u32;
    }
}

/// Whether the reloads of a seed change what may wait for slow consumers, and what is dropped of it. Then
/// it cannot be said which message has to be dropped, but that all dropped ones are counted.
pub(super) fn changes_outboxes(seed: u64) -> bool {
    seed % 6 == 1
}

/// A SYN arrives before that, if at all.
const DIALLED_NS: u64 = 100_000_000;

/// Namespaces that reloads add, one after the other.
const ADDED: [&str; 3] = ["api", "cf", "urn"];
