//! Which words are origins, paths, subprotocols, realms, names of namespaces, sockets and groups.
//! Each check refuses with a hint.

use crate::address::check_socket;
use crate::nearest::nearest;
use crate::network::Network;
use crate::scope::ApiScope;
use crate::value::{Pattern, shortened};

pub(crate) const ORIGIN: Pattern = Pattern {
    expected: "an origin such as \"https://example.org\"",
    takes: "origin",
    check: check_origin,
};

pub(crate) const PATH: Pattern = Pattern {
    expected: "a path such as \"/health\", or \"\" for none",
    takes: "path, `\"\"`",
    check: check_path,
};

pub(crate) const SUBPROTOCOL: Pattern = Pattern {
    expected: "a subprotocol such as \"chat.v1\"",
    takes: "subprotocol",
    check: check_subprotocol,
};

pub(crate) const GOODBYE: Pattern = Pattern {
    expected: "a text such as \"Goodbye\", or \"\" for none",
    takes: "text, `\"\"`",
    check: check_goodbye,
};

pub(crate) const REALM: Pattern = Pattern {
    expected: "a realm such as \"realm1\"",
    takes: "realm",
    check: check_realm,
};

pub(crate) const REALM_NAME: Pattern = Pattern {
    expected: "a realm such as \"realm1\"",
    takes: "realm",
    check: check_realm,
};

pub(crate) const REALM_PREFIX: Pattern = Pattern {
    expected: "the beginning of names such as \"acme.\", which ends in a dot, or \"\" for none",
    takes: "beginning of names, `\"\"`",
    check: check_realm_prefix,
};

pub(crate) const APP_NAME: Pattern = Pattern {
    expected: "1 to 64 letters, digits, '-', '_' or '.'",
    takes: "1 to 64 letters, digits, `-`, `_`, `.`",
    check: |word| check_namespace(word).map_err(|_| String::new()),
};

pub(crate) const APP_PREFIX: Pattern = Pattern {
    expected: "the beginning of names such as \"shop:\", which ends in a colon, or \"\" for none",
    takes: "beginning of names, `\"\"`",
    check: check_app_prefix,
};

pub(crate) const AUTHID: Pattern = Pattern {
    expected: "a name such as \"alice\"",
    takes: "1 to 255 bytes",
    check: check_name,
};

pub(crate) const ROLE: Pattern = Pattern {
    expected: "a role such as \"staff\"",
    takes: "1 to 255 bytes",
    check: check_name,
};

pub(crate) const SALT: Pattern = Pattern {
    expected: "base64 such as \"aBc+fx0NAVAx2iTmm0zd4g==\", or \"\" for none",
    takes: "base64, `\"\"`",
    check: check_salt,
};

pub(crate) const PUBLIC_KEY: Pattern = Pattern {
    expected: "an Ed25519 key, 64 hexadecimal digits",
    takes: "64 hexadecimal digits",
    check: check_public_key,
};

pub(crate) const METHOD: Pattern = Pattern {
    expected: "\"ticket\", \"wampcra\", \"scram\" or \"cryptosign\"",
    takes: "method",
    check: |word| check_word(word, &["ticket", "wampcra", "scram", "cryptosign"]),
};

pub(crate) const OPERATION: Pattern = Pattern {
    expected: "\"subscribe\", \"publish\", \"call\", \"register\" or \"presence_read\"",
    takes: "operation",
    check: |word| {
        check_word(
            word,
            &["subscribe", "publish", "call", "register", "presence_read"],
        )
    },
};

pub(crate) const HOOK_EVENT: Pattern = Pattern {
    expected: "\"connect\", \"subscribe\", \"publish\" or \"rpc\"",
    takes: "event",
    check: |word| check_word(word, &["connect", "subscribe", "publish", "rpc"]),
};

pub(crate) const EVENT_TYPE: Pattern = Pattern {
    expected: "\"connected\", \"logged_in\", \"disconnected\", \"subscribed\", \"unsubscribed\", \"occupied\", \"vacated\", \"user_joined\" or \"user_left\"",
    takes: "event",
    check: |word| {
        let types = [
            "connected",
            "logged_in",
            "disconnected",
            "subscribed",
            "unsubscribed",
            "occupied",
            "vacated",
            "user_joined",
            "user_left",
        ];
        check_word(word, &types)
    },
};

