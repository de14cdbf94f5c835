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
