//! Which subprotocol is chosen (RFC 6455 §4.1 item 10, §4.2.2, §11.3.4).

use super::case::{Case, case};
use super::target::{Target, fail, judge_refusal, loose, pass, skip, works_and_closes};
use super::verdict::Outcome;
use crate::client::{ACCEPT, Request};

pub(super) const CASES: &[Case] = &[
    case(
        "subprotocol.unknown",
        "an unknown subprotocol is not selected, and the WebSocket opens",
        "6455 §4.2.2",
        |t| unselected(t, &["Sec-WebSocket-Protocol: no.such.protocol"]),
    ),
    case(
        "subprotocol.unknown_list",
        "of several unknown subprotocols none is selected",
        "6455 §4.2.2",
        |t| {
            unselected(
                t,
                &[
                    "Sec-WebSocket-Protocol: a, b,c ,\td",
                    "Sec-WebSocket-Protocol: e",
                ],
            )
        },
    ),
    case(
        "subprotocol.known",
        "a subprotocol that is spoken is selected",
        "6455 §4.2.2",
        |t| selected(t, |name| vec![format!("Sec-WebSocket-Protocol: {name}")]),
    ),
    case(
        "subprotocol.known_last",
        "it is selected behind unknown ones",
        "6455 §4.2.2",
        |t| {
            selected(t, |name| {
                vec![format!("Sec-WebSocket-Protocol: x1, x2, {name}")]
            })
        },
    ),
    case(
        "subprotocol.known_first",
        "it is selected before unknown ones, without spaces",
        "6455 §4.2.2",
        |t| {
            selected(t, |name| {
                vec![format!("Sec-WebSocket-Protocol: {name},x1,x2")]
            })
        },
    ),
    case(
        "subprotocol.second_line",
        "two Sec-WebSocket-Protocol lines are one list",
        "6455 §11.3.4",
        |t| {
            selected(t, |name| {
                vec![
                    "Sec-WebSocket-Protocol: x1".to_owned(),
                    format!("Sec-WebSocket-Protocol: {name}"),
                ]
            })
        },
    ),
    case(
        "subprotocol.header_lower_case",
        "sec-websocket-protocol is the same header",
        "9110 §5.1",
        |t| selected(t, |name| vec![format!("sec-websocket-protocol: {name}")]),
    ),
    case(
        "subprotocol.empty_elements",
        "empty elements of the list are ignored",
        "9110 §5.6.1.2",
        |t| {
            selected(t, |name| {
                vec![format!("Sec-WebSocket-Protocol: , {name} ,,")]
            })
        },
    ),
    case(
        "subprotocol.case",
        "subprotocol names are compared with case",
        "6455 §11.5",
        |t| {
            with_known(t, |name| {
                let upper = name.to_uppercase();
                unselected(t, &[&format!("Sec-WebSocket-Protocol: {upper}")])
            })
        },
    ),
    case(
        "subprotocol.part",
        "the beginning of a known name is another name",
        "6455 §11.5",
        |t| {
            with_known(t, |name| {
                let part = &name[..name.len() - 1];
                unselected(t, &[&format!("Sec-WebSocket-Protocol: {part}, {name}x")])
            })
        },
    ),
    case(
        "subprotocol.twice",
        "a name that stands twice is refused: the elements must be unique",
        "6455 §4.1",
        |t| malformed(t, "Sec-WebSocket-Protocol: a, b, a"),
    ),
    case(
        "subprotocol.empty",
        "an empty Sec-WebSocket-Protocol is as if absent: libraries send it for an empty list",
        "9110 §5.6.1.2",
        |t| unselected(t, &["Sec-WebSocket-Protocol:"]),
    ),
    case(
        "subprotocol.commas",
        "a list of empty elements is as if absent",
        "9110 §5.6.1.2",
        |t| unselected(t, &["Sec-WebSocket-Protocol: , ,\t,"]),
    ),
    case(
        "subprotocol.space",
        "a name with a space in it is refused",
        "6455 §4.1",
        |t| malformed(t, "Sec-WebSocket-Protocol: a b"),
    ),
    case(
        "subprotocol.separator",
        "a name with a separator in it is refused",
        "6455 §4.1",
        |t| malformed(t, "Sec-WebSocket-Protocol: a(b)"),
    ),
    case(
        "subprotocol.quoted",
        "a quoted name is refused: names are tokens",
        "6455 §4.3",
        |t| malformed(t, "Sec-WebSocket-Protocol: \"a\""),
    ),
    case(
        "subprotocol.not_ascii",
        "a name outside ASCII is refused",
        "6455 §4.1",
        |t| malformed(t, "Sec-WebSocket-Protocol: caf\u{e9}"),
    ),
    case(
        "subprotocol.many",
        "a thousand subprotocols are answered, one way or the other",
        "6455 §4.2.2",
        |t| {
            let names: Vec<String> = (0..1000).map(|n| format!("p{n}")).collect();
            let line = format!("Sec-WebSocket-Protocol: {}", names.join(","));
            t.accepts_or_refuses(&t.request().header(line), &[400, 431])
        },
    ),
];

/// The WebSocket opens, and no subprotocol is selected.
fn unselected(t: &Target, lines: &[&str]) -> Outcome {
    let request = lines
        .iter()
        .fold(t.request(), |request, line| request.header(line));
    let mut client = t.connect()?;
    client.send(&request.bytes())?;
    let response = client.read_response()?;
    if (400..500).contains(&response.status) {
        return loose(format!(
            "status {} instead of 101 without subprotocol",
            response.status
        ));
    }
    response.check_accepted(ACCEPT)?;
    match response.header("Sec-WebSocket-Protocol") {
        None => works_and_closes(client),
        Some(name) => fail(format!("{name:?} was selected")),
    }
}

fn with_known(t: &Target, ask: impl Fn(&str) -> Outcome) -> Outcome {
    match &t.subprotocol {
        Some(name) => ask(name),
        None => skip("no subprotocol of the server is known"),
    }
}

/// With these lines the known subprotocol is selected.
fn selected(t: &Target, lines: fn(&str) -> Vec<String>) -> Outcome {
    with_known(t, |name| {
        let path = t.subprotocol_path.as_ref().unwrap_or(&t.echo);
        let request: Request = lines(name)
            .iter()
            .fold(t.request_for(path), |request, line| request.header(line));
        let mut client = t.connect()?;
        let response = client.shake_hands(&request)?;
        match response.all("Sec-WebSocket-Protocol")[..] {
            [selected] if selected == name => pass(),
            ref selected => fail(format!("selected: {selected:?}")),
        }
    })
}

/// RFC 6455 §4.2.1 lets a server stop at a malformed request; one that does not must at least
/// select nothing.
fn malformed(t: &Target, line: &str) -> Outcome {
    let mut client = t.connect()?;
    client.send(&t.request().header(line).bytes())?;
    let Some(response) = client.receive_response()? else {
        return loose("ends without an answer");
    };
    match (response.status, response.header("Sec-WebSocket-Protocol")) {
        (101, None) => loose("accepted without a subprotocol"),
        (101, Some(name)) => fail(format!("{name:?} was selected")),
        (status, _) => judge_refusal(status, &[400]),
    }
}
