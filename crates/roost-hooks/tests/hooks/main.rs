//! What a hook's queue, the parser of answers and the journal of events promise.

mod answers;
mod journal;
mod model;
mod queue;
