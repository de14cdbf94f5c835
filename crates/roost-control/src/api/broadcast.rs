//! One payload on many channels.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use roost_reactor::ControlPublication;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{answer_json, parse, present, read_json};
use super::call::Call;
use super::many::publish_many;
use super::problem::Problem;
use super::publication::{Payload, Placed, check_channel, epoch_text, repeat_key, some_value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    #[serde(borrow)]
    channels: Vec<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "some_value")]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    base64: Option<String>,
    #[serde(default, deserialize_with = "present")]
    idempotency_key: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<Of<'a>>,
}

/// What has become of one channel's.
#[derive(Serialize)]
#[serde(untagged)]
enum Of<'a> {
    Placed(Placed<'a>),
    Refused {
        channel: &'a str,
        error: serde_json::Value,
    },
}

/// `POST /v1/broadcast`: 200 if all have their place, 207 if some were refused. A mistake in the
/// request is found before anything is published.
pub(super) async fn broadcast(call: &Call, request: Request<Body>) -> Result<Response, Problem> {
    let body = read_json(call, request).await?;
    let wanted: Wanted<'_> = parse(&body)?;
    let channels = wanted.channels.len();
    if !(1..=CHANNELS_MAX).contains(&channels) {
        let detail = format!("channels are {channels}, and may be 1 to {CHANNELS_MAX}");
        return Err(Problem::invalid(detail));
    }
    let payload = Payload {
        data: wanted.data,
        text: wanted.text.as_deref(),
        base64: wanted.base64.as_deref(),
    };
    let payload = payload.freeze(&call.api.shared)?; // once: all have this very memory
    let mut publications = Vec::with_capacity(channels);
    for channel in &wanted.channels {
        publications.push(ControlPublication {
            channel: check_channel(call, channel)?.into(),
            payload: payload.clone(),
            is_limited: true,
            repeat_key: repeat_key(call, channel, wanted.idempotency_key.as_deref())?,
        });
    }
    let peer = &call.api.peer;
    let outcomes = publish_many(peer, publications, call.deadline).await;
    let mut status = StatusCode::OK;
    let results = wanted.channels.iter().zip(outcomes);
    let results = results.map(|(channel, outcome)| match outcome {
        Ok(place) => Of::Placed(Placed {
            channel,
            offset: place.offset,
            epoch: epoch_text(peer.epoch_at(place.home)),
        }),
        Err(error) => {
            status = StatusCode::MULTI_STATUS;
            Of::Refused {
                channel,
                error: Problem::from(error).to_value(),
            }
        }
    });
    let answer = Answer {
        results: results.collect(),
    };
    answer_json(status, &answer)
}

/// So many are checked and grouped by home while other requests wait.
pub(super) const CHANNELS_MAX: usize = 10_000;
