//! Cross-site requests (RFC 6455 §4.2.2 item 4, §10.2; RFC 6454), asked of a server that allows
//! one origin.

use super::case::{Case, case};
use super::target::{Target, fail, loose, pass, skip, works_and_closes};
use super::verdict::Outcome;
use crate::client::ACCEPT;

pub(super) const CASES: &[Case] = &[
    case(
        "origin.allowed",
        "the allowed origin opens a WebSocket",
        "6455 §10.2",
        |t| {
            with_origin(t, |origin| {
                let request = t.request().header(format!("Origin: {origin}"));
                let mut client = t.connect()?;
                client.send(&request.bytes())?;
                client.read_response()?.check_accepted(ACCEPT)?;
                works_and_closes(client)
            })
        },
    ),
    case(
        "origin.none",
        "a client without Origin is no browser, and is not asked for one",
        "6455 §10.2",
        |t| with_origin(t, |_| t.accepts(&t.request())),
    ),
    case(
        "origin.other",
        "another origin is refused with 403",
        "6455 §4.2.2",
        |t| forbidden(t, |_| "https://attacker.example".to_owned()),
    ),
    case(
        "origin.null",
        "the origin null, of a sandboxed page, is refused",
        "6454 §7.1",
        |t| forbidden(t, |_| "null".to_owned()),
    ),
    case(
        "origin.empty",
        "an empty origin is refused",
        "6454 §7.1",
        |t| forbidden(t, |_| String::new()),
    ),
    case(
        "origin.scheme",
        "the same host by http is another origin",
        "6454 §5",
        |t| forbidden(t, |origin| origin.replace("https", "http")),
    ),
    case(
        "origin.port",
        "the same host on another port is another origin",
        "6454 §5",
        |t| forbidden(t, |origin| format!("{origin}:8443")),
    ),
    case(
        "origin.default_port",
        "an origin is serialised without its default port",
        "6454 §6.2",
        |t| forbidden(t, |origin| format!("{origin}:443")),
    ),
    case(
        "origin.case",
        "an origin is serialised in lower case",
        "6454 §4",
        |t| forbidden(t, |origin| origin.to_uppercase()),
    ),
    case(
        "origin.suffix",
        "a host that continues the allowed one is another",
        "6454 §5",
        |t| forbidden(t, |origin| format!("{origin}.attacker.example")),
    ),
    case(
        "origin.prefix",
        "a host that ends with the allowed one is another",
        "6454 §5",
        |t| forbidden(t, |origin| origin.replace("://", "://evil-")),
    ),
    case(
        "origin.subdomain",
        "a subdomain is another origin",
        "6454 §5",
        |t| forbidden(t, |origin| origin.replace("://", "://www.")),
    ),
    case(
        "origin.user_information",
        "the allowed host before an @ is not the host",
        "6454 §5",
        |t| forbidden(t, |origin| format!("{origin}@attacker.example")),
    ),
    case(
        "origin.trailing_dot",
        "a host with a dot behind it is another",
        "6454 §5",
        |t| forbidden(t, |origin| format!("{origin}.")),
    ),
    case(
        "origin.trailing_slash",
        "an origin has no path",
        "6454 §6.2",
        |t| forbidden(t, |origin| format!("{origin}/")),
    ),
    case(
        "origin.list",
        "an origin in a list of two is refused",
        "6454 §7.3",
        |t| forbidden(t, |origin| format!("https://attacker.example {origin}")),
    ),
    case(
        "origin.two_lines",
        "two Origin lines are refused",
        "6454 §7.3",
        |t| {
            with_origin(t, |origin| {
                let request = t.request().header(format!("Origin: {origin}"));
                let request = request.header("Origin: https://attacker.example");
                t.refuses(&request, &[400, 403])
            })
        },
    ),
    case(
        "origin.not_ascii",
        "an origin outside ASCII is refused",
        "6454 §6.2",
        |t| forbidden(t, |origin| format!("{origin}\u{ff0e}attacker")),
    ),
];

fn with_origin(t: &Target, ask: impl Fn(&str) -> Outcome) -> Outcome {
    match &t.origin {
        Some(origin) => ask(origin),
        None => skip("no allowed origin is known"),
    }
}

fn forbidden(t: &Target, other: fn(&str) -> String) -> Outcome {
    with_origin(t, |origin| {
        let mut client = t.connect()?;
        client.send(
            &t.request()
                .header(format!("Origin: {}", other(origin)))
                .bytes(),
        )?;
        let response = client.read_response()?;
        match response.status {
            403 => pass(),
            400..=499 => loose(format!("status {} instead of 403", response.status)),
            status => fail(format!("status {status} instead of 403")),
        }
    })
}
