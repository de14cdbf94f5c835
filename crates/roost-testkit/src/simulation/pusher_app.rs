//! The application of the peers that speak Pusher's protocol.

use std::sync::Arc;

use roost_access::Secret;
use roost_auth::{PusherApp, PusherKey};
use roost_dialect::pusher;
use roost_reactor::{JoinLeave, Presence, Settings};

/// Their application, with channels of its own: subscribers are told how many they are where they are no
/// members, but in the lobby.
pub(super) fn add(settings: &mut Settings) {
    let before = settings.channels.namespaces.len();
    settings.channels = std::mem::take(&mut settings.channels).with_app(PREFIX);
    let policies = &mut settings.channels;
    for (at, (name, policy)) in policies.namespaces.iter_mut().enumerate().skip(before) {
        policy.presence_linger_ms = 300;
        policy.presence_notify_ms = 100;
        policy.presence_notify_per_second_max = 1_000; // all answers are whole
        if !name.contains("presence-") {
            policy.presence = Presence::Counts;
            policy.join_leave = JoinLeave::Asked;
            policies.counted.push(at as u16 + 1);
        }
    }
    settings.dialects.pusher = Arc::new(pusher::Settings {
        enabled: true,
        apps: [app()].into(),
        activity_timeout_s: 120,
        client_events_per_second_max: 10,
        client_event_bytes_max: 1_000,
        members_per_channel_max: 100,
        member_bytes_max: 100,
        subscriptions_per_connection_max: 128,
        channel_name_bytes_max: 255,
        events: pusher::EventLimits::default(),
    });
}

pub(super) fn app() -> PusherApp {
    PusherApp {
        id: "1".into(),
        key: "key".into(),
        signing: PusherKey::new(&Secret::from("secret".to_owned())),
        prefix: PREFIX.into(),
        enabled: true,
        client_events: true,
        authorized_connections: false,
    }
}

const PREFIX: &str = "ps:";
