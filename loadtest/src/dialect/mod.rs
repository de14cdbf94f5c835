//! What a client sends and receives above WebSocket: one file each. A new dialect is a file here, and
//! a name in [`ALL`].

mod echo;
mod interface;
mod mqtt;
mod nats;
mod raw;
mod wamp;

pub use interface::{Dialect, Random, Received, Say, Session, each_message};

/// The dialect of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name() == name)
}

/// All there are.
pub const ALL: &[&dyn Dialect] = &[
    &raw::Raw,
    &echo::Echo,
    &wamp::WampJson,
    &nats::Nats,
    &mqtt::Mqtt,
];
