//! The real daemon, started as its users start it, with everything outside it that can go wrong:
//! a log that is not read, a full disk, every signal, a port that is taken, limits too low.

mod admin_page;
mod certificates;
mod commands;
mod daemon;
mod event_runs;
mod events;
mod hooks;
mod http;
mod jwks;
mod log_output;
mod names;
mod refusals;
mod reload;
mod reload_secrets;
mod served;
mod signals;
mod start;
mod tls;
mod tls_files;
mod tls_handshakes;
mod tokens;
