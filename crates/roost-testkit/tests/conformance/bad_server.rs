//! A server that believes everything: it opens a WebSocket for any head, agrees to any extension,
//! and sends back any frame. On the path [`GARBLING`] it sends back one byte too many and agrees to
//! what was not offered; on [`STAYING`] it stays when the client has gone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use roost_testkit::client::{ACCEPT, opcode};

pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let kept = Arc::new(Mutex::new(Vec::new()));
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let kept = kept.clone();
                thread::spawn(move || {
                    let mut path = String::new();
                    serve(&stream, &mut path);
                    if path == STAYING {
                        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                        kept.push(stream);
                    }
                });
            }
        });
        let thread = Some(thread);
        Server {
            address,
            stop,
            thread,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address); // ends the wait for the next one
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Nothing here is checked; an error just ends the connection.
fn serve(mut stream: &TcpStream, path: &mut String) -> Option<()> {
    // No thread outlives its test for long.
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let read = stream.read(&mut buffer).ok().filter(|&read| read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let begun = String::from_utf8_lossy(&bytes);
        *path = begun.split(' ').nth(1).unwrap_or_default().to_owned();
    };
    let garbled = *path == GARBLING;
    let request: Vec<u8> = bytes.drain(..head_end).collect();
    let request = String::from_utf8_lossy(&request);
    let offered = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let agreed = match offered {
        None => String::new(),
        Some(offer) if garbled && offer.contains("permessage-deflate") => {
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=15\r\n".to_owned()
        }
        Some(offer) => format!("Sec-WebSocket-Extensions: {offer}\r\n"),
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: chatter\r\n{agreed}\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    loop {
        while let Some((frame, used)) = echo_of(&bytes, garbled) {
            bytes.drain(..used);
            stream.write_all(&frame).ok()?;
            if frame[0] & 0x0f == opcode::CLOSE {
                return Some(());
            }
        }
        let read = stream.read(&mut buffer).ok().filter(|&read| read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// The frame at the front, as it would come back, and its length.
fn echo_of(bytes: &[u8], garbled: bool) -> Option<(Vec<u8>, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let (length, rest) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
            &rest[2..],
        ),
        127 => (
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
            &rest[8..],
        ),
        length => (usize::from(length), rest),
    };
    let (mask, rest) = match second & 0x80 {
        0 => ([0; 4], rest),
        _ => (*rest.first_chunk::<4>()?, &rest[4..]),
    };
    if garbled && length > 1 << 32 {
        return Some((vec![0x88, 2, 0x03, 0xe8], bytes.len())); // 1000: all is well
    }
    let payload = rest.get(..length)?;
    let used = bytes.len() - rest.len() + length;
    let unmasked = payload.iter().zip(mask.iter().cycle());
    let mut payload: Vec<u8> = unmasked.map(|(byte, key)| byte ^ key).collect();
    if garbled {
        payload.insert(0, b'!');
    }
    // Even a ping comes back as it was.
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    Some((frame, used))
}

/// Where what is sent comes back otherwise.
pub(crate) const GARBLING: &str = "/garbling";
/// Where no connection ends.
pub(crate) const STAYING: &str = "/staying";
