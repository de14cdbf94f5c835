//! Requests that want no WebSocket, on a path that has nothing else.

use super::super::case::{Case, case};
use super::super::target::{Target, fail, loose, pass, skip};
use super::super::verdict::Outcome;
use crate::client::Request;

pub(crate) const CASES: &[Case] = &[
    case(
        "handshake.plain.get",
        "a plain GET on a WebSocket's path is answered that an upgrade is required",
        "9110 §15.5.22",
        plain_get,
    ),
    case(
        "handshake.plain.head",
        "the answer to HEAD has no body",
        "9110 §9.3.2",
        plain_head,
    ),
    case(
        "handshake.plain.unknown",
        "a plain GET on an unknown path is answered with 404",
        "9110 §15.5.5",
        |t| t.refuses(&Request::get(&t.host, "/no/such/path"), &[404]),
    ),
    case(
        "handshake.plain.length",
        "an answer says how long it is, and is as long",
        "9112 §6.3",
        length,
    ),
];

fn plain_get(t: &Target) -> Outcome {
    let mut client = t.connect()?;
    client.send(&Request::get(&t.host, &t.echo).bytes())?;
    let response = client.read_response()?;
    match response.status {
        426 => match response.header("Upgrade") {
            Some(upgrade) if upgrade.eq_ignore_ascii_case("websocket") => pass(),
            upgrade => fail(format!("426 with Upgrade {upgrade:?}")),
        },
        101 => fail("a WebSocket opens"),
        status => loose(format!("status {status} instead of 426")),
    }
}

fn plain_head(t: &Target) -> Outcome {
    let mut client = t.connect()?;
    client.send(
        &Request::get(&t.host, &t.echo)
            .line(format!("HEAD {} HTTP/1.1", t.echo))
            .bytes(),
    )?;
    client.read_response()?;
    client.half_close()?;
    match client.read_to_end() {
        Ok(0) => pass(),
        Ok(bytes) => fail(format!("a body of {bytes} bytes")),
        Err(_) => skip("the connection is kept alive"),
    }
}

fn length(t: &Target) -> Outcome {
    let mut client = t.connect()?;
    client.send(
        &Request::get(&t.host, "/no/such/path")
            .header("Connection: close")
            .bytes(),
    )?;
    let response = client.read_response()?;
    if response.header("Content-Length").is_none() && response.header("Transfer-Encoding").is_none()
    {
        return loose("neither Content-Length nor Transfer-Encoding");
    }
    if response.header("Content-Length").is_some() {
        client.read_body(&response)?;
        client.half_close()?;
        let more = client.read_to_end()?;
        if more > 0 {
            return fail(format!("{more} bytes more than Content-Length"));
        }
    }
    pass()
}
