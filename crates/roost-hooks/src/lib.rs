//! Owns what is asked of an application by its hooks, and what becomes of the answers: which call goes
//! out when, which waits, which is refused, what is remembered. It never touches a socket, a file or a
//! clock: bytes come in, `now` is an argument.
//!
//! | to read about | look at |
//! |---|---|
//! | calls in flight and queued, merged ones, deadlines, what a failure leads to | [`Queue`] |
//! | when a hook that fails is left alone | [`Breaker`] |
//! | answers that are remembered | `cache.rs` |
//! | the JSON of a question | [`Question`] |
//! | the JSON of an answer | [`parse`] |
//! | signatures of questions | [`Keys`] |
//! | events that are told in numbered batches | [`Journal`] |

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod answer;
mod breaker;
mod cache;
#[doc(hidden)]
pub mod fuzz;
mod journal;
mod question;
mod queue;
mod signing;

pub use answer::{Answer, AnswerError, Changed, Granted, parse};
pub use breaker::Breaker;
pub use journal::{
    ClientSaid, Journal, JournalCounts, JournalEvent, JournalRules, Outgoing, SAID_BYTES_MAX,
    WebhookValues,
};
pub use question::{Payload, Question};
pub use queue::{Counts, Failure, OnFailure, Order, Outcome, Queue, Rules};
pub use signing::{FileError, Keys, parse_keys};

/// What a hook is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Whether a client may connect, and as whom.
    Connect,
    /// Whether it may subscribe to a channel.
    Subscribe,
    /// Whether it may publish on a channel, and what.
    Publish,
    /// What it asks the application itself, a method and its data.
    Rpc,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 4] = [Event::Connect, Event::Subscribe, Event::Publish, Event::Rpc];

    /// As the configuration and URLs have it.
    pub fn name(self) -> &'static str {
        match self {
            Event::Connect => "connect",
            Event::Subscribe => "subscribe",
            Event::Publish => "publish",
            Event::Rpc => "rpc",
        }
    }
}
