//! Owns the way from a token to whom it was issued for: JWTs, their keys and claims, JWKS, static
//! tokens. It never touches a socket, a file or a clock: bytes come in, `now` is an argument.
//!
//! | to read about | look at |
//! |---|---|
//! | one JWT: form, key, signature, claims | `verify.rs`, `claims.rs`, `outcome.rs` |
//! | keys, and the algorithms that each may be used with | `keys.rs` |
//! | files of secrets and of public keys | `files.rs` |
//! | JWK Sets, and when they are fetched | `jwks.rs`, `refresh.rs` |
//! | what a token allows | `grants.rs` |
//! | many tokens: static ones, those checked before | `checker.rs`, `cache.rs`, `statics.rs` |
//!
//! jsonwebtoken reads heads and checks signatures, with aws-lc, which TLS uses too. Times, names and
//! the form of claims are checked here: strictly, and without a clock of its own.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cache;
mod checker;
mod claims;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod grants;
mod jwks;
mod keys;
mod object;
mod outcome;
mod refresh;
mod statics;
mod verify;

pub use checker::{Checker, Counts, hash};
pub use files::{
    FileError, Secrets, Signer, parse_public_keys, parse_secrets, parse_static_tokens,
};
pub use grants::{info_of, permissions_of_caps, subscriptions_of_json};
pub use jwks::{JWKS_KEYS_MAX, Jwks, JwksError, parse_jwks};
pub use keys::{FILE_KEYS_MAX, Key, KeyError, KeyKind, KeyPrint, KeySet, SECRET_BYTES_MIN};
pub use outcome::{Refusal, Verified, id_of};
pub use refresh::{Change, FetchError, Fetched, Order, Refresh, RefreshRules, UnknownKid};
pub use statics::{StaticTokens, TokenHash, parse_allow, parse_hash};
pub use verify::{Rules, verify};
