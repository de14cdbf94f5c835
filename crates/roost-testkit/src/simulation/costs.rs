//! What a connection may cost, by what it has sent: checked behind every turn of a reactor, for
//! every connection, those of the crowd and those of the hostile peers alike.

use roost_net::Driver;
use roost_net::sim::SimDriver;
use roost_reactor::{ConnCost, Reactor};

use super::crowd::Crowd;
use super::hostile::Hostiles;

/// The most that was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    /// Bytes pinned beyond twice those received since nothing was kept.
    pub pinned_beyond: u64,
    /// Steps for each byte received, of connections that have sent 1,000 bytes.
    pub steps_per_byte: u64,
    /// Bytes that hostile peers have sent.
    pub hostile_bytes: u64,
    /// Bytes that waited for one of the crowd that always reads.
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
        crowd: &Crowd,
        hostiles: &Hostiles,
    ) {
        for account in reactor.conn_costs() {
            let address = reactor.driver().peer_addr(account.key);
            let hostile = address.and_then(|address| hostiles.sent_from(address));
            if let Err(what) = self.check_one(&account, hostile.map(|(_, sent)| sent)) {
                let who = hostile.map_or("one of the crowd".to_owned(), |(attack, _)| {
                    format!("{attack:?}")
                });
                panic!("{who} at {address:?} {what}: {account:?}");
            }
            if address.is_some_and(|address| crowd.reads(address)) {
                self.reader_bytes = self.reader_bytes.max(account.output_bytes);
            }
        }
    }

    fn check_one(&mut self, account: &ConnCost, sent: Option<u64>) -> Result<(), &'static str> {
        // The books are the server's own: the peer knows better what it has sent.
        if sent.is_some_and(|sent| account.received_bytes > sent) {
            return Err("has not sent what the server says it received");
        }
        let twice = 2 * account.unfinished_bytes;
        if account.input_bytes > PINNED_BYTES_BASE + twice {
            return Err("pins more than its due");
        }
        let answers_max = OUTPUT_BYTES_BASE + 2 * account.received_bytes;
        if account.hears_itself_only && account.output_bytes > answers_max {
            return Err("makes more wait than its due");
        }
        let received = account.received_bytes;
        if account.steps > STEPS_PER_BYTE_MAX * (1 + received) {
            return Err("makes more work than its due");
        }
        self.pinned_beyond = self
            .pinned_beyond
            .max(account.input_bytes.saturating_sub(twice));
        if received >= 1_000 {
            self.steps_per_byte = self.steps_per_byte.max(account.steps.div_ceil(received));
        }
        Ok(())
    }
}

/// What unfinished input takes whatever has come: the record of a decoder or of a handshake, and
/// the 101 of one that waits for its channel.
const PINNED_BYTES_BASE: u64 = 512;
/// What may wait for a connection that has sent nothing to be answered: a refusal or a 101, a ping,
/// a close frame; and what it takes to hold a dozen answers of growing size that are not joined.
const OUTPUT_BYTES_BASE: u64 = 2048;
/// Work allowed for each byte received. Most is done for a head of draft 76 whose last eight bytes
/// come one by one: it is copied and parsed again with each, which makes 30.
const STEPS_PER_BYTE_MAX: u64 = 32;
