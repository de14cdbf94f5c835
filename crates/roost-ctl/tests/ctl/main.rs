//! `roostctl` against a server in this process.

mod channels;
mod conns;
mod harness;
mod tail;
mod why;
