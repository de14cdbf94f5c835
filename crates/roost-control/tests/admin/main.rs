//! The admin listeners over real sockets, in front of real reactors.

mod canary;
mod drain;
mod endpoints;
mod events;
mod exposition;
mod foreign;
mod hangs;
mod harness;
mod limits;
mod on_call;
mod page;
mod socket;
mod stalled;
mod tail;
