//! `roostctl` against a server in this process.

mod conns;
mod harness;
mod why;
