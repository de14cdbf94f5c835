//! Connections: records of 48 bytes at most, and beside them what a connection has only while it uses it.
//!
//! [`Connections`] owns all of it; its fields are private to this module. It knows no channel and no
//! dialect: the caller that ends a connection takes it out of its channels first.

mod conn;
mod conn_id;
mod contexts;
mod cost_probe;
mod costs;
mod deadlines;
mod delta_bases;
mod driver_ops;
mod encoding;
mod encodings;
mod exchanges;
mod handover;
mod held;
mod identities;
mod inputs;
mod outbox;
mod outboxes;
mod output;
mod overdue;
mod partial;
mod queue_rules;
mod stamps;
mod state;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod transfer;
mod transport;
mod user_counts;
mod writer;

pub(crate) use conn::{Arrival, Flags, Index, Phase};
pub(crate) use conn_id::ConnId;
pub use costs::ConnCost;
pub(crate) use costs::{closed_holding, conn_costs};
pub(crate) use deadlines::{Idle, Opening, Slice};
pub use delta_bases::DELTA_BASES_BYTES_MAX;
pub use encoding::Compression;
pub(crate) use encoding::{Codec, Framing};
pub(crate) use encodings::has_deltas;
pub(crate) use exchanges::Stream;
pub(crate) use held::{held_by, publish_gauges};
pub(crate) use identities::TooMany;
pub(crate) use outbox::{BATCH_CHUNKS_MAX, Held};
pub(crate) use output::Origin;
pub(crate) use partial::{
    Body, Challenge, Decoder, Head, Partial, PendingAccept, PendingCheck, PendingJoin, Pipelined,
    Unread,
};
pub(crate) use stamps::begin_stamps;
pub(crate) use state::{Connections, Flushed};
pub(crate) use transport::{ProxyHeader, Then};
pub(crate) use user_counts::UserCounts;
pub(crate) use writer::{Scratch, Writer, Written};
