//! What channels keep, read and forgotten, by the API's own methods and by Centrifugo's.

use roost_reactor::{ChannelPolicy, policy_for_tests};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, KEY, ORDER_KEY};

/// Channels of `kept` keep five publications; others, none.
fn server() -> TestServer {
    TestServer::with(Backend::Epoll, 2, |settings| {
        let kept = ChannelPolicy {
            history_messages_max: 5,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("kept".to_owned(), kept)];
    })
}

fn ask(api: &Api, method: &str, query: &str) -> Answer {
    let path = format!("/v1/history?{query}");
    api.request(method, &path, &format!("X-API-Key: {KEY}\r\n"), b"")
}

/// The texts of a page.
fn texts(page: &Value) -> Vec<&str> {
    let publications = page["publications"].as_array().expect("a list");
    let texts = publications.iter().map(|one| one["text"].as_str());
    texts.map(|text| text.expect("a text")).collect()
}

/// Publishes the numbers on `kept:1`; returns the position behind each.
fn publish(api: &Api, numbers: std::ops::Range<u64>) -> Vec<String> {
    let place = |number| {
        let body = json!({"channel": "kept:1", "text": format!("{number}")});
        let placed = api.post("/v1/publish", &body.to_string()).json();
        let epoch = placed["epoch"].as_str().expect("an epoch");
        format!("{epoch}-{}", placed["offset"])
    };
    numbers.map(place).collect()
}

#[test]
fn pages_go_on_where_the_one_before_ended() {
    let server = server();
    let api = Api::of(server.shared());
    let positions = publish(&api, 0..7);
    let all = ask(&api, "GET", "channel=kept:1").json();
    assert_eq!(texts(&all), ["2", "3", "4", "5", "6"], "{all}");
    assert_eq!(all["has_more"], false);
    let position = format!(
        "{}-{}",
        all["epoch"].as_str().expect("an epoch"),
        all["offset"]
    );
    assert_eq!(position, positions[6]);
    let mut since = positions[1].clone();
    let mut seen = Vec::new();
    loop {
        let page = ask(
            &api,
            "GET",
            &format!("channel=kept:1&limit=2&since={since}"),
        )
        .json();
        seen.extend(texts(&page).into_iter().map(str::to_owned));
        let last = page["publications"].as_array().and_then(|list| list.last());
        let offset = &last.expect("none is empty")["offset"];
        since = format!("{}-{offset}", page["epoch"].as_str().expect("an epoch"));
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, ["2", "3", "4", "5", "6"]);
    let newest = ask(&api, "GET", "channel=kept:1&limit=2&reverse=true").json();
    assert_eq!(texts(&newest), ["6", "5"]);
    let since = &positions[4];
    let before = format!("channel=kept:1&reverse=true&since={since}");
    assert_eq!(texts(&ask(&api, "GET", &before).json()), ["3", "2"]);
    let position = ask(&api, "GET", "channel=kept:1&limit=0").json();
    assert_eq!(position["offset"], all["offset"]);
    assert!(texts(&position).is_empty(), "{position}");
}

#[test]
fn what_is_missing_is_told_and_what_is_wrong_too() {
    let server = server();
    let api = Api::of(server.shared());
    let positions = publish(&api, 0..7);
    let (epoch, _) = positions[0].split_once('-').expect("a position");
    for (query, status) in [
        (format!("channel=kept:1&since={}", positions[0]), 410),
        (
            format!("channel=kept:1&since={epoch}-18446744073709551615"),
            410,
        ),
        ("channel=kept:1&since=0000000000000001-1".to_owned(), 410),
        (
            "channel=kept:1&since=0000000000000001-1&reverse=true".to_owned(),
            410,
        ),
        ("channel=kept:1&since=7".to_owned(), 400),
        ("channel=kept:1&limit=1001".to_owned(), 400),
        ("channel=kept:1&reverse=yes".to_owned(), 400),
        ("channel=kept:1&other=1".to_owned(), 400),
        ("limit=1".to_owned(), 400),
        ("channel=".to_owned(), 400),
        ("channel=other".to_owned(), 200),
    ] {
        let answer = ask(&api, "GET", &query);
        assert_eq!(answer.status, status, "{query}: {answer:?}");
    }
    let headers = format!("X-API-Key: {ORDER_KEY}\r\n");
    for method in ["GET", "DELETE"] {
        let denied = api.request(method, "/v1/history?channel=order:1", &headers, b"");
        assert_eq!(denied.status, 403, "{method}: {denied:?}");
    }
}

