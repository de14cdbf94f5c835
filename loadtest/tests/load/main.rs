//! The harness held to its word: what is lost is found, what is found was lost.

mod accounting;
mod compare;
mod dialects;
mod end_to_end;
mod faulty;
mod figures;
mod interrupt;
mod million;
mod omission;
mod recovering;
mod report;
mod scenarios;
mod terminal;
mod tls;
