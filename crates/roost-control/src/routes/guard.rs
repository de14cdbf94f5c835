//! What keeps pages of other sites out: a browser on an administrator's machine reaches an admin listener,
//! through a forwarded port for example, and sends it what any page asks for.
//!
//! - A foreign page that makes its own name resolve to this address (DNS rebinding) is of the same origin
//!   to the browser. Its requests name it in `Host`: only addresses and names that DNS does not decide on
//!   are taken.
//! - A foreign page may send simple requests, such as a POST of text, whose answers it cannot read. The
//!   browser says where they come from, in `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin` (RFC 6454).
//!
//! Programs send neither of these, and are let in.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{HOST, HeaderName, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::answers::{TEXT, respond};

/// Answers what is let in, and says of every answer that no other site's page may have it.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(&request) {
        Some((status, reason)) => respond(status, TEXT, reason),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

fn refusal(request: &Request) -> Option<(StatusCode, &'static str)> {
    let headers = request.headers();
    if is_foreign(request.method(), request.uri().path(), headers) {
        return Some((StatusCode::FORBIDDEN, FOREIGN));
    }
    // Monitoring and balancers may ask by any name; what they get names no client.
    let is_for_monitoring = matches!(request.uri().path(), "/live" | "/ready" | "/metrics");
    if !is_for_monitoring && !names_this_server(headers) {
        return Some((StatusCode::MISDIRECTED_REQUEST, UNKNOWN_NAME));
    }
    None
}

/// Whether a browser sends this for a page of another site.
fn is_foreign(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    match headers.get(&SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        // The page itself, or an address that was typed.
        Some(b"same-origin" | b"none") => false,
        // A link to the page may stand anywhere.
        Some(_) => !(method == Method::GET && path == "/" && is_navigation(headers)),
        // An older browser, or one that does not trust the address.
        None => match headers.get(ORIGIN) {
            None => false,
            Some(origin) => !is_own_origin(origin.as_bytes(), headers.get(HOST)),
        },
    }
}

fn is_navigation(headers: &HeaderMap) -> bool {
    let mode = headers.get(&SEC_FETCH_MODE);
    mode.is_some_and(|mode| mode.as_bytes() == b"navigate")
}

/// RFC 6454 §6.2: a scheme, `://`, host and port. `null` is no origin of ours.
fn is_own_origin(origin: &[u8], host: Option<&HeaderValue>) -> bool {
    let host = host.map(HeaderValue::as_bytes);
    let own = [&b"http://"[..], b"https://"];
    own.into_iter()
        .filter_map(|scheme| origin.strip_prefix(scheme))
        .any(|origin| host.is_some_and(|host| host.eq_ignore_ascii_case(origin)))
}

/// Whether `Host` is one that no other site's page can have. None at all comes from no browser.
fn names_this_server(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().all(|host| {
        let host = host.to_str();
        host.is_ok_and(is_own_host)
    })
}

/// An address, `localhost`, or a name such as `roost`, as `curl --unix-socket` is given one: without a dot
/// and a port. A page of that name would have to come from port 80.
fn is_own_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    };
    let of_v6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if let Some(address) = of_v6 {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.to_ascii_lowercase();
    // RFC 6761 §6.3: names under localhost are of this machine, whatever DNS says.
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || (port.is_none() && !name.contains(['.', ':']))
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FOREIGN: &str = "a page of another site has asked for this: open the admin page itself\n";
const UNKNOWN_NAME: &str = "the admin listener is asked by its address or as localhost, so that no page \
    of another site can ask it under a name of its own (DNS rebinding); only /live, /ready and /metrics \
    are answered under any name\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_names_that_dns_does_not_decide_on_are_taken() {
        for own in [
            "127.0.0.1:9090",
            "10.1.2.3",
            "[::1]:9090",
            "[fd00::7]",
            "localhost",
            "LocalHost:9090",
            "roost.localhost:9090",
            "roost",
            "",
        ] {
            assert!(is_own_host(own), "{own:?}");
        }
        for other in [
            "evil.example",
            "evil.example:9090",
            "roost:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example:9090",
            "notlocalhost:9090",
            "[evil.example]",
            "[::1].evil.example",
            "::1",
            "127.0.0.1:9090:x",
        ] {
            assert!(!is_own_host(other), "{other:?}");
        }
        assert!(names_this_server(&headers(&[])));
        let two = headers(&[("host", "localhost"), ("host", "evil.example")]);
        assert!(!names_this_server(&two));
    }

    #[test]
    fn what_a_foreign_page_sends_is_known_by_its_headers() {
        let host = ("host", "localhost:9090");
        let is_foreign = |method: Method, path: &str, pairs: &[_]| {
            let mut headers = headers(pairs);
            headers.extend(self::headers(&[host]));
            is_foreign(&method, path, &headers)
        };
        let site = |site| ("sec-fetch-site", site);
        let origin = |origin| ("origin", origin);
        for own in [
            vec![],
            vec![site("same-origin")],
            vec![site("none")],
            vec![origin("http://localhost:9090")],
            vec![origin("https://LOCALHOST:9090")],
            // Behind a proxy that changes Host.
            vec![site("same-origin"), origin("https://admin.example")],
        ] {
            assert!(!is_foreign(Method::POST, "/publish", &own), "{own:?}");
        }
        for other in [
            vec![site("cross-site")],
            vec![site("same-site"), ("sec-fetch-mode", "navigate")],
            vec![site("cross-site"), origin("http://localhost:9090")],
            vec![origin("http://evil.example")],
            vec![origin("http://localhost:9091")],
            vec![origin("http://localhost:9090.evil.example")],
            vec![origin("localhost:9090")],
            vec![origin("null")],
        ] {
            assert!(is_foreign(Method::POST, "/publish", &other), "{other:?}");
            assert!(is_foreign(Method::GET, "/stats", &other), "{other:?}");
        }
        let link = [site("cross-site"), ("sec-fetch-mode", "navigate")];
        assert!(!is_foreign(Method::GET, "/", &link), "a link to the page");
        assert!(is_foreign(Method::POST, "/", &link));
        let load = [site("cross-site"), ("sec-fetch-mode", "no-cors")];
        assert!(is_foreign(Method::GET, "/", &load), "a page within a page");
    }
}
