//! A server's own counters: `GET /stats` of Roost's admin listener, one JSON object. Its numbers are taken, those of
//! objects inside it as `OBJECT.NAME`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Map, Value};

/// Reads the counters, in several attempts: a server at its limits may turn one away. `admin` is a
/// unix socket's path, or an address and port.
///
/// # Errors
/// When there is no answer in time, or it is no JSON object.
pub fn fetch(admin: &str) -> Result<BTreeMap<String, u64>, String> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS_MAX {
        match fetch_once(admin) {
            Ok(counters) => return Ok(counters),
            Err(error) => last = error,
        }
        std::thread::sleep(BETWEEN);
    }
    Err(format!("{last} ({ATTEMPTS_MAX} attempts)"))
}

fn fetch_once(admin: &str) -> Result<BTreeMap<String, u64>, String> {
    let wrong = |what: String| format!("GET /stats of {admin}: {what}");
    let received = if admin.starts_with('/') {
        UnixStream::connect(admin).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            request(stream)
        })
    } else {
        let address: SocketAddr = admin.parse().map_err(|_| {
            wrong("expected a unix socket's path or an address and port, as in [admin]".to_owned())
        })?;
        TcpStream::connect_timeout(&address, TIMEOUT).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            request(stream)
        })
    };
    let answer = received.map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8_lossy(&answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err(wrong("no HTTP response".to_owned()));
    };
    if !head.starts_with("HTTP/1.1 200") {
        let status = head.lines().next().unwrap_or_default();
        return Err(wrong(format!("{status} (is it the admin listener?)")));
    }
    let object: Map<String, Value> =
        serde_json::from_str(body).map_err(|error| wrong(error.to_string()))?;
    let mut counters = BTreeMap::new();
    collect("", &object, &mut counters);
    Ok(counters)
}

fn request(mut stream: impl Read + Write) -> std::io::Result<Vec<u8>> {
    stream.write_all(b"GET /stats HTTP/1.1\r\nHost: roost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn collect(prefix: &str, object: &Map<String, Value>, into: &mut BTreeMap<String, u64>) {
    for (name, value) in object {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(inner) => collect(&format!("{name}."), inner, into),
            value => into.extend(value.as_u64().map(|number| (name, number))),
        }
    }
}

const ATTEMPTS_MAX: usize = 5;
const BETWEEN: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_wherever_they_stand() {
        let text = r#"{"version":"1","open":3,"limits":{"files":9},"namespaces":{"a.b":{"x":1}}}"#;
        let mut counters = BTreeMap::new();
        collect(
            "",
            &serde_json::from_str(text).expect("JSON"),
            &mut counters,
        );
        let expected = [("limits.files", 9), ("namespaces.a.b.x", 1), ("open", 3)];
        assert_eq!(
            counters,
            expected.map(|(name, n)| (name.to_owned(), n)).into()
        );
    }
}
