//! Channels: who receives what, in which order. Pure: knows no connection and no socket.
