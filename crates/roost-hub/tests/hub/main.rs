//! The hub against naive models: several hubs joined by queues, the set of subscribers.

mod frames;
mod kept;
mod model;
mod namespaces;
mod network;
mod pattern_model;
mod patterns;
mod presence;
mod races;
mod set;
mod sim;
mod simulation;
