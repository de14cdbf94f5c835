//! Requests that a server may take or refuse, but not misunderstand.

use super::super::case::{Case, case};
use super::super::target::{Target, closes, loose, works};
use super::super::verdict::Outcome;
use crate::client::{ACCEPT, Request};

pub(crate) const CASES: &[Case] = &[
    case(
        "handshake.either.bare_lf",
        "lines that end with a bare LF are taken or refused",
        "9112 §2.2",
        |t| t.accepts_or_refuses(&t.request().line_end("\n"), &[400]),
    ),
    case(
        "handshake.either.obs_fold",
        "a folded header line is unfolded or refused",
        "9112 §5.2",
        |t| t.accepts_or_refuses(&t.request().header("X-Folded: a\r\n b"), &[400]),
    ),
    case(
        "handshake.either.obs_fold_hides",
        "a folded line is not a header of its own",
        "9112 §5.2",
        |t| {
            let folded = "X-Folded: a\r\n Sec-WebSocket-Version: 13";
            t.refuses(
                &t.request().replace("Sec-WebSocket-Version", folded),
                &[400, 426],
            )
        },
    ),
    case(
        "handshake.either.value_nul",
        "NUL in a value is replaced or refused",
        "9110 §5.5",
        |t| t.accepts_or_refuses(&t.request().header("X-Nul: a\0b"), &[400]),
    ),
    case(
        "handshake.either.value_cr",
        "a bare CR in a value is replaced or refused",
        "9112 §2.2",
        |t| t.accepts_or_refuses(&t.request().header("X-Cr: a\rb"), &[400]),
    ),
    case(
        "handshake.either.space_before_first",
        "space before the first header is dropped or refused",
        "9112 §2.2",
        |t| t.accepts_or_refuses(&t.request().first_header(" X-Space: 1"), &[400]),
    ),
    case(
        "handshake.either.target_not_ascii",
        "a target with bytes above 127 is taken as it is or refused",
        "3986 §2",
        |t| t.accepts_or_refuses(&t.request_for(&format!("{}?\u{e9}", t.echo)), &[400]),
    ),
    case(
        "handshake.either.expect",
        "Expect: 100-continue without a body is ignored or refused",
        "9110 §10.1.1",
        |t| t.accepts_or_refuses(&t.request().header("Expect: 100-continue"), &[400, 417]),
    ),
    case(
        "handshake.either.content_length_0",
        "a body of length 0 is none",
        "9110 §8.6",
        |t| t.accepts_or_refuses(&t.request().header("Content-Length: 0"), &[400]),
    ),
    case(
        "handshake.body.content_length",
        "a request's body is not taken for frames, nor frames for a body",
        "9112 §6.3",
        |t| body(t, t.request().header("Content-Length: 5"), b"hello"),
    ),
    case(
        "handshake.body.chunked",
        "a chunked body is not taken for frames",
        "9112 §7.1",
        |t| {
            body(
                t,
                t.request().header("Transfer-Encoding: chunked"),
                b"5\r\nhello\r\n0\r\n\r\n",
            )
        },
    ),
    case(
        "handshake.body.both_lengths",
        "Content-Length beside Transfer-Encoding is refused, or the second wins",
        "9112 §6.3",
        |t| {
            let request = t.request().header("Content-Length: 0");
            body(
                t,
                request.header("Transfer-Encoding: chunked"),
                b"5\r\nhello\r\n0\r\n\r\n",
            )
        },
    ),
    case(
        "handshake.body.bad_length",
        "a Content-Length that is no number is refused",
        "9112 §6.3",
        |t| t.refuses(&t.request().header("Content-Length: five"), &[400]),
    ),
    case(
        "handshake.body.two_lengths",
        "two different Content-Lengths are refused",
        "9112 §6.3",
        |t| {
            let request = t.request().header("Content-Length: 0");
            t.refuses(&request.header("Content-Length: 5"), &[400])
        },
    ),
];

fn body(t: &Target, request: Request, body: &[u8]) -> Outcome {
    let mut client = t.connect()?;
    client.send(&[request.bytes().as_slice(), body].concat())?;
    let response = client.read_response()?;
    match response.status {
        400 | 411 | 413 | 501 => super::super::target::pass(),
        101 => {
            response.check_accepted(ACCEPT)?;
            works(&mut client)?;
            closes(client)
        }
        status => loose(format!("status {status}")),
    }
}
