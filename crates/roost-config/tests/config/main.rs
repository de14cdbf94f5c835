//! From the outside: the shipped files, every kind of mistake, overrides, and arbitrary input.

mod api;
mod auth;
mod changes;
mod events;
mod fuzz;
mod hooks;
mod keys;
mod listeners;
mod mistakes;
mod overrides;
mod pusher;
mod realms;
mod shipped;
mod tls;
mod users;
mod values;
