//! TLS whose established connections are 208 plain bytes ([`Rest`]): handshakes by rustls, then records
//! opened and sealed in place by keys that stand in a slot the caller gives. Pure: no socket, no
//! clock, no randomness but for keys. It knows nothing of WebSocket and reactors.
//!
//! | file | what |
//! |---|---|
//! | `handshake`, `handshake/` | handshakes, one record at a time; the only ones that name rustls |
//! | `rest` | what an established connection is; written down and read back |
//! | `open`, `control` | records in, in place; alerts and key updates among them |
//! | `seal` | data out, in place |
//! | `keys` | suites, the key schedule, nonces; the only one that names the library that encrypts |
//! | `certs`, `self_signed` | files with certificates and keys, and what is wrong with them |
//! | `client_name` | as whom a client's certificate names it |
//! | `tickets` | session tickets, whose keys come from one secret and the time |
//! | `nonces` | finds a number that is used twice, in tests |

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod certs;
mod client_name;
mod clock;
mod control;
mod fault;
#[doc(hidden)]
pub mod fuzz;
pub mod handshake;
mod keys;
pub mod nonces;
pub mod open;
pub mod random;
pub mod record;
mod rest;
pub mod seal;
mod self_signed;
mod shared_setup;
#[doc(hidden)]
pub mod testing;
mod tickets;

pub use client_name::{ClientName, NameKind};
pub use clock::Clock;
pub use control::{EMPTY_RECORDS_MAX, KEY_UPDATES_MAX, WARNINGS_MAX};
pub use fault::{Alert, Fault, HandshakeFault};
pub use handshake::client::{ClientOptions, ClientSetup, Trust, any_server};
pub use handshake::server::{ClientAuth, ClientAuthority, ServerOptions, ServerSetup};
pub use handshake::{Handshake, Session, Step};
pub use keys::{Side, Suite, Version};
pub use open::{End, Opened, open};
pub use rest::{CLOSE_AFTER, ImportError, REKEY_AFTER, Rest};
pub use seal::{Sealer, seal};
pub use self_signed::{SelfSigned, SelfSignedError, self_signed};
pub use shared_setup::SharedSetup;
pub use tickets::{EPOCH_SECONDS, SECRET_BYTES_MIN, TicketSecret};
