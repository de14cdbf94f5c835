//! The dialects through their public face.

mod centrifugo;
mod fuzz;
mod mapping;
mod retained;
mod routes;
mod serial;
mod session;
mod soap;
mod tickets;
mod vectors;
mod violations;
mod wamp_client;
