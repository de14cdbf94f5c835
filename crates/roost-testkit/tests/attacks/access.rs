//! Who gets where.

use std::sync::Arc;

use roost_reactor::{Origins, Settings};
use roost_testkit::client::{Checked, Client, Frame, Message, Request};
use roost_testkit::server::{Backend, TestServer};

use crate::support::{nothing_left, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_04_nats_ghsa_p957_7v2w_g93g_every_route_with_every_feature_off,
    attack_36_tilt_cve_2026_55883_other_sites,
    attack_38_mercure_cve_2026_39972_names_that_look_alike,
    attack_38_mercure_cve_2026_39972_names_that_cannot_be,
);

/// A path that led to a feature that was off crashed the server.
fn attack_04_nats_ghsa_p957_7v2w_g93g_every_route_with_every_feature_off(
    backend: Backend,
) -> Checked {
    const PATHS: [&str; 13] = [
        "/",
        "/health",
        "/echo",
        "/raw",
        "/raw/",
        "/raw/room",
        "/raw/%zz",
        "/wamp",
        "/stats",
        "/metrics",
        "/app/key",
        "/connection/websocket",
        "//",
    ];
    for features in 0..32u8 {
        let server = TestServer::with(backend, 1, |settings: &mut Settings| {
            Arc::make_mut(&mut settings.dialects.raw).enabled = features & 1 != 0;
            Arc::make_mut(&mut settings.dialects.echo).enabled = features & 2 != 0;
            Arc::make_mut(&mut settings.dialects.wamp).enabled = features & 4 != 0;
            Arc::make_mut(&mut settings.dialects.soap).enabled = features & 16 != 0;
            Arc::make_mut(&mut settings.dialects.centrifugo).enabled = features & 16 != 0;
            if features & 8 == 0 {
                settings.listeners[0].config.health_path.clear();
            }
        });
        for path in PATHS {
            for request in [
                Request::get("h", path),
                Request::get("h", path).line(format!("HEAD {path} HTTP/1.1")),
                Request::get("h", path).line(format!("DELETE {path} HTTP/1.1")),
                Request::websocket("h", path),
                Request::websocket("h", path).header("Sec-WebSocket-Protocol: wamp.2.json"),
                Request::websocket("h", path).header("Sec-WebSocket-Protocol: mqtt"),
            ] {
                let mut client = Client::connect(server.address())?;
                client.send(&request.bytes())?;
                let status = client.read_response()?.status;
                assert!(
                    matches!(status, 101 | 200 | 400 | 404 | 405 | 426),
                    "{status} to {} with features {features:05b}",
                    request.bytes().escape_ascii()
                );
                // The root answers a plain request always, with a line of text.
                let is_root = path == "/" && matches!(status, 200 | 405);
                assert!(
                    features != 0 || status == 404 || is_root,
                    "{status} with all off: {path}"
                );
            }
        }
        nothing_left(&server);
    }
    Ok(())
}

/// Cross-site hijacking; also DevSpace CVE-2026-42283, mailpit CVE-2026-22689, Dozzle
/// CVE-2026-44985, Rancher CVE-2019-13209.
fn attack_36_tilt_cve_2026_55883_other_sites(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        let own = ["https://app.example", "http://app.example:8080"].map(str::to_owned);
        settings.listeners[0].origins = Origins::Listed(own.into());
    });
    let tricks = [
        "null",
        "",
        "https://",
        "https://evil.example",
        "http://app.example",
        "https://app.example:8080",
        "http://app.example:80",
        "https://app.example:443",
        "https://APP.example",
        "HTTPS://app.example",
        "https://app.example.evil.example",
        "https://evilapp.example",
        "https://app.example@evil.example",
        "https://evil.example#https://app.example",
        "https://evil.example?https://app.example",
        "https://evil.example/https://app.example",
        "https://app.example/",
        "https://app.example.",
        "https://app.example,https://evil.example",
        "https://app.example https://evil.example",
        "https://app\u{ff0e}example",
        "https://app.example\u{200b}",
        "file://",
        "chrome-extension://app.example",
    ];
    let origins = tricks.iter().map(|origin| (*origin, 403));
    let own = [
        ("https://app.example", 101),
        ("http://app.example:8080", 101),
    ];
    for (origin, status) in origins.chain(own) {
        for path in ["/echo", "/raw/room", "/wamp"] {
            let mut client = Client::connect(server.address())?;
            let request = Request::websocket("h", path).header(format!("Origin: {origin}"));
            client.send(&request.bytes())?;
            assert_eq!(
                client.read_response()?.status,
                status,
                "{origin:?} on {path}"
            );
        }
    }
    // A program sends none; two are one too many.
    still_serves(&server)?;
    let mut client = Client::connect(server.address())?;
    let two = Request::websocket("h", "/echo").header("Origin: https://app.example");
    client.send(&two.header("Origin: https://evil.example").bytes())?;
    assert_eq!(client.read_response()?.status, 400);
    Ok(())
}

/// Two topics had one key: what was said in the one was heard in the other.
fn attack_38_mercure_cve_2026_39972_names_that_look_alike(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let names = [
        "a",
        "A",
        "a/",
        "/a",
        "a//",
        "a%2Fb%2F",
        "a/b",
        "a:b",
        "a:",
        ":a",
        "a.b",
        "a%20",
        "%20a",
        "a+",
        "a*",
        "a%2A%2A",
        "%23",
        "*",
        ">",
        "a%3Fb",
        "a&b",
        "%C3%A9",
        "e%CC%81",
        "%EF%BD%81",
        "%D0%B0",
        "%E2%80%8Ba",
        "a%E2%80%8D",
        "%F0%9F%90%A3",
        "\u{1f423}",
        "..",
        "a/../b",
        "%252F",
        "a%5C",
        "%7B%22a%22%3A1%7D",
        "ab",
        "abc",
    ];
    let mut hearers = Vec::new();
    for name in names {
        let path = format!("/raw/{name}");
        hearers.push((name, server.open(&path)?, server.open(&path)?));
    }
    for (name, publisher, hearer) in &mut hearers {
        publisher.send_text(name)?;
        // Two spellings of one name are one channel.
        match hearer.receive()? {
            Message::Text(text) => {
                assert_eq!(decoded(&text), decoded(name), "received in another channel");
            }
            other => panic!("received {other:?}"),
        }
    }
    for (name, publisher, hearer) in &mut hearers {
        for client in [publisher, hearer] {
            client.send_frame(&Frame::ping("end"))?;
            loop {
                match client.receive()? {
                    Message::Pong(_) => break,
                    Message::Text(text) => {
                        assert_eq!(decoded(&text), decoded(name), "received in another channel");
                    }
                    other => panic!("received {other:?}"),
                }
            }
        }
    }
    Ok(())
}

/// What a name in a path stands for.
fn decoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%').then(|| std::str::from_utf8(&tail[..2]).unwrap_or("!"));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    bytes
}

fn attack_38_mercure_cve_2026_39972_names_that_cannot_be(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let long = "n".repeat(256);
    for name in [
        "",
        "%00",
        "a%00b",
        "a%0Ab",
        "a%0d",
        "%7f",
        "%C2%80",
        "%ff",
        "%C3",
        "%ED%A0%80",
        "%C0%AF",
        "%",
        "%1",
        "%zz",
        "%u0041",
        &long,
    ] {
        let mut client = Client::connect(server.address())?;
        client.send(&Request::websocket("h", &format!("/raw/{name}")).bytes())?;
        assert_eq!(client.read_response()?.status, 400, "{name:?}");
    }
    server.wait_for_count("channels", |count| count == 0);
    Ok(())
}
