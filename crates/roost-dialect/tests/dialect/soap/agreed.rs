//! What is agreed on in the handshake: content types, and channels named by paths.

use roost_wire::handshake;

use super::*;

fn accept<'a>(offer: &Offer<'a>) -> Accept<'a> {
    let settings = Settings {
        enabled: true,
        ..Settings::default()
    };
    Soap::accept(&settings, offer)
}

/// What becomes of a request with these lines.
fn offered<R>(path: &str, lines: &str, check: impl FnOnce(Accept<'_>) -> R) -> R {
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let request = handshake::Request::parse(head.as_bytes(), 20).expect("a request");
    let subprotocols: Vec<&str> = request
        .header("Sec-WebSocket-Protocol")
        .into_iter()
        .flat_map(|list| list.split(", "))
        .collect();
    check(accept(&Offer {
        path: request.path(),
        subprotocols: &subprotocols,
        headers: Headers::of(&request),
        channel_name_bytes_max: 64,
    }))
}

const SOAP: &str = "Sec-WebSocket-Protocol: soap\r\n";

#[test]
fn content_types_are_negotiated() {
    for (sent, number, said) in [
        ("", 0, None),
        (
            "soap-content-type: text/xml\r\n",
            1,
            Some("text/xml; charset=utf-8"),
        ),
        (
            "SOAP-Content-Type: Text/XML;charset=\"UTF-8\"\r\n",
            1,
            Some("text/xml; charset=utf-8"),
        ),
        (
            "soap-content-type: application/soap+xml; charset=utf-8; action=\"urn:a\"\r\n",
            2,
            Some("application/soap+xml; charset=utf-8"),
        ),
    ] {
        let terms = Terms {
            number,
            header: said.map(|said| ("soap-content-type", said)),
        };
        offered("/any/path", &format!("{SOAP}{sent}"), |accept| {
            let expected = Accept::Open {
                subprotocol: Some("soap"),
                join: None,
                terms,
            };
            assert_eq!(accept, expected, "{sent}");
        });
    }
    for sent in [
        "soap-content-type: application/soap+msbin1\r\n",
        "soap-content-type: application/soap+msbinsession1\r\n",
        "soap-content-type: multipart/related; type=\"application/xop+xml\"\r\n",
        "soap-content-type: text/xml; charset=utf-16\r\n",
        "soap-content-type: \r\n",
        "soap-content-type: text/xml\r\nmicrosoft-binary-transfer-mode: Buffered\r\n",
        "microsoft-binary-transfer-mode: Streamed\r\n",
    ] {
        offered("/soap", &format!("{SOAP}{sent}"), |accept| {
            let Accept::RefusedNaming(reason, headers) = accept else {
                panic!("not refused: {sent}");
            };
            assert!(reason.contains("soap-content-type") && reason.contains("text/xml"));
            assert_eq!(headers, SERVED);
        });
    }
}

#[test]
fn paths_name_channels() {
    let joins = |path: &str| {
        offered(path, SOAP, |accept| match accept {
            Accept::Open { join, .. } => join.map(|(channel, _)| channel.into_owned()),
            other => panic!("{path}: {other:?}"),
        })
    };
    assert_eq!(joins("/soap"), None);
    assert_eq!(joins("/soapbox/a"), None);
    assert_eq!(
        joins("/soap/urn:example:prices").as_deref(),
        Some("urn:example:prices")
    );
    for path in [
        "/soap/http://a.example/b",
        "/soap/http%3A%2F%2Fa.example%2Fb",
    ] {
        assert_eq!(joins(path).as_deref(), Some("http://a.example/b"));
    }
}

#[test]
fn paths_that_name_none_are_refused() {
    for path in ["/soap/", "/soap/prices", "/soap/urn:a%20b", "/soap/%zz"] {
        offered(path, SOAP, |accept| {
            assert!(matches!(accept, Accept::Refused(_)), "{path}: {accept:?}");
        });
    }
    for path in ["/soap", "/soap/urn:a:b"] {
        offered(path, "", |accept| {
            assert!(matches!(accept, Accept::OpenAndClose(..)), "{accept:?}");
        });
    }
    offered("/other", "", |accept| assert_eq!(accept, Accept::NotMine));
}
