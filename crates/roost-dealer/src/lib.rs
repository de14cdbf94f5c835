//! Procedures and calls: who answers whom. Pure: knows no connection, no socket, no clock and no
//! thread, and payloads only as a type it passes on.
//!
//! # Three roles
//! Each reactor has one [`Dealer`]. It plays three roles:
//!
//! - *Home*: one reactor knows the callees of all procedures, and chooses whom a call goes to. It
//!   keeps nothing of a call.
//! - *Callee's*: it numbers the invocations of its clients, and keeps the open ones.
//! - *Caller's*: it keeps the open calls of its clients, and decides alone when one is answered.
//!
//! So a call takes three steps from reactor to reactor, and one beside them:
//!
//! ```text
//! caller's ── Call ──▶ home ── Invoke ──▶ callee's
//!     ◀────────────── Invoked ──────────────┘   whom to interrupt, should it come to that
//!     ◀────────────── Answer ───────────────┘   at the end, and for each progressive result
//!     └────────────── GiveUp ──────────────▶    canceled, timed out, or the caller has left
//! ```
//!
//! There is one home, so that what a caller calls reaches one callee in the order of the calls,
//! whatever the procedures (WAMP, "Remote Procedure Call Ordering").
//!
//! # What is promised
//! - Each call has one answer that is not a progressive one, whatever leaves, cancels or times out,
//!   and in whatever order; a caller that has left has none.
//! - Calls of one caller reach one callee in their order, but for those that are sent on because
//!   their first callee had just gone.
//! - What a callee says to one call keeps its order, and nothing follows the answer.
//! - A callee that can be interrupted is, if the caller that it works for no longer waits, unless
//!   the caller has said that it shall not be.
//! - A call that finds its callee gone from its place goes to another, if there is one.
//! - Nothing of a call or a registration is left when both clients have gone and the items have
//!   arrived.
//!
//! # What is registered
//! [`Dealer::registrations`] shows it at home, and [`Output::Registration`] tells of changes, with the numbers by
//! which clients know each other. [`state`] has a dealer taken apart.
//!
//! # Bounds
//! A client's open calls, open invocations and registrations, the callees of a procedure, and the
//! forms of wildcard patterns (so that a look-up takes a bounded number of steps). For each open
//! call at most one answer that is not from a client is under way, and it carries no payload.

#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_lossless,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

mod calls;
mod dealer;
mod ids;
mod item;
mod options;
mod procedures;
pub mod state;

pub use dealer::{Dealer, Registrations};
pub use ids::{Address, CallRef, Client, InvocationRef};
pub use item::{
    Answer, Call, CallError, CalleeFeatures, CancelMode, Failure, Interrupt, Item, Match,
    NeverInvoked, Notice, Output, Policy, Procedure, Register, RegisterError, Registration,
    RegistrationChange, RegistrationEvent,
};
pub use options::{DealerCounts, DealerLimits, DealerOptions};
