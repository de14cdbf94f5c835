//! Tokens from outside: what is accepted, and every kind of mistake and attack that is not.

mod advisories;
mod claims;
mod files;
mod jwks;
mod many;
mod properties;
mod refresh;
mod support;
