//! What a connection may cost, by what it has sent: checked after every loop iteration of a reactor,
//! for every connection, of peers and of hostile peers alike.

use roost_net::sim::SimDriver;
use roost_reactor::{ConnCost, Reactor};

use super::hostile::Hostiles;
use super::peers::Peers;

/// The most that was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    /// Bytes pinned beyond twice those received since nothing was kept.
    pub pinned_beyond: u64,
    /// Steps for each byte received, of connections that have sent 1,000 bytes.
    pub steps_per_byte: u64,
    /// Bytes that hostile peers have sent.
    pub hostile_bytes: u64,
    /// Bytes that waited for a peer that always reads.
    pub reader_bytes: u64,
    /// Bytes that all together held, in thousandths of the budget.
    pub held_per_mille: u64,
}

impl Costs {
    /// Holds all connections of `reactor` to what they have sent.
    ///
    /// # Panics
    /// With the peer's name, when one costs more.
    pub(super) fn check(
        &mut self,
        reactor: &Reactor<SimDriver>,
        peers: &Peers,
        hostiles: &Hostiles,
    ) {
        for cost in reactor.conn_costs() {
            let address = reactor.driver().other_end(cost.key);
            let hostile = address.and_then(|address| hostiles.sent_from(address));
            if let Err(what) = self.check_one(&cost, hostile.map(|(_, sent)| sent)) {
                let name = hostile.map_or("a peer".to_owned(), |(attack, _)| format!("{attack:?}"));
                panic!("{name} at {address:?} {what}: {cost:?}");
            }
            if address.is_some_and(|address| peers.reads(address)) {
                self.reader_bytes = self.reader_bytes.max(cost.output_bytes);
            }
        }
    }

    fn check_one(&mut self, cost: &ConnCost, sent: Option<u64>) -> Result<(), &'static str> {
        // The peer's own count of what it has sent checks the server's.
        if sent.is_some_and(|sent| cost.received_bytes > sent) {
            return Err("sent less than the server counts as received");
        }
        let twice = 2 * cost.unfinished_bytes;
        if cost.input_bytes > PINNED_BYTES_BASE + twice {
            return Err("pins more than its limit");
        }
        let answers_max = OUTPUT_BYTES_BASE + 2 * cost.received_bytes;
        if cost.hears_itself_only && cost.output_bytes > answers_max {
            return Err("has more waiting than its limit");
        }
        let received = cost.received_bytes;
        if cost.steps > STEPS_PER_BYTE_MAX * (1 + received) {
            return Err("makes more work than its limit");
        }
        self.pinned_beyond = self
            .pinned_beyond
            .max(cost.input_bytes.saturating_sub(twice));
        if received >= 1_000 {
            self.steps_per_byte = self.steps_per_byte.max(cost.steps.div_ceil(received));
        }
        Ok(())
    }
}

/// What unfinished input takes whatever has come: the record of a decoder or of a handshake, and
/// the 101 of one that waits for its channel.
pub(super) const PINNED_BYTES_BASE: u64 = 512;
/// What may wait for a connection that has sent nothing to be answered: a refusal or a 101, a ping,
/// a close frame; and what it takes to hold a dozen answers of growing size that are not joined.
const OUTPUT_BYTES_BASE: u64 = 2048;
/// Work allowed for each byte received. Most is done for a head of draft 76 whose last eight bytes
/// come one by one: it is copied and parsed again with each, which makes 30.
const STEPS_PER_BYTE_MAX: u64 = 32;
