//! Errors as Pusher's libraries expect them: a status, and a sentence in plain text.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::api::problem::Problem;
use crate::peer::AskError;

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    detail: String,
    retry_after: Option<u32>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Fault {
        Fault {
            status,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// The request is not what the path takes.
    pub(super) fn bad(detail: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, detail)
    }

    /// It is not signed by the application.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Fault {
        Fault::new(StatusCode::UNAUTHORIZED, detail)
    }

    pub(super) fn not_found(path: &str) -> Fault {
        let detail = format!("there is no path {path}: see docs/openapi.json");
        Fault::new(StatusCode::NOT_FOUND, detail)
    }

    /// The same, and where it was.
    pub(super) fn at(mut self, place: &str) -> Fault {
        self.detail = format!("{place}: {}", self.detail);
        self
    }

    /// The same, and what else there is to know.
    pub(super) fn and(mut self, more: &str) -> Fault {
        self.detail.push_str("; ");
        self.detail.push_str(more);
        self
    }

    pub(super) fn into_response(self) -> Response {
        let Fault {
            status,
            detail,
            retry_after,
        } = self;
        let mut response = Response::new(Body::from(format!("{detail}\n")));
        *response.status_mut() = status;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        Fault {
            status: problem.status(),
            retry_after: problem.retry_after_secs(),
            detail: problem.into_detail(),
        }
    }
}

impl From<AskError> for Fault {
    fn from(error: AskError) -> Fault {
        Fault::from(Problem::from(error))
    }
}
