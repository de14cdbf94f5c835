//! `[auth]`, `[auth.jwt]`: how clients say in their handshake who they are.

use crate::pattern::{COOKIE, FILE, PARTY};
use crate::row::{DAY, HOUR, MINUTE, SECOND, section, time, time_or_zero, words};
use crate::units::{GIB, KIB, MIB};
use crate::value::{Auto, Count, Flag, OrNone, Size};

section! {
    /// Tokens in handshakes ([identity.md](identity.md)): in `Authorization: Bearer`, in a subprotocol
    /// `roost.bearer.…`, or in a cookie. Who shows one that is not good is refused with 401. Tokens are
    /// looked for as soon as there are keys in `[auth.jwt]` or static tokens. What a client may do with channels is said by
    /// the namespaces.
    "auth" Auth
    /// Whether a client without a token is refused. Otherwise it is anonymous: it may do what
    /// namespaces let anyone do. WAMP clients may come without one where they have to log in behind the
    /// handshake: `wamp.anonymous` is false.
    required: bool = false, Flag, NewConnections, "true";
    /// The cookie that has the token, where neither header has one. Browsers send it from any page: it
    /// needs a list in `listener.allowed_origins`, of all listeners. `""`: none.
    cookie: Option<String> = None, OrNone(COOKIE), NewConnections, r#""roost_token""#;
    /// How long a handshake waits for its token's check; then 503 with `Retry-After`.
    wait_ms: u32 = 3 * SECOND, time(100..=60 * SECOND), Live, r#""1s""#;
    /// Handshakes that wait for it, or for a hook's answer, at once, in all; above it 503 with
    /// `Retry-After`.
    in_flight_max: u32 = 4096, Count(1..=1_000_000), Restart, "1000";
    /// A token, in bytes. `limits.handshake_bytes_max` must leave room for it: in a subprotocol it
    /// takes a third more.
    token_bytes_max: usize = 4 * KIB, Size(256..=MIB), Live, r#""2KiB""#;
    /// Static tokens, for devices and tests, one a line: the user, a space, the token's SHA-256 in
    /// hexadecimal digits (`printf %s TOKEN | sha256sum`), and what it grants, such as `sub:status:*` or
    /// `pub:chat:1`. They never expire. `""`: none.
    static_tokens_file: String = String::new(), FILE, Live, r#""/etc/roost/static.tokens""#;
    /// Good tokens are remembered, so that a client that comes back with one costs a hash: in so many
    /// bytes, some 700 a token.
    cache_bytes_max: usize = 16 * MIB, Size(64 * KIB..=GIB), Live, r#""64MiB""#;
    /// Connections that a user has at once, whatever it has shown: a token, or a login over WAMP. One more
    /// is refused: 429, or GOODBYE `wamp.close.killed`. `0`: any number; else some 30 bytes a user.
    connections_per_user_max: u32 = 0, Count(0..=1_000_000_000), Restart, "20";
    /// Revocations at once (`POST /v1/revoke`), each until its `expire_at`: some 100 bytes each on every
    /// reactor while it is there. Above it 503.
    revocations_max: u32 = 100_000, Count(1..=10_000_000), Restart, "1000000";
    /// Where revocations are kept for the next start. `"auto"`: `revocations.json` in the directory that
    /// systemd makes for the service (`StateDirectory=`), and nowhere without it. `""`: nowhere. If it cannot
    /// be read at a start, what was issued before that start is refused ([identity.md](identity.md#revocation)).
    revocations_state_file: Option<String> =
        None, Auto(FILE), Restart, r#""/var/lib/roost/revocations.json""#;
    sections {
        /// `[auth.jwt]`.
        jwt: Jwt,
    }
}

