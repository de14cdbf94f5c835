//! What a hook's queue and the parser of answers promise.

mod answers;
mod model;
mod queue;
