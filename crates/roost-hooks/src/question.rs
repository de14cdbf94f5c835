//! The JSON of a question: Centrifugo's, so that a backend stays as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Event;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// About what.
    pub event: Event,
    /// The connection, as logs and the API name it.
    pub client: &'a str,
    /// The dialect.
    pub protocol: &'a str,
    /// Whose connection it is; empty without an account.
    pub user: &'a str,
    /// The channel, where it is about one.
    pub channel: &'a str,
    /// The method of [`Event::Rpc`].
    pub method: &'a str,
    /// What is to be published, or the method's data.
    pub payload: Option<Payload<'a>>,
}

/// What is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Stands in `data` if it is JSON, else in `b64data`.
    Text(&'a str),
    /// Stands in `b64data`.
    Binary(&'a [u8]),
}

#[derive(Serialize)]
struct Body<'a> {
    client: &'a str,
    transport: &'a str,
    protocol: &'a str,
    encoding: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
}

impl Question<'_> {
    /// The body of the request.
    pub fn body(&self) -> Vec<u8> {
        let (knows_user, has_channel, has_method) = match self.event {
            Event::Connect => (false, false, false),
            Event::Subscribe | Event::Publish => (true, true, false),
            Event::Rpc => (true, false, true),
        };
        let json = match self.payload {
            Some(Payload::Text(text)) => serde_json::from_str::<&RawValue>(text).ok(),
            Some(Payload::Binary(_)) | None => None,
        };
        let b64data = match (self.payload, json) {
            (_, Some(_)) | (None, _) => None,
            (Some(Payload::Text(text)), None) => Some(STANDARD.encode(text)),
            (Some(Payload::Binary(bytes)), None) => Some(STANDARD.encode(bytes)),
        };
        let body = Body {
            client: self.client,
            transport: "websocket",
            protocol: self.protocol,
            encoding: if b64data.is_some() { "binary" } else { "json" },
            user: knows_user.then_some(self.user),
            channel: has_channel.then_some(self.channel),
            method: has_method.then_some(self.method),
            data: json,
            b64data,
        };
        serde_json::to_vec(&body).expect("strings and JSON are written without an error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(event: Event, payload: Option<Payload<'_>>) -> String {
        let question = Question {
            event,
            client: "r0-1.2",
            protocol: "raw",
            user: "al\"ice",
            channel: "chat:1",
            method: "price",
            payload,
        };
        String::from_utf8(question.body()).expect("JSON is UTF-8")
    }

    #[test]
    fn questions_have_centrifugos_members() {
        assert_eq!(
            body(Event::Connect, None),
            r#"{"client":"r0-1.2","transport":"websocket","protocol":"raw","encoding":"json"}"#
        );
        assert_eq!(
            body(Event::Subscribe, None),
            r#"{"client":"r0-1.2","transport":"websocket","protocol":"raw","encoding":"json","user":"al\"ice","channel":"chat:1"}"#
        );
    }

    #[test]
    fn a_method_stands_in_place_of_a_channel() {
        assert_eq!(
            body(Event::Rpc, Some(Payload::Text("{}"))),
            r#"{"client":"r0-1.2","transport":"websocket","protocol":"raw","encoding":"json","user":"al\"ice","method":"price","data":{}}"#
        );
    }

    #[test]
    fn a_payload_is_data_if_it_is_json_and_base64_if_not() {
        for (payload, members) in [
            (Payload::Text("{\"a\": 1}"), r#""data":{"a": 1}}"#),
            (Payload::Text("\"a\""), r#""data":"a"}"#),
            (Payload::Text("a"), r#""b64data":"YQ=="}"#),
            (Payload::Text("1}"), r#""b64data":"MX0="}"#),
            (Payload::Text(""), r#""b64data":""}"#),
            (Payload::Binary(b"1"), r#""b64data":"MQ=="}"#),
        ] {
            let body = body(Event::Publish, Some(payload));
            assert!(body.ends_with(members), "{body}");
        }
    }
}
