//! `[events]`: what fits together.

use roost_config::{parse, to_toml};

#[test]
fn events_are_off_without_a_url_and_name_what_they_tell() {
    let off = parse("", "t").expect("no mistake").settings.events;
    assert!(!off.is_on() && !off.names("connected"));
    let url = "[events]\nurl = \"http://127.0.0.1:3000/events\"\n";
    let loaded = parse(url, "t").expect("no mistake");
    let events = &loaded.settings.events;
    assert!(events.is_on() && events.names("connected") && !events.names("subscribed"));
    assert_eq!((events.batch_max, events.linger_ms), (500, 5_000));
    let all = parse(&format!("{url}types = [\"*\"]\n"), "t").expect("no mistake");
    assert!(all.settings.events.names("subscribed"));
    let again = parse(&to_toml(&loaded), "t").expect("no mistake");
    assert_eq!(&again.settings.events, events);
}

#[test]
fn what_does_not_fit_together_is_told() {
    for (lines, told) in [
        (
            "url = \"http://app\"\nnamespaces = [\"chta\"]",
            "names of [[namespace]] sections",
        ),
        ("batch_max = 500\nqueue_max = 100", "at most queue_max, 100"),
        ("types = [\"connect\"]", "\"connected\", \"logged_in\""),
        ("url = \"app:3000\"", "it begins with http:// or https://"),
        ("node = \"a b\"", "a name of 1 to 64 letters"),
        ("secret_file = \"x\"", "did you mean `secrets_file`?"),
    ] {
        let text = format!("[events]\n{lines}\n");
        let errors = parse(&text, "t").expect_err(&text).to_string();
        assert!(errors.contains(told), "{text}\n{errors}");
    }
}
