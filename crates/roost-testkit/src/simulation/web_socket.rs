//! The WebSocket of a simulated client: its handshake, what comes in messages, and what it has asked.

use std::collections::BTreeMap;

use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::{ClientRequest, HeadScanner, encode_key, parse_response};
use roost_wire::{Inbound, Input, Limits, Message, Opcode, Role};

use super::clients::Client;

/// One of them.
pub(super) struct WebSocket {
    key: String,
    protocols: &'static [&'static str],
    is_open: bool,
    scanner: HeadScanner,
    head: Vec<u8>,
    inbound: Inbound,
}

/// What was asked and is not answered, by the number that it was asked with.
#[derive(Debug)]
pub(super) struct Pending<T> {
    last: u64,
    open: BTreeMap<u64, T>,
}

/// A client that has one.
pub(super) trait Speaker: Client {
    fn web_socket_mut(&mut self) -> &mut WebSocket;
    /// Its handshake is done.
    fn handle_open(&mut self) {}
    fn handle_message(&mut self, message: Message<'_>);
    /// The server has done what it must not.
    fn fail(&mut self, what: String);

    /// Says something.
    fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        append_frame(&mut self.socket_mut().outgoing, opcode, payload);
    }

    /// Its closing handshake: it takes nothing more.
    fn answer_close(&mut self) {
        self.send_frame(Opcode::Close, &1000_u16.to_be_bytes());
        self.socket_mut().is_over = true;
    }
}

/// A frame as all clients send it.
pub(super) fn append_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    append_masked_frame(out, opcode, payload, [1, 2, 3, 4]);
}

/// Takes bytes of the server: the answer to the handshake, then messages.
pub(super) fn receive(client: &mut impl Speaker, bytes: &mut [u8]) {
    if client.socket().is_over {
        return;
    }
    let mut web_socket = std::mem::take(client.web_socket_mut());
    match web_socket.is_open {
        true => web_socket.read(client, bytes),
        false => web_socket.open(client, bytes),
    }
    *client.web_socket_mut() = web_socket;
}

impl Default for WebSocket {
    fn default() -> WebSocket {
        WebSocket {
            key: String::new(),
            protocols: &[],
            is_open: false,
            scanner: HeadScanner::default(),
            head: Vec::new(),
            inbound: Inbound::new(Role::Client),
        }
    }
}

impl WebSocket {
    /// Of one client of a kind, which has a number of its own; it offers these protocols.
    pub(super) fn new(kind: u8, index: usize, protocols: &'static [&'static str]) -> WebSocket {
        let mut nonce = [kind; 16];
        nonce[0] = index as u8;
        WebSocket {
            key: encode_key(nonce),
            protocols,
            ..WebSocket::default()
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Appends the request for it.
    pub(super) fn write_request(&self, target: &str, out: &mut Vec<u8>) {
        let request = ClientRequest {
            host: "roost.test",
            target,
            key: &self.key,
            protocols: self.protocols,
            extensions: None,
            origin: None,
        };
        request.write(out);
    }

    fn open(&mut self, client: &mut impl Speaker, bytes: &mut [u8]) {
        self.head.extend_from_slice(bytes);
        let Some(len) = self.scanner.scan(&self.head) else {
            return;
        };
        let mut head = std::mem::take(&mut self.head);
        let (head, rest) = head.split_at_mut(len);
        if head.starts_with(b"HTTP/1.1 503") {
            client.socket_mut().is_over = true; // the server has no room
            return;
        }
        if let Err(error) = parse_response(head, &self.key, self.protocols) {
            return client.fail(format!("bad handshake answer: {error:?}"));
        }
        self.is_open = true;
        client.handle_open();
        self.read(client, rest);
    }

    fn read(&mut self, client: &mut impl Speaker, bytes: &mut [u8]) {
        let limits = Limits {
            frame_bytes_max: 1 << 20,
            message_bytes_max: 1 << 20,
        };
        let mut input = Input::new(bytes);
        loop {
            match self.inbound.next(&mut input, &limits) {
                Ok(Some(message)) => client.handle_message(message),
                Ok(None) => break,
                Err(error) => {
                    return client.fail(format!("the server broke the protocol: {error:?}"));
                }
            }
        }
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Pending<T> {
        Pending {
            last: 0,
            open: BTreeMap::new(),
        }
    }
}

impl<T> Pending<T> {
    /// The number of a request that is not answered.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Something is asked; with this number.
    pub(super) fn ask(&mut self, asked: T) -> u64 {
        let number = self.next_number();
        self.open.insert(number, asked);
        number
    }

    /// It is answered. `None`: it was not asked, or was answered before.
    pub(super) fn take(&mut self, number: u64) -> Option<T> {
        self.open.remove(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.open.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.open.values_mut()
    }

    /// What was asked with this number or behind it.
    pub(super) fn since(&self, number: u64) -> impl Iterator<Item = &T> {
        self.open.range(number..).map(|(_, asked)| asked)
    }
}
