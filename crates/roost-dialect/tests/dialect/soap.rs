//! SOAP: where messages go, and what is answered. Which documents are envelopes, and what the handshake
//! agrees on, have files of their own.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use roost_access::{Denial, Operation, PatternRef, Question, Requirement, decide};
use roost_dealer::{Answer, CallError, Failure, Notice};
use roost_dialect::dialect::{
    Accept, Command, Context, Dialect, Event, Headers, Input, Message, Offer, Refusal, Request,
    Session, Target, Terms,
};
use roost_dialect::soap::{SERVED, Settings, Soap, fuzz};
use roost_dialect::{
    Arguments, CallBodyRef, DialectKind, Form, PayloadRef, Publication, Replies, carries,
};
use roost_hub::ChannelId;

mod agreed;
mod documents;
mod envelopes;

const V11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const V12: &str = "http://www.w3.org/2003/05/soap-envelope";
const WSA: &str = "http://www.w3.org/2005/08/addressing";
const WSA_2004: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
const ANONYMOUS: &str = "http://www.w3.org/2005/08/addressing/anonymous";

/// A client, and what its last message led to.
struct Client {
    soap: Soap,
    session: Session,
    replies: Replies,
}

/// What a message leads to.
#[derive(Debug, PartialEq, Eq)]
enum Did {
    Published(String, String),
    PublishedJoined(String),
    Called(String, u64),
    Said(String),
}

impl Client {
    /// One that takes what `number` says: 0 any envelope, 1 SOAP 1.1, 2 SOAP 1.2.
    fn taking(number: u8, joined: Option<u32>) -> Client {
        let settings = Settings {
            enabled: true,
            ..Settings::default()
        };
        let mut soap = Soap::new(Arc::new(settings));
        let terms = Terms {
            number,
            header: None,
        };
        let session = soap.open(Some("soap"), terms, joined.map(ChannelId));
        Client {
            soap,
            session,
            replies: Replies::default(),
        }
    }

    fn new() -> Client {
        Client::taking(0, None)
    }

    fn send(&mut self, text: &str) -> Did {
        self.send_message(Message::Text(text))
    }

    fn send_message(&mut self, message: Message<'_>) -> Did {
        let mut input = Input::new(message);
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || 1,
        };
        let command = self.soap.next(self.session, &mut input, &mut cx);
        match command {
            Some(Command::Publish {
                channel, payload, ..
            }) => {
                let text = text_of(payload).to_owned();
                match channel {
                    Target::Name(name) => Did::Published(name.into_owned(), text),
                    Target::Joined(_) => Did::PublishedJoined(text),
                    other => panic!("unexpected: {other:?}"),
                }
            }
            Some(Command::Call {
                procedure, request, ..
            }) => Did::Called(procedure.into_owned(), request),
            None => Did::Said(self.said()),
            Some(other) => panic!("unexpected: {other:?}"),
        }
    }

    fn said(&mut self) -> String {
        let mut said = Vec::new();
        self.replies
            .drain(|_, bytes| said.push(String::from_utf8(bytes.to_vec()).expect("UTF-8")));
        assert!(said.len() <= 1, "one answer at most: {said:?}");
        said.pop().unwrap_or_default()
    }

    fn on(&mut self, event: Event<'_>) -> String {
        let mut cx = Context {
            replies: &mut self.replies,
            new_id: &mut || 1,
        };
        self.soap.on(self.session, event, &mut cx);
        self.said()
    }

    fn answered(&mut self, request: u64, answer: Answer<CallBodyRef<'_>>) -> String {
        let answer = answer.map(CallBodyRef::freeze);
        let notice = Notice::Answer { request, answer };
        self.on(Event::Dealer(&notice))
    }

    /// Sends a request and returns its number.
    fn request(&mut self) -> u64 {
        match self.send(&request("urn:example:add")) {
            Did::Called(name, number) if name == "urn:example:add" => number,
            other => panic!("no request: {other:?}"),
        }
    }
}

