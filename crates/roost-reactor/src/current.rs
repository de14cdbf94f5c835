//! What all reactors obey at a time, and what a reload puts in its place.

use std::sync::Arc;

use roost_dealer::DealerLimits;
use roost_hub::{HubLimits, PatternOptions};
use roost_wire::Limits as WireLimits;

use crate::channels::Inflow;
use crate::governor::ConnectRates;
use crate::settings::Settings;

/// What reactors obey, all from one configuration.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) settings: Arc<Settings>,
    /// How much may be published, of all reactors together.
    pub(crate) inflow: Arc<Inflow>,
    /// How many connections an address may begin, of all reactors together.
    pub(crate) connects: Arc<ConnectRates>,
    /// How names begin that no wildcard matches.
    closed_names: Arc<[String]>,
}

impl Current {
    pub(crate) fn new(settings: Settings) -> Current {
        Current {
            inflow: Arc::new(Inflow::new(&settings.channels)),
            connects: Arc::new(ConnectRates::new(&settings.limits)),
            closed_names: settings.guarded_names().collect(),
            settings: Arc::new(settings),
        }
    }

    /// What follows on it.
    pub(crate) fn next(&self, settings: Settings) -> Current {
        Current {
            inflow: Arc::new(self.inflow.reload(&settings.channels)),
            connects: match self.connects.is_of(&settings.limits) {
                true => self.connects.clone(),
                false => Arc::new(ConnectRates::new(&settings.limits)),
            },
            ..Current::new(settings)
        }
    }

    /// What a hub obeys of it.
    pub(crate) fn hub_limits(&self) -> HubLimits {
        let limits = &self.settings.limits;
        HubLimits {
            channels_max: limits.channels_max,
            channel_name_bytes_max: u32::try_from(limits.channel_name_bytes_max)
                .unwrap_or(u32::MAX),
            patterns: PatternOptions {
                patterns_max: limits.patterns_max,
                protected: self.closed_names.clone(),
            },
        }
    }

    /// What a dealer obeys of it.
    pub(crate) fn dealer_limits(&self) -> DealerLimits {
        let limits = &self.settings.limits;
        DealerLimits {
            registrations_max: limits.registrations_per_connection_max,
            calls_max: limits.calls_per_connection_max,
            invocations_max: limits.invocations_per_connection_max,
        }
    }

    pub(crate) fn wire_limits(&self) -> WireLimits {
        let limits = &self.settings.limits;
        WireLimits {
            frame_bytes_max: limits.frame_bytes_max,
            message_bytes_max: limits.message_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates that a reload does not change go on where they stand: it gives no client its burst anew.
    #[test]
    fn what_was_taken_of_a_rate_that_stays_the_same_is_taken_still() {
        let mut settings = Settings::for_tests();
        settings.limits.connects_per_address_per_second_max = 1;
        settings.limits.client_burst_ms = 1_000;
        settings.channels.default.publish_messages_per_second_max = 1;
        let address = std::net::IpAddr::from([10, 0, 0, 1]);
        let before = Current::new(settings.clone());
        while before.connects.take(address, 0).is_ok() {}
        while before.inflow.try_take(0, 1, 0).is_ok() {}
        settings.limits.message_bytes_max += 1;
        let same = before.next(settings.clone());
        assert!(same.connects.take(address, 0).is_err());
        assert!(same.inflow.try_take(0, 1, 0).is_err());
        settings.limits.connects_per_address_per_second_max = 2;
        settings.channels.default.publish_messages_per_second_max = 2;
        let other = same.next(settings);
        assert!(other.connects.take(address, 0).is_ok());
        assert!(other.inflow.try_take(0, 1, 0).is_ok());
    }
}
