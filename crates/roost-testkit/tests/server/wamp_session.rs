//! A WAMP session in JSON, for tests of what routers are asked.

use roost_testkit::client::{Client, Failure, Message, Request};
use roost_testkit::server::TestServer;
use serde_json::{Value, json};

/// A session that has been welcomed.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) id: u64,
    pub(crate) requests: u64,
    /// The roles that the router has announced.
    pub(crate) roles: Value,
}

impl Session {
    /// An anonymous session.
    pub(crate) fn join(server: &TestServer, realm: &str) -> Result<Session, Failure> {
        Session::join_as(server, realm, "")
    }

    /// A session of a user, by the ticket `s`; anonymous if it has no name.
    pub(crate) fn join_as(
        server: &TestServer,
        realm: &str,
        user: &str,
    ) -> Result<Session, Failure> {
        let details = match user {
            "" => json!({}),
            user => json!({"authid": user, "authmethods": ["ticket"]}),
        };
        let (mut session, mut answer) = Session::hello(server, realm, details)?;
        if !user.is_empty() {
            answer = session.ask(&json!([5, "s", {}]))?;
        }
        assert_eq!(answer[0], 2, "{answer}");
        session.welcome(&answer);
        Ok(session)
    }

    /// The answer to HELLO.
    pub(crate) fn hello(
        server: &TestServer,
        realm: &str,
        mut details: Value,
    ) -> Result<(Session, Value), Failure> {
        let client = Client::connect(server.address())?;
        let mut session = Session::over(client, "wamp.2.json")?;
        details["roles"] = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
        let answer = session.greet(realm, &details)?;
        Ok((session, answer))
    }

    /// One that has not said HELLO yet.
    pub(crate) fn over(mut client: Client, subprotocol: &str) -> Result<Session, Failure> {
        let request = Request::websocket("h", "/wamp");
        let header = format!("Sec-WebSocket-Protocol: {subprotocol}");
        client.shake_hands(&request.header(&header))?;
        Ok(Session {
            client,
            id: 0,
            requests: 0,
            roles: Value::Null,
        })
    }

    /// Says HELLO; gives the answer.
    pub(crate) fn greet(&mut self, realm: &str, details: &Value) -> Result<Value, Failure> {
        let answer = self.ask(&json!([1, realm, details]))?;
        self.welcome(&answer);
        Ok(answer)
    }

    fn welcome(&mut self, answer: &Value) {
        if answer[0] == 2 {
            self.id = answer[1].as_u64().unwrap_or_default();
            self.roles = answer[2]["roles"].clone();
        }
    }

    pub(crate) fn send(&mut self, message: &Value) -> Result<(), Failure> {
        self.client.send_text(&message.to_string())
    }

    pub(crate) fn hear(&mut self) -> Result<Value, Failure> {
        match self.client.receive()? {
            Message::Text(text) => {
                serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
            }
            other => Err(Failure::new(format!("expected JSON, received {other:?}"))),
        }
    }

    pub(crate) fn ask(&mut self, message: &Value) -> Result<Value, Failure> {
        self.send(message)?;
        self.hear()
    }

    /// The answer to a request of this type.
    pub(crate) fn request(
        &mut self,
        code: u64,
        options: Value,
        rest: &[Value],
    ) -> Result<Value, Failure> {
        self.requests += 1;
        let mut message = vec![json!(code), json!(self.requests), options];
        message.extend_from_slice(rest);
        let answer = self.ask(&json!(message))?;
        let number = match answer[0] == 8 {
            true => &answer[2],
            false => &answer[1],
        };
        assert_eq!(number, self.requests, "{answer}");
        Ok(answer)
    }

    /// Subscribes; gives the subscription.
    pub(crate) fn subscribe(&mut self, topic: &str, matching: &str) -> Result<u64, Failure> {
        let answer = self.request(32, json!({"match": matching}), &[json!(topic)])?;
        assert_eq!(answer[0], 33, "{topic}: {answer}");
        Ok(answer[2].as_u64().unwrap_or_default())
    }

    /// Registers; gives the registration.
    pub(crate) fn register(&mut self, procedure: &str, options: Value) -> Result<u64, Failure> {
        let answer = self.request(64, options, &[json!(procedure)])?;
        assert_eq!(answer[0], 65, "{procedure}: {answer}");
        Ok(answer[2].as_u64().unwrap_or_default())
    }

    /// The first argument of a result, or the URI of an error.
    pub(crate) fn call(
        &mut self,
        procedure: &str,
        args: Value,
        kwargs: Value,
    ) -> Result<Value, Failure> {
        let answer = self.request(48, json!({}), &[json!(procedure), args, kwargs])?;
        if answer[0] == 8 {
            return Ok(answer[4].clone());
        }
        assert_eq!(answer[0], 50, "{answer}");
        Ok(answer[3][0].clone())
    }

    /// The same of a procedure about sessions.
    pub(crate) fn ask_sessions(
        &mut self,
        name: &str,
        args: Value,
        kwargs: Value,
    ) -> Result<Value, Failure> {
        self.call(&format!("wamp.session.{name}"), args, kwargs)
    }

    /// The answer to a publication of one text.
    pub(crate) fn publish(&mut self, topic: &str, text: &str) -> Result<Value, Failure> {
        let rest = [json!(topic), json!([text])];
        self.request(16, json!({"acknowledge": true}), &rest)
    }
}
