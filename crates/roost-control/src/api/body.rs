//! Bodies of requests: their type, their length, and JSON out of them.

use std::ops::Deref;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize, de};
use tokio::time::timeout_at;

use super::call::{Call, Held};
use super::problem::{Kind, Problem};

/// Checks that the body has the type.
pub(super) fn check_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let found = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let found = found.map(|found| found.split(|&byte| byte == b';').next().unwrap_or_default());
    let is_wanted = |found: &[u8]| found.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes());
    if !found.is_some_and(is_wanted) {
        let detail = format!("send the body with Content-Type: {wanted}");
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        let detail = "send the body as it is, without Content-Encoding";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    Ok(())
}

/// A body, and the room for it.
pub(super) struct WholeBody {
    bytes: Bytes,
    held: Held,
}

impl WholeBody {
    /// It has been read; what was made of it needs the room for as long as this is kept. hyper reads on into
    /// the memory that it has been in, and otherwise into new one.
    pub(super) fn release(self) -> Held {
        self.held
    }
}

impl Deref for WholeBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A whole body of JSON, bounded in length and time.
pub(super) async fn read_json(call: &Call, request: Request<Body>) -> Result<WholeBody, Problem> {
    check_type(request.headers(), JSON)?;
    let bytes_max = call.api.limits.body_bytes_max;
    let too_long = || {
        let detail = format!("the body has more than {bytes_max} bytes (api.body_bytes_max)");
        Problem::new(Kind::TooLarge, detail)
    };
    let length = request.headers().get(CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_long());
    }
    // Without a length it may come to the most.
    let length = length.and_then(|length| usize::try_from(length).ok());
    let mut held = Held::new(&call.api);
    held.grow_to(length.unwrap_or(bytes_max))?;
    match timeout_at(call.deadline, to_bytes(request.into_body(), bytes_max)).await {
        Ok(Ok(bytes)) => Ok(WholeBody { bytes, held }),
        // Too long, or the connection has ended and the answer goes nowhere.
        Ok(Err(_)) => Err(too_long()),
        Err(_) => {
            let detail = "the body has not come within api.timeout";
            Err(Problem::new(Kind::BodyTimeout, detail))
        }
    }
}

/// A member that may be left out, and is not `null`: that would be another way to say so, which the API's
/// description does not have.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A whole number from 0 on, as JSON Schema has it: `1000.0` is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole(pub(super) u64);

impl Whole {
    /// 0 if it is larger.
    pub(super) fn to_u16(self) -> u16 {
        u16::try_from(self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Whole, D::Error> {
        let number = serde_json::Number::deserialize(from)?;
        let of_fraction = |number: f64| {
            // 2^53: what JSON's numbers are sure to carry.
            let is_whole =
                number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
            is_whole.then_some(number as u64)
        };
        let whole = number
            .as_u64()
            .or_else(|| number.as_f64().and_then(of_fraction));
        let wrong = || de::Error::custom("a number is negative, too large, or not whole");
        whole.map(Whole).ok_or_else(wrong)
    }
}

/// What a text of JSON says.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(text)
        .map_err(|error| Problem::invalid(format!("the JSON is not what the path takes: {error}")))
}

/// An answer of JSON.
pub(super) fn answer_json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let mut json = serde_json::to_vec(value).map_err(|_| {
        debug_assert!(false, "answers are plain values");
        Problem::new(Kind::Internal, "an answer cannot be written")
    })?;
    json.push(b'\n');
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let json = HeaderValue::from_static(JSON);
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

pub(super) const JSON: &str = "application/json";
