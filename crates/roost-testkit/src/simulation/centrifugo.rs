//! Peers that speak Centrifugo's protocol: they subscribe and unsubscribe without waiting for answers, publish,
//! and ask for what there is not. Where tokens are checked some show one, and some a wrong one. Some vanish.
//!
//! What is promised: each command has exactly one answer, which is the one that the peer's permissions and
//! subscriptions call for, or the connection ends; publications come on channels that are subscribed to
//! alone, each publisher's in order and under its name, and a publisher that stays subscribed gets its own.

use std::net::SocketAddr;

use roost_net::sim::{SimDriver, SimRng};

use super::centrifugo_peer::CentrifugoPeer;
use super::clients::{Clients, Way};
use super::plan::Plan;
use super::presence::CHANNEL;

/// All of them.
pub(super) type CentrifugoPeers = Clients<CentrifugoPeer>;

impl Clients<CentrifugoPeer> {
    pub(super) fn new(
        plan: &Plan,
        driver: SimDriver,
        to: SocketAddr,
        rng: SimRng,
    ) -> CentrifugoPeers {
        let way = Way {
            driver,
            to,
            from: ([10, 0, 5, 1], PORT_FIRST),
            pause_ns_max: 400_000_000,
        };
        let peers = (0..plan.centrifugo_peers).map(|index| CentrifugoPeer::new(index, plan));
        Clients::begin(way, peers.collect(), plan.start_ns..plan.end_ns, rng)
    }

    /// How many subscriptions there are to channels that keep presence; `None` if that is not sure.
    pub(super) fn members(&self) -> Option<u64> {
        let mut sum = 0;
        for peer in self.all() {
            if peer.is_unsure || !peer.open.is_empty() {
                return None;
            }
            if peer.socket.is_over || !peer.watch.is_on() {
                continue;
            }
            let present = peer.active.iter().filter(|name| name.starts_with(CHANNEL));
            sum += present.count() as u64;
        }
        Some(sum)
    }

    /// How many commands were answered, how many publications received, and how many of these were deltas.
    ///
    /// # Errors
    /// What came and was not expected, or is missing on a connection that works.
    pub(super) fn check(&self, plan: &Plan) -> Result<[u64; 3], String> {
        let (mut answered, mut received, mut deltas) = (0, 0, 0);
        for peer in self.all() {
            let err = |what: &str| Err(format!("Centrifugo peer {}: {what}", peer.index));
            if let Some(failure) = &peer.failure {
                return err(failure);
            }
            answered += peer.answered;
            received += peer.received;
            deltas += peer.deltas();
            if !plan.reliable {
                continue;
            }
            if peer.socket.is_over {
                continue;
            }
            for (channel, number) in &peer.awaited {
                let newest = peer.newest.get(&(channel.clone(), peer.index as u64));
                if newest.is_none_or(|newest| newest < number) {
                    return err(&format!("{number} on {channel} is not there: {newest:?}"));
                }
            }
            if peer.is_connected && !peer.open.is_empty() {
                return err(&format!("no answer to {:?}", peer.open));
            }
        }
        Ok([answered, received, deltas])
    }
}

/// The port of the first.
const PORT_FIRST: u16 = 41_000;
