//! The governor: what is refused, closed or trimmed for the sake of all.

mod admission;
mod backlog;
mod budget;
mod connect_rates;
mod state;
mod trim;

pub(crate) use admission::{Admission, Refused};
pub(crate) use backlog::{BacklogReport, BacklogWriter};
pub(crate) use budget::{Budget, BudgetShare, BudgetVerdict, count_memory};
pub use connect_rates::CONNECT_RATES_BYTES;
pub(crate) use connect_rates::ConnectRates;
pub(crate) use state::Governor;
pub(crate) use trim::Trimmed;
