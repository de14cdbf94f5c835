//! What others were attacked with or got wrong, each asked of this server on each driver and over TLS. A test's
//! name has the advisory or issue it is about; what the number of an advisory does not say stands
//! above it.

mod access;
mod child;
mod compression;
mod descriptors;
mod early;
mod floods;
mod fragments;
mod handshakes;
mod lengths;
mod many_clients;
mod pauses;
mod races;
mod silence;
mod support;
mod tls;
