//! Who may do what. Owns identities of connections, permissions and the one decision over them; never
//! touches a socket, a clock or a dialect.
//!
//! | to read about | look at |
//! |---|---|
//! | how it is decided, and which rule did it | [`decide`] |
//! | what a connection is known as | [`Identity`] |
//! | what a role or a token allows | [`PermissionSet`] |
//! | which tokens are not taken any more | [`Revocations`] |
//! | how a client is asked who it is | [`Authenticator`] |
//! | names and patterns | [`PatternRef`] |

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod challenge;
mod decide;
mod identity;
mod pattern;
mod permissions;
mod revocations;
mod secret;
mod timestamp;

pub use challenge::{
    Accepted, Answer, AuthError, Authenticator, Begun, Challenge, Derivation, Hello, Pending,
};
pub use decide::{DecidedBy, Decision, Denial, Question, Requirement, decide, is_protected};
pub use ecow::EcoString as UserName;
pub use identity::{Identity, Method, Provider, TokenMark};
pub use pattern::{Matching, Pattern, PatternRef};
pub use permissions::{
    Operation, Operations, Permission, PermissionSet, PermissionSets, Source, TOKEN_ROLE,
};
pub use revocations::{Full, Revocations, Revoked};
pub use secret::Secret;
pub use timestamp::timestamp;
