//! `[raw]`, `[echo]`, `[wamp]`, `[soap]`, `[centrifugo]`, `[sse]`, `[deflate]`: the protocols that are
//! spoken.

use crate::pattern::{GOODBYE, REALM, SUBPROTOCOL};
use crate::row::{HOUR, SECOND, section, time_or_zero};
use crate::units::{GIB, KIB, MIB};
use crate::value::{Count, Flag, OrNone, Patterns, Size};

section! {
    /// The dialect without a protocol of its own ([raw.md](raw.md)).
    "raw" Raw
    /// Whether `/raw/{channel}` is served: what a client sends is published there, what is
    /// published there arrives as it is. Otherwise 404.
    enabled: bool = true, Flag, NewConnections, "false";
    /// Subprotocols selected there when a client offers them, beside `roost.raw`, which always is;
    /// the first that the client names. `["*"]`: whatever it names first, but none of WAMP's. When
    /// none is selected although some were offered, the WebSocket opens without one,
    /// `subprotocols_unmatched_total` counts it, and a browser fails the connection.
    subprotocols: Vec<String> =
        Vec::new(), Patterns(SUBPROTOCOL), NewConnections, r#"["chat.v1"]"#;
}

section! {
    /// The echo dialect ([raw.md](raw.md#echo-echo)).
    "echo" Echo
    /// Whether `/echo` is served, which sends back what it gets. Otherwise 404.
    enabled: bool = false, Flag, NewConnections, "true";
    /// The subprotocol selected there when a client offers it. `""`: none. When others are offered,
    /// the WebSocket opens without one, as for `raw.subprotocols`.
    subprotocol: Option<String> = None, OrNone(SUBPROTOCOL), NewConnections, r#""echo""#;
    /// A text message of exactly these characters is sent back and the connection closed with 1000.
    /// `""`: none.
    goodbye: String = String::new(), GOODBYE, NewConnections, r#""Goodbye""#;
}

section! {
    /// The dialect WAMP v2 ([wamp.md](wamp.md)).
    "wamp" Wamp
    /// Whether WAMP's subprotocols are spoken (JSON, MessagePack, CBOR, and each batched), on `/wamp`
    /// and every path that is not raw's or echo's.
    enabled: bool = true, Flag, NewConnections, "false";
    /// The realms a session may join, `"*"` alone for any; another gets ABORT with
    /// `wamp.error.no_such_realm`. They share one set of channels. Beside
    /// `[[wamp.realm]]`, `"*"` counts for nothing.
    realms: Vec<String> = vec!["*".to_owned()], Patterns(REALM), NewConnections, r#"["realm1"]"#;
    /// Whether sessions are let in that do not authenticate. If not, HELLO without `authmethods` gets ABORT
    /// with `wamp.error.authentication_required`.
    anonymous: bool = true, Flag, Live, "false";
}

section! {
    /// The dialect SOAP over WebSocket ([soap.md](soap.md)).
    "soap" Soap
    /// Whether the subprotocol `soap` is spoken: text envelopes of SOAP 1.2 and 1.1, on `/soap`,
    /// `/soap/{channel}` and every path that is not raw's or echo's.
    enabled: bool = false, Flag, NewConnections, "true";
    /// Elements of an envelope that stand in each other, the envelope included. A deeper one is
    /// answered with a fault.
    depth_max: u32 = 64, Count(4..=1_000), NewConnections, "32";
    /// An envelope's Header, in bytes with its tags. A longer one is answered with a fault. The envelope
    /// itself may have `limits.message_bytes_max`.
    header_bytes_max: usize = 16 * KIB, Size(256..=MIB), NewConnections, r#""4KiB""#;
    /// A request that its service has not answered by then is answered with a fault. `"0s"`: never.
    request_timeout_ms: u32 = 30_000, time_or_zero(SECOND..=HOUR), NewConnections, r#""5s""#;
}

section! {
    /// The dialect of Centrifugo's clients ([centrifugo.md](centrifugo.md)).
    "centrifugo" Centrifugo
    /// Whether Centrifugo's bidirectional protocol is served in JSON and Protobuf, by WebSocket at
    /// `/connection/websocket`, by HTTP at `/connection/http_stream` and `/connection/sse`, whose clients
    /// send to `/emulation`. Otherwise 404.
    enabled: bool = false, Flag, NewConnections, "true";
    /// Whether a client that has connected as a user is subscribed to the user's own channel, `#USER`. In
    /// all dialects no other user may then subscribe to it or ask who is there; who may publish is
    /// the namespace's.
    personal_channels: bool = false, Flag, NewConnections, "true";
}

section! {
    /// Event streams for `EventSource` ([sse.md](sse.md)).
    "sse" Sse
    /// Whether `/sse/{channel}` is served: what is published there arrives as server-sent events.
    /// Otherwise 404. Pages of `listener.allowed_origins` may read it.
    enabled: bool = true, Flag, NewConnections, "false";
}

section! {
    /// permessage-deflate (RFC 7692).
    "deflate" Deflate
    /// Whether permessage-deflate is agreed to with clients that offer it; otherwise offers are
    /// declined. Without context takeover a message is compressed once for all its subscribers, and
    /// a quiet connection costs nothing; a reactor keeps one compressor and one inflater, about 430
    /// KiB together, and a second compressor of 380 KiB once a client has asked for a smaller
    /// window.
    enabled: bool = false, Flag, Restart, "true";
    /// Shorter messages are sent uncompressed, and so are those that compression would not make
    /// shorter. `"0B"`: every message is compressed, whatever comes of it.
    compress_min_bytes: usize = 256, Size(0..=GIB), Restart, r#""64B""#;
    /// Compression effort: 1 is fast, 9 small.
    level: u32 = 1, Count(1..=9), Restart, "6";
    /// Memory for context takeover, of the whole process; each reactor has an equal share. While it
    /// lasts, a client that does not decline gets contexts of its own ([tuning](tuning.md)): each
    /// of its messages may refer to those before, and each message to it is compressed for it
    /// alone. A connection costs 48 KiB for what it sends and 250 to 376 KiB, by the window it asks
    /// for, for what it is sent. When the rest is too small for a context, the 101 says
    /// `client_no_context_takeover` or `server_no_context_takeover`, and
    /// `deflate_contexts_refused_total` counts it.
    takeover_bytes_max: usize = 0, Size(0..=1024 * GIB), Restart, r#""64MiB""#;
}
