//! Calls of clients here, and invocations of clients here.

mod call;
mod record;

pub(crate) use call::{Call, Step};
pub(crate) use record::{ClientRecord, Invocation, Registered};
