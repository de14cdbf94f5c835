//! The admin listeners over real sockets, in front of real reactors.

mod endpoints;
mod exposition;
mod harness;
mod limits;
mod socket;
mod stalled;
