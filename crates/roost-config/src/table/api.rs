//! `[api]`: where an application's servers publish, and with which keys.

use crate::address::ListenAddress;
use crate::api_keys::{ApiKey, ApiKeyList};
use crate::pattern::GROUP;
use crate::row::{HOUR, section, time};
use crate::table::process::SocketMode;
use crate::units::{GIB, KIB, MIB};
use crate::value::{Count, Flag, ListenerAddresses, Size};

section! {
    /// The HTTP API for an application's servers ([api.md](api.md)): they publish, see connections and
    /// close them. It is
    /// off without an address. The thread that answers administrators answers it too, apart from the
    /// reactors, and clients notice nothing of it.
    "api" Api
    /// Addresses and ports to listen on, or unix sockets; `[]`: the API is off. There is no TLS: behind
    /// an address that is not of this machine, put a proxy before it, for the key can be read on its way.
    /// A unix socket that a process has left behind is replaced; one that is served is an error.
    listen: Vec<ListenAddress> =
        Vec::new(), ListenerAddresses, Restart, r#"["unix:/run/roost/api.sock"]"#;
    /// The permissions of the unix sockets' files: who may write to one may connect, and without a
    /// `key` do everything.
    socket_mode: SocketMode = SocketMode::Owner, SocketMode::WORDS, Restart, r#""0660""#;
    /// The group of the unix sockets' files: a number, or a name in `/etc/group`. `""` leaves it to the
    /// system. The daemon's user must be in it; under systemd set `Group=` in the unit instead.
    socket_group: String = String::new(), GROUP, Restart, r#""www-data""#;
    /// The keys that requests may carry, each a section `[[api.key]]` with `name`, for messages; either
    /// `sha256`, the SHA-256 of the key in hexadecimal (`roostd hash-key` makes it), or `key_file`, a
    /// file with the key itself; and `allow`, what may be done with it: `"publish"` on every channel,
    /// `"publish:order:1"` on that channel, `"publish:order:*"` on those whose names begin so; `"read"` to
    /// see connections, `"disconnect"` to close them and to end
    /// subscriptions, `"subscribe"` or `"subscribe:order:*"` to begin such, `"revoke"` to revoke tokens, `"refresh"` to let connections be for longer,
    /// `"history"` or `"history:order:*"` to read what such channels keep, and to have it forgotten,
    /// `"presence"` or `"presence:order:*"` to read who is in them. Several
    /// hold at once, so that one can be replaced without a pause. Without any, only unix sockets can be
    /// listened on, and their permissions decide. Files are named as in `[listener.tls]`.
    key: Vec<ApiKey> =
        Vec::new(), ApiKeyList, Live, r#"[{ name = "shop", key_file = "/run/credentials/roost/shop", allow = ["publish:order:*"] }]"#;
    /// For development: makes a key at each start that allows everything and prints it with the start
    /// block. Another port is taken where one in `listen` is in use. It is an error beside an
    /// address that is not of this machine.
    development_key: bool = false, Flag, Restart, "true";
    /// Requests under way at once. One more is answered 503 with `Retry-After: 1`. Connections may
    /// be as many and 64, at each address.
    in_flight_max: u32 = 1024, Count(1..=16_384), Restart, "64";
    /// Bytes of a request's body. A longer one is answered 413.
    body_bytes_max: usize = 4 * MIB, Size(1..=64 * MIB), Restart, r#""1MiB""#;
    /// Bytes of all bodies that are being received or worked on, each by its Content-Length, or
    /// `body_bytes_max` without one. A request that would be more is answered 503 with `Retry-After: 1`.
    bodies_bytes_max: usize = 64 * MIB, Size(KIB..=16 * GIB), Restart, r#""16MiB""#;
    /// How long a request may take: its body to come, and the reactors to answer. Then it is answered
    /// 408 or 504.
    timeout_ms: u32 = 5_000, time(100..=HOUR), Restart, r#""2s""#;
    /// Whether Centrifugo's methods (`/api/…`) answer as Centrifugo does, with error 102, "unknown
    /// channel", where a channel's name has a colon and what stands before it is the name of no
    /// `[[namespace]]`. Otherwise `[channels]` holds for such a channel, as it does for clients.
    strict_namespaces: bool = false, Flag, Restart, "true";
}
