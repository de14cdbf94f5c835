//! The stage between net and wire: what a connection's bytes pass through on their way.
//!
//! One member now, the bytes as they are. TLS will be the second: it opens records in place in the
//! same lease, and keeps its keys beside the connection table, not in it.

/// What carries a connection's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP as it is.
    Plain,
}

impl Transport {
    /// Turns bytes from the socket into bytes of the protocol, in place.
    #[inline]
    pub(crate) fn open(self, lease: &mut [u8]) -> &mut [u8] {
        match self {
            Transport::Plain => lease,
        }
    }

    /// Whether bytes of the protocol go to the socket as they are, so that one image serves many.
    #[inline]
    pub(crate) fn shares_output(self) -> bool {
        match self {
            Transport::Plain => true,
        }
    }
}
