//! Requests to the daemon. One connection each, and in the form of HTTP/1.0, whose answers end with the
//! connection: nothing needs to be put together.

use std::env;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the daemon is asked.
pub(crate) struct Client {
    socket: PathBuf,
}

/// What it says.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The target of the next page.
    pub(crate) next: Option<String>,
    pub(crate) body: String,
}

/// Headers that count here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes of it.
    len: usize,
    content_length: Option<usize>,
    next: Option<String>,
}

impl Client {
    /// Of the socket that is named, or of the usual one.
    pub(crate) fn new(socket: Option<&Path>) -> Client {
        let of_environment = || env::var_os("ROOST_ADMIN_SOCKET").map(PathBuf::from);
        let socket = socket.map(Path::to_owned).or_else(of_environment);
        Client {
            socket: socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
        }
    }

    pub(crate) fn get(&self, target: &str) -> Result<Answer, String> {
        self.ask("GET", target, "", b"")
    }

    /// The error is a message for people, which says what to do.
    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<Answer, String> {
        let mut stream = self.send(method, target, headers, body)?;
        let mut bytes = Vec::new();
        let read = { &mut stream }
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut bytes);
        read.map_err(|error| self.explain_silence(&error))?;
        let head = self.head_of(&bytes)?;
        let body = &bytes[head.len..];
        if head
            .content_length
            .is_some_and(|length| length != body.len())
        {
            return Err(format!(
                "{}: the answer was cut short",
                self.socket.display()
            ));
        }
        let body = String::from_utf8(body.to_vec())
            .map_err(|_| format!("{}: the answer is not UTF-8", self.socket.display()))?;
        self.check(head.status, &body)?;
        Ok(Answer {
            next: head.next,
            body,
        })
    }

    /// Gives each line of an answer that has no end, as it comes. The error is a message for people.
    pub(crate) fn follow(
        &self,
        target: &str,
        mut each: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        let stream = self.send("GET", target, "", b"")?;
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < HEAD_BYTES_MAX {
            let read = stream.read_until(b'\n', &mut bytes);
            if read.map_err(|error| self.explain_silence(&error))? == 0 {
                break;
            }
        }
        let head = self.head_of(&bytes)?;
        if !(200..300).contains(&head.status) {
            let mut body = String::new();
            let _ = stream.read_to_string(&mut body); // what has come says what is wrong
            return self.check(head.status, &body);
        }
        let untimed = stream.get_ref().set_read_timeout(None);
        untimed.map_err(|error| self.explain_silence(&error))?;
        let mut line = String::new();
        loop {
            line.clear();
            let read = stream.read_line(&mut line);
            match read.map_err(|error| self.explain_silence(&error))? {
                0 => return Ok(()),
                _ => each(&line)?,
            }
        }
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<UnixStream, String> {
        let stream = UnixStream::connect(&self.socket);
        let mut stream = stream.map_err(|error| self.explain_connect(&error))?;
        let timeouts = stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIMEOUT)));
        timeouts.map_err(|error| format!("{}: {error}", self.socket.display()))?;
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.0\r\nHost: roost\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        let sent = stream.write_all(&[head.as_bytes(), body].concat());
        match sent {
            // It may refuse before it has read all, and says why.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(self.explain_silence(&error))
            }
            _ => Ok(stream),
        }
    }

    fn head_of(&self, bytes: &[u8]) -> Result<Head, String> {
        Head::parse(bytes).ok_or_else(|| {
            let socket = self.socket.display();
            format!(
                "{socket}: what answers there does not speak HTTP: is it roostd's admin socket?"
            )
        })
    }

    fn check(&self, status: u16, body: &str) -> Result<(), String> {
        match status {
            200..=299 => Ok(()),
            _ if !body.trim().is_empty() => Err(body.trim().to_owned()),
            _ => Err(format!(
                "{}: answered with status {status}",
                self.socket.display()
            )),
        }
    }

    fn explain_connect(&self, error: &io::Error) -> String {
        let socket = self.socket.display();
        match error.kind() {
            ErrorKind::NotFound => format!(
                "no socket {socket}: roostd is not running, or its admin.socket is elsewhere \
                 (name it with --socket)"
            ),
            ErrorKind::ConnectionRefused => format!(
                "nothing serves {socket}: roostd has ended without removing it; start roostd"
            ),
            ErrorKind::PermissionDenied => format!(
                "{socket}: this user may not connect; use sudo, or let a group in with \
                 admin.socket_mode and admin.socket_group"
            ),
            _ => format!("{socket}: {error}"),
        }
    }

    fn explain_silence(&self, error: &io::Error) -> String {
        let socket = self.socket.display();
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
                "{socket}: roostd has not answered within {} s: its control thread hangs, or the \
                 process is stopped; clients may be served all the same",
                ANSWER_TIMEOUT.as_secs()
            ),
            _ => format!("{socket}: the connection has ended: {error}"),
        }
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(len) = response.parse(bytes).ok()? else {
            return None;
        };
        let value = |name: &str| {
            let found = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok()
        };
        Some(Head {
            status: response.code?,
            len,
            content_length: value("content-length").and_then(|length| length.parse().ok()),
            next: value("link").and_then(next_of).map(str::to_owned),
        })
    }
}

/// RFC 8288: the target of the link to the next page.
fn next_of(link: &str) -> Option<&str> {
    let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then_some(target)
}

const DEFAULT_SOCKET: &str = "/run/roost/admin.sock";
/// More than the daemon takes for the longest of its answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Of an answer that has no end.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A page of connections has at most 4,096 lines.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_counts() {
        let bytes = b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\
            Link: </connections?limit=1&cursor=0.7>; rel=\"next\"\r\n\r\nabc";
        let head = Head::parse(bytes).expect("a head");
        assert_eq!((head.status, head.content_length), (200, Some(3)));
        assert_eq!(&bytes[head.len..], b"abc");
        assert_eq!(
            head.next.as_deref(),
            Some("/connections?limit=1&cursor=0.7")
        );
        assert_eq!(Head::parse(b"HTTP/1.0 200"), None);
        assert_eq!(Head::parse(b"SSH-2.0-x\r\n"), None);
    }

    #[test]
    fn what_keeps_a_request_from_being_answered_is_said_with_its_remedy() {
        let client = Client::new(Some(Path::new("/nowhere/admin.sock")));
        let error = client.get("/").expect_err("there is no such socket");
        assert!(
            error.contains("/nowhere/admin.sock") && error.contains("--socket"),
            "{error}"
        );
        for (kind, remedy) in [
            (ErrorKind::ConnectionRefused, "start roostd"),
            (ErrorKind::PermissionDenied, "sudo"),
        ] {
            let error = client.explain_connect(&io::Error::from(kind));
            assert!(error.contains(remedy), "{error}");
        }
    }
}
