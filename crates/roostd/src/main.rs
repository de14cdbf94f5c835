//! The daemon: command line, start order, signals, systemd.
fn main() {}
