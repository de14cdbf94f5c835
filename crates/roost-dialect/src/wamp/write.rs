//! Messages written in any serializer.

use crate::Arguments;
use crate::serial::{CborSink, JsonSink, MsgPackSink, RawSink, Serializer, Token, transcode};
use crate::wamp::dict::{Keys, Sparse, text, write_dict};
use crate::wamp::message::WampMessage;

impl WampMessage<'_> {
    /// Appends the message. Arguments of another serializer are converted.
    pub fn write(&self, serializer: Serializer, out: &mut Vec<u8>) {
        match serializer {
            Serializer::Json => self.write_to(&mut JsonSink::new(out)),
            Serializer::MsgPack => self.write_to(&mut MsgPackSink::new(out, Vec::new())),
            Serializer::Cbor => self.write_to(&mut CborSink::new(out, Vec::new())),
        }
    }

    fn write_to<S: RawSink>(&self, sink: &mut S) {
        let arguments = self.arguments();
        let mut items = Items { sink };
        items.begin(self.code(), self.elements(), arguments);
        self.write_elements(&mut items);
        if let Some(arguments) = arguments {
            items.arguments(arguments);
        }
        items.sink.end_array();
    }

    /// How many elements stand between the type and the Arguments.
    fn elements(&self) -> u64 {
        match self {
            WampMessage::Unknown { .. } => 0,
            WampMessage::EventReceived { .. } => 1,
            WampMessage::Unsubscribed { details, .. }
            | WampMessage::Unregistered { details, .. } => 1 + u64::from(details.get().is_some()),
            WampMessage::Publish { .. }
            | WampMessage::Subscribe { .. }
            | WampMessage::Event { .. }
            | WampMessage::Call { .. }
            | WampMessage::Register { .. }
            | WampMessage::Invocation { .. } => 3,
            WampMessage::Error { .. } => 4,
            _ => 2,
        }
    }

    fn arguments(&self) -> Option<&Arguments<'_>> {
        match self {
            WampMessage::Error { arguments, .. }
            | WampMessage::Publish { arguments, .. }
            | WampMessage::Event { arguments, .. }
            | WampMessage::Call { arguments, .. }
            | WampMessage::Result { arguments, .. }
            | WampMessage::Invocation { arguments, .. }
            | WampMessage::Yield { arguments, .. } => Some(arguments),
            _ => None,
        }
    }

    /// Of a message that has nothing but a request's number and an id, both.
    fn request_and_id(&self) -> Option<(u64, u64)> {
        match *self {
            WampMessage::Published {
                request,
                publication: id,
            }
            | WampMessage::Subscribed {
                request,
                subscription: id,
            }
            | WampMessage::Unsubscribe {
                request,
                subscription: id,
            }
            | WampMessage::Registered {
                request,
                registration: id,
            }
            | WampMessage::Unregister {
                request,
                registration: id,
            } => Some((request, id)),
            _ => None,
        }
    }

    fn write_elements<S: RawSink>(&self, to: &mut Items<'_, S>) {
        if let Some((request, id)) = self.request_and_id() {
            to.number(request).number(id);
            return;
        }
        match self {
            WampMessage::Hello { realm, details } => to.text(realm).dict(details),
            WampMessage::Welcome { session, details } => to.number(*session).dict(details),
            WampMessage::Abort { details, reason } | WampMessage::Goodbye { details, reason } => {
                to.dict(details).text(reason)
            }
            WampMessage::Challenge { method, extra } => to.text(method).dict(extra),
            WampMessage::Authenticate { signature, extra } => to.text(signature).dict(extra),
            WampMessage::Error {
                request_type,
                request,
                details,
                error,
                ..
            } => {
                let to = to.number(*request_type).number(*request);
                to.dict(details).text(error)
            }
            WampMessage::Publish {
                request,
                options,
                topic,
                ..
            } => {
                let to = to.number(*request);
                to.sink.element();
                options.write(to.sink);
                to.text(topic)
            }
            WampMessage::Subscribe {
                request,
                options,
                topic,
            } => to.number(*request).dict(options).text(topic),
            WampMessage::Event {
                subscription,
                publication,
                details,
                ..
            } => to.number(*subscription).number(*publication).dict(details),
            WampMessage::EventReceived { publication } => to.number(*publication),
            WampMessage::Unsubscribed { request, details }
            | WampMessage::Unregistered { request, details } => match details.get() {
                Some(_) => to.number(*request).dict(details),
                None => to.number(*request),
            },
            WampMessage::Call { .. }
            | WampMessage::Cancel { .. }
            | WampMessage::Result { .. }
            | WampMessage::Register { .. }
            | WampMessage::Invocation { .. }
            | WampMessage::Interrupt { .. }
            | WampMessage::Yield { .. } => self.write_dealer_elements(to),
            WampMessage::Published { .. }
            | WampMessage::Subscribed { .. }
            | WampMessage::Unsubscribe { .. }
            | WampMessage::Registered { .. }
            | WampMessage::Unregister { .. }
            | WampMessage::Unknown { .. } => to,
        };
    }

    fn write_dealer_elements<'t, 's, S: RawSink>(
        &self,
        to: &'t mut Items<'s, S>,
    ) -> &'t mut Items<'s, S> {
        match self {
            WampMessage::Call {
                request,
                options,
                procedure,
                ..
            } => to.number(*request).dict(options).text(procedure),
            WampMessage::Cancel { request, options }
            | WampMessage::Interrupt { request, options } => to.number(*request).dict(options),
            WampMessage::Result {
                request,
                details: dict,
                ..
            }
            | WampMessage::Yield {
                request,
                options: dict,
                ..
            } => to.number(*request).dict(dict),
            WampMessage::Register {
                request,
                options,
                procedure,
            } => to.number(*request).dict(options).text(procedure),
            WampMessage::Invocation {
                request,
                registration,
                details,
                ..
            } => to.number(*request).number(*registration).dict(details),
            _ => to,
        }
    }
}