pub(crate) const WEBHOOK_EVENT: Pattern = Pattern {
    expected: "\"channel_occupied\", \"channel_vacated\", \"member_added\", \"member_removed\", \"client_event\" or \"cache_miss\"",
    takes: "event",
    check: |word| check_word(word, &WEBHOOK_EVENTS),
};
/// What Pusher's webhooks tell.
const WEBHOOK_EVENTS: [&str; 6] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
];
/// What they tell if nothing else is said.
pub(crate) const WEBHOOK_EVENTS_USUAL: [&str; 4] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
];

pub(crate) const WEBHOOK_HEADER: Pattern = Pattern {
    expected: "a header such as \"X-Shop: 7\"",
    takes: "header",
    check: check_header_line,
};

pub(crate) const CHANNEL_PART: Pattern = Pattern {
    expected: "a part of channels' names such as \"presence-\", or \"\" for any",
    takes: "part of names, `\"\"`",
    check: |word| check_chars(word, NAME_BYTES_MAX, |c| !c.is_control()),
};

pub(crate) const NODE_NAME: Pattern = Pattern {
    expected: "a name of 1 to 64 letters, digits, '-', '_' or '.', or \"\" for the machine's",
    takes: "1 to 64 letters, digits, `-`, `_`, `.`; `\"\"`",
    check: check_listener_name,
};

pub(crate) const HOOK_URL: Pattern = Pattern {
    expected: "a URL such as \"http://127.0.0.1:3000/roost\"",
    takes: "URL",
    check: check_hook_url,
};

pub(crate) const GRANT: Pattern = Pattern {
    expected: "a grant such as \"sub:status:*\" or \"pub:probe:1\"",
    takes: "grant",
    check: check_grant,
};

pub(crate) const HEADER: Pattern = Pattern {
    expected: "a header's name such as \"cookie\", in lower case",
    takes: "header",
    check: check_header,
};

pub(crate) const URI: Pattern = Pattern {
    expected: "a URI such as \"com.example.\", without spaces, control characters and #",
    takes: "URI, `\"\"`",
    check: check_uri,
};

pub(crate) const NAMESPACE_NAME: Pattern = Pattern {
    expected: "a name of 1 to 64 letters, digits, '-', '_' or '.'",
    takes: "1 to 64 letters, digits, `-`, `_`, `.`",
    check: check_namespace,
};

pub(crate) const LISTENER_NAME: Pattern = Pattern {
    expected: "a name of 1 to 64 letters, digits, '-', '_' or '.', or \"\" for its address",
    takes: "1 to 64 letters, digits, `-`, `_`, `.`; `\"\"`",
    check: check_listener_name,
};

pub(crate) const KEY_NAME: Pattern = Pattern {
    expected: "a name of 1 to 64 letters, digits, '-', '_' or '.'",
    takes: "1 to 64 letters, digits, `-`, `_`, `.`",
    check: check_namespace,
};

pub(crate) const SHA256: Pattern = Pattern {
    expected: "a SHA-256 as 64 hexadecimal digits in lower case",
    takes: "SHA-256",
    check: check_sha256,
};

pub(crate) const SCOPE: Pattern = Pattern {
    expected: "what a key may do, such as \"publish\" or \"publish:order:*\"",
    takes: "scope",
    check: |word| ApiScope::parse(word).map(drop),
};

pub(crate) const DIALECT: Pattern = Pattern {
    expected: "\"raw\", \"echo\", \"wamp\", \"soap\", \"centrifugo\", \"pusher\" or \"sse\"",
    takes: "dialect",
    check: check_dialect,
};

pub(crate) const SOCKET: Pattern = Pattern {
    expected: "an absolute path such as \"/run/roost/admin.sock\", or \"\" for none",
    takes: "absolute path, `\"\"`",
    check: check_socket,
};

pub(crate) const GROUP: Pattern = Pattern {
    expected: "a group's name or number such as \"adm\", or \"\" for none",
    takes: "group, `\"\"`",
    check: check_group,
};

pub(crate) const COOKIE: Pattern = Pattern {
    expected: "a cookie's name such as \"roost_token\", or \"\" for none",
    takes: "cookie, `\"\"`",
    check: |word| {
        check_chars(word, COOKIE_BYTES_MAX, |c| {
            c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
        })
    },
};

pub(crate) const PARTY: Pattern = Pattern {
    expected: "a name or URL such as \"https://id.example.org/\", or \"\" for none",
    takes: "text, `\"\"`",
    check: |word| check_chars(word, PARTY_BYTES_MAX, |c| !c.is_control()),
};

