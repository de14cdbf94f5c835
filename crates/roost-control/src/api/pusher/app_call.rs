//! A request of an application that was let in, and what all of them have in common.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use roost_auth::PusherApp;

use super::fault::Fault;
use super::signed::Pairs;
use crate::api::body::JSON;
use crate::api::call::Call;

/// A request that was let in.
pub(super) struct AppCall {
    pub(super) call: Call,
    pub(super) app: Arc<PusherApp>,
    /// What other applications' channels begin with.
    pub(super) others: Vec<String>,
    pub(super) query: Pairs,
}

pub(super) type Done = Result<Response, Fault>;

/// What there is to say where nothing was asked.
pub(super) fn empty() -> Response {
    let mut response = Response::new(Body::from("{}"));
    let json = HeaderValue::from_static(JSON);
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

impl AppCall {
    /// A channel as it is named outside of the application, if the application can have it.
    pub(super) fn channel(&self, name: &str) -> Result<String, Fault> {
        let named = name.strip_prefix(TO_USER).unwrap_or(name);
        let is_good =
            (1..=CHANNEL_BYTES_MAX).contains(&named.len()) && named.bytes().all(is_of_name);
        if !is_good {
            return Err(Fault::bad(format!(
                "channel {name:?}: a name has 1 to {CHANNEL_BYTES_MAX} letters, digits and characters \
                 of _-=@,.;"
            )));
        }
        let whole = format!("{}{name}", self.app.prefix);
        match self.is_own(&whole) {
            true => Ok(whole),
            false => Err(Fault::bad(format!(
                "channel {name:?} is another application's: names that begin so are not this one's"
            ))),
        }
    }

    /// What the application calls a channel, if it is its own.
    pub(super) fn own_name<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let name = whole.strip_prefix(&*self.app.prefix)?;
        let is_own = self.is_own(whole) && !name.is_empty() && name.bytes().all(is_of_name);
        is_own.then_some(name)
    }

    /// A user that has signed in, as it is named outside of the application: as channels are.
    pub(super) fn user(&self, id: &str) -> Result<String, Fault> {
        let whole = format!("{}{id}", self.app.prefix);
        match self.is_own(&whole) {
            true => Ok(whole),
            false => Err(Fault::bad(format!("user {id:?} is another application's"))),
        }
    }

    fn is_own(&self, whole: &str) -> bool {
        let is_of = |prefix: &String| whole.starts_with(prefix.as_str());
        !self.app.prefix.is_empty() || !self.others.iter().any(is_of)
    }
}

/// Pusher's channels: `[A-Za-z0-9_\-=@,.;]`.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte)
}

/// What the channels of users that have signed in begin with.
const TO_USER: &str = "#server-to-user-";
/// Of a channel's name within the application.
const CHANNEL_BYTES_MAX: usize = 164;
