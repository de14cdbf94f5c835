//! Events: `POST /apps/{app_id}/events` and `/batch_events`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use roost_dialect::pusher::{EventLimits, parse_socket_id};
use roost_dialect::{PayloadRef, Publication, PublishDetails, Receivers};
use roost_reactor::ControlPublication;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::app_call::{AppCall, Done, empty};
use super::channels::{Infos, describe};
use super::fault::Fault;
use crate::api::body::{answer_json, parse};
use crate::api::many::publish_many;
use crate::api::publication::check_name;

/// Members that are not known are passed over, as Pusher does.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    channels: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    socket_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    info: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Vec<Event<'a>>,
}

/// `POST /apps/{app_id}/events`.
pub(super) async fn publish(call: &AppCall, body: &[u8]) -> Done {
    let event: Event<'_> = parse(body)?;
    let names: Vec<&str> = match (&event.channel, &event.channels) {
        (Some(one), None) => vec![&**one],
        (None, Some(all)) => all.iter().map(|name| &**name).collect(),
        _ => {
            return Err(Fault::bad(
                "give the channels as one of channel and channels",
            ));
        }
    };
    let channels_max = limits_of(call).channels_max;
    if !(1..=channels_max).contains(&names.len()) {
        let detail = format!("an event goes to 1 to {channels_max} channels");
        return Err(Fault::bad(detail));
    }
    let infos = Infos::parse(event.info.as_deref())?;
    let publications = names.iter().map(|name| event.to(call, name));
    place(call, publications.collect::<Result<_, _>>()?).await?;
    if !infos.any() {
        return Ok(empty());
    }
    let mut channels = Map::new();
    for name in names {
        let described = describe(call, name, infos).await?;
        channels.insert(name.to_owned(), Value::Object(described));
    }
    Ok(answer_json(
        StatusCode::OK,
        &json!({ "channels": channels }),
    )?)
}

/// `POST /apps/{app_id}/batch_events`.
pub(super) async fn publish_batch(call: &AppCall, body: &[u8]) -> Result<Response, Fault> {
    let batch: Batch<'_> = parse(body)?;
    if !(1..=BATCH_MAX).contains(&batch.batch.len()) {
        let detail = format!("a batch has 1 to {BATCH_MAX} events");
        return Err(Fault::bad(detail));
    }
    let (mut publications, mut asked) = (Vec::new(), Vec::new());
    for (at, event) in batch.batch.iter().enumerate() {
        let of_event = |fault: Fault| fault.at(&format!("event {} of the batch", at + 1));
        let name = match (&event.channel, &event.channels) {
            (Some(name), None) => name,
            _ => return Err(of_event(Fault::bad("it has one channel, in channel"))),
        };
        asked.push((
            &**name,
            Infos::parse(event.info.as_deref()).map_err(of_event)?,
        ));
        publications.push(event.to(call, name).map_err(of_event)?);
    }
    place(call, publications).await?;
    if !asked.iter().any(|(_, infos)| infos.any()) {
        return Ok(empty());
    }
    let mut described = Vec::new();
    for (name, infos) in asked {
        described.push(describe(call, name, infos).await?);
    }
    Ok(answer_json(StatusCode::OK, &json!({ "batch": described }))?)
}

/// Publishes all, and waits until each has its place.
async fn place(call: &AppCall, publications: Vec<ControlPublication>) -> Result<(), Fault> {
    let (peer, count) = (&call.call.api.peer, publications.len());
    let outcomes = publish_many(peer, publications, call.call.deadline).await;
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    let Some(&error) = refused.first() else {
        return Ok(());
    };
    let placed = count - refused.len();
    let fault = Fault::from(error);
    Err(match placed {
        0 => fault,
        _ => fault.and(&format!(
            "{placed} of {count} publications are placed all the same"
        )),
    })
}

fn limits_of(call: &AppCall) -> EventLimits {
    call.call.api.shared.settings().dialects.pusher.events
}

impl Event<'_> {
    /// The event as it goes to one channel of the application.
    fn to(&self, call: &AppCall, name: &str) -> Result<ControlPublication, Fault> {
        let bytes_max = call.call.api.shared.settings().limits.message_bytes_max;
        let limits = limits_of(call);
        if !(1..=limits.name_chars_max).contains(&self.name.chars().count()) {
            let most = limits.name_chars_max;
            let detail = format!("an event's name has 1 to {most} characters");
            return Err(Fault::bad(detail));
        }
        let data = match self.data.get().starts_with('"') {
            true => serde_json::from_str(self.data.get())
                .map_err(|error| Fault::bad(format!("data: {error}")))?,
            false => Cow::Borrowed(self.data.get()),
        };
        let most = limits.bytes_max.min(bytes_max);
        if data.len() > most {
            let detail = format!(
                "data has {} bytes, and at most {most} may be sent",
                data.len()
            );
            return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let channel = call.channel(name)?;
        check_name(&call.call, &channel)?;
        let except = self.socket_id.as_deref().filter(|id| !id.is_empty());
        let except = except.map(client_of).transpose()?;
        Ok(ControlPublication {
            channel: channel.as_str().into(),
            payload: event_of(&self.name, &data, except),
            is_limited: true,
            repeat_key: None,
        })
    }
}

/// What is published: the data as text, and what it is called beside it.
fn event_of(name: &str, data: &str, except: Option<u64>) -> Publication {
    let receivers = except.map(|client| {
        let none: [&str; 0] = [];
        Receivers::default().excluding(&[client], &none, &none)
    });
    let details = PublishDetails {
        receivers,
        event: Some(name.into()),
        ..PublishDetails::default()
    };
    PayloadRef::Text(data)
        .freeze()
        .with_details(Some(Arc::new(details)))
}

/// The client of a socket's id. One that no connection can have is nobody's: 0, which no client has.
fn client_of(id: &str) -> Result<u64, Fault> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let has_form = id
        .split_once('.')
        .is_some_and(|(high, low)| is_number(high) && is_number(low));
    match has_form {
        true => Ok(parse_socket_id(id).unwrap_or(0)),
        false => Err(Fault::bad(format!(
            "socket_id {id:?} is not two numbers with a dot between"
        ))),
    }
}

/// Events of one batch.
const BATCH_MAX: usize = 10;
