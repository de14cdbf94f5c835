//! What a client sends and receives above WebSocket: one file each. A new dialect is a file here, and
//! a name in [`ALL`].

mod centrifugo;
mod echo;
mod interface;
mod json_bytes;
mod mqtt;
mod nats;
mod position;
mod pusher;
mod raw;
mod sse;
mod wamp;

pub use interface::{Dialect, Random, Received, Say, Session, each_message};
pub use position::{Position, Recovered};

/// The names of all, for people.
pub fn names() -> String {
    let names: Vec<_> = ALL.iter().map(|dialect| dialect.name()).collect();
    names.join(", ")
}

/// The dialect of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name() == name)
}

/// What a client of a dialect asks for, where the URL names this path and clients speak all these.
pub fn target(path: &str, own: &dyn Dialect, all: &[&dyn Dialect]) -> String {
    if path.is_empty() {
        return own.path().to_owned();
    }
    if let Some(target) = own.target_of(path) {
        return target;
    }
    match all.iter().any(|other| other.target_of(path).is_some()) {
        true => own.path().to_owned(),
        false => path.to_owned(),
    }
}

/// All there are.
pub const ALL: &[&dyn Dialect] = &[
    &raw::Raw,
    &echo::Echo,
    &wamp::WampJson,
    &centrifugo::Centrifugo,
    &pusher::Pusher,
    &sse::EventStream,
    &nats::Nats,
    &mqtt::Mqtt,
];
