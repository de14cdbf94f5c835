//! What tests share: a scripted raw client, an in-process server on port 0, and the simulator that
//! runs whole reactors on a seeded network. Not published; no product code depends on it.

pub mod simulation;