section! {
    /// JSON Web Tokens, with Centrifugo's claims. What signs or verifies them stands in files, which are
    /// read at the start; a reload checks them, and changes nothing. Paths go from the configuration file's directory.
    "auth.jwt" Jwt
    /// Secrets for HS256, HS384 and HS512, one a line: its name (the token's `kid`), a space, and at
    /// least 32 bytes. All verify, so a new one is added before tokens are made with it. `""`: none.
    hmac_secrets_file: String = String::new(), FILE, Live, r#""/etc/roost/jwt.secrets""#;
    /// PEM: public keys, `PUBLIC KEY` each, at most 16. RSA of 2048 bits and more (RS256 to RS512,
    /// PS256 to PS512), P-256 (ES256), P-384 (ES384), Ed25519 (EdDSA). `""`: none.
    public_keys_file: String = String::new(), FILE, Live, r#""/etc/roost/jwt-public.pem""#;
    /// Where an issuer publishes its keys (JWK Set): `https://`, or `http://` on this machine. They are
    /// fetched in the background; while that fails, the last ones serve, also after a restart. It needs
    /// `audience` and `issuer`. `""`: none.
    jwks_url: Option<String> = None, OrNone(PARTY), Restart, r#""https://id.example.org/jwks""#;
    /// PEM: the authorities that `https://` trusts there.
    jwks_ca_file: String =
        "/etc/ssl/certs/ca-certificates.crt".to_owned(), FILE, Restart, r#""/etc/roost/id-ca.pem""#;
    /// The longest time between two fetches; `Cache-Control` of an answer makes it shorter, down to a
    /// minute.
    jwks_refresh_ms: u32 = 15 * MINUTE, time(MINUTE..=DAY), Restart, r#""5m""#;
    /// The shortest time between the begins of two fetches, however many tokens name keys that are not
    /// there: one fetch is for all of them.
    jwks_cooldown_ms: u32 = 30 * SECOND, time(SECOND..=HOUR), Restart, r#""1m""#;
    /// How old the keys may become that cannot be fetched anew.
    jwks_stale_max_ms: u32 = DAY, time(MINUTE..=40 * DAY), Restart, r#""6h""#;
    /// A document, in bytes.
    jwks_bytes_max: usize = 256 * KIB, Size(KIB..=16 * MIB), Restart, r#""64KiB""#;
    /// Where the last good document is kept. `"auto"`: `jwks.json` in the directory that systemd makes
    /// for the service (`StateDirectory=`), and nowhere without it. `""`: nowhere.
    jwks_state_file: Option<String> = None, Auto(FILE), Restart, r#""/var/lib/roost/jwks.json""#;
    /// The `aud` that tokens must name. `""`: those that name any are refused.
    audience: Option<String> = None, OrNone(PARTY), Live, r#""chat""#;
    /// The `iss` that tokens must have. `""`: any.
    issuer: Option<String> = None, OrNone(PARTY), Live, r#""https://id.example.org/""#;
    /// Whether a token without `exp` is refused.
    expiry: Expiry = Expiry::Required, Expiry::WORDS, Live, r#""optional""#;
    /// Whether a token without `sub` is refused; `"optional"`: it is as one whose `sub` is empty.
    subject: Subject = Subject::Required, Subject::WORDS, Live, r#""optional""#;
    /// The longest time from a token's `iat`, or from its check, to its `exp`; no connection outlives
    /// it by more. `"0s"`: any.
    lifetime_max_ms: u32 = DAY, time_or_zero(SECOND..=40 * DAY), Live, r#""1h""#;
    /// How far the clocks of issuers may differ from this machine's.
    leeway_ms: u32 = 10 * SECOND, time_or_zero(SECOND..=HOUR), Live, r#""30s""#;
}

words! {
    /// `auth.jwt.subject`.
    Subject
    /// A token without one is refused.
    Required = "required",
    /// It is taken all the same, and has no user.
    Optional = "optional",
}

words! {
    /// `auth.jwt.expiry`.
    Expiry
    /// A token without one is refused.
    Required = "required",
    /// It is good for as long as its key is.
    Optional = "optional",
}

impl Auth {
    /// Whether there is anything that a token could be checked with.
    pub fn is_on(&self) -> bool {
        let jwt = &self.jwt;
        let files = [
            &self.static_tokens_file,
            &jwt.hmac_secrets_file,
            &jwt.public_keys_file,
        ];
        files.iter().any(|file| !file.is_empty()) || jwt.jwks_url.is_some()
    }
}
