//! Calls of clients here, and invocations of clients here.

mod call;
mod party;

pub(crate) use call::{Call, Step};
pub(crate) use party::{Invocation, Party, Registered};
