//! A scripted client: a blocking socket with a deadline on every wait, with or without TLS, which
//! sends any bytes it is asked to and checks all it receives by its own reading of RFC 6455.
//!
//! It shares no code with `roost-wire`, which it is there to judge. Nothing here panics on what a
//! server does: a broken expectation is a [`Failure`] with the words for a person.

mod address;
mod deflate;
mod expect;
mod failure;
mod frame;
mod inflate;
mod request;
mod stream;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use stream::{Stream, is_timeout};

pub use address::Address;
pub use deflate::Deflate;
pub use failure::{Checked, Failure, Located};
pub use frame::{Frame, LengthForm, RSV1, RSV2, RSV3, ReceivedFrame, opcode};
pub use request::{ACCEPT, KEY, Request, Response};

/// The next thing that comes from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame.
    Frame(ReceivedFrame),
    /// FIN at a frame's boundary: the server sends no more.
    Fin,
    /// RST, or an error that means the same: over TLS a broken record, an alert, or FIN without
    /// close_notify.
    Reset,
    /// Nothing, until the timeout.
    Silence,
}

/// A whole message, put together from its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame: code and reason.
    Close(Option<u16>, String),
}

/// How to connect.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectOptions {
    /// SO_RCVBUF in bytes, set before connecting so that the window offered is small; the kernel
    /// doubles it.
    pub receive_buffer_bytes: Option<usize>,
    /// The local address to dial from.
    pub local: Option<IpAddr>,
}

/// One connection to a server.
pub struct Client {
    stream: Stream,
    /// What has come and was not used; before `start` it was.
    unread: Vec<u8>,
    start: usize,
    timeout: Duration,
    /// The server's RSV1 has a meaning: permessage-deflate was agreed to.
    pub deflate: bool,
    /// Inflates what comes, if there is one; without, it is received as it is.
    inflating: Option<Deflate>,
    /// Payload bytes of the last message received, as they were on the wire.
    received_payload_bytes: usize,
}

