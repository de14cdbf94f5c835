//! The least a server can do with messages: a loop that does nothing but `send` each frame to every
//! socket, and its twin that joins what came together into one `send`. What others take more than
//! this is theirs; what this takes is the kernel's.
//!
//! It keeps no channels, no outbox and no limits: a frame that a socket does not take whole ends
//! that connection, which a run then counts as lost.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use roost_wire::frame::{append_close, append_frame};
use roost_wire::handshake::{HeadScanner, Request, Upgrade, write_accept};
use roost_wire::{CloseCode, Inbound, Input, Limits, Message, Opcode, Role};

/// Serves until the process ends or a system call fails that should not. A connection to `/echo`
/// gets back what it sends; what others send goes to all others. `join`: frames that came with one
/// read leave with one `send`. `started` is told the address.
///
/// # Errors
/// When it cannot listen, wait or accept.
pub fn serve(address: SocketAddr, join: bool, started: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    started(listener.local_addr()?);
    let mut floor = Floor {
        conns: Vec::new(),
        lives: Vec::new(),
        free: Vec::new(),
        join,
        lease: vec![0; LEASE_BYTES],
        frames: Vec::new(),
    };
    let mut events = Events::with_capacity(1_024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, &poll)?,
                Token(slot) => floor.read(slot, event.is_read_closed()),
            }
        }
    }
}

struct Floor {
    /// The sockets by slot: all that sending walks over.
    conns: Vec<Option<TcpStream>>,
    lives: Vec<Life>,
    free: Vec<usize>,
    join: bool,
    lease: Vec<u8>,
    /// Frames that came with one read.
    frames: Vec<u8>,
}

/// What a connection has come to.
enum Life {
    Head(Vec<u8>, HeadScanner),
    Open { echo: bool, inbound: Inbound },
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.lives.push(Life::new());
                self.conns.len() - 1
            });
            poll.registry()
                .register(&mut stream, Token(slot), Interest::READABLE)?;
            self.conns[slot] = Some(stream);
            self.lives[slot] = Life::new();
        }
    }

    /// Edge-triggered: a read that does not fill the buffer has emptied the socket, and what comes
    /// later is told again; but its end (`closed`) is told once.
    fn read(&mut self, slot: usize, closed: bool) {
        let mut lease = std::mem::take(&mut self.lease);
        while let Some(stream) = &mut self.conns[slot] {
            match stream.read(&mut lease) {
                Ok(0) => self.end(slot),
                Ok(len) => {
                    let received = self.hear(slot, &mut lease[..len]);
                    if received.is_none() {
                        self.end(slot);
                    } else if len < lease.len() && !closed {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.end(slot),
            }
        }
        self.lease = lease;
    }

    /// `None` when the connection is over.
    fn hear(&mut self, slot: usize, bytes: &mut [u8]) -> Option<()> {
        let Life::Head(head, scanner) = &mut self.lives[slot] else {
            return self.hear_frames(slot, bytes);
        };
        head.extend_from_slice(bytes);
        let Some(len) = scanner.scan(head) else {
            return (head.len() < HEAD_BYTES_MAX).then_some(());
        };
        let request = Request::parse(&head[..len], HEADERS_MAX).ok()?;
        let Upgrade::WebSocket(websocket) = request.upgrade() else {
            return None;
        };
        let echo = request.path() == ECHO_PATH;
        let mut answer = Vec::new();
        write_accept(&mut answer, websocket.key(), None, None);
        let mut rest = head.split_off(len);
        self.lives[slot] = Life::Open {
            echo,
            inbound: Inbound::new(Role::Server),
        };
        self.send(slot, &answer)?;
        self.hear_frames(slot, &mut rest)
    }

    fn hear_frames(&mut self, slot: usize, bytes: &mut [u8]) -> Option<()> {
        let mut frames = std::mem::take(&mut self.frames);
        let Life::Open { echo, inbound } = &mut self.lives[slot] else {
            return None;
        };
        let echo = *echo;
        let mut ends = Vec::new();
        let mut input = Input::new(bytes);
        let mut over = false;
        while let Some(message) = inbound.next(&mut input, &LIMITS).ok()? {
            match message {
                Message::Binary(payload) => append_frame(&mut frames, Opcode::Binary, payload),
                Message::Text(text) => append_frame(&mut frames, Opcode::Text, text.as_bytes()),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(..) => {
                    over = true;
                    break;
                }
            }
            ends.push(frames.len());
        }
        if self.join {
            ends.drain(..ends.len().saturating_sub(1));
        }
        let mut start = 0;
        for end in ends {
            match echo {
                true => self.send(slot, &frames[start..end])?,
                false => self.send_to_others(slot, &frames[start..end]),
            }
            start = end;
        }
        frames.clear();
        self.frames = frames;
        if over {
            let mut goodbye = Vec::new();
            append_close(&mut goodbye, CloseCode::NORMAL, "");
            self.send(slot, &goodbye)?;
        }
        (!over).then_some(())
    }

    /// The loop that all this is about.
    fn send_to_others(&mut self, sender: usize, frames: &[u8]) {
        for slot in 0..self.conns.len() {
            if slot != sender && self.send(slot, frames).is_none() {
                self.end(slot);
            }
        }
    }

    /// `None` when the socket did not take all of it.
    fn send(&mut self, slot: usize, bytes: &[u8]) -> Option<()> {
        match &mut self.conns[slot] {
            Some(stream) => (stream.write(bytes).ok()? == bytes.len()).then_some(()),
            None => Some(()),
        }
    }

    fn end(&mut self, slot: usize) {
        // Dropping the socket closes it, which takes it out of epoll.
        if self.conns[slot].take().is_some() {
            self.free.push(slot);
        }
    }
}

impl Life {
    fn new() -> Life {
        Life::Head(Vec::new(), HeadScanner::default())
    }
}

const LISTENER: Token = Token(usize::MAX - 1);
const ECHO_PATH: &str = "/echo";
const LEASE_BYTES: usize = 64 << 10;
const HEAD_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
const LIMITS: Limits = Limits {
    frame_bytes_max: 1 << 20,
    message_bytes_max: 1 << 20,
};
