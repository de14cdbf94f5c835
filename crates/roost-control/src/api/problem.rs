//! Errors of the API: problems in JSON (RFC 9457) that say what was wrong and what to do.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use roost_reactor::Refusal;
use serde_json::{Value, json};

use crate::peer::AskError;

/// What kind of error; each is one row of `docs/api.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    InvalidRequest,
    InvalidChannel,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    Unrecoverable,
    TooLarge,
    UnsupportedMediaType,
    Congested,
    RateLimited,
    Internal,
    Overloaded,
    NoAnswer,
}

impl Kind {
    const ALL: [Kind; 15] = [
        Kind::InvalidRequest,
        Kind::InvalidChannel,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::BodyTimeout,
        Kind::Unrecoverable,
        Kind::TooLarge,
        Kind::UnsupportedMediaType,
        Kind::Congested,
        Kind::RateLimited,
        Kind::Internal,
        Kind::Overloaded,
        Kind::NoAnswer,
    ];

    /// Status, the end of `type`, and `title`.
    pub(super) fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Kind::InvalidRequest => (
                StatusCode::BAD_REQUEST,
                "invalid-request",
                "The request cannot be read",
            ),
            Kind::InvalidChannel => (
                StatusCode::BAD_REQUEST,
                "invalid-channel",
                "No channel can have this name",
            ),
            Kind::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "The request has no valid key",
            ),
            Kind::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "The key does not allow this",
            ),
            Kind::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Kind::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The path takes other methods",
            ),
            Kind::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "The body has not come in time",
            ),
            Kind::Unrecoverable => (StatusCode::GONE, "unrecoverable", "It is not kept any more"),
            Kind::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body or the message is too long",
            ),
            Kind::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body has another type than the path takes",
            ),
            Kind::Congested => (
                StatusCode::TOO_MANY_REQUESTS,
                "congested",
                "The channel is published to faster than it is delivered",
            ),
            Kind::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "The namespace is published to as fast as it may be",
            ),
            Kind::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The server has made a mistake",
            ),
            Kind::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "The server is behind with earlier requests",
            ),
            Kind::NoAnswer => (
                StatusCode::GATEWAY_TIMEOUT,
                "no-answer",
                "A reactor has not answered in time",
            ),
        }
    }
}

/// Status and `type` of each kind, for tests of the documentation.
#[doc(hidden)]
pub fn problems() -> Vec<(u16, String)> {
    let kinds = Kind::ALL.into_iter().map(Kind::row);
    let kinds = kinds.map(|(status, name, _)| (status.as_u16(), format!("{TYPES}{name}")));
    kinds.collect()
}

/// An error, to be answered.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    retry_after_ms: Option<u32>,
    allow: Option<String>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            retry_after_ms: matches!(kind, Kind::Overloaded | Kind::Congested).then_some(1_000),
            allow: None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn status(&self) -> StatusCode {
        self.kind.row().0
    }

    pub(super) fn into_detail(self) -> String {
        self.detail
    }

    /// After how many seconds it may be tried again.
    pub(super) fn retry_after_secs(&self) -> Option<u32> {
        let wait = self.retry_after_ms?;
        Some(wait.div_ceil(1_000).max(1))
    }

    pub(super) fn path(path: &str) -> Problem {
        let path: String = path.chars().take(PATH_CHARS_SHOWN).collect();
        Problem::new(Kind::NotFound, format!("there is no path {path}"))
    }

    pub(super) fn method(method: &Method, allowed: &str) -> Problem {
        let method: String = method.as_str().chars().take(PATH_CHARS_SHOWN).collect();
        let detail = format!("the path does not take {method}, but {allowed}");
        Problem {
            allow: Some(allowed.to_owned()),
            ..Problem::new(Kind::MethodNotAllowed, detail)
        }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::InvalidRequest, detail)
    }

    /// The same, and what else there is to know.
    pub(super) fn and(mut self, more: &str) -> Problem {
        self.detail.push_str("; ");
        self.detail.push_str(more);
        self
    }

    /// As an object.
    pub(super) fn to_value(&self) -> Value {
        let (status, name, title) = self.kind.row();
        let mut object = json!({
            "type": format!("{TYPES}{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Some(wait) = self.retry_after_ms {
            object["retry_after_ms"] = wait.into();
        }
        object
    }

    pub(super) fn into_response(self) -> Response {
        let mut json = self.to_value().to_string();
        json.push('\n');
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.kind.row().0;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        let mut insert = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        if let Some(seconds) = self.retry_after_secs() {
            insert(RETRY_AFTER, &seconds.to_string());
        }
        if let Some(allow) = &self.allow {
            insert(ALLOW, allow);
        }
        if self.kind == Kind::Unauthorized {
            insert(WWW_AUTHENTICATE, "Bearer");
        }
        response
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Problem {
        let text = error.to_string();
        match error {
            AskError::RingFull | AskError::TooManyWaiting | AskError::Refused(Refusal::Busy) => {
                Problem::new(Kind::Overloaded, format!("{text}; try again"))
            }
            AskError::Refused(Refusal::RevocationsFull) => {
                Problem::new(Kind::Overloaded, format!("{text}; some end with time"))
            }
            AskError::Refused(Refusal::Congested) => {
                Problem::new(Kind::Congested, format!("{text}; nothing was published"))
            }
            AskError::Refused(Refusal::RateLimited { wait_ms }) => Problem {
                retry_after_ms: Some(wait_ms),
                ..Problem::new(
                    Kind::RateLimited,
                    format!(
                        "{text} (publish_messages_per_second_max, publish_bytes_per_second_max); nothing was published"
                    ),
                )
            },
            AskError::Deadline => Problem::new(
                Kind::NoAnswer,
                format!("{text} (api.timeout): it may be done all the same"),
            ),
        }
    }
}

pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// What `type` begins with.
const TYPES: &str = "urn:roost:problem:";
/// Of a path or method in an error.
const PATH_CHARS_SHOWN: usize = 100;
