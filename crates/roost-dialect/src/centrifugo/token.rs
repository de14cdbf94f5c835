//! What the events of a command are known by: the command's number, and what else its answer depends on.

/// Of a command; `rejects_unrecovered`: it is to fail if something was missed.
pub(super) fn of(id: u32, rejects_unrecovered: bool) -> u64 {
    u64::from(id) | if rejects_unrecovered { REJECTS } else { 0 }
}

/// The command's number.
#[expect(clippy::cast_possible_truncation, reason = "the rest is no part of it")]
pub(super) fn number(token: u64) -> u32 {
    token as u32
}

pub(super) fn rejects_unrecovered(token: u64) -> bool {
    token & REJECTS != 0
}

const REJECTS: u64 = 1 << 32;
