//! Reloads in the middle of a simulation: other limits and rates, and namespaces that take channels which
//! are there. Of each kind so much that nothing of what is promised changes.

use roost_net::sim::SimRng;
use roost_reactor::{ChannelPolicy, Settings};

use super::plan::Plan;

/// The reloads to come.
pub(super) struct Reloads {
    /// When; the next one last.
    at_ns: Vec<u64>,
    rng: SimRng,
    has_publish_limits: bool,
    begun: u64,
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
            begun: 0,
        }
    }

    /// When the next one is.
    pub(super) fn due(&self) -> Option<u64> {
        self.at_ns.last().copied()
    }

    /// The settings of the next one, if it is due.
    pub(super) fn next(&mut self, now: u64, current: &Settings) -> Option<Settings> {
        self.at_ns.pop_if(|at| *at <= now)?;
        self.begun += 1;
        let mut settings = current.clone();
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
        Some(settings)
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
        // What may wait in bytes is checked exactly, and stays.
        policy.outbox_messages_max = 1_000_000 + self.rng.between(0, 1_000) as u32;
    }
}

/// Namespaces that reloads add, one after the other.
const ADDED: [&str; 3] = ["api", "cf", "urn"];
