//! `ticket`: the secret is sent as it is, and compared with what is known.

use aws_lc_rs::hmac;
use roost_access::Secret;

use crate::keys::{BYTES, equal, mac};

/// A ticket as it is kept: a keyed hash, so that all comparisons are of one length.
pub(crate) struct Ticket([u8; BYTES]);

impl Ticket {
    pub(crate) fn new(key: &hmac::Key, ticket: &Secret) -> Ticket {
        Ticket(mac(key, &[TICKET, ticket.expose()]))
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, key: &hmac::Key, shown: &str) -> bool {
        equal(&self.0, &mac(key, &[TICKET, shown.as_bytes()]))
    }
}

const TICKET: &[u8] = b"ticket ";