#[test]
fn what_is_forgotten_is_a_loss_and_no_new_beginning() {
    let server = server();
    let api = Api::of(server.shared());
    let positions = publish(&api, 0..3);
    let listed = |name: &str| {
        let path = format!("/v1/channels?name={name}");
        let headers = format!("X-API-Key: {KEY}\r\n");
        api.request("GET", &path, &headers, b"").json()["channels"][0]["kept"].clone()
    };
    assert_eq!(listed("kept:1"), 3);
    assert_eq!(ask(&api, "DELETE", "channel=kept:1").status, 204);
    let all = ask(&api, "GET", "channel=kept:1").json();
    assert!(texts(&all).is_empty(), "{all}");
    let missing = format!("channel=kept:1&since={}", positions[0]);
    assert_eq!(ask(&api, "GET", &missing).status, 410);
    let nothing = format!("channel=kept:1&since={}", positions[2]);
    assert_eq!(ask(&api, "GET", &nothing).status, 200);
    let next = publish(&api, 3..4);
    assert_eq!(texts(&ask(&api, "GET", &nothing).json()), ["3"]);
    assert_eq!(listed("kept:1"), 1);
    assert_ne!(next[0], positions[0], "an offset is given once");
}

/// Centrifugo's methods, where the namespace keeps something, and where it does not.
#[test]
fn centrifugo_reads_and_removes() {
    let server = server();
    let api = Api::of(server.shared());
    let positions = publish(&api, 0..7);
    let ask = |method: &str, body: Value| {
        let answer = api.post(&format!("/api/{method}"), &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let position = |at: usize| {
        let (epoch, offset) = positions[at].split_once('-').expect("a position");
        json!({"epoch": epoch, "offset": offset.parse::<u64>().expect("a number")})
    };
    let data = |answer: &Value| -> Vec<i64> {
        let list = answer["result"]["publications"].as_array().expect("a list");
        list.iter().filter_map(|one| one["data"].as_i64()).collect()
    };
    let top = ask("history", json!({"channel": "kept:1"}));
    assert!(
        data(&top).is_empty(),
        "no limit is the position alone: {top}"
    );
    assert_eq!(top["result"]["offset"], position(6)["offset"]);
    assert_eq!(top["result"]["epoch"], position(6)["epoch"]);
    let all = ask("history", json!({"channel": "kept:1", "limit": -1}));
    assert_eq!(data(&all), [2, 3, 4, 5, 6]);
    let behind = json!({"channel": "kept:1", "limit": 2, "since": position(3)});
    assert_eq!(data(&ask("history", behind)), [4, 5]);
    let newest = json!({"channel": "kept:1", "limit": 1, "reverse": true});
    assert_eq!(data(&ask("history", newest)), [6]);
    let missing = json!({"channel": "kept:1", "limit": 2, "since": position(0)});
    assert_eq!(ask("history", missing)["error"]["code"], 112);
    assert_eq!(
        ask("history_remove", json!({"channel": "kept:1"})),
        json!({"result": {}})
    );
    let all = ask("history", json!({"channel": "kept:1", "limit": -1}));
    assert!(data(&all).is_empty(), "{all}");
    for method in ["history", "history_remove"] {
        let answer = ask(method, json!({"channel": "other"}));
        assert_eq!(answer["error"]["code"], 108, "{method}: {answer}");
    }
    // It keeps something, and nothing subscribes to it: Centrifugo lists channels that are subscribed to.
    publish(&api, 7..8);
    let listed = ask("channels", json!({}));
    assert_eq!(listed, json!({"result": {"channels": {}}}));
}
