//! The server that is asked, and the few questions that many cases share.

use std::net::ToSocketAddrs;
use std::time::Duration;

use super::verdict::{Outcome, Verdict};
use crate::client::{Address, Client, Failure, Frame, Received, Request, opcode};

/// A server, and what is known of it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// The Host header it expects.
    pub host: String,
    /// A path that sends each message back, unchanged.
    pub echo: String,
    /// A path whose clients receive each other's messages but not their own.
    pub raw: Option<String>,
    /// A subprotocol it speaks.
    pub subprotocol: Option<String>,
    /// The path where it speaks that, if not on the path of [`Target::echo`].
    pub subprotocol_path: Option<String>,
    /// The one origin it allows, `https`, with a host in lower case and without a port.
    pub origin: Option<String>,
    /// How long a case waits for an answer.
    pub timeout: Duration,
}

impl Target {
    /// A server at `ws://HOST[:PORT]` or `wss://HOST[:PORT]`, whatever its certificate says, with `/echo` and nothing else.
    ///
    /// # Errors
    /// When the URL is another one, or names no address.
    pub fn from_url(url: &str) -> Result<Target, Failure> {
        let (tls, authority) = match url.split_once("://") {
            Some(("ws", rest)) => (false, rest.trim_end_matches('/')),
            Some(("wss", rest)) => (true, rest.trim_end_matches('/')),
            _ => (false, ""),
        };
        if authority.is_empty() || authority.contains('/') {
            let wrong = format!("{url:?} is not ws://HOST[:PORT] or wss://HOST[:PORT]");
            return Err(Failure::new(wrong));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let named = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{}", if tls { 443 } else { 80 })
        };
        let socket = named.to_socket_addrs()?.next();
        let socket = socket.ok_or_else(|| Failure::new(format!("{authority} has no address")))?;
        let address = Address { socket, tls };
        Ok(Target {
            host: authority.to_owned(),
            ..Target::at(address)
        })
    }

    /// A server at this address, with `/echo` and nothing else.
    pub fn at(address: impl Into<Address>) -> Target {
        let address = address.into();
        Target {
            address,
            host: address.to_string(),
            echo: "/echo".to_owned(),
            raw: None,
            subprotocol: None,
            subprotocol_path: None,
            origin: None,
            timeout: Duration::from_secs(5),
        }
    }

    /// Connects.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        let mut client = Client::connect(self.address)?;
        client.set_timeout(self.timeout);
        Ok(client)
    }

    /// A right request for the echo path.
    pub(super) fn request(&self) -> Request {
        self.request_for(&self.echo)
    }

    /// A right request for any path.
    pub(super) fn request_for(&self, target: &str) -> Request {
        Request::websocket(&self.host, target)
    }

    /// An open WebSocket on the echo path.
    pub(super) fn open(&self) -> Result<Client, Failure> {
        self.open_path(&self.echo)
    }

    /// An open WebSocket on any path.
    pub(super) fn open_path(&self, target: &str) -> Result<Client, Failure> {
        let mut client = self.connect()?;
        client.shake_hands(&self.request_for(target))?;
        Ok(client)
    }

    /// The request opens a WebSocket that works.
    pub(super) fn accepts(&self, request: &Request) -> Outcome {
        let mut client = self.connect()?;
        client.shake_hands(request)?;
        works_and_closes(client)
    }

    /// The request is refused, best with one of these statuses.
    pub(super) fn refuses(&self, request: &Request, statuses: &[u16]) -> Outcome {
        self.refuses_bytes(&request.bytes(), statuses)
    }

    /// The bytes are refused, best with one of these statuses.
    pub(super) fn refuses_bytes(&self, bytes: &[u8], statuses: &[u16]) -> Outcome {
        let mut client = self.connect()?;
        client.send_anyway(bytes);
        refused(&mut client, statuses)
    }

    /// The request opens a WebSocket that works, or is refused with one of these statuses.
    pub(super) fn accepts_or_refuses(&self, request: &Request, statuses: &[u16]) -> Outcome {
        let mut client = self.connect()?;
        client.send(&request.bytes())?;
        let response = client.read_response()?;
        if response.status == 101 {
            return works_and_closes(client);
        }
        judge_refusal(response.status, statuses)
    }

    /// The bytes come back as one message of the same kind, and the connection goes on.
    pub(super) fn echoes(&self, frames: &[Frame], expected: Expected<'_>) -> Outcome {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let mut client = self.open()?;
        client.send(&bytes)?;
        expected.expect_from(&mut client)?;
        works_and_closes(client)
    }

    /// These frames are the client's end: a close frame with one of these codes, then FIN.
    pub(super) fn fails(&self, frames: &[Frame], codes: &[u16]) -> Outcome {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.fails_bytes(&bytes, codes)
    }

    /// As [`Target::fails`], with bytes.
    pub(super) fn fails_bytes(&self, bytes: &[u8], codes: &[u16]) -> Outcome {
        let mut client = self.open()?;
        client.send(bytes)?;
        failed(&mut client, codes)
    }
}

