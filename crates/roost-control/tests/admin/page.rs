//! The admin page: what is answered with it, and what it may do.

use std::io::{Read, Write};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Admin, Answer, ask, between, server};

const OF_BROWSERS: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

fn page(stream: &mut (impl Read + Write)) -> Answer {
    ask(stream, "GET", "/", OF_BROWSERS, b"")
}

#[test]
fn browsers_get_the_page_and_programs_the_list() {
    let server = server();
    let admin = Admin::of(server.shared());
    for (answer, access) in [
        (page(&mut admin.unix()), "full"),
        (page(&mut admin.tcp()), "read-only"),
    ] {
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(answer.body.contains(&format!("data-access=\"{access}\"")));
        assert!(!answer.body.contains("{{"), "all is put in");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("vary", "Accept"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
    }
    for headers in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let answer = ask(&mut admin.unix(), "GET", "/", headers, b"");
        assert!(
            answer.body.starts_with("Roost, admin listener\n"),
            "{answer:?}"
        );
    }
}

#[test]
fn the_policy_lets_the_page_run_its_own_script_and_nothing_else() {
    let server = server();
    let admin = Admin::of(server.shared());
    let answer = page(&mut admin.unix());
    let policy = answer
        .header("content-security-policy")
        .expect("it has one");
    for (directive, begin, end) in [
        ("script-src", "<script>", "</script>"),
        ("style-src", "<style>", "</style>"),
    ] {
        let source = between(&answer.body, begin, end);
        let hash = STANDARD.encode(digest(&SHA256, source.as_bytes()));
        let expected = format!("{directive} 'sha256-{hash}';");
        assert!(policy.contains(&expected), "{expected} in {policy}");
        assert_eq!(answer.body.matches(begin).count(), 1, "one {begin}");
    }
    for directive in [
        "default-src 'none';",
        "connect-src 'self';",
        "base-uri 'none';",
        "form-action 'none';",
        "frame-ancestors 'none';",
        "require-trusted-types-for 'script';",
        "trusted-types 'none'",
    ] {
        assert!(policy.contains(directive), "{directive} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Attributes of style and event handlers would not be run: there are none.
    for never in [
        " style=",
        " onclick=",
        " onsubmit=",
        "innerHTML",
        "http://",
        "src=",
    ] {
        let markup = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!markup.contains(never), "{never}");
    }
    assert!(answer.body.len() <= 52 << 10, "{} bytes", answer.body.len());
}
