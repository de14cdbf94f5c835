//! The client's side of peers that come over TLS.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use roost_net::sim::SimRng;
use roost_tls::seal::close;
use roost_tls::testing::{Endpoint, Over};

use super::listeners;
use super::peer::Peer;

/// By the peers' numbers.
pub(super) struct Encrypted {
    seed: u64,
    connected: HashMap<usize, Endpoint>,
    /// Those that are not connected yet.
    dialling: HashSet<usize>,
}

impl Encrypted {
    pub(super) fn new(seed: u64) -> Encrypted {
        Encrypted {
            seed,
            connected: HashMap::new(),
            dialling: HashSet::new(),
        }
    }

    /// A peer dials the listener with TLS.
    pub(super) fn dial(&mut self, index: usize) {
        self.dialling.insert(index);
    }

    /// A peer is connected, from this address: its handshake begins if it has dialled that listener.
    pub(super) fn connected(&mut self, index: usize, address: SocketAddr) {
        if self.dialling.remove(&index) {
            let client = listeners::tls_client(self.seed, address);
            self.connected.insert(index, client);
        }
    }

    /// Whether a peer comes over TLS and has not been told of its end.
    pub(super) fn is_open(&self, index: usize) -> bool {
        let tls = self.connected.get(&index);
        tls.is_some_and(|tls| tls.over.is_none())
    }

    /// Bytes have come for a peer: records, if it comes over TLS.
    pub(super) fn open(&mut self, peer: &mut Peer, bytes: &mut [u8], now: u64, rng: &mut SimRng) {
        match self.connected.get_mut(&peer.index) {
            None => peer.handle_bytes(bytes, now),
            Some(tls) => open(tls, peer, bytes, now, rng),
        }
    }

    /// What a peer has to send: in records, if it comes over TLS.
    pub(super) fn seal(&mut self, peer: &mut Peer) -> Vec<u8> {
        match self.connected.get_mut(&peer.index) {
            None => std::mem::take(&mut peer.outgoing),
            Some(tls) => seal(tls, peer),
        }
    }
}

/// Records that have come for a peer. Now and then it wants new keys.
fn open(tls: &mut Endpoint, peer: &mut Peer, bytes: &[u8], now: u64, rng: &mut SimRng) {
    tls.give(bytes);
    let mut plaintext = std::mem::take(&mut tls.received);
    let wants_keys = tls.is_established() && rng.per_mille(30);
    if wants_keys && peer.key_updates < KEY_UPDATES_MAX {
        peer.key_updates += 1;
        tls.rest.request_key_update();
    }
    if let Some(Over::Failed(fault)) = tls.over {
        peer.failure.get_or_insert(format!("TLS: {fault}"));
    }
    if !plaintext.is_empty() {
        peer.handle_bytes(&mut plaintext, now);
    }
}

/// What a peer has to send, in records; its handshake until that is over.
fn seal(tls: &mut Endpoint, peer: &mut Peer) -> Vec<u8> {
    if peer.fin_sent {
        return Vec::new(); // new keys are wanted and cannot be answered for any more
    }
    if tls.is_established() && !tls.rest.is_send_closed() {
        tls.flush();
        if !peer.outgoing.is_empty() {
            tls.send(&std::mem::take(&mut peer.outgoing));
        }
        if peer.fin_is_next && !peer.index.is_multiple_of(3) {
            close(&mut tls.rest, &mut tls.out); // some end without
        }
    }
    tls.take()
}

/// New keys that a peer wants, at most: fewer than are taken for an attack from one that sends nothing
/// else.
const KEY_UPDATES_MAX: u8 = 16;
