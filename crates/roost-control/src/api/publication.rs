//! A publication as a request writes it: a channel, and a payload in one of three ways.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use roost_dialect::{PayloadRef, Publication, check_channel_name};
use roost_reactor::{ControlPublication, Limits, RepeatKey, Shared};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::access::{Action, decide};
use super::body::present;
use super::call::Call;
use super::problem::{Kind, Problem};
use crate::peer::Until;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "some_value")]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    base64: Option<String>,
    #[serde(default)]
    ack: Ack,
    #[serde(default, deserialize_with = "present")]
    idempotency_key: Option<String>,
}

/// What the answer waits for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ack {
    /// The channel's home has given the publication its place.
    #[default]
    Placed,
    /// The channel's home has it in its ring.
    None,
}

/// What has become of it.
#[derive(Serialize)]
pub(super) struct Placed<'a> {
    pub(super) channel: &'a str,
    pub(super) offset: u64,
    pub(super) epoch: String,
}

/// A payload in one of three ways.
pub(super) struct Payload<'a> {
    pub(super) data: Option<&'a RawValue>,
    pub(super) text: Option<&'a str>,
    pub(super) base64: Option<&'a str>,
}

impl Wanted<'_> {
    /// What is published, if it may be, and what the answer waits for.
    pub(super) fn check(
        &self,
        call: &Call,
        limits: &Limits,
    ) -> Result<(ControlPublication, Until), Problem> {
        let payload = Payload {
            data: self.data,
            text: self.text.as_deref(),
            base64: self.base64.as_deref(),
        };
        let publication = ControlPublication {
            channel: self.check_channel(call, limits)?.into(),
            payload: payload.freeze_within(limits.message_bytes_max)?,
            is_limited: true,
            repeat_key: repeat_key(call, &self.channel, self.idempotency_key.as_deref())?,
        };
        let until = match self.ack {
            Ack::Placed => Until::Placed,
            Ack::None => Until::Sent,
        };
        Ok((publication, until))
    }

    fn check_channel(&self, call: &Call, limits: &Limits) -> Result<&str, Problem> {
        let channel = name_within(&self.channel, limits.channel_name_bytes_max)?;
        decide(&call.caller, Action::Publish(channel))?;
        Ok(channel)
    }
}

/// What becomes of an idempotency key of the body, or else of the header: libraries may send that on their
/// own.
pub(super) fn repeat_key(
    call: &Call,
    channel: &str,
    key: Option<&str>,
) -> Result<Option<RepeatKey>, Problem> {
    let key = match key {
        Some(key) => Some(check_key(key)?),
        None => call.idempotency_key.as_deref(),
    };
    Ok(key.map(|key| call.api.peer.repeat_key(channel, key)))
}

/// A text that can be an idempotency key.
pub(super) fn check_key(key: &str) -> Result<&str, Problem> {
    if !(1..=KEY_CHARS_MAX).contains(&key.chars().count()) {
        let detail = format!("an idempotency key has 1 to {KEY_CHARS_MAX} characters");
        return Err(Problem::invalid(detail));
    }
    Ok(key)
}

/// The name of a channel that may be published on.
pub(super) fn check_channel<'a>(call: &Call, channel: &'a str) -> Result<&'a str, Problem> {
    let channel = check_name(call, channel)?;
    decide(&call.caller, Action::Publish(channel))?;
    Ok(channel)
}

/// A name that a channel can have.
pub(super) fn check_name<'a>(call: &Call, channel: &'a str) -> Result<&'a str, Problem> {
    let settings = call.api.shared.settings();
    name_within(channel, settings.limits.channel_name_bytes_max)
}

fn name_within(channel: &str, bytes_max: usize) -> Result<&str, Problem> {
    check_channel_name(channel, bytes_max).map_err(|error| {
        let (reason, limit) = (error.reason(), format!("1 to {bytes_max} bytes of UTF-8"));
        Problem::new(
            Kind::InvalidChannel,
            format!("{reason} A name has {limit} (limits.channel_name_bytes_max)."),
        )
    })?;
    Ok(channel)
}

impl Payload<'_> {
    /// The payload as it travels. A string in `data` is its text, any other value its JSON.
    pub(super) fn freeze(&self, shared: &Shared) -> Result<Publication, Problem> {
        self.freeze_within(shared.settings().limits.message_bytes_max)
    }

    fn freeze_within(&self, bytes_max: usize) -> Result<Publication, Problem> {
        match (self.data, self.text, self.base64) {
            (None, Some(text), None) => frozen(bytes_max, PayloadRef::Text(text)),
            (None, None, Some(base64)) => {
                let bytes = decoded(base64)?;
                frozen(bytes_max, PayloadRef::Binary(&bytes))
            }
            (Some(data), None, None) if data.get().starts_with('"') => {
                let text: Cow<'_, str> = serde_json::from_str(data.get())
                    .map_err(|error| Problem::invalid(format!("data is not a text: {error}")))?;
                frozen(bytes_max, PayloadRef::Text(&text))
            }
            (Some(data), None, None) => frozen(bytes_max, PayloadRef::Json(data.get())),
            _ => Err(Problem::invalid(
                "give the payload as one of data (any JSON), text and base64",
            )),
        }
    }
}

fn frozen(bytes_max: usize, payload: PayloadRef<'_>) -> Result<Publication, Problem> {
    let bytes = payload.size();
    if bytes > bytes_max {
        let detail = format!(
            "the message has {bytes} bytes, and at most {bytes_max} may be published \
             (limits.message_bytes_max)"
        );
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    Ok(payload.freeze())
}

/// RFC 4648 §4, with or without padding.
fn decoded(base64: &str) -> Result<Vec<u8>, Problem> {
    let decoded = match base64.ends_with('=') {
        true => STANDARD.decode(base64),
        false => STANDARD_NO_PAD.decode(base64),
    };
    decoded.map_err(|error| Problem::invalid(format!("base64 is not base64: {error}")))
}

/// Any value, `null` too.
pub(super) fn some_value<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Of an idempotency key; it is hashed.
const KEY_CHARS_MAX: usize = 255;

/// An epoch as answers have it.
pub(super) fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}
