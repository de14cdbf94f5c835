//! One publication a request.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::body::{answer_json, parse, read_json};
use super::call::Call;
use super::problem::Problem;
use super::publication::{Placed, Wanted, epoch_text};

/// `POST /v1/publish`.
pub(super) async fn publish(call: &Call, request: Request<Body>) -> Result<Response, Problem> {
    let body = read_json(call, request).await?;
    let wanted: Wanted<'_> = parse(&body)?;
    let settings = call.api.shared.settings();
    let (publication, until) = wanted.check(call, &settings.limits)?;
    drop(wanted);
    let _held = body.release();
    let channel = publication.channel.clone();
    let peer = &call.api.peer;
    match peer.publish(publication, until, call.deadline).await? {
        Some(place) => {
            let placed = Placed {
                channel: &channel,
                offset: place.offset,
                epoch: epoch_text(peer.epoch_of(&channel)),
            };
            answer_json(StatusCode::OK, &placed)
        }
        None => answer_json(StatusCode::ACCEPTED, &json!({"channel": channel.as_str()})),
    }
}
