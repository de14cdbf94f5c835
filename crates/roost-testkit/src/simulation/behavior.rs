//! What a peer speaks, how far it is, and how it behaves.

/// How a peer speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Raw, in one channel.
    Raw(usize),
    /// WAMP, in these channels.
    Wamp(Vec<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not yet dialled, or the answer to the handshake is awaited.
    Opening,
    Open,
    /// It sent a close frame and sends nothing more.
    Closing,
    /// Its connection is over.
    Closed,
}

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behavior {
    /// As a client should.
    Normal,
    /// It publishes right behind its request, before the answer (raw only).
    EarlyPublish,
    /// It answers no close frame and no FIN.
    NoCloseReply,
    /// It answers no ping, and sends nothing by itself.
    NoPong,
    /// It reads its 101 and then nothing until the end, and sends nothing by itself but one ping.
    NeverReads,
    /// It sends half of its request, and nothing more.
    PartialRequest,
    /// It connects and sends nothing at all.
    Silent,
}
