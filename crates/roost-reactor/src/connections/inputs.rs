//! Input that is not whole: what connections have sent of a head, a message or a dialect's command.
//!
//! It stands beside the connection table and exists only while there is some. The record holds an
//! index, or a flag.

use std::collections::HashMap;

use slab::Slab;

use super::conn::{Conn, Flags, Index};
use super::partial::Partial;

/// All unfinished input of one reactor's connections.
#[derive(Default)]
pub(crate) struct Inputs {
    partials: Slab<Partial>,
    /// Bytes of messages that are no whole command of the dialect yet, by slot.
    rests: HashMap<u32, Vec<u8>>,
    /// Bytes of records that are not whole yet, by slot.
    records: HashMap<u32, Vec<u8>>,
    /// What all of it holds now.
    bytes: u64,
    /// What was ever kept.
    kept_bytes_total: u64,
    /// How many handshakes wait for the check of a token, or for the application.
    checks: usize,
}

impl Inputs {
    /// Keeps unfinished input of a connection.
    pub(crate) fn keep(&mut self, conn: &mut Conn, partial: Partial) {
        debug_assert_eq!(conn.partial, Index::NONE, "one unfinished input at a time");
        self.add(partial.bytes());
        self.checks += usize::from(partial.is_check());
        conn.partial = Index::new(self.partials.insert(partial));
    }

    /// Takes a connection's unfinished input out, if there is some.
    pub(crate) fn take(&mut self, conn: &mut Conn) -> Option<Partial> {
        let partial = self.partials.remove(conn.partial.take()?);
        self.bytes -= partial.bytes() as u64;
        self.checks -= usize::from(partial.is_check());
        if self.partials.is_empty() && self.partials.capacity() > KEPT {
            self.partials = Slab::new();
        }
        Some(partial)
    }

    /// A connection's unfinished input, to look at.
    pub(crate) fn get(&self, conn: &Conn) -> Option<&Partial> {
        conn.partial.get().map(|index| &self.partials[index])
    }

    /// Keeps what is no whole command of the dialect's yet, for the connection in `slot`.
    pub(crate) fn keep_rest(&mut self, slot: u32, conn: &mut Conn, rest: Vec<u8>) {
        debug_assert!(!conn.flags.has(Flags::HAS_REST), "one rest at a time");
        self.add(rest.capacity());
        conn.flags.set(Flags::HAS_REST);
        self.rests.insert(slot, rest);
    }

    /// Takes that out, if there is some.
    pub(crate) fn take_rest(&mut self, slot: u32, conn: &mut Conn) -> Option<Vec<u8>> {
        if !conn.flags.clear(Flags::HAS_REST) {
            return None;
        }
        let rest = self.rests.remove(&slot);
        debug_assert!(rest.is_some(), "the flag says that there is a rest");
        let rest = rest?;
        self.bytes -= rest.capacity() as u64;
        Some(rest)
    }

    /// Keeps a record that is not whole, for the connection in `slot`.
    pub(crate) fn keep_record(&mut self, slot: u32, conn: &mut Conn, record: Vec<u8>) {
        debug_assert!(!conn.flags.has(Flags::HAS_RECORD), "one record at a time");
        self.add(record.capacity());
        conn.flags.set(Flags::HAS_RECORD);
        self.records.insert(slot, record);
    }

    /// Takes that out, if there is some.
    pub(crate) fn take_record(&mut self, slot: u32, conn: &mut Conn) -> Option<Vec<u8>> {
        if !conn.flags.clear(Flags::HAS_RECORD) {
            return None;
        }
        let record = self.records.remove(&slot);
        debug_assert!(record.is_some(), "the flag says that there is a record");
        let record = record?;
        self.bytes -= record.capacity() as u64;
        Some(record)
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.kept_bytes_total += bytes as u64;
    }

    /// Bytes held for the connection in `slot`.
    pub(crate) fn bytes_of(&self, slot: u32, conn: &Conn) -> usize {
        let rest = match conn.flags.has(Flags::HAS_REST) {
            true => self.rests.get(&slot).map_or(0, Vec::capacity),
            false => 0,
        };
        let record = match conn.flags.has(Flags::HAS_RECORD) {
            true => self.records.get(&slot).map_or(0, Vec::capacity),
            false => 0,
        };
        self.get(conn).map_or(0, Partial::bytes) + rest + record
    }

    /// How many handshakes wait for the check of a token, or for the application.
    pub(crate) fn checks(&self) -> usize {
        self.checks
    }

    /// Bytes held for all.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that were ever kept.
    pub(crate) fn kept_bytes_total(&self) -> u64 {
        self.kept_bytes_total
    }

    /// Cuts the tables down to what is needed; returns the bytes that were freed.
    pub(crate) fn shrink(&mut self) -> usize {
        if self.rests.is_empty() {
            self.rests = HashMap::new();
        }
        if self.records.is_empty() {
            self.records = HashMap::new();
        }
        crate::memory::cut(&mut self.partials)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.partials.capacity()
    }

    /// In debug builds: what is counted is what is there.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let partials = self.partials.iter().map(|(_, partial)| partial.bytes());
            let checks = self.partials.iter();
            let checks = checks.filter(|(_, one)| one.is_check());
            assert_eq!(
                checks.count(),
                self.checks,
                "handshakes that wait for a check"
            );
            let rests = self.rests.values().map(Vec::capacity);
            let records = self.records.values().map(Vec::capacity);
            let bytes: usize = partials.chain(rests).chain(records).sum();
            assert_eq!(bytes as u64, self.bytes, "bytes of unfinished input");
        }
    }
}

/// Room for so many is kept when the last has gone.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_counted_while_it_is_kept() {
        let (mut inputs, mut conn) = (Inputs::default(), Conn::new(0));
        inputs.keep_rest(3, &mut conn, vec![7; 100]);
        assert_eq!(inputs.bytes_of(3, &conn), 100);
        assert_eq!(inputs.bytes(), 100);
        inputs.check_invariants();
        assert_eq!(inputs.take_rest(3, &mut conn), Some(vec![7; 100]));
        assert_eq!(inputs.take_rest(3, &mut conn), None);
        assert_eq!(inputs.bytes(), 0);
        assert_eq!(inputs.kept_bytes_total(), 100);
        inputs.check_invariants();
    }
}
