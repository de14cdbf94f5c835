//! Measurements of what cannot be seen from outside: `cargo bench -p roost-reactor --features bench`.

#![expect(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "it measures the time that passes"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use roost_net::sim::{SimFaults, SimNet, SimOptions};
use roost_net::{ConnKey, Driver};

use crate::connections::Scratch;
use crate::flush::flush;
use crate::input::{handle_accepted, handle_bytes};
use crate::messages::apply_pending;
use crate::{Settings, Shared};

/// How long each step takes, in nanoseconds, while `connections` come, each with a channel of its own
/// and an address of its own: tables grow, and none may copy all it holds at once.
///
/// # Panics
/// When one is refused.
pub fn growth(connections: u32) -> Vec<u64> {
    let mut settings = Settings::for_tests();
    settings.connections_max = connections;
    settings.limits.connections_per_address_max = 10;
    settings.limits.handshakes_in_flight_max = connections;
    settings.limits.channels_max = connections;
    let mut driver = SimNet::new(1, SimFaults::none()).driver(SimOptions::default());
    let mut core = Shared::new(settings, 1, 1).core(0, driver.waker());
    let mut scratch = Scratch::default();
    let step = |number: u32| {
        let peer = SocketAddr::new(IpAddr::from((10 << 24 | number).to_be_bytes()), 1);
        let mut request = format!(
            "GET /raw/{number} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes();
        let begun = Instant::now();
        let key: ConnKey = handle_accepted(&mut core, 0, Some(peer))
            .unwrap_or_else(|refused| panic!("there is room: {refused:?}"));
        handle_bytes(&mut core, key, &mut request);
        apply_pending(&mut core);
        flush(&mut core, &mut driver, &mut scratch);
        begun.elapsed().as_nanos() as u64
    };
    (0..connections).map(step).collect()
}
