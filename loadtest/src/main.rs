//! The million-connection load harness, for Roost and for any other WebSocket server.
fn main() {}
