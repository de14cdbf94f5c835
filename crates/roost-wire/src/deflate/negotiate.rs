//! Which parameters apply (RFC 7692 §5 and §7.1).

use std::fmt::Write;
use std::num::NonZeroU8;

use crate::handshake::{Extension, Extensions};

/// What both ends do. One byte, so that a connection can remember it; `Option<Agreement>` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agreement(NonZeroU8);

/// In which directions the server is ready to keep a compression context for the connection, if
/// the client is. Each costs memory for as long as the connection lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Takeover {
    /// We keep a [`super::Deflater`] for what we send.
    pub server: bool,
    /// We keep an [`super::Inflater`] for what the client sends.
    pub client: bool,
}

/// Accepts the first offer of permessage-deflate that can be kept exactly, or none.
pub fn negotiate(offers: Extensions<'_>, takeover: Takeover) -> Option<Agreement> {
    offers
        .filter(|offer| offer.name == NAME)
        .find_map(|offer| accept(offer, takeover))
}

impl Agreement {
    /// True when each message we send is compressed by itself.
    pub const fn server_no_context_takeover(self) -> bool {
        self.0.get() & SERVER_NO_TAKEOVER != 0
    }

    /// True when each message the client sends is compressed by itself.
    pub const fn client_no_context_takeover(self) -> bool {
        self.0.get() & CLIENT_NO_TAKEOVER != 0
    }

    /// The same without a context for what we send: RFC 7692 §7.1.1.1 lets a server say so unasked.
    #[must_use]
    pub fn without_server_takeover(self) -> Agreement {
        Agreement(self.0 | SERVER_NO_TAKEOVER)
    }

    /// The same without a context for what the client sends: RFC 7692 §7.1.1.2 lets a server demand
    /// it of every client.
    #[must_use]
    pub fn without_client_takeover(self) -> Agreement {
        Agreement(self.0 | CLIENT_NO_TAKEOVER)
    }

    /// The client can look back 2^this bytes into what we sent: 8 to 15.
    pub const fn server_window_bits(self) -> u8 {
        self.0.get() & WINDOW_BITS
    }

    /// True when a message of this length, compressed by itself with the full window, may be sent:
    /// always, unless the client asked for a window smaller than the message. Then the message
    /// goes uncompressed, or through a [`super::Deflater`] made with that window.
    pub const fn may_share(self, payload_bytes: usize) -> bool {
        payload_bytes <= 1 << self.server_window_bits() || self.server_window_bits() == 15
    }

    /// The value of Sec-WebSocket-Extensions that says so.
    pub fn response(self) -> String {
        let mut value = NAME.to_owned();
        if self.server_no_context_takeover() {
            value.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover() {
            value.push_str("; client_no_context_takeover");
        }
        if self.0.get() & SAY_WINDOW_BITS != 0 {
            // Writing to a String cannot fail.
            let _ = write!(
                value,
                "; server_max_window_bits={}",
                self.server_window_bits()
            );
        }
        value
    }
}

/// RFC 7692 §7: a server MUST decline an offer with a parameter that is not defined, has an
/// invalid value, stands twice, or is one it does not support.
fn accept(offer: Extension<'_>, takeover: Takeover) -> Option<Agreement> {
    let mut server_no_takeover = false;
    let mut client_no_takeover = false;
    let mut server_window_bits = None;
    let mut client_window_bits = None;
    for (name, value) in offer.params() {
        let value = value.as_deref();
        let repeated = match (name, value) {
            // §7.1.1.1 and §7.1.1.2: these have no value.
            ("server_no_context_takeover", None) => {
                std::mem::replace(&mut server_no_takeover, true)
            }
            ("client_no_context_takeover", None) => {
                std::mem::replace(&mut client_no_takeover, true)
            }
            // §7.1.2.1: with a value, always.
            ("server_max_window_bits", Some(value)) => {
                server_window_bits.replace(window_bits(value)?).is_some()
            }
            // §7.1.2.2: a client may say just that it understands the parameter.
            ("client_max_window_bits", value) => {
                let bits = value.map_or(Some(15), window_bits)?;
                client_window_bits.replace(bits).is_some()
            }
            _ => return None,
        };
        if repeated {
            return None;
        }
    }
    let mut flags = server_window_bits.unwrap_or(15);
    if server_window_bits.is_some() {
        // §7.1.2.1: accepted by naming the same or a smaller number.
        flags |= SAY_WINDOW_BITS;
    }
    // §7.1.1.1: we MUST NOT take over if asked not to, and may refrain unasked. zlib has no window
    // of 2^8 bytes: a context would refer further back than such a client can look.
    if server_no_takeover || !takeover.server || server_window_bits == Some(8) {
        flags |= SERVER_NO_TAKEOVER;
    }
    // §7.1.1.2: the client may have hinted that it will not; we may demand it in any case.
    if client_no_takeover || !takeover.client {
        flags |= CLIENT_NO_TAKEOVER;
    }
    // §7.1.2.2: client_max_window_bits is a hint about the client. We inflate with the largest
    // window, to which any other is fine, and answer nothing.
    NonZeroU8::new(flags).map(Agreement)
}

/// §7.1.2: a decimal integer without leading zeros, from 8 to 15.
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15" => value.parse().ok(),
        _ => None,
    }
}

const NAME: &str = "permessage-deflate";

const WINDOW_BITS: u8 = 0x0F;
const SERVER_NO_TAKEOVER: u8 = 1 << 4;
const CLIENT_NO_TAKEOVER: u8 = 1 << 5;
/// The client asked for a window, so the response names it.
const SAY_WINDOW_BITS: u8 = 1 << 6;

const _: () = assert!(size_of::<Option<Agreement>>() == 1);
