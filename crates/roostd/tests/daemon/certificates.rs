//! Client certificates as identity: who a client is, what it may do, and when that ends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{DistinguishedName, DnType, SanType};
use roost_tls::certs::CertificateFiles;
use roost_tls::testing::Endpoint;
use roost_tls::{ClientOptions, ClientSetup, Clock, Trust, Version};
use roost_tokens::parse_secrets;
use serde_json::json;

use crate::daemon::{Daemon, Log, wait_until};
use crate::tls_files::{ECDSA, TlsFiles};

const SECRET: &str = "Q2c1m8vX4tR7yK0pZ3wH6uJ9sD5fG1hL-certificates";

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

/// A certificate with these names, which ends so many seconds from now.
fn sign(files: &TlsFiles, name: &str, common: &str, uris: &[&str], seconds: u64) {
    files.sign_with(name, ECDSA, |params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("ASCII"));
        params.subject_alt_names = uris.iter().map(uri).collect();
        let ends = i64::try_from(now() + seconds).expect("a date");
        params.not_after = time::OffsetDateTime::from_unix_timestamp(ends).expect("a date");
    });
}

/// A server whose clients may show certificates, and its address with TLS.
fn start(files: &TlsFiles, lines: &str, more: &str) -> (Daemon, SocketAddr) {
    files.sign("server", 90, ECDSA);
    files.write("secrets", &format!("one {SECRET}\n"));
    let api = files.path("api.sock");
    let config = files.config(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [listener.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
         client_auth = \"optional\"\nclient_ca = \"ca.pem\"\n{lines}\
         [centrifugo]\nenabled = true\n\
         [api]\nlisten = [\"unix:{}\"]\n\
         [auth.jwt]\nhmac_secrets_file = \"secrets\"\nleeway = \"0s\"\n\
         [[namespace]]\nname = \"status\"\nsubscribe = \"granted\"\npublish = \"granted\"\n\
         [[namespace]]\nname = \"known\"\nsubscribe = \"authenticated\"\npublish = \"nobody\"\n{more}",
        api.display()
    ));
    let daemon = Daemon::start(&["--config", &config], Log::Read);
    let block = daemon.stdout.wait_for("wss://");
    let url = block.split("wss://").nth(1).expect("waited for");
    let end = url.find([';', '/', '\n']).expect("the line goes on");
    let address = url[..end].parse().expect("an address");
    (daemon, address)
}

struct Client {
    stream: TcpStream,
    tls: Endpoint,
}

impl Client {
    /// Its handshake is over; what it has been told of it comes with its first request.
    fn connect(files: &TlsFiles, address: SocketAddr, certificate: Option<&str>) -> Client {
        let options = ClientOptions {
            trust: Trust::Any,
            certificate: certificate.map(|name| CertificateFiles {
                certificate: files.path(&format!("{name}.pem")),
                key: files.path(&format!("{name}.key")),
                ocsp: None,
            }),
            min_version: Version::Tls12,
            max_version: Version::Tls13,
        };
        let setup = ClientSetup::load(&options, &Arc::new(Clock::new(now())));
        let (setup, _) = setup.expect("good files");
        let stream = TcpStream::connect(address).expect("it accepts");
        let deadline = Some(Duration::from_secs(30));
        stream.set_read_timeout(deadline).expect("a timeout");
        let mut client = Client {
            stream,
            tls: Endpoint::client(&setup, "localhost"),
        };
        client.flush();
        while !client.tls.is_established() && client.read() {}
        client
    }

    fn flush(&mut self) {
        self.tls.flush();
        let out = self.tls.take();
        let _ = self.stream.write_all(&out); // a server that refuses is seen by what it says
    }

    /// False at the end.
    fn read(&mut self) -> bool {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(len) => {
                self.tls.give(&piece[..len]);
                self.flush();
                self.tls.over.is_none()
            }
            Err(error) => panic!("nothing has come: {error}"),
        }
    }

    /// What has come until it has this part, and is taken.
    fn until(&mut self, part: &str) -> String {
        let mut has_more = true;
        loop {
            let text = String::from_utf8_lossy(&self.tls.received).into_owned();
            if text.contains(part) {
                self.tls.received.clear();
                return text;
            }
            assert!(has_more, "it ended before {part:?}: {text}");
            has_more = self.read();
        }
    }

    /// Asks for a WebSocket; gives the status.
    fn ask(&mut self, path: &str, header: &str) -> u16 {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             {header}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.tls.send(head.as_bytes());
        self.flush();
        let said = self.until("\r\n\r\n");
        said.split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status")
    }

    fn say(&mut self, text: &str) {
        let len = u16::try_from(text.len()).expect("a short text");
        let [high, low] = len.to_be_bytes();
        let mut frame = match len {
            0..126 => vec![0x81, 0x80 | low],
            _ => vec![0x81, 0x80 | 126, high, low],
        };
        frame.extend([0; 4]); // a mask that changes nothing
        frame.extend(text.bytes());
        self.tls.send(&frame);
        self.flush();
    }
}

fn status(
    files: &TlsFiles,
    address: SocketAddr,
    certificate: Option<&str>,
    (path, header): (&str, &str),
) -> u16 {
    Client::connect(files, address, certificate).ask(path, header)
}

fn bearer(claims: &serde_json::Value) -> String {
    let secrets = parse_secrets(&format!("one {SECRET}")).expect("a line");
    let token = secrets.signer.sign(claims);
    let token = String::from_utf8(token.expose().to_vec()).expect("ASCII");
    format!("Authorization: Bearer {token}\r\n")
}

fn post(files: &TlsFiles, path: &str, body: &str) -> String {
    post_to(&files.path("api.sock"), path, body)
}

