//! What browsers send for pages of other sites is refused.

use roost_testkit::client::Checked;

use crate::harness::{Admin, ask_with_host, between, server};

#[test]
fn what_a_page_of_another_site_asks_for_is_refused() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let mut client = server.open("/raw/room")?;
    let listed = admin.get("/connections");
    let key = between(&listed.body, "\"connection\":\"", "\"").to_owned();
    let kick = format!("/connections/{key}");
    // What a browser adds to a form or a fetch of `http://evil.example`, by way of a forwarded port.
    for headers in [
        "Host: localhost:9090\r\nOrigin: http://evil.example\r\n",
        "Host: localhost:9090\r\nOrigin: null\r\n",
        "Host: localhost:9090\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        "Host: localhost:9090\r\nSec-Fetch-Site: same-site\r\nOrigin: http://localhost:3000\r\n",
    ] {
        for request in [
            ("POST", "/publish?channel=room"),
            ("DELETE", &kick),
            ("POST", "/log?level=debug"),
            ("POST", "/drain"),
            ("GET", "/connections"),
            ("GET", "/metrics"),
        ] {
            let answer = ask_with_host(&mut admin.unix(), request, headers, b"evil");
            assert_eq!(
                answer.status, 403,
                "{request:?} with {headers:?}: {answer:?}"
            );
        }
    }
    // The page itself may.
    let own =
        "Host: localhost:9090\r\nOrigin: http://localhost:9090\r\nSec-Fetch-Site: same-origin\r\n";
    let publish = ("POST", "/publish?channel=room");
    let answer = ask_with_host(&mut admin.unix(), publish, own, b"good");
    assert_eq!(answer.status, 200, "{answer:?}");
    client.expect_text("good")?;
    assert_eq!(server.count("publishes_total"), 1);
    Ok(())
}

#[test]
fn a_name_that_another_site_could_have_is_refused() {
    let server = server();
    let admin = Admin::of(server.shared());
    let foreign = "Host: rebound.example:9090\r\nAccept: text/html\r\n";
    for target in [
        "/",
        "/stats",
        "/connections",
        "/channels",
        "/why/r0-0.1",
        "/nothing",
    ] {
        let answer = ask_with_host(&mut admin.tcp(), ("GET", target), foreign, b"");
        assert_eq!(answer.status, 421, "{target}: {answer:?}");
        assert!(answer.body.contains("localhost"), "{answer:?}");
        let answer = ask_with_host(&mut admin.unix(), ("GET", target), foreign, b"");
        assert_eq!(answer.status, 421, "{target}: {answer:?}");
    }
    let publish = ("POST", "/publish?channel=c");
    let answer = ask_with_host(&mut admin.unix(), publish, foreign, b"evil");
    assert_eq!(answer.status, 421, "{answer:?}");
    assert_eq!(server.count("publishes_total"), 0);
    // Monitoring asks by the machine's name.
    for target in ["/live", "/ready", "/metrics"] {
        let answer = ask_with_host(&mut admin.tcp(), ("GET", target), foreign, b"");
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
    }
    for host in [
        "Host: 127.0.0.1:9090\r\n",
        "Host: [::1]:9090\r\n",
        "Host: localhost\r\n",
        "",
    ] {
        let answer = ask_with_host(&mut admin.tcp(), ("GET", "/stats"), host, b"");
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
}
