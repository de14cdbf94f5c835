//! The hub against naive models: several hubs joined by queues, the set of subscribers, the
//! palette.

mod model;
mod palette;
mod races;
mod set;
mod sim;
mod simulation;