fn text_of(payload: PayloadRef<'_>) -> &str {
    match payload {
        PayloadRef::Text(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn body<'a>(payload: PayloadRef<'a>, error: Option<&'a str>) -> CallBodyRef<'a> {
    CallBodyRef {
        payload,
        caller: None,
        error: error.map(Cow::Borrowed),
    }
}

fn envelope(namespace: &str, header: &str, body: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="{namespace}" xmlns:a="{WSA}">{header}<s:Body>{body}</s:Body></s:Envelope>"#
    )
}

fn one_way(to: &str) -> String {
    let header = format!("<s:Header><a:To>{to}</a:To></s:Header>");
    envelope(V12, &header, "<p>1</p>")
}

fn request(action: &str) -> String {
    let header = format!(
        "<s:Header><a:Action>{action}</a:Action><a:MessageID>urn:uuid:1</a:MessageID></s:Header>"
    );
    envelope(V12, &header, "<add/>")
}

/// Each says that it is refused, and why in a word.
fn refused(text: &str, why: &str) {
    let said = Client::new().send(text);
    let Did::Said(fault) = &said else {
        panic!("not refused: {text}: {said:?}");
    };
    assert!(fault.contains(why), "{text}: {fault}");
    assert!(fuzz::is_envelope(fault), "{fault}");
}

fn accepted(text: &str) {
    let did = Client::new().send(text);
    assert!(
        matches!(did, Did::Published(..) | Did::Called(..)),
        "{text}: {did:?}"
    );
}

#[test]
fn a_message_goes_to_its_destination() {
    let header = |blocks: &str| envelope(V12, &format!("<s:Header>{blocks}</s:Header>"), "");
    let to = |to: &str| format!("<a:To>{to}</a:To>");
    let action = "<a:Action>urn:action</a:Action>";
    let id = "<a:MessageID>urn:uuid:1</a:MessageID>";
    let published = |name: &str, text: &str| Did::Published(name.to_owned(), text.to_owned());
    for (blocks, name) in [
        (to("urn:a:b"), "urn:a:b"),
        (format!("{action}{}", to("urn:a:b")), "urn:a:b"),
        (
            format!("{action}{}", to("  http://example.com/a?b=1 \n")),
            "http://example.com/a?b=1",
        ),
        (action.to_owned(), "urn:action"),
        (format!("{action}{}", to(ANONYMOUS)), "urn:action"),
        (
            format!("{action}{}", to("ws://example.com/soap")),
            "urn:action",
        ),
        (
            format!("{action}{}", to("WSS://example.com/soap")),
            "urn:action",
        ),
        // No reply is wanted.
        (
            format!("{action}{id}<a:ReplyTo><a:Address>{WSA}/none</a:Address></a:ReplyTo>"),
            "urn:action",
        ),
        // For another receiver.
        (
            format!("{action}<a:To s:role='urn:other'>urn:a:b</a:To>"),
            "urn:action",
        ),
    ] {
        let text = header(&blocks);
        assert_eq!(
            Client::new().send(&text),
            published(name, &text),
            "{blocks}"
        );
    }
    for (blocks, name) in [
        (format!("{action}{id}"), "urn:action"),
        (format!("{}{action}{id}", to("urn:a:b")), "urn:a:b"),
        (
            format!(
                "{action}{id}<a:ReplyTo><a:Address>{ANONYMOUS}</a:Address><a:Metadata/></a:ReplyTo>"
            ),
            "urn:action",
        ),
        (
            format!("{action}{id}<a:ReplyTo/><a:From><a:Address>urn:me</a:Address></a:From>"),
            "urn:action",
        ),
    ] {
        let did = Client::new().send(&header(&blocks));
        assert_eq!(did, Did::Called(name.to_owned(), 0), "{blocks}");
    }
    for (blocks, why) in [
        (to("prices"), "absolute"),
        (to("/a/b"), "absolute"),
        (to("urn:a b"), "absolute"),
        ("<a:Action>add</a:Action>".to_owned(), "absolute"),
        (id.to_owned(), "AddressingHeaderRequired"),
        (String::new(), "AddressingHeaderRequired"),
        (format!("{action}{action}"), "InvalidCardinality"),
        (
            format!("{action}{id}<a:ReplyTo><a:Address>urn:x:y</a:Address></a:ReplyTo>"),
            "OnlyAnonymous",
        ),
        (
            format!("{action}{id}<a:FaultTo><a:Address>urn:x:y</a:Address></a:FaultTo>"),
            "OnlyAnonymous",
        ),
        (
            format!("{action}<To xmlns='{WSA_2004}'>urn:a:b</To>"),
            "two versions",
        ),
        (format!("{action}<a:MessageID/>"), "MessageID"),
    ] {
        refused(&header(&blocks), why);
    }
}

#[test]
fn a_message_without_a_destination_goes_to_the_channel_of_the_path() {
    let text = envelope(V11, "", "<x/>");
    let mut client = Client::taking(1, Some(4));
    assert_eq!(client.send(&text), Did::PublishedJoined(text));
    assert!(client.soap.is_subscribed(client.session, ChannelId(4)));
}

#[test]
fn headers_that_must_be_understood_are() {
    let header = |attributes: &str| {
        let block = format!("<w:Security xmlns:w='urn:wsse' {attributes}/>");
        envelope(
            V12,
            &format!("<s:Header><a:To>urn:a:b</a:To>{block}</s:Header>"),
            "",
        )
    };
    accepted(&header(""));
    accepted(&header("s:mustUnderstand='false'"));
    accepted(&header("s:mustUnderstand='1' s:role='urn:other'"));
    accepted(&header("mustUnderstand='1'"));
    for flag in [
        "s:mustUnderstand='1'",
        "s:mustUnderstand=' true '",
        "s:mustUnderstand='1' s:role='http://www.w3.org/2003/05/soap-envelope/role/next'",
    ] {
        refused(&header(flag), "env:MustUnderstand");
        refused(
            &header(flag),
            r#"<env:NotUnderstood qname="ns:Security" xmlns:ns="urn:wsse"/>"#,
        );
    }
}

#[test]
fn the_agreed_version_is_kept() {
    let v11 = |text: &str| text.replace(V12, V11);
    let text = one_way("urn:a:b");
    assert!(matches!(
        Client::taking(2, None).send(&text),
        Did::Published(..)
    ));
    assert!(matches!(
        Client::taking(1, None).send(&v11(&text)),
        Did::Published(..)
    ));
    let Did::Said(fault) = Client::taking(1, None).send(&text) else {
        panic!("an envelope of SOAP 1.2 where 1.1 was agreed");
    };
    assert!(
        fault.contains("<faultcode>env:VersionMismatch") && fault.contains(V11),
        "{fault}"
    );
    let Did::Said(fault) = Client::taking(2, None).send(&v11(&text)) else {
        panic!("an envelope of SOAP 1.1 where 1.2 was agreed");
    };
    assert!(
        fault.contains("<env:Value>env:VersionMismatch") && fault.contains("env:Upgrade"),
        "{fault}"
    );
}

#[test]
fn a_fault_is_written_in_the_version_of_the_message() {
    let v12 = envelope(
        V12,
        "<s:Header><a:MessageID>id &lt;1&gt;</a:MessageID></s:Header>",
        "",
    );
    let Did::Said(fault) = Client::new().send(&v12) else {
        panic!("no channel is named");
    };
    for part in [
        "<wsa:Action>http://www.w3.org/2005/08/addressing/fault</wsa:Action>",
        "<wsa:RelatesTo>id &lt;1&gt;</wsa:RelatesTo>",
        "<env:Code><env:Value>env:Sender</env:Value><env:Subcode><env:Value>wsa:MessageAddressingHeaderRequired</env:Value></env:Subcode></env:Code>",
        "<env:Text xml:lang=\"en\">The message names no channel",
    ] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    let v11 = v12.replace(V12, V11).replace(WSA, WSA_2004);
    let Did::Said(fault) = Client::new().send(&v11) else {
        panic!("no channel is named");
    };
    for part in [
        "<wsa:Action>http://schemas.xmlsoap.org/ws/2004/08/addressing/fault</wsa:Action>",
        "<faultcode>wsa:MessageInformationHeaderRequired</faultcode>",
        "<faultstring>The message names no channel",
    ] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
}

#[test]
fn a_service_answers_a_request() {
    let relates = "<wsa:RelatesTo xmlns:wsa=\"http://www.w3.org/2005/08/addressing\">urn:uuid:1</wsa:RelatesTo>";
    for (answer, expected) in [
        // Without a header, with an empty one, with one.
        (
            format!("<e:Envelope xmlns:e=\"{V12}\"><e:Body/></e:Envelope>"),
            format!(
                "<e:Envelope xmlns:e=\"{V12}\"><e:Header>{relates}</e:Header><e:Body/></e:Envelope>"
            ),
        ),
        (
            format!("<?xml version=\"1.0\"?><Envelope xmlns=\"{V12}\"><Body/></Envelope>"),
            format!(
                "<?xml version=\"1.0\"?><Envelope xmlns=\"{V12}\"><Header>{relates}</Header><Body/></Envelope>"
            ),
        ),
        (
            format!("<e:Envelope xmlns:e=\"{V12}\"> <e:Header  a=\">\" /> <e:Body/></e:Envelope>"),
            format!(
                "<e:Envelope xmlns:e=\"{V12}\"> <e:Header  a=\">\" >{relates}</e:Header> <e:Body/></e:Envelope>"
            ),
        ),
        (
            format!(
                "<e:Envelope xmlns:e=\"{V12}\"><e:Header><x/></e:Header><e:Body/></e:Envelope>"
            ),
            format!(
                "<e:Envelope xmlns:e=\"{V12}\"><e:Header>{relates}<x/></e:Header><e:Body/></e:Envelope>"
            ),
        ),
        // It says so itself.
        (
            format!(
                "<e:Envelope xmlns:e=\"{V12}\"><e:Header>{relates}</e:Header><e:Body/></e:Envelope>"
            ),
            format!(
                "<e:Envelope xmlns:e=\"{V12}\"><e:Header>{relates}</e:Header><e:Body/></e:Envelope>"
            ),
        ),
    ] {
        let mut client = Client::new();
        let number = client.request();
        let result = || Answer::Result(body(PayloadRef::Text(&answer), None));
        assert_eq!(client.answered(number, result()), expected);
        assert_eq!(client.answered(number, result()), "", "once");
        // As a callee of WAMP says it.
        let number = client.request();
        let args = serde_json::to_string(&[&answer]).expect("JSON");
        let args = PayloadRef::Wamp(Arguments::json(Some(&args), None));
        assert_eq!(
            client.answered(number, Answer::Result(body(args, None))),
            expected
        );
    }
}

#[test]
fn answers_that_are_none_become_faults() {
    let other = format!(
        "<e:Envelope xmlns:e=\"{V12}\"><e:Header><RelatesTo xmlns=\"{WSA}\">urn:uuid:2</RelatesTo></e:Header><e:Body/></e:Envelope>"
    );
    let v11 = envelope(V11, "", "");
    for (payload, why) in [
        (PayloadRef::Text("42"), "text outside"),
        (PayloadRef::Text(&other), "another message"),
        (PayloadRef::Text(&v11), "another version"),
        (PayloadRef::Binary(v11.as_bytes()), "it is bytes"),
        (
            PayloadRef::Wamp(Arguments::json(Some("[1,2]"), None)),
            "text outside",
        ),
    ] {
        let mut client = Client::new();
        let number = client.request();
        let fault = client.answered(number, Answer::Result(body(payload, None)));
        for part in ["<env:Value>env:Receiver", "<wsa:RelatesTo>urn:uuid:1<", why] {
            assert!(fault.contains(part), "{part}: {fault}");
        }
    }
}

#[test]
fn what_fails_becomes_a_fault() {
    for (failure, parts) in [
        (
            Failure::NoSuchProcedure,
            ["env:Sender", "wsa:ActionNotSupported"],
        ),
        (
            Failure::TimedOut,
            ["env:Receiver", "did not answer in time"],
        ),
        (
            Failure::CalleeLeft,
            ["env:Receiver", "wsa:EndpointUnavailable"],
        ),
        (
            Failure::CalleeBusy,
            ["env:Receiver", "wsa:EndpointUnavailable"],
        ),
    ] {
        let mut client = Client::new();
        let number = client.request();
        let fault = client.answered(number, Answer::Failed(failure));
        for part in parts.into_iter().chain(["<wsa:RelatesTo>urn:uuid:1<"]) {
            assert!(fault.contains(part), "{part}: {fault}");
        }
    }
    let mut client = Client::new();
    let to = request("urn:x:y").replace("<a:Action>", "<a:To>urn:q:r</a:To><a:Action>");
    assert_eq!(client.send(&to), Did::Called("urn:q:r".to_owned(), 0));
    let fault = client.answered(0, Answer::Failed(Failure::NoSuchProcedure));
    assert!(fault.contains("wsa:DestinationUnreachable"), "{fault}");
    let number = client.request();
    let refused = Event::CallRefused {
        request: number,
        error: CallError::TooMany,
    };
    let fault = client.on(refused);
    assert!(fault.contains("as many open requests"), "{fault}");
    let refused = |refusal| Event::Refused {
        request: Request::Publish,
        token: None,
        refusal,
    };
    client.send(&one_way("urn:a:b"));
    let question = Question {
        operation: Operation::Publish,
        asked: PatternRef::name("urn:a:b"),
        requirement: Requirement::Nobody,
        is_subscribed: false,
        is_foreign: false,
    };
    let denial = decide(None, &question, 0).denial().expect("it is refused");
    let fault = client.on(refused(Refusal::NotAllowed(denial)));
    assert!(fault.contains("may not be published to"), "{fault}");
    client.send(&one_way("urn:a:b"));
    let denial = Denial::hook_unavailable(Operation::Publish);
    let fault = client.on(refused(Refusal::NotAllowed(denial)));
    for part in ["env:Receiver", "wsa:EndpointUnavailable", "try again"] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
}

#[test]
fn errors_of_services_become_faults() {
    let error = |payload, name| Answer::Error(body(payload, Some(name)));
    let said = Arguments::json(Some(r#"["no <negative> numbers"]"#), None);
    let nothing = Arguments::json(None, None);
    for (answer, parts) in [
        (
            error(PayloadRef::Wamp(said), "com.example.negative"),
            [
                "env:Receiver",
                ">no &lt;negative&gt; numbers<",
                ">com.example.negative<",
            ],
        ),
        (
            error(PayloadRef::Wamp(said), "wamp.error.invalid_argument"),
            [
                "env:Sender",
                ">no &lt;negative&gt; numbers<",
                ">wamp.error.invalid_argument<",
            ],
        ),
        (
            error(PayloadRef::Wamp(nothing), "com.example.negative"),
            [
                "env:Receiver",
                "The service failed with com.example.negative.",
                "<env:Detail>",
            ],
        ),
    ] {
        let mut client = Client::new();
        let number = client.request();
        let fault = client.answered(number, answer);
        for part in parts {
            assert!(fault.contains(part), "{part}: {fault}");
        }
    }
    // A service may write its own fault.
    let own = envelope(V12, "", "<s:Fault/>");
    let mut client = Client::new();
    let number = client.request();
    let fault = client.answered(
        number,
        error(PayloadRef::Text(&own), "com.example.negative"),
    );
    assert!(
        fault.contains("<s:Fault/>") && fault.contains("urn:uuid:1"),
        "{fault}"
    );
}

#[test]
fn open_requests_are_handed_over() {
    let mut client = Client::taking(2, Some(9));
    let (first, second) = (client.request(), client.request());
    let state = client.soap.export(client.session);
    let mut other = Client::new();
    other.soap.close(other.session);
    other.session = other.soap.import(state);
    let third = other.request();
    assert!(third != first && third != second, "numbers stay apart");
    for number in [third, second, first] {
        let fault = other.answered(number, Answer::Failed(Failure::TimedOut));
        assert!(fault.contains("did not answer"), "{fault}");
    }
    let mut session = other.session;
    let left = other.soap.pop_subscription(&mut session);
    assert_eq!(left, Some((ChannelId(9), Form::of(DialectKind::Soap, 2))));
}

#[test]
fn subscribers_get_envelopes_of_their_version() {
    let publication = |text: &str| PayloadRef::Text(text).freeze();
    let carried = |publication: &Publication| {
        [0, 1, 2].map(|at| carries(publication, Form::of(DialectKind::Soap, at)))
    };
    let (v11, v12) = (envelope(V11, "", ""), envelope(V12, "", ""));
    assert_eq!(carried(&publication(&v11)), [true, true, false]);
    assert_eq!(carried(&publication(&v12)), [true, false, true]);
    assert_eq!(carried(&publication("hello")), [false; 3]);
    assert_eq!(carried(&publication(&v12[1..])), [false; 3]);
    let bytes = PayloadRef::Binary(v12.as_bytes()).freeze();
    assert_eq!(carried(&bytes), [false; 3], "no rule looks into bytes");
    let args = serde_json::to_string(&[&v12]).expect("JSON");
    let wamp = PayloadRef::Wamp(Arguments::json(Some(&args), None)).freeze();
    assert_eq!(carried(&wamp), [true, false, true]);
    assert!(carries(&publication("hello"), Form::RAW));
}