/// A message that is waited for.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Pong(&'a [u8]),
}

impl Expected<'_> {
    pub(super) fn expect_from(self, client: &mut Client) -> Result<(), Failure> {
        match self {
            Expected::Text(text) => client.expect_text(text),
            Expected::Binary(bytes) => client.expect_binary(bytes),
            Expected::Pong(bytes) => client.expect_pong(bytes),
        }
    }
}

/// The connection echoes.
pub(super) fn works(client: &mut Client) -> Result<(), Failure> {
    client.send_text("still here")?;
    client.expect_text("still here")
}

/// The connection echoes, and ends as RFC 6455 §7.1 has it.
pub(super) fn works_and_closes(mut client: Client) -> Outcome {
    works(&mut client)?;
    closes(client)
}

/// The connection ends as RFC 6455 §7.1 has it.
pub(super) fn closes(mut client: Client) -> Outcome {
    client.send_close(1000, "")?;
    client.expect_close(1000)?;
    ended(&mut client)
}

/// After both close frames, the server ends the TCP connection first.
pub(super) fn ended(client: &mut Client) -> Outcome {
    match client.receive_any()? {
        Received::Fin => Ok(Verdict::Pass),
        // RFC 6455 §7.1.1: to obtain a clean closure, use shutdown() and read to the peer's FIN.
        Received::Reset => loose("RST instead of FIN after the close frames (6455 §7.1.1)"),
        Received::Silence => loose("does not end the TCP connection first (6455 §7.1.1)"),
        Received::Frame(frame) => fail(format!("a frame after the close frame: {frame:?}")),
    }
}

/// The server fails the connection: a close frame with one of these codes, then FIN.
pub(super) fn failed(client: &mut Client, codes: &[u16]) -> Outcome {
    match client.receive_any()? {
        Received::Frame(frame) if frame.opcode == opcode::CLOSE => {
            let (code, reason) = frame.close_body()?;
            if !code.is_some_and(|code| codes.contains(&code)) {
                return fail(format!(
                    "closed with {code:?} {reason:?}, expected {codes:?}"
                ));
            }
            ended(client)
        }
        Received::Frame(frame) => fail(format!("answered {frame:?} instead of failing")),
        // RFC 6455 §7.1.7: an endpoint SHOULD send a close frame with a code.
        Received::Fin | Received::Reset => loose("ends without a close frame (6455 §7.1.7)"),
        Received::Silence => fail("does not fail the connection"),
    }
}

/// The answer to a request is one of these statuses.
pub(super) fn refused(client: &mut Client, statuses: &[u16]) -> Outcome {
    match client.receive_response()? {
        Some(response) => judge_refusal(response.status, statuses),
        None => loose(format!("ends without an answer, expected {statuses:?}")),
    }
}

pub(super) fn judge_refusal(status: u16, statuses: &[u16]) -> Outcome {
    match status {
        status if statuses.contains(&status) => Ok(Verdict::Pass),
        // RFC 6455 §4.2.1: "an appropriate error code (such as 400 Bad Request)".
        400..=599 => loose(format!("status {status}, expected {statuses:?}")),
        status => fail(format!("status {status}, expected {statuses:?}")),
    }
}

pub(super) fn pass() -> Outcome {
    Ok(Verdict::Pass)
}

pub(super) fn loose(reason: impl Into<String>) -> Outcome {
    Ok(Verdict::Loose(reason.into()))
}

pub(super) fn skip(reason: impl Into<String>) -> Outcome {
    Ok(Verdict::Skip(reason.into()))
}

pub(super) fn fail(reason: impl Into<String>) -> Outcome {
    Ok(Verdict::Fail(reason.into()))
}

/// RFC 6455 §7.4.1.
pub(super) const PROTOCOL_ERROR: &[u16] = &[1002];
/// The same, or the code for data of the wrong kind.
pub(super) const NOT_UTF8: &[u16] = &[1007];
/// Too big, or broken.
pub(super) const TOO_BIG: &[u16] = &[1009, 1002];
