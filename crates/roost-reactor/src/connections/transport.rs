//! The stages between net and wire: what a connection's bytes pass through on their way.
//!
//! | direction | stages, in order |
//! |---|---|
//! | input | the transport opens records in place and yields their plaintext, piece by piece; the decoder of the connection's phase reads that |
//! | output | compression with a context of the connection's own ([`super::contexts`]), then the transport seals records |
//!
//! Both keep partial input at the same time if need be: a record that is not whole stands beside a
//! message that is not. Output is sealed as late as it is compressed, when it is handed to the driver:
//! what waits in an outbox may still be dropped, and what was sealed must be sent.
//!
//! A server knows no transport but the plain one now, whose bytes are handed on as they are and pass
//! through none of this: a flag of the record tells the others. TLS will be the next; `Records`, of
//! tests, takes its place until then.

use std::collections::HashMap;
use std::ops::Range;

/// The transports of one reactor's connections that are not plain, by slot: keys and counters.
#[derive(Default)]
pub(crate) struct Transports {
    by_slot: HashMap<u32, State>,
}

/// What a transport keeps of one connection.
enum State {
    /// Two bytes of length and a payload in which each byte is changed by the record's number: of
    /// tests.
    #[cfg(test)]
    Records { opened: u8, sealed: u8 },
}

/// What was opened of a connection's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    /// A record, whose plaintext stands here; behind `consumed` bytes the next one begins.
    Record {
        plaintext: Range<usize>,
        consumed: usize,
    },
    /// The record is not whole.
    #[cfg_attr(not(test), expect(dead_code, reason = "plain bytes are always whole"))]
    Incomplete,
    /// It breaks the transport's rules: the connection is closed at once.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the plain transport has no rules")
    )]
    Broken,
}

impl Transports {
    /// Whether all connections are plain.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// Whether the connection in `slot` is not.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.by_slot.contains_key(&slot)
    }

    /// Frees what is kept for the connection in `slot`.
    pub(super) fn release(&mut self, slot: u32) {
        if self.by_slot.remove(&slot).is_some() && self.by_slot.is_empty() {
            self.by_slot = HashMap::new();
        }
    }

    /// Opens the first record of `bytes`, in place.
    pub(super) fn open(&mut self, slot: u32, bytes: &mut [u8]) -> Opened {
        match self.by_slot.get_mut(&slot) {
            None => Opened::Record {
                plaintext: 0..bytes.len(),
                consumed: bytes.len(),
            },
            #[cfg(test)]
            Some(State::Records { opened, .. }) => records::open(opened, bytes),
            #[cfg(not(test))]
            Some(state) => match *state {},
        }
    }

    /// Appends `plaintext` to `out`, sealed.
    pub(super) fn seal(&mut self, slot: u32, plaintext: &[u8], out: &mut Vec<u8>) {
        match self.by_slot.get_mut(&slot) {
            None => out.extend_from_slice(plaintext),
            #[cfg(test)]
            Some(State::Records { sealed, .. }) => records::seal(sealed, plaintext, out),
            #[cfg(not(test))]
            Some(state) => match *state {},
        }
    }

    /// The connection in `slot` speaks in records.
    #[cfg(test)]
    pub(super) fn begin_records(&mut self, slot: u32) {
        let state = State::Records {
            opened: 0,
            sealed: 0,
        };
        self.by_slot.insert(slot, state);
    }
}

/// The transport of tests.
#[cfg(test)]
pub(super) mod records {
    use super::Opened;

    pub(in crate::connections) fn open(number: &mut u8, bytes: &mut [u8]) -> Opened {
        let Some((&mut [high, low], behind)) = bytes.split_first_chunk_mut::<2>() else {
            return Opened::Incomplete;
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len == 0 {
            return Opened::Broken;
        }
        let Some(payload) = behind.get_mut(..len) else {
            return Opened::Incomplete;
        };
        payload.iter_mut().for_each(|byte| *byte ^= *number);
        *number = number.wrapping_add(1);
        Opened::Record {
            plaintext: 2..2 + len,
            consumed: 2 + len,
        }
    }

    pub(in crate::connections) fn seal(number: &mut u8, plaintext: &[u8], out: &mut Vec<u8>) {
        for piece in plaintext.chunks(usize::from(u16::MAX)) {
            let len = piece.len() as u16;
            out.extend_from_slice(&len.to_be_bytes());
            out.extend(piece.iter().map(|byte| byte ^ *number));
            *number = number.wrapping_add(1);
        }
    }
}
