//! The admin page: one document that loads nothing, and asks the other paths of its listener.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, VARY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answers::{Access, TEXT, respond};

/// `GET /`: the page for browsers, and a list of what there is for `curl`.
pub(super) fn index(access: Access, headers: &HeaderMap) -> Response {
    let mut response = if wants_html(headers) {
        page(access)
    } else {
        respond(StatusCode::OK, TEXT, INDEX)
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn wants_html(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(ACCEPT).iter();
    accepts.any(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("text/html"))
    })
}

fn page(access: Access) -> Response {
    static FULL: LazyLock<Document> = LazyLock::new(|| Document::new("full"));
    static READ_ONLY: LazyLock<Document> = LazyLock::new(|| Document::new("read-only"));
    let Document { body, policy } = match access {
        Access::Full => &*FULL,
        Access::ReadOnly => &*READ_ONLY,
    };
    let mut response = respond(StatusCode::OK, HTML, Body::from(body.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    // For browsers that do not know frame-ancestors.
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// The page for one kind of listener, with the policy that goes with it.
struct Document {
    body: Bytes,
    policy: HeaderValue,
}

impl Document {
    /// `access` is what the page reads there: whether it may change anything.
    fn new(access: &str) -> Document {
        // All that stands between the tags.
        let [style, script] = [
            include_str!("../../assets/admin.css"),
            include_str!("../../assets/admin.js"),
        ];
        let body = include_str!("../../assets/admin.html")
            .replace("{{access}}", access)
            .replace("{{style}}", style)
            .replace("{{script}}", script);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            source_hash(script),
            source_hash(style),
        );
        Document {
            policy: HeaderValue::from_str(&policy).expect("hashes are ASCII"),
            body: body.into(),
        }
    }
}

/// CSP Level 3 §2.3.1: what a source must be to be taken.
fn source_hash(source: &str) -> String {
    let hash = digest(&SHA256, source.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash))
}

const HTML: &str = "text/html; charset=utf-8";

const INDEX: &str = "\
Roost, admin listener

GET  /                           this list; in a browser the admin page
GET  /live                       whether every reactor's loop runs
GET  /ready                      whether clients should be sent here
GET  /metrics                    counters for Prometheus; ?reactors=1 for each reactor
GET  /stats                      counters as JSON
GET  /stats/reactors             what each reactor has and does, as JSON
GET  /stats/slow                 the connections for which most waits, as JSON
GET  /connections                connections, a JSON object a line; ?limit=100&cursor=
                                 (the Link header has the next page), of which user=NAME,
                                 channel=NAME, address=ADDRESS/BITS, dialect=NAME, waiting=1,
                                 or slowest=N
GET  /connections/KEY            one of them
GET  /channels                   channels with subscribers, a JSON object a line; ?prefix=&limit=100
                                 &cursor= (the Link header has the next page), or name=NAME
GET  /may?user=&operation=&channel=
                                 whether a user may do something, and the rule that decides
GET  /why/KEY                    all that is known of one, and what is wrong with it; ?channel=
GET  /drain                      how far a drain has come
Over the unix socket only:
GET    /tail?channel=NAME        what is published from now on, a JSON object a line; ?payload=1
POST   /publish?channel=NAME     publish the body: text, or binary as application/octet-stream
DELETE /connections/KEY          close one; ?code=1000&reason=
POST   /log?level=debug          what is logged from now on
POST   /reload                   read the configuration again; ?check=1 says what that would change
POST   /drain                    close all connections and stop; ?delay_ms=&timeout_ms=
                                 &connections_per_second=
";
