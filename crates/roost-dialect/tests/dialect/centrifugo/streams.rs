//! Clients without a WebSocket.

use roost_dialect::centrifugo::{EMULATION_PATH, HTTP_STREAM_PATH, SSE_PATH, Transport, emulation};
use roost_dialect::dialect::Emulated;
use roost_wire::CloseCode;
use roost_wire::handshake::Request as HttpRequest;

use super::*;

fn accept(head: &str) -> String {
    let request = HttpRequest::parse(head.as_bytes(), 16).expect("a head");
    let offer = Offer {
        path: request.path(),
        subprotocols: &[],
        headers: Headers::of(&request),
        channel_name_bytes_max: 16,
    };
    match Centrifugo::accept(&settings(), &offer) {
        Accept::Emulated(emulated) => {
            let Emulated {
                ref message,
                content_type,
                terms,
                is_binary,
                is_one_way,
            } = emulated;
            assert_eq!(is_binary, content_type == "application/octet-stream");
            assert!(!is_one_way, "its client sends more");
            let number = terms.number;
            format!("{} {content_type} {number} {message:?}", emulated.method())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn requests_for_streams_are_taken() {
    let get = |target: &str| accept(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(get(HTTP_STREAM_PATH), "POST application/x-ndjson 1 None");
    let with = |target: &str, kind: &str| {
        accept(&format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n\r\n"
        ))
    };
    let protobuf = "POST application/octet-stream 4 None";
    assert_eq!(with(HTTP_STREAM_PATH, "application/octet-stream"), protobuf);
    assert_eq!(
        with(HTTP_STREAM_PATH, "Application/Octet-Stream; a=b"),
        protobuf
    );
    assert_eq!(
        get(&format!("{HTTP_STREAM_PATH}?format=protobuf")),
        protobuf
    );
    let json = "POST application/x-ndjson 1 None";
    assert_eq!(with(HTTP_STREAM_PATH, "application/json"), json);
    assert_eq!(get(EMULATION_PATH), "Relay");
    assert_eq!(
        get(&format!(
            "{SSE_PATH}?a=b&cf_connect=%7B%22id%22%3A1%2C%22c%22%3A%22a+b%2B%22%7D"
        )),
        r#"GET text/event-stream 2 Some("{\"id\":1,\"c\":\"a b+\"}")"#
    );
    for target in [SSE_PATH.to_owned(), format!("{SSE_PATH}?cf_connect=%ff")] {
        assert!(get(&target).starts_with("Refused("), "{target}");
    }
}

/// A client whose stream is of this kind, and what it is told by `say`, as it stands in the stream.
fn stream(transport: Transport) -> Client {
    let mut client = Client::new();
    let terms = Terms {
        number: transport as u8,
        header: None,
    };
    client.session = client.dialect.open(None, terms, None);
    let name = "0123";
    client.tell(Event::Emulated { name });
    client
}

/// Everything told, as it stands in the stream.
fn told(client: &mut Client, event: Event<'_>) -> String {
    let mut cx = Context {
        replies: &mut client.replies,
        new_id: &mut || 1,
    };
    client.dialect.on(client.session, event, &mut cx);
    let mut all = String::new();
    client
        .replies
        .drain(|_, bytes| all.push_str(str::from_utf8(bytes).expect("UTF-8")));
    all
}

#[test]
fn lines_are_written_as_the_stream_has_them() {
    let pushed = r#"{"push":{"channel":"c","pub":{"data":[1,  2],"offset":7}}}"#;
    for (transport, before, behind) in [
        (Transport::HttpStream, "", "\n"),
        (Transport::Sse, "data: ", "\n\n"),
    ] {
        let mut client = stream(transport);
        let said = client.say(r#"{"id":1,"connect":{}}"#).1.join("\n");
        assert!(
            said.starts_with(&format!("{before}{{\"id\":1,\"connect\"")),
            "{said}"
        );
        assert!(said.ends_with(behind), "{said:?}");
        assert!(said.contains(r#""session":"0123","node":"#), "{said}");
        let two = client
            .say("{\"id\":2,\"ping\":{}}\n{\"id\":3,\"ping\":{}}")
            .1
            .join("\n");
        let error = |id| format!("{before}{}{behind}", error(id, 108, "not available"));
        assert_eq!(two, error(2) + &error(3));
        assert_eq!(
            told(&mut client, Event::PingDue),
            format!("{before}{{}}{behind}")
        );
        let form = Form::CENTRIFUGO_STREAMS[transport as usize - 1];
        let ids = EventIds {
            topic: 1,
            publication: 1,
            offset: 7,
        };
        // A line end within the payload would end the line.
        let publication = PayloadRef::Json("[1,\r\n2]").freeze();
        let frame = roost_dialect::encode_kept(&publication, form, ids, "c", 1);
        assert_eq!(frame.payload(), None, "it has no frame");
        let written = str::from_utf8(frame.as_bytes()).expect("UTF-8");
        assert_eq!(written, format!("{before}{pushed}{behind}"));
        let mut cx = Context {
            replies: &mut client.replies,
            new_id: &mut || 1,
        };
        let code = CloseCode::new(3001).expect("a code");
        client
            .dialect
            .say_close(client.session, (code, "shutdown"), &mut cx);
        let words = lines(&mut client.replies).join("\n");
        let close = r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#;
        assert_eq!(words, format!("{before}{close}{behind}"));
    }
}

#[test]
fn a_stream_subscribes_in_its_own_form_and_is_handed_over() {
    let mut client = stream(Transport::Sse);
    client.say(r#"{"id":1,"connect":{}}"#);
    let mut input = Input::new(Message::Text(r#"{"id":2,"subscribe":{"channel":"c"}}"#));
    let mut said = Vec::new();
    let form = match client.next(&mut input, &mut said) {
        Some(Command::Subscribe { form, .. }) => form,
        other => panic!("{other:?}"),
    };
    assert_eq!(form, Form::CENTRIFUGO_STREAMS[1]);
    assert_eq!(client.dialect.emulation(client.session), Some("0123"));
    let state = client.dialect.export(client.session);
    client.session = client.dialect.import(state);
    assert_eq!(client.dialect.emulation(client.session), Some("0123"));
    let closed = Client::connected();
    assert_eq!(closed.dialect.emulation(closed.session), None);
}

#[test]
fn what_a_request_says_is_read() {
    let said = emulation::parse(br#"{"session":"s","node":"n","data":"{}"}"#).expect("it is one");
    assert_eq!((said.session(), said.message()), ("s", Message::Text("{}")));
}
