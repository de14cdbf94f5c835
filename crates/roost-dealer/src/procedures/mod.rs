//! Procedures whose home is here: who may be called, and who is.

mod callees;
mod registry;
mod wildcards;

pub(crate) use callees::Chosen;
pub(crate) use registry::Registry;