/// What the API answers on a socket.
pub(crate) fn post_to(socket: &Path, path: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it is served");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_certificate_says_who_a_client_is() {
    let files = TlsFiles::new();
    sign(&files, "probe", "probe-1", &["spiffe://x/probe"], 86_400);
    sign(
        &files,
        "two",
        "probe-2",
        &["spiffe://x/a", "spiffe://x/b"],
        86_400,
    );
    let strangers = TlsFiles::new();
    sign(
        &strangers,
        "probe",
        "probe-1",
        &["spiffe://x/probe"],
        86_400,
    );
    for user in ["cn", "uri"] {
        let lines = format!("client_user = \"{user}\"\nclient_allow = [\"sub:status:*\"]\n");
        let (daemon, address) = start(&files, &lines, "");
        for (certificate, path, expected) in [
            (Some("probe"), "/raw/known:1", 101),
            (Some("probe"), "/raw/status:1", 101),
            (None, "/raw/known:1", 403),
            (None, "/raw/other", 101),
            // Of two URIs none is the user's.
            (
                Some("two"),
                "/raw/known:1",
                if user == "cn" { 101 } else { 403 },
            ),
        ] {
            let found = status(&files, address, certificate, (path, ""));
            assert_eq!(found, expected, "{user} {certificate:?} {path}");
        }
        // One that another authority has signed is no client at all.
        let mut stranger = Client::connect(&strangers, address, Some("probe"));
        while stranger.tls.over.is_none() && stranger.read() {}
        assert!(stranger.tls.over.is_some() || stranger.tls.received.is_empty());
        // The user stands where administrators look.
        let mut seen = Client::connect(&files, address, Some("probe"));
        assert_eq!(seen.ask("/raw/known:1", ""), 101);
        let name = if user == "cn" {
            "probe-1"
        } else {
            "spiffe://x/probe"
        };
        let listed = daemon.admin("/connections");
        assert!(listed.contains(name), "{listed}");
        // What it may not do it may not: publishing is not granted.
        let mut writer = Client::connect(&files, address, Some("probe"));
        assert_eq!(writer.ask("/raw/status:1", ""), 101);
        writer.say("not granted");
        writer.until("granted");
    }
}

#[test]
fn without_client_user_a_certificate_names_nobody() {
    let files = TlsFiles::new();
    sign(&files, "probe", "probe-1", &[], 86_400);
    let (_daemon, address) = start(&files, "", "");
    let found = status(&files, address, Some("probe"), ("/raw/known:1", ""));
    assert_eq!(found, 403);
}

#[test]
fn a_token_goes_before_a_certificate() {
    let files = TlsFiles::new();
    sign(&files, "probe", "probe-1", &[], 86_400);
    let (daemon, address) = start(
        &files,
        "client_user = \"cn\"\n",
        "[auth]\nrequired = true\n",
    );
    // Where a token is required, a certificate is as good.
    for (certificate, expected) in [(None, 401), (Some("probe"), 101)] {
        let found = status(&files, address, certificate, ("/raw/known:1", ""));
        assert_eq!(found, expected);
    }
    let good = bearer(&json!({"sub": "alice", "exp": now() + 600}));
    let mut client = Client::connect(&files, address, Some("probe"));
    assert_eq!(client.ask("/raw/known:1", &good), 101);
    let listed = daemon.admin("/connections");
    assert!(
        listed.contains("alice") && !listed.contains("probe-1"),
        "{listed}"
    );
    // One that is not good is no reason to look at the certificate.
    let old = bearer(&json!({"sub": "probe-1", "exp": now() - 600}));
    assert_eq!(
        status(&files, address, Some("probe"), ("/raw/known:1", &old)),
        401
    );
    // The same behind the handshake.
    for (token, user) in [(None, "probe-1"), (Some("alice"), "alice")] {
        let mut client = Client::connect(&files, address, Some("probe"));
        assert_eq!(client.ask("/connection/websocket", ""), 101);
        let token = token.map(|user| {
            let header = bearer(&json!({"sub": user, "exp": now() + 600}));
            header
                .trim_end()
                .rsplit(' ')
                .next()
                .unwrap_or_default()
                .to_owned()
        });
        client.say(&json!({"id": 1, "connect": {"token": token}}).to_string());
        client.until("\"connect\":{");
        client.say(r#"{"id":2,"subscribe":{"channel":"known:1"}}"#);
        client.until("\"subscribe\":{}");
        let listed = daemon.admin("/connections");
        assert!(listed.contains(user), "{user}: {listed}");
    }
}

#[test]
fn what_a_certificate_says_ends_with_it_and_by_revocation() {
    let files = TlsFiles::new();
    sign(&files, "short", "short", &[], 4);
    sign(&files, "probe", "probe-1", &[], 86_400);
    let (daemon, address) = start(&files, "client_user = \"cn\"\n", "");
    let mut short = Client::connect(&files, address, Some("short"));
    assert_eq!(short.ask("/raw/known:1", ""), 101);
    // One that has said nothing yet when its certificate ends.
    let mut late = Client::connect(&files, address, Some("short"));
    short.until("the certificate has expired");
    let expired_at = now();
    assert_eq!(daemon.count("identities_expired_total"), 1);
    // The deadline of a connection may come a moment before the second in which its certificate ends.
    wait_until(|| now() > expired_at, || "a second has passed".to_owned());
    assert_eq!(late.ask("/raw/known:1", ""), 403);
    let mut open = Client::connect(&files, address, Some("probe"));
    assert_eq!(open.ask("/raw/known:1", ""), 101);
    let body = json!({"user": "probe-1", "expire_at": now() + 3600}).to_string();
    let answer = post(&files, "/v1/revoke", &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    open.until("revoked");
    assert_eq!(
        status(&files, address, Some("probe"), ("/raw/known:1", "")),
        403
    );
}