pub(crate) const NETWORK: Pattern = Pattern {
    expected: "a network such as \"10.0.0.0/8\", or an IP address",
    takes: "network",
    check: |word| word.parse::<Network>().map(drop),
};

pub(crate) const FILE: Pattern = Pattern {
    expected: "a file's path such as \"/etc/roost/key.pem\", or \"\" for none",
    takes: "file, `\"\"`",
    check: check_file,
};

/// What is left of it without the dot is a URI by WAMP's loose rules, and outside of what belongs to protocols.
fn check_realm_prefix(word: &str) -> Result<(), String> {
    if word.is_empty() {
        return Ok(());
    }
    let Some(whole) = word.strip_suffix('.') else {
        return Err("without a dot at its end it is not a component of its own".to_owned());
    };
    if whole.split('.').any(str::is_empty) {
        return Err("a component between its dots is empty".to_owned());
    }
    if whole.starts_with('$') || whole.split('.').next() == Some("wamp") {
        return Err("names that begin so belong to protocols".to_owned());
    }
    if word.len() > REALM_PREFIX_BYTES_MAX {
        return Err(format!("it has at most {REALM_PREFIX_BYTES_MAX} bytes"));
    }
    check_uri(word)
}

/// What channels of an application begin with, in characters that a channel of Pusher's may have.
fn check_app_prefix(word: &str) -> Result<(), String> {
    if word.is_empty() {
        return Ok(());
    }
    let Some(whole) = word.strip_suffix(':') else {
        return Err("it is what stands before the first colon of names, with the colon".to_owned());
    };
    check_namespace(whole)
        .map_err(|_| "before that stand letters, digits, '-', '_' or '.'".to_owned())?;
    if PROTECTED.iter().any(|start| word.starts_with(start)) {
        return Err("names that begin so mean something in the protocol".to_owned());
    }
    match whole.split('.').next() == Some("wamp") {
        true => Err("names that begin so belong to protocols".to_owned()),
        false => Ok(()),
    }
}

fn check_sha256(word: &str) -> Result<(), String> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match word.len() == 64 && word.bytes().all(is_hex) {
        true => Ok(()),
        false => Err("roostd hash-key makes it".to_owned()),
    }
}