/// The elements of a message.
struct Items<'s, S> {
    sink: &'s mut S,
}

impl<S: RawSink> Items<'_, S> {
    /// The message's type, and how many elements follow.
    fn begin(&mut self, code: u64, elements: u64, arguments: Option<&Arguments<'_>>) {
        let arguments = arguments.map_or(0, |arguments| match arguments {
            Arguments {
                kwargs: Some(_), ..
            } => 2,
            Arguments { args: Some(_), .. } => 1,
            _ => 0,
        });
        self.sink.begin_array(Some(1 + elements + arguments));
        self.number(code);
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.sink.element();
        self.sink.scalar(&Token::Unsigned(number));
        self
    }

    fn text(&mut self, value: &str) -> &mut Self {
        self.sink.element();
        text(self.sink, value);
        self
    }

    fn dict<'a, T: Keys<'a>>(&mut self, dict: &Sparse<T>) -> &mut Self {
        self.sink.element();
        write_dict(dict.get(), self.sink);
        self
    }

    fn arguments(&mut self, arguments: &Arguments<'_>) {
        let from = arguments.serializer;
        // ArgumentsKw stand after Arguments, so those are written out even when left out.
        match (arguments.args, arguments.kwargs) {
            (Some(args), _) => self.value(args, from),
            (None, Some(_)) => {
                self.sink.element();
                self.sink.begin_array(Some(0));
                self.sink.end_array();
            }
            (None, None) => {}
        }
        if let Some(kwargs) = arguments.kwargs {
            self.value(kwargs, from);
        }
    }

    fn value(&mut self, value: &[u8], from: Serializer) {
        self.sink.element();
        let out = self.sink.out();
        if from == S::SERIALIZER {
            return out.extend_from_slice(value);
        }
        let start = out.len();
        if transcode(value, from, S::SERIALIZER, out).is_err() {
            debug_assert!(false, "a parsed message has whole values");
            self.sink.out().truncate(start);
            self.sink.scalar(&Token::Null);
        }
    }
}
