//! Bytes to WebSocket messages and back. Pure: no socket, no clock, no randomness.