/// path_resolution(7): a path has at most 4095 bytes.
fn check_file(word: &str) -> Result<(), String> {
    if word.contains(char::is_control) {
        return Err("a path here has no control characters".to_owned());
    }
    if word.ends_with('/') {
        return Err("it ends with a slash, which names a directory".to_owned());
    }
    if word.len() > FILE_BYTES_MAX {
        return Err(format!("a path has at most {FILE_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn check_chars(word: &str, bytes_max: usize, is_fit: fn(char) -> bool) -> Result<(), String> {
    match word.len() <= bytes_max && word.chars().all(is_fit) {
        true => Ok(()),
        false => Err(String::new()),
    }
}

fn check_listener_name(word: &str) -> Result<(), String> {
    if word.is_empty() {
        return Ok(());
    }
    check_namespace(word)
}

fn check_dialect(word: &str) -> Result<(), String> {
    if DIALECTS.contains(&word) {
        return Ok(());
    }
    let near = nearest(word, DIALECTS);
    Err(near.map_or_else(String::new, |near| format!("did you mean \"{near}\"?")))
}

/// As groupadd(8) takes names.
fn check_group(word: &str) -> Result<(), String> {
    let fits = word.len() <= GROUP_BYTES_MAX
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits { Ok(()) } else { Err(String::new()) }
}

/// An Origin as clients send it (RFC 6454 §6.2): `scheme://host[:port]` in lower case, or one of
/// [`WHOLE_ORIGINS`]. What is never sent is refused, because an entry that cannot match is a
/// mistake.
fn check_origin(word: &str) -> Result<(), String> {
    if WHOLE_ORIGINS.contains(&word) {
        return Ok(());
    }
    if word.starts_with("file:") {
        return Err("every page opened as a file sends \"file://\" or \"null\"".to_owned());
    }
    let Some((scheme, host)) = word.split_once("://") else {
        return Err("an origin begins with its scheme, such as https://".to_owned());
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !scheme_fits {
        return Err(String::new());
    }
    if let Some(bare) = word.strip_suffix('/').filter(|_| !host.is_empty()) {
        return Err(format!(
            "without the slash at its end: \"{}\"",
            shortened(bare)
        ));
    }
    if word.contains('*') {
        return Err("patterns are not matched: list each origin".to_owned());
    }
    if word.bytes().any(|b| b.is_ascii_uppercase()) {
        let lower = shortened(&word.to_ascii_lowercase());
        return Err(format!("browsers send it in lower case: \"{lower}\""));
    }
    let default_port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => "\0",
    };
    if let Some(bare) = word.strip_suffix(default_port) {
        let bare = shortened(bare);
        return Err(format!("browsers leave the default port out: \"{bare}\""));
    }
    check_host(host)
}

/// A realm (a WAMP URI): no space, no `#`, no control character.
fn check_name(word: &str) -> Result<(), String> {
    match (1..=NAME_BYTES_MAX).contains(&word.len()) && !word.contains(char::is_control) {
        true => Ok(()),
        false => Err(format!(
            "a name has 1 to {NAME_BYTES_MAX} bytes, and no control characters"
        )),
    }
}

fn check_word(word: &str, known: &[&'static str]) -> Result<(), String> {
    if known.contains(&word) {
        return Ok(());
    }
    let near = nearest(word, known.iter().copied());
    Err(near.map_or_else(String::new, |near| format!("did you mean \"{near}\"?")))
}

/// Canonical base64 (RFC 4648 §4) of 8 bytes or more.
fn check_salt(word: &str) -> Result<(), String> {
    let digits = word.trim_end_matches('=');
    let padding = word.len() - digits.len();
    let is_base64 = word.len().is_multiple_of(4)
        && padding <= 2
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    match is_base64 && (SALT_CHARS_MIN..=NAME_BYTES_MAX).contains(&word.len()) {
        true => Ok(()),
        false => Err("openssl rand -base64 16 makes one".to_owned()),
    }
}

fn check_public_key(word: &str) -> Result<(), String> {
    match word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(String::new()),
    }
}

fn check_uri(word: &str) -> Result<(), String> {
    let is_bad = |c: char| c == '#' || c.is_whitespace() || c.is_control();
    match word.len() <= NAME_BYTES_MAX && !word.contains(is_bad) {
        true => Ok(()),
        false => Err(format!("it has at most {NAME_BYTES_MAX} bytes")),
    }
}

fn check_realm(word: &str) -> Result<(), String> {
    let fits = !word.is_empty()
        && word.len() <= REALM_BYTES_MAX
        && !word
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '#');
    if fits {
        return Ok(());
    }
    Err(format!(
        "a realm has 1 to {REALM_BYTES_MAX} bytes, without space, control or '#'"
    ))
}

/// A path as it stands in a request, or nothing.
fn check_path(word: &str) -> Result<(), String> {
    if word.is_empty() {
        return Ok(());
    }
    if !word.starts_with('/') {
        let path = shortened(word);
        return Err(format!("a path begins with a slash: \"/{path}\""));
    }
    if word.contains(['?', '#']) {
        return Err("a path has no ? and no #".to_owned());
    }
    if word.len() > PATH_BYTES_MAX {
        return Err(format!("a path here has at most {PATH_BYTES_MAX} bytes"));
    }
    if !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a request's path has no spaces and nothing outside ASCII".to_owned());
    }
    Ok(())
}

/// A subprotocol for raw or echo: a token (RFC 6455 §4.1, RFC 9110 §5.6.2), and none of WAMP's.
fn check_subprotocol(word: &str) -> Result<(), String> {
    let is_token = (1..=SUBPROTOCOL_BYTES_MAX).contains(&word.len())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_token {
        return Err(format!(
            "a subprotocol has 1 to {SUBPROTOCOL_BYTES_MAX} letters, digits and !#$%&'*+-.^_`|~"
        ));
    }
    if word.starts_with("wamp.") {
        return Err("this path does not speak WAMP; /wamp does".to_owned());
    }
    Ok(())
}

/// A whole text message, or nothing.
fn check_goodbye(word: &str) -> Result<(), String> {
    if word.len() <= GOODBYE_BYTES_MAX && !word.contains(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "it has at most {GOODBYE_BYTES_MAX} bytes of UTF-8, without control characters"
    ))
}

