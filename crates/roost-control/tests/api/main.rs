//! The HTTP API as a program sees it: over its listeners, with reactors behind them.

mod centrifugo;
mod channels;
mod connections;
mod documents;
mod harness;
mod history;
mod many;
mod presence;
mod publish;
mod pusher;
mod users;
