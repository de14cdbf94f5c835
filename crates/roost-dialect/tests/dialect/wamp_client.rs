//! A session with the plumbing that most cases share.

use roost_dialect::dialect::{Command, Message};
use roost_dialect::wamp::{Realms, Session, Settings, Wire};
use roost_wire::CloseCode;

pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) settings: Settings,
}

/// What a message led to, owned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Nothing,
    /// An answer and no command.
    Said(String),
    /// `Command::Close`, with the last words.
    Closed(String, CloseCode, &'static str),
    /// Any other command, as Debug prints it.
    Asked(String),
}

impl Client {
    /// Before its HELLO.
    pub(crate) fn new() -> Client {
        Client {
            session: Session::new(Wire::default()),
            settings: Settings {
                enabled: true,
                realms: Realms::Any,
                users: None,
                own_realms: roost_dialect::wamp::OwnRealms::default(),
                takes_tokens: false,
                subscriptions_per_connection_max: 3,
                channel_name_bytes_max: 64,
            },
        }
    }

    /// After its WELCOME.
    pub(crate) fn open() -> Client {
        let mut client = Client::new();
        let did = client.send(HELLO);
        assert!(matches!(did, Did::Said(_)), "{did:?}");
        assert!(client.session.is_open());
        client
    }

    pub(crate) fn send(&mut self, text: &str) -> Did {
        let mut out = Vec::new();
        let mut new_id = || 9_129_137_332;
        let message = Message::Text(text);
        let command = self
            .session
            .handle(message, &mut out, &mut new_id, &self.settings);
        let out = String::from_utf8(out).expect("JSON is text");
        match command {
            Some(Command::Close { code, reason }) => Did::Closed(out, code, reason),
            None if out.is_empty() => Did::Nothing,
            None | Some(Command::Opened) => Did::Said(out),
            Some(other) => {
                assert_eq!(out, "");
                Did::Asked(format!("{other:?}"))
            }
        }
    }

    /// What `say` makes the session write.
    pub(crate) fn hear(&mut self, say: impl FnOnce(&mut Session, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        say(&mut self.session, &mut out);
        String::from_utf8(out).expect("JSON is text")
    }

    /// Asserts that `text` is a protocol violation whose message has `hint`.
    #[track_caller]
    pub(crate) fn violates(mut self, text: &str, hint: &str) {
        let expected = match self.session.is_open() {
            true => "wamp.error.protocol_violation",
            // It may not know that it speaks WAMP.
            false => NOT_WAMP,
        };
        let did = self.send(text);
        let Did::Closed(out, CloseCode::PROTOCOL_ERROR, reason) = did else {
            panic!("{text}: {did:?}");
        };
        assert_eq!(reason, expected);
        assert!(reason.len() <= 123, "it fits a close frame");
        assert!(
            out.ends_with(r#"."},"wamp.error.protocol_violation"]"#),
            "no sentence: {out}"
        );
        assert!(out.starts_with(r#"[3,{"message":""#), "{out}");
        assert!(
            out.ends_with(r#"},"wamp.error.protocol_violation"]"#),
            "{out}"
        );
        assert!(out.contains(hint), "{text}: {out} has no {hint:?}");
        assert_eq!(
            self.send(HELLO),
            Did::Nothing,
            "a closed session does nothing"
        );
    }
}

pub(crate) const HELLO: &str =
    r#"[1, "somerealm", {"roles": {"publisher": {}, "subscriber": {}}}]"#;

/// The close reason before the session is open.
pub(crate) const NOT_WAMP: &str =
    "wamp.error.protocol_violation: this connection speaks wamp.2.json, which begins with HELLO";