/// What stands before the colon in a channel's name.
fn check_namespace(word: &str) -> Result<(), String> {
    let fits = (1..=NAMESPACE_BYTES_MAX).contains(&word.len())
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits {
        return Ok(());
    }
    let bare = word
        .strip_suffix(':')
        .filter(|bare| check_namespace(bare).is_ok());
    Err(bare.map_or_else(String::new, |bare| format!("without the colon: \"{bare}\"")))
}

/// `host[:port]`, the host a name, an IPv4 address or an IPv6 address in brackets.
fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return Err("the bracket of the IPv6 address is not closed".to_owned());
            };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("in brackets stands an IPv6 address".to_owned());
            }
            (
                address,
                port.strip_prefix(':').or((!port.is_empty()).then_some("")),
            )
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let name_fits = !name.is_empty()
        && name.len() <= HOST_BYTES_MAX
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
    if !name_fits {
        return Err("after the scheme stands a host and nothing else but a port".to_owned());
    }
    match port {
        Some(port) if !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() => {
            Err("the port is a number up to 65535".to_owned())
        }
        _ => Ok(()),
    }
}

/// Beginnings of Pusher's channels that say what they are.
const PROTECTED: [&str; 3] = ["private-", "presence-", "cache-"];
/// The sections of the same names say more of them.
const DIALECTS: [&str; 7] = ["raw", "echo", "wamp", "soap", "centrifugo", "pusher", "sse"];
/// Origins without a host: of a sandboxed frame and other opaque ones, and of a page opened as a file
/// (RFC 6454 §4 leaves the latter to the client; Chromium, Electron and Cordova send this).
const WHOLE_ORIGINS: [&str; 2] = ["null", "file://"];
/// A DNS name has at most 253 characters.
const HOST_BYTES_MAX: usize = 253;
const REALM_BYTES_MAX: usize = 255;
const REALM_PREFIX_BYTES_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 255;
const SUBPROTOCOL_BYTES_MAX: usize = 255;
const GOODBYE_BYTES_MAX: usize = 255;
const FILE_BYTES_MAX: usize = 4095;
const COOKIE_BYTES_MAX: usize = 64;
const GROUP_BYTES_MAX: usize = 32;
const NAMESPACE_BYTES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 255;
/// Base64 of 8 bytes.
const SALT_CHARS_MIN: usize = 12;
fn check_hook_url(url: &str) -> Result<(), String> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err("it begins with http:// or https://".to_owned());
    };
    if rest.is_empty() || rest.starts_with(['/', ':', '?']) {
        return Err("behind :// stands no host".to_owned());
    }
    check_chars(url, PARTY_BYTES_MAX, |c| c.is_ascii_graphic())
}

/// Those that speak of the connection itself, or that a question has of its own, are not passed on.
fn check_grant(grant: &str) -> Result<(), String> {
    let channel = match grant.split_once(':') {
        Some(("sub" | "pub" | "prs", channel)) => channel,
        _ => return Err("it begins with sub:, pub: or prs:, and a channel follows".to_owned()),
    };
    match channel.strip_suffix('*').unwrap_or(channel) {
        _ if channel.is_empty() => Err("a channel follows".to_owned()),
        start if start.contains('*') => Err("a * stands at the end alone".to_owned()),
        _ => Ok(()),
    }
}

fn check_header(name: &str) -> Result<(), String> {
    if is_own_header(name) {
        return Err("it is the connection's own, or the question's".to_owned());
    }
    check_chars(name, 64, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')
    })
}

/// Whether a header, in lower case, is written for each request.
fn is_own_header(name: &str) -> bool {
    let own = [
        "host",
        "connection",
        "upgrade",
        "content-length",
        "content-type",
        "transfer-encoding",
        "te",
        "trailer",
        "keep-alive",
        "user-agent",
        "accept",
    ];
    own.contains(&name) || name.starts_with("webhook-") || name.starts_with("sec-websocket-")
}

/// A header with its value, of a request that is ours (RFC 9110 §5.5, §5.6.2).
fn check_header_line(line: &str) -> Result<(), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err("a colon stands between name and value".to_owned());
    };
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err("before the colon stands a header's name alone".to_owned());
    }
    if is_own_header(&name.to_ascii_lowercase()) {
        return Err("it is the connection's own, or the webhook's".to_owned());
    }
    check_chars(value, PARTY_BYTES_MAX, |c| c == ' ' || c.is_ascii_graphic())
        .map_err(|_| "its value has visible ASCII alone, and at most 1024 bytes".to_owned())
}

const PARTY_BYTES_MAX: usize = 1024;
