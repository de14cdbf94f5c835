//! Procedures whose home is here: who may be called, and who is.

mod callees;
mod registry;
mod wildcards;

pub(crate) use callees::{Callee, Callees, Chosen};
pub(crate) use registry::{Left, Place, Registry};
