//! The dialects through their public face.

mod fuzz;
mod mapping;
mod routes;
mod session;
mod violations;
mod wamp_client;
