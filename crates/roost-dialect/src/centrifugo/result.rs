//! A subscribe's result: where the subscription begins, and what its client has missed. The members are JSON's.

use roost_hub::{ChannelId, Loss, Position, Snapshot};

use crate::dialect::{Recovered, Recovers};
use crate::serial::push_number;

/// A command whose result may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Subscribe,
    Unsubscribe,
    Publish,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Method::Subscribe => "subscribe",
            Method::Unsubscribe => "unsubscribe",
            Method::Publish => "publish",
        }
    }
}

/// A subscription has its place in its channel's order.
#[derive(Debug)]
pub(super) struct Subscribed<'a> {
    pub(super) channel: ChannelId,
    pub(super) snapshot: Snapshot,
    pub(super) recovers: Recovers,
    pub(super) recovery: Option<Recovered<'a>>,
    /// Whether its client gets deltas.
    pub(super) has_deltas: bool,
}

impl Subscribed<'_> {
    /// One that stands at a position now, and has missed something if its client comes back.
    pub(super) fn at(position: Position, is_recovering: bool) -> Subscribed<'static> {
        Subscribed {
            channel: ChannelId(0), // not told
            snapshot: Snapshot { position },
            recovers: Recovers::Stream,
            recovery: is_recovering.then_some(Recovered::Lost(Loss::TooOld)),
            has_deltas: false,
        }
    }
}

/// The members of a subscribe's result.
pub(super) fn write_result(out: &mut Vec<u8>, subscribed: &Subscribed<'_>) {
    let Subscribed {
        channel: _,
        snapshot: Snapshot { position },
        recovers,
        recovery,
        has_deltas,
    } = subscribed;
    if *has_deltas {
        out.extend_from_slice(b"\"delta\":true");
    }
    if *recovers == Recovers::Nothing {
        return;
    }
    if *has_deltas {
        out.push(b',');
    }
    out.extend_from_slice(b"\"recoverable\":true,\"positioned\":true,");
    write_position(out, start_of(*position, recovery.as_ref()));
    let Some(recovery) = recovery else {
        return;
    };
    out.extend_from_slice(b",\"was_recovering\":true");
    if let Recovered::Publications(publications) = recovery {
        out.extend_from_slice(b",\"recovered\":true,\"publications\":[");
        for (at, (_, publication)) in publications.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(publication.payload().unwrap_or_default());
        }
        out.push(b']');
    }
}

/// Where a subscription stands before what it has recovered, each of which moves it on.
pub(super) fn start_of(top: Position, recovery: Option<&Recovered<'_>>) -> Position {
    match recovery {
        Some(Recovered::Publications([(first, _), ..])) => Position {
            offset: first - 1,
            ..top
        },
        _ => top,
    }
}

/// `"expires":true,"ttl":…`
pub(super) fn write_expiry(out: &mut Vec<u8>, seconds: u32) {
    out.extend_from_slice(b"\"expires\":true,\"ttl\":");
    push_number(out, u64::from(seconds));
}

/// `"epoch":…,"offset":…`
pub(super) fn write_position(out: &mut Vec<u8>, position: Position) {
    let Position { epoch, offset } = position;
    out.extend_from_slice(b"\"epoch\":\"");
    out.extend_from_slice(&epoch_text(epoch));
    out.extend_from_slice(b"\",\"offset\":");
    push_number(out, offset);
}

/// An epoch as clients are told it: 16 hexadecimal digits.
pub(super) fn epoch_text(epoch: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (at, digit) in digits.iter_mut().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "four bits")]
        let value = (epoch >> (60 - 4 * at)) as usize & 0xf;
        *digit = b"0123456789abcdef"[value];
    }
    digits
}
