//! WAMP's messages: what each is made of, whatever the serializer. `parse.rs` reads all of them,
//! `write.rs` writes all of them.

use std::borrow::Cow;

use crate::Arguments;
use crate::wamp::dict::Sparse;
use crate::wamp::options::{
    AuthExtra, CallOptions, CancelOptions, EventDetails, HelloDetails, InvocationDetails,
    PublishOptions, Reasons, RegisterOptions, ResultDetails, RevokedDetails, SubscribeOptions,
    WelcomeDetails,
};

/// The requests that are answered later than they are handled; the number is the message's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// PUBLISH with `acknowledge`.
    Publish = 16,
    /// SUBSCRIBE.
    Subscribe = 32,
    /// UNSUBSCRIBE.
    Unsubscribe = 34,
    /// CALL.
    Call = 48,
    /// REGISTER.
    Register = 64,
}

/// A message by its shape. What may be sent by whom and when is the session's matter.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the elements are the specification's")]
pub enum WampMessage<'a> {
    /// `[1, Realm, Details]`
    Hello {
        realm: Cow<'a, str>,
        details: Sparse<HelloDetails<'a>>,
    },
    /// `[2, Session, Details]`
    Welcome {
        session: u64,
        details: Sparse<WelcomeDetails<'a>>,
    },
    /// `[3, Details, Reason]`
    Abort {
        details: Sparse<Reasons<'a>>,
        reason: Cow<'a, str>,
    },
    /// `[4, AuthMethod, Extra]`
    Challenge {
        method: Cow<'a, str>,
        extra: Sparse<AuthExtra<'a>>,
    },
    /// `[5, Signature, Extra]`
    Authenticate {
        signature: Cow<'a, str>,
        extra: Sparse<AuthExtra<'a>>,
    },
    /// `[6, Details, Reason]`
    Goodbye {
        details: Sparse<Reasons<'a>>,
        reason: Cow<'a, str>,
    },
    /// `[8, REQUEST.Type, REQUEST.Request, Details, Error, Arguments, ArgumentsKw]`
    Error {
        request_type: u64,
        request: u64,
        details: Sparse<Reasons<'a>>,
        error: Cow<'a, str>,
        arguments: Arguments<'a>,
    },
    /// `[16, Request, Options, Topic, Arguments, ArgumentsKw]`
    Publish {
        request: u64,
        options: PublishOptions<'a>,
        topic: Cow<'a, str>,
        arguments: Arguments<'a>,
    },
    /// `[17, PUBLISH.Request, Publication]`
    Published { request: u64, publication: u64 },
    /// `[32, Request, Options, Topic]`
    Subscribe {
        request: u64,
        options: Sparse<SubscribeOptions<'a>>,
        topic: Cow<'a, str>,
    },
    /// `[33, SUBSCRIBE.Request, Subscription]`
    Subscribed { request: u64, subscription: u64 },
    /// `[34, Request, SUBSCRIBED.Subscription]`
    Unsubscribe { request: u64, subscription: u64 },
    /// `[35, UNSUBSCRIBE.Request]`, or with request 0 `[35, 0, Details]`
    Unsubscribed {
        request: u64,
        details: Sparse<RevokedDetails<'a>>,
    },
    /// `[36, SUBSCRIBED.Subscription, PUBLISHED.Publication, Details, PUBLISH.Arguments,
    /// PUBLISH.ArgumentsKw]`
    Event {
        subscription: u64,
        publication: u64,
        details: Sparse<EventDetails<'a>>,
        arguments: Arguments<'a>,
    },
    /// `[337, EVENT.Publication]`
    EventReceived { publication: u64 },
    /// `[48, Request, Options, Procedure, Arguments, ArgumentsKw]`
    Call {
        request: u64,
        options: Sparse<CallOptions<'a>>,
        procedure: Cow<'a, str>,
        arguments: Arguments<'a>,
    },
    /// `[49, CALL.Request, Options]`
    Cancel {
        request: u64,
        options: Sparse<CancelOptions<'a>>,
    },
    /// `[50, CALL.Request, Details, YIELD.Arguments, YIELD.ArgumentsKw]`
    Result {
        request: u64,
        details: Sparse<ResultDetails<'a>>,
        arguments: Arguments<'a>,
    },
    /// `[64, Request, Options, Procedure]`
    Register {
        request: u64,
        options: Sparse<RegisterOptions<'a>>,
        procedure: Cow<'a, str>,
    },
    /// `[65, REGISTER.Request, Registration]`
    Registered { request: u64, registration: u64 },
    /// `[66, Request, REGISTERED.Registration]`
    Unregister { request: u64, registration: u64 },
    /// `[67, UNREGISTER.Request]`, or with request 0 `[67, 0, Details]`
    Unregistered {
        request: u64,
        details: Sparse<RevokedDetails<'a>>,
    },
    /// `[68, Request, REGISTERED.Registration, Details, CALL.Arguments, CALL.ArgumentsKw]`
    Invocation {
        request: u64,
        registration: u64,
        details: Sparse<InvocationDetails<'a>>,
        arguments: Arguments<'a>,
    },
    /// `[69, INVOCATION.Request, Options]`
    Interrupt {
        request: u64,
        options: Sparse<CancelOptions<'a>>,
    },
    /// `[70, INVOCATION.Request, Options, Arguments, ArgumentsKw]`
    Yield {
        request: u64,
        options: Sparse<ResultDetails<'a>>,
        arguments: Arguments<'a>,
    },
    /// An array that begins with another number.
    Unknown { code: u64 },
}

impl WampMessage<'_> {
    /// The number that it begins with.
    pub fn code(&self) -> u64 {
        match self {
            WampMessage::Hello { .. } => 1,
            WampMessage::Welcome { .. } => 2,
            WampMessage::Abort { .. } => 3,
            WampMessage::Challenge { .. } => 4,
            WampMessage::Authenticate { .. } => 5,
            WampMessage::Goodbye { .. } => 6,
            WampMessage::Error { .. } => 8,
            WampMessage::Publish { .. } => 16,
            WampMessage::Published { .. } => 17,
            WampMessage::Subscribe { .. } => 32,
            WampMessage::Subscribed { .. } => 33,
            WampMessage::Unsubscribe { .. } => 34,
            WampMessage::Unsubscribed { .. } => 35,
            WampMessage::Event { .. } => 36,
            WampMessage::EventReceived { .. } => 337,
            WampMessage::Call { .. } => 48,
            WampMessage::Cancel { .. } => 49,
            WampMessage::Result { .. } => 50,
            WampMessage::Register { .. } => 64,
            WampMessage::Registered { .. } => 65,
            WampMessage::Unregister { .. } => 66,
            WampMessage::Unregistered { .. } => 67,
            WampMessage::Invocation { .. } => 68,
            WampMessage::Interrupt { .. } => 69,
            WampMessage::Yield { .. } => 70,
            WampMessage::Unknown { code } => *code,
        }
    }
}

const _: () = assert!(size_of::<WampMessage<'_>>() <= 104);
