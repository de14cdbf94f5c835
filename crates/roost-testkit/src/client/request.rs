//! Requests as a client may send them, wrong ones too, and the answers to them.

use super::Failure;

/// The example key of RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The Sec-WebSocket-Accept that answers [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request's head, right until changed: lines of any bytes.
#[derive(Debug, Clone)]
pub struct Request {
    line: Vec<u8>,
    headers: Vec<Vec<u8>>,
    line_end: &'static str,
}

impl Request {
    /// The opening handshake of RFC 6455 §4.1 with nothing optional in it.
    pub fn websocket(host: &str, target: &str) -> Request {
        Request::get(host, target)
            .header("Upgrade: websocket")
            .header("Connection: Upgrade")
            .header(format!("Sec-WebSocket-Key: {KEY}"))
            .header("Sec-WebSocket-Version: 13")
    }

    /// A plain GET.
    pub fn get(host: &str, target: &str) -> Request {
        Request {
            line: format!("GET {target} HTTP/1.1").into_bytes(),
            headers: vec![format!("Host: {host}").into_bytes()],
            line_end: "\r\n",
        }
    }

    /// With another request line.
    pub fn line(mut self, line: impl AsRef<[u8]>) -> Request {
        self.line = line.as_ref().to_vec();
        self
    }

    /// With one more header line, whatever it is.
    pub fn header(mut self, line: impl AsRef<[u8]>) -> Request {
        self.headers.push(line.as_ref().to_vec());
        self
    }

    /// With one more header line, before all others.
    pub fn first_header(mut self, line: impl AsRef<[u8]>) -> Request {
        self.headers.insert(0, line.as_ref().to_vec());
        self
    }

    /// Without the headers of this name.
    pub fn without(mut self, name: &str) -> Request {
        self.headers.retain(|line| {
            let colon = line.iter().position(|&byte| byte == b':');
            !line[..colon.unwrap_or(line.len())].eq_ignore_ascii_case(name.as_bytes())
        });
        self
    }

    /// With this line instead of the headers of this name.
    pub fn replace(self, name: &str, line: impl AsRef<[u8]>) -> Request {
        self.without(name).header(line)
    }

    /// With every header's name changed.
    pub fn rename(mut self, change: fn(u8) -> u8) -> Request {
        for line in &mut self.headers {
            for byte in line.iter_mut().take_while(|byte| **byte != b':') {
                *byte = change(*byte);
            }
        }
        self
    }

    /// With another end of each line.
    pub fn line_end(mut self, line_end: &'static str) -> Request {
        self.line_end = line_end;
        self
    }

    /// The head on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.line.clone();
        bytes.extend(self.line_end.bytes());
        for header in &self.headers {
            bytes.extend(header);
            bytes.extend(self.line_end.bytes());
        }
        bytes.extend(self.line_end.bytes());
        bytes
    }
}

/// A response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
}

impl Response {
    /// Parses what stands before the empty line.
    pub(super) fn parse(head: &[u8]) -> Result<Response, Failure> {
        let head = std::str::from_utf8(head)
            .map_err(|_| Failure::new("the response's head is not UTF-8"))?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let not_http = || Failure::new(format!("{status_line:?} is no status line of HTTP/1.1"));
        let rest = status_line.strip_prefix("HTTP/1.1 ").ok_or_else(not_http)?;
        let (status, _) = rest.split_once(' ').ok_or_else(not_http)?;
        let status = status.parse().map_err(|_| not_http())?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| Failure::new(format!("{line:?} is no header")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Response { status, headers })
    }

    /// The values of all headers of this name, in any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        let values = self.headers.iter().filter(named);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Requires all that RFC 6455 §4.1 lets a client require of a 101.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn check_accepted(&self, accept: &str) -> Result<(), Failure> {
        if self.status != 101 {
            return Err(Failure::new(format!(
                "status {} instead of 101",
                self.status
            )));
        }
        let upgrade = self.all("Upgrade");
        if !matches!(upgrade[..], [value] if value.eq_ignore_ascii_case("websocket")) {
            return Err(Failure::new(format!("101 with Upgrade {upgrade:?}")));
        }
        let connection = self.all("Connection").join(",");
        let mut options = connection.split(',').map(str::trim);
        if !options.any(|option| option.eq_ignore_ascii_case("upgrade")) {
            return Err(Failure::new(format!("101 with Connection {connection:?}")));
        }
        if self.all("Sec-WebSocket-Accept") != [accept] {
            let accepts = self.all("Sec-WebSocket-Accept");
            return Err(Failure::new(format!(
                "Sec-WebSocket-Accept {accepts:?}, not {accept}"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_can_be_bent() {
        let request = Request::websocket("h", "/x")
            .without("key")
            .without("SEC-WEBSOCKET-KEY");
        let request = request
            .replace("Host", "Host:a")
            .line_end("\n")
            .first_header("A");
        assert_eq!(
            request.rename(|byte| byte.to_ascii_lowercase()).bytes(),
            b"GET /x HTTP/1.1\na\nupgrade: websocket\nconnection: Upgrade\n\
              sec-websocket-version: 13\nhost:a\n\n"
        );
    }

    #[test]
    fn a_wrong_answer_is_seen() {
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\
             Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: {ACCEPT}"
        );
        let check = |head: &str| Response::parse(head.as_bytes())?.check_accepted(ACCEPT);
        assert_eq!(check(&good), Ok(()));
        for (from, to) in [
            ("HTTP/1.1", "HTTP/1.0"),
            ("101", "200"),
            ("WebSocket\r\n", "websocket\r\nUpgrade: h2c\r\n"),
            ("keep-alive, upgrade", "keep-alive"),
            ("s3p", "s3P"),
            ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept "),
        ] {
            assert!(
                check(&good.replacen(from, to, 1)).is_err(),
                "{from:?} to {to:?}"
            );
        }
    }
}