impl Client {
    /// Connects. A TLS handshake is made with what is sent or received first.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect(address: impl Into<Address>) -> Result<Client, Failure> {
        Client::connect_with(address, ConnectOptions::default())
    }

    /// Connects, with options.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect_with(
        address: impl Into<Address>,
        options: ConnectOptions,
    ) -> Result<Client, Failure> {
        let address = address.into();
        let socket = Socket::new(
            Domain::for_address(address.socket),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(local) = options.local {
            socket.bind(&SocketAddr::new(local, 0).into())?;
        }
        socket
            .connect_timeout(&address.socket.into(), TIMEOUT)
            .map_err(|error| Failure::new(format!("cannot connect to {address}: {error}")))?;
        // Each write is a segment of its own.
        socket.set_tcp_nodelay(true)?;
        Ok(Client::on(match address.tls {
            false => Stream::plain(socket.into()),
            true => Stream::tls(socket.into()),
        }))
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect_unix(path: &Path) -> Result<Client, Failure> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.connect(&SockAddr::unix(path)?).map_err(|error| {
            Failure::new(format!("cannot connect to {}: {error}", path.display()))
        })?;
        // Nothing is asked of it that only TCP has.
        Ok(Client::on(Stream::plain(socket.into())))
    }

    fn on(stream: Stream) -> Client {
        Client {
            stream,
            unread: Vec::new(),
            start: 0,
            timeout: TIMEOUT,
            deflate: false,
            inflating: None,
            received_payload_bytes: 0,
        }
    }

    /// Connects and makes the opening handshake for `target`, such as `/echo`.
    ///
    /// # Errors
    /// When the answer is not a correct 101.
    pub fn open(address: impl Into<Address>, target: &str) -> Result<Client, Failure> {
        let address = address.into();
        let mut client = Client::connect(address)?;
        client.shake_hands(&Request::websocket(&address.to_string(), target))?;
        Ok(client)
    }

    /// The same with an offer of permessage-deflate. What comes compressed is inflated as agreed,
    /// if the server agrees.
    ///
    /// # Errors
    /// When the answer is not a correct 101, or not one to this offer.
    pub fn open_deflating(
        address: impl Into<Address>,
        target: &str,
        offer: &str,
    ) -> Result<Client, Failure> {
        let options = ConnectOptions::default();
        Client::open_deflating_with(address, target, offer, options)
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::open_deflating`].
    pub fn open_deflating_with(
        address: impl Into<Address>,
        target: &str,
        offer: &str,
        options: ConnectOptions,
    ) -> Result<Client, Failure> {
        let address = address.into();
        let mut client = Client::connect_with(address, options)?;
        let request = Request::websocket(&address.to_string(), target);
        let offered = request.header(format!("Sec-WebSocket-Extensions: {offer}"));
        let response = client.shake_hands(&offered)?;
        if let Some(answer) = response.header("Sec-WebSocket-Extensions") {
            client.agree(offer, answer)?;
        }
        Ok(client)
    }

    /// From now on compresses and inflates as the server answered to this offer.
    ///
    /// # Errors
    /// When the answer is not one to this offer.
    pub fn agree(&mut self, offer: &str, answer: &str) -> Result<(), Failure> {
        self.inflating = Some(Deflate::agreed(offer, answer)?);
        self.deflate = true;
        Ok(())
    }

    /// What [`Client::open_deflating`] came to.
    ///
    /// # Errors
    /// When the server declined.
    pub fn agreed(&mut self) -> Result<&mut Deflate, Failure> {
        let declined = || Failure::new("permessage-deflate was declined");
        self.inflating.as_mut().ok_or_else(declined)
    }

    /// Sends a request and requires a correct 101.
    ///
    /// # Errors
    /// When the answer is another, or not correct.
    pub fn shake_hands(&mut self, request: &Request) -> Result<Response, Failure> {
        self.send(&request.bytes())?;
        let response = self.read_response()?;
        response.check_accepted(ACCEPT)?;
        Ok(response)
    }

    /// How long each wait may last from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The address this end has.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.stream.socket().local_addr()?)
    }

    // ── Sending ──

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the server has gone, or takes nothing until the timeout.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream
            .write_all(bytes, Instant::now() + self.timeout)
            .map_err(|error| Failure::new(format!("cannot send: {error}")))
    }

    /// Sends bytes in the clear, before the TLS handshake of a connection that has one.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_before_tls(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let until = Instant::now() + self.timeout;
        Ok(self.stream.write_in_the_clear(bytes, until)?)
    }

    /// Sends bytes, whether or not the server still wants them.
    pub fn send_anyway(&mut self, bytes: &[u8]) {
        let _ = self.send(bytes);
    }

    /// Sends bytes in pieces of so many, each a write of its own, with a pause between them.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_in_pieces(
        &mut self,
        bytes: &[u8],
        piece_bytes: usize,
        pause: Duration,
    ) -> Result<(), Failure> {
        for piece in bytes.chunks(piece_bytes) {
            self.send(piece)?;
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        Ok(())
    }

    /// Sends as much as the server takes within `wait`; returns how many bytes that was.
    pub fn push(&mut self, bytes: &[u8], wait: Duration) -> usize {
        let until = Instant::now() + wait;
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..], until) {
                Ok(taken) => sent += taken,
                Err(_) => break,
            }
        }
        sent
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_frame(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.send(&frame.bytes())
    }

    /// Sends several frames in one write.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_frames(&mut self, frames: &[Frame]) -> Result<(), Failure> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.send(&bytes)
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_text(&mut self, text: &str) -> Result<(), Failure> {
        self.send_frame(&Frame::text(text))
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.send_frame(&Frame::binary(bytes))
    }

    /// Sends a message compressed, in the context that was agreed to; returns the payload's length
    /// on the wire.
    ///
    /// # Errors
    /// As [`Client::send`], or when the server declined.
    pub fn send_compressed(&mut self, opcode: u8, payload: &[u8]) -> Result<usize, Failure> {
        let compressed = self.agreed()?.compress(payload);
        self.send_frame(&Frame::new(opcode, &compressed).reserved(RSV1))?;
        Ok(compressed.len())
    }

    /// Sends a close frame.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_close(&mut self, code: u16, reason: &str) -> Result<(), Failure> {
        self.send_frame(&Frame::close(code, reason.as_bytes()))
    }

    /// Sends FIN, over TLS behind close_notify. Receiving goes on.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn half_close(&mut self) -> Result<(), Failure> {
        Ok(self.stream.half_close(Instant::now() + self.timeout)?)
    }

    /// Sends RST.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn reset(self) -> Result<(), Failure> {
        Ok(SockRef::from(self.stream.socket()).set_linger(Some(Duration::ZERO))?)
    }

    // ── Receiving ──

    /// The next frame, or the end, or silence.
    ///
    /// # Errors
    /// When the server breaks a rule of RFC 6455, or ends inside a frame.
    pub fn receive_any(&mut self) -> Result<Received, Failure> {
        let until = Instant::now() + self.timeout;
        loop {
            let unread = &self.unread[self.start..];
            if let Some((frame, used)) = frame::parse(unread, self.deflate)? {
                self.start += used;
                return Ok(Received::Frame(frame));
            }
            match self.fill(until) {
                Fill::Some => {}
                Fill::Silence => return Ok(Received::Silence),
                Fill::Reset => return Ok(Received::Reset),
                Fill::Fin if self.start == self.unread.len() => return Ok(Received::Fin),
                Fill::Fin => return Err(Failure::new("FIN inside a frame of the server")),
            }
        }
    }

    /// The next whole message. Pings are answered on the way.
    ///
    /// # Errors
    /// When there is none, or the server breaks a rule.
    pub fn receive(&mut self) -> Result<Message, Failure> {
        let mut begun: Option<(u8, bool, Vec<u8>)> = None;
        loop {
            let frame = match self.receive_any()? {
                Received::Frame(frame) => frame,
                other => {
                    return Err(Failure::new(format!(
                        "a message was expected, not {other:?}"
                    )));
                }
            };
            match frame.opcode {
                opcode::PING => {
                    self.send_anyway(&Frame::new(opcode::PONG, &frame.payload).bytes());
                    continue;
                }
                opcode::PONG => return Ok(Message::Pong(frame.payload)),
                opcode::CLOSE => {
                    let (code, reason) = frame.close_body()?;
                    return Ok(Message::Close(code, reason));
                }
                _ => {}
            }
            let rsv1 = frame.rsv & RSV1 != 0;
            let (kind, compressed, mut payload) = match (begun.take(), frame.opcode) {
                (None, opcode::CONTINUATION) => {
                    return Err(Failure::new("a continuation frame of no message"));
                }
                (Some(_), opcode::CONTINUATION) if rsv1 => {
                    return Err(Failure::new("RSV1 on a continuation (RFC 7692 §6.1)"));
                }
                (Some(message), opcode::CONTINUATION) => message,
                (None, kind) => (kind, rsv1, Vec::new()),
                (Some(_), _) => return Err(Failure::new("a message begins inside another")),
            };
            payload.extend_from_slice(&frame.payload);
            if !frame.fin {
                begun = Some((kind, compressed, payload));
                continue;
            }
            self.received_payload_bytes = payload.len();
            if compressed && let Some(inflating) = &mut self.inflating {
                payload = inflating.inflate(&payload)?;
            }
            if kind == opcode::BINARY || (compressed && self.inflating.is_none()) {
                return Ok(Message::Binary(payload));
            }
            return match String::from_utf8(payload) {
                Ok(text) => Ok(Message::Text(text)),
                Err(_) => Err(Failure::new("the server's text is not UTF-8")),
            };
        }
    }

    /// Payload bytes of the last message received, as they were on the wire.
    pub fn received_payload_bytes(&self) -> usize {
        self.received_payload_bytes
    }

    /// The next HTTP response's status line and headers.
    ///
    /// # Errors
    /// When something else comes, or nothing.
    pub fn read_response(&mut self) -> Result<Response, Failure> {
        self.receive_response()?
            .ok_or_else(|| Failure::new("the end before an HTTP response"))
    }

    /// The same; `None` when the server ends the connection instead.
    ///
    /// # Errors
    /// When something else comes, or nothing at all.
    pub fn receive_response(&mut self) -> Result<Option<Response>, Failure> {
        let until = Instant::now() + self.timeout;
        loop {
            let unread = &self.unread[self.start..];
            if let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let response = Response::parse(&unread[..end])?;
                self.start += end + 4;
                return Ok(Some(response));
            }
            match self.fill(until) {
                Fill::Some => {}
                Fill::Silence => return Err(Failure::new("no HTTP response came")),
                Fill::Fin | Fill::Reset => return Ok(None),
            }
        }
    }

    /// The body of a response: as many bytes as Content-Length says, or all to the FIN.
    ///
    /// # Errors
    /// When it does not come whole.
    pub fn read_body(&mut self, response: &Response) -> Result<Vec<u8>, Failure> {
        let length: Option<usize> = match response.header("Content-Length") {
            Some(text) => Some(
                text.parse()
                    .map_err(|_| Failure::new("Content-Length is no number"))?,
            ),
            None => None,
        };
        let until = Instant::now() + self.timeout;
        loop {
            let have = self.unread.len() - self.start;
            if let Some(length) = length.filter(|&length| have >= length) {
                let body = self.unread[self.start..self.start + length].to_vec();
                self.start += length;
                return Ok(body);
            }
            match self.fill(until) {
                Fill::Some => {}
                Fill::Fin if length.is_none() => return Ok(self.unread.split_off(self.start)),
                end => return Err(Failure::new(format!("{end:?} inside a response's body"))),
            }
        }
    }

    /// Reads exactly so many bytes, whatever they are.
    ///
    /// # Errors
    /// When they do not come.
    pub fn read_exact(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        let until = Instant::now() + self.timeout;
        while self.unread.len() - self.start < count {
            match self.fill(until) {
                Fill::Some => {}
                end => {
                    return Err(Failure::new(format!(
                        "{end:?} before {count} bytes have come"
                    )));
                }
            }
        }
        let bytes = self.unread[self.start..self.start + count].to_vec();
        self.start += count;
        Ok(bytes)
    }

    /// Reads whatever comes to the end of the connection and drops it; returns how many bytes.
    ///
    /// # Errors
    /// When the end does not come.
    pub fn read_to_end(&mut self) -> Result<usize, Failure> {
        let until = Instant::now() + self.timeout;
        let mut bytes = 0;
        loop {
            bytes += self.unread.len() - self.start;
            self.start = self.unread.len();
            match self.fill(until) {
                Fill::Some => {}
                Fill::Fin | Fill::Reset => return Ok(bytes),
                Fill::Silence => return Err(Failure::new("the connection does not end")),
            }
        }
    }

    /// Reads more into `unread`.
    fn fill(&mut self, until: Instant) -> Fill {
        if self.start == self.unread.len() {
            self.unread.clear();
            self.start = 0;
        } else if self.start > COMPACT_BYTES {
            self.unread.drain(..self.start);
            self.start = 0;
        }
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer, until) {
                Ok(0) => return Fill::Fin,
                Ok(read) => {
                    self.unread.extend_from_slice(&buffer[..read]);
                    return Fill::Some;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Fill::Silence,
                Err(_) => return Fill::Reset,
            }
        }
    }
}

/// What a read brought.
#[derive(Debug)]
enum Fill {
    Some,
    Fin,
    Reset,
    Silence,
}

/// How long a wait may last unless said otherwise: machines that test are busy.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// So much may lie used before `unread` is moved.
const COMPACT_BYTES: usize = 64 << 10;
