//! What a topic retains, as sessions ask for it.

use crate::wamp_client::{Client, Did};

#[test]
fn what_is_retained_is_asked_for_of_a_topic_alone() {
    let subscribe = |options: &str| {
        let message = format!(r#"[32,7,{options},"a.b"]"#);
        Client::open().send(&message)
    };
    let expected = |what: &str| {
        Did::Asked(format!(
            "Subscribe {{ what: {what}, form: Form(1), token: 7, grant: None }}"
        ))
    };
    for (options, what) in [
        (r#"{"get_retained":true}"#, r#"Since("a.b", Retained)"#),
        (r#"{"get_retained":false}"#, r#"Channel("a.b")"#),
        (r#"{"get_retained":null}"#, r#"Channel("a.b")"#),
        (
            r#"{"get_retained":true,"match":"prefix"}"#,
            r#"Pattern(Prefix, "a.b")"#,
        ),
    ] {
        assert_eq!(subscribe(options), expected(what), "{options}");
    }
}
