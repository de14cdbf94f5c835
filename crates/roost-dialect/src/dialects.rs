//! The dialects there are, and the one place that tells them apart.
//!
//! A new dialect is a folder that implements [`Dialect`](crate::dialect::Dialect), and one line at
//! the end of this file.

use std::sync::Arc;

use roost_access::{Identity, UserName};
use roost_hub::{ChannelId, EventIds, MemberInfo};
use roost_wire::{CloseCode, Frozen};

use crate::dialect::{
    Accept, Command, Context, Dialect, Event, Input, Member, Next, Offer, Session, Terms,
};
use crate::{Form, Publication, Receivers};

impl Form {
    /// The payload as a message of its own: text as text, binary as binary.
    pub const RAW: Form = Form::of(DialectKind::Raw, 0);
    /// A WAMP EVENT in JSON.
    pub const WAMP_JSON: Form = Form::of(DialectKind::Wamp, 0);
    /// A push of Centrifugo's protocol in JSON.
    pub const CENTRIFUGO: Form = Form::of(DialectKind::Centrifugo, 0);
    /// The same in Protobuf.
    pub const CENTRIFUGO_PROTOBUF: Form = Form::of(DialectKind::Centrifugo, 3);
    /// Both for clients without a WebSocket; the last is Protobuf.
    pub const CENTRIFUGO_STREAMS: [Form; 3] = [
        Form::of(DialectKind::Centrifugo, 1),
        Form::of(DialectKind::Centrifugo, 2),
        Form::of(DialectKind::Centrifugo, 4),
    ];
    /// The first of those of Centrifugo's subscribers that get deltas, which have the order of those that do not.
    const CENTRIFUGO_DELTA: Form = Form::of(DialectKind::Centrifugo, CENTRIFUGO_PLAIN);
    /// An event of Pusher's protocol.
    pub const PUSHER: Form = Form::of(DialectKind::Pusher, 0);
    /// The same, of a channel whose name has a prefix that clients do not know.
    pub const PUSHER_PREFIXED: Form = Form::of(DialectKind::Pusher, 1);

    /// The form at place `at` of a dialect's [`Dialect::FORMS`].
    #[expect(
        clippy::cast_possible_truncation,
        reason = "all dialects together have fewer than 256 forms"
    )]
    pub const fn of(dialect: DialectKind, at: usize) -> Form {
        assert!(at < FORMS_OF[dialect as usize], "the dialect has this form");
        Form((first_form(dialect) + at) as u8)
    }
}

impl Form {
    /// Whether it is a stream of bytes, of which none tells a beginning ([`Frozen::of_bytes`]).
    pub fn is_stream_of_bytes(self) -> bool {
        self.without_deltas() == Form::CENTRIFUGO_STREAMS[2]
    }

    /// Whether its subscribers get deltas, each against the publication before, if they have that.
    pub const fn has_deltas(self) -> bool {
        let first = Form::CENTRIFUGO_DELTA.0;
        self.0 >= first && ((self.0 - first) as usize) < CENTRIFUGO_PLAIN
    }

    /// Whether its subscribers are sent streams, and never messages of a WebSocket.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "all dialects together have fewer than 256 forms"
    )]
    pub const fn is_streamed(self) -> bool {
        let [lines, events, bytes] = Form::CENTRIFUGO_STREAMS;
        let (plain, sse) = (self.without_deltas().0, first_form(DialectKind::Sse) as u8);
        plain == lines.0
            || plain == events.0
            || plain == bytes.0
            || (plain >= sse && ((plain - sse) as usize) < FORMS_OF[DialectKind::Sse as usize])
    }

    /// The form of the same connection's subscriptions without deltas.
    #[must_use]
    pub const fn without_deltas(self) -> Form {
        match self.has_deltas() {
            true => Form(self.0 - (Form::CENTRIFUGO_DELTA.0 - Form::CENTRIFUGO.0)),
            false => self,
        }
    }

    /// Its place in a dialect's [`Dialect::FORMS`], if it is one of those.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "all dialects together have fewer than 256 forms"
    )]
    fn place_in(self, dialect: DialectKind) -> Option<u8> {
        let at = self.0.checked_sub(first_form(dialect) as u8)?;
        (usize::from(at) < FORMS_OF[dialect as usize]).then_some(at)
    }
}

/// How many forms Centrifugo has without deltas: one for each way to send.
pub(crate) const CENTRIFUGO_PLAIN: usize = 5;

/// How many forms there are; a [`Form`] is below.
pub const FORMS: usize = first_form_at(FORMS_OF.len());

const _: () = assert!(FORMS <= u8::MAX as usize);

const fn first_form(dialect: DialectKind) -> usize {
    first_form_at(dialect as usize)
}

const fn first_form_at(dialect: usize) -> usize {
    let (mut at, mut sum) = (0, 0);
    while at < dialect {
        sum += FORMS_OF[at];
        at += 1;
    }
    sum
}

macro_rules! dialects {
    ($($(#[$meta:meta])* $module:ident :: $Name:ident,)+) => {
        /// What a connection speaks. One byte of its record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DialectKind {
            $(
                #[doc = concat!("See [`", stringify!($module), "`](crate::", stringify!($module), ").")]
                $(#[$meta])*
                $Name,
            )+
        }

        impl DialectKind {
            /// All there are, in the order in which they are asked for a connection.
            pub const ALL: &'static [DialectKind] = &[$($(#[$meta])* DialectKind::$Name,)+];

            /// What counters, `/stats/slow` and logs call it.
            pub fn name(self) -> &'static str {
                match self {
                    $($(#[$meta])* DialectKind::$Name => <crate::$module::$Name as Dialect>::NAME,)+
                }
            }

            /// [`Dialect::SENDS_BACK`]
            pub fn sends_back(self) -> bool {
                match self {
                    $($(#[$meta])* DialectKind::$Name => <crate::$module::$Name as Dialect>::SENDS_BACK,)+
                }
            }

            /// [`Dialect::OPENED_BY_CLIENT`]
            #[inline]
            pub fn is_opened_by_client(self) -> bool {
                match self {
                    $($(#[$meta])* DialectKind::$Name => <crate::$module::$Name as Dialect>::OPENED_BY_CLIENT,)+
                }
            }

            /// [`Dialect::GREETS`]
            #[inline]
            pub fn greets(self) -> bool {
                match self {
                    $($(#[$meta])* DialectKind::$Name => <crate::$module::$Name as Dialect>::GREETS,)+
                }
            }

            /// [`Dialect::ANSWERS_WITH_MEMBERS`]
            #[inline]
            pub fn answers_with_members(self) -> bool {
                match self {
                    $($(#[$meta])* DialectKind::$Name =>
                        <crate::$module::$Name as Dialect>::ANSWERS_WITH_MEMBERS,)+
                }
            }

            /// [`Dialect::PINGS`]
            #[inline]
            pub fn pings(self) -> bool {
                match self {
                    $($(#[$meta])* DialectKind::$Name => <crate::$module::$Name as Dialect>::PINGS,)+
                }
            }
        }

        /// How many forms each has.
        const FORMS_OF: &[usize] =
            &[$($(#[$meta])* <crate::$module::$Name as Dialect>::FORMS.len(),)+];

        /// What the dialects obey.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $(
                #[doc = concat!("Of [`", stringify!($module), "`](crate::", stringify!($module), ").")]
                $(#[$meta])*
                pub $module: Arc<<crate::$module::$Name as Dialect>::Settings>,
            )+
        }

        impl Settings {
            /// All dialects off.
            pub fn off() -> Settings {
                Settings { $($(#[$meta])* $module: Arc::default(),)+ }
            }

            /// The dialect that wants a connection, and what becomes of it. `NotMine` is no
            /// answer here: `None` is.
            pub fn accept<'a>(&self, offer: &Offer<'a>) -> Option<(DialectKind, Accept<'a>)> {
                $(
                    $(#[$meta])*
                    {
                        let accept = <crate::$module::$Name as Dialect>::accept(&self.$module, offer);
                        if accept != Accept::NotMine {
                            return Some((DialectKind::$Name, accept));
                        }
                    }
                )+
                None
            }
        }

        /// All dialects of one reactor, with their sessions.
        pub struct Dialects {
            $($(#[$meta])* $module: crate::$module::$Name,)+
        }

        impl Dialects {
            /// Without sessions.
            pub fn new(settings: &Settings) -> Dialects {
                Dialects {
                    $($(#[$meta])* $module: Dialect::new(settings.$module.clone()),)+
                }
            }

            /// [`Dialect::configure`]
            pub fn configure(&mut self, settings: &Settings) {
                $($(#[$meta])* self.$module.configure(settings.$module.clone());)+
            }

            /// [`Dialect::open`]
            pub fn open(
                &mut self,
                kind: DialectKind,
                subprotocol: Option<&str>,
                terms: Terms,
                joined: Option<ChannelId>,
            ) -> Session {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.open(subprotocol, terms, joined),)+
                }
            }

            /// [`Dialect::next`]
            #[inline]
            pub fn next<'a>(
                &mut self,
                kind: DialectKind,
                session: Session,
                input: &mut Input<'a>,
                cx: &mut Context<'_>,
            ) -> Option<Command<'a>> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.next(session, input, cx),)+
                }
            }

            /// [`Dialect::on`]
            pub fn on(
                &mut self,
                kind: DialectKind,
                session: Session,
                event: Event<'_>,
                cx: &mut Context<'_>,
            ) -> Next {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.on(session, event, cx),)+
                }
            }

            /// [`Dialect::pop_subscription`]
            pub fn pop_subscription(
                &mut self,
                kind: DialectKind,
                session: &mut Session,
            ) -> Option<(ChannelId, Form)> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.pop_subscription(session),)+
                }
            }

            /// [`Dialect::awaits_opening`]
            pub fn awaits_opening(&self, kind: DialectKind, session: Session) -> bool {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.awaits_opening(session),)+
                }
            }

            /// [`Dialect::is_subscribed`]
            pub fn is_subscribed(
                &self,
                kind: DialectKind,
                session: Session,
                channel: ChannelId,
            ) -> bool {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.is_subscribed(session, channel),)+
                }
            }

            /// [`Dialect::realm`]
            pub fn realm(&self, kind: DialectKind, session: Session) -> Option<u16> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.realm(session),)+
                }
            }

            /// [`Dialect::member`]
            pub fn member(&self, kind: DialectKind, session: Session) -> Option<Member> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.member(session),)+
                }
            }

            /// [`Dialect::is_confirmed`]
            pub fn is_confirmed(
                &self,
                kind: DialectKind,
                session: Session,
                channel: ChannelId,
            ) -> bool {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.is_confirmed(session, channel),)+
                }
            }

            /// [`Dialect::form_of`]
            pub fn form_of(
                &self,
                kind: DialectKind,
                session: Session,
                channel: ChannelId,
            ) -> Option<Form> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.form_of(session, channel),)+
                }
            }

            /// [`Dialect::leave`]
            pub fn leave(&mut self, kind: DialectKind, session: Session) -> Option<Member> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.leave(session),)+
                }
            }

            /// [`Dialect::end_subscription`]
            pub fn end_subscription(
                &mut self,
                kind: DialectKind,
                session: Session,
                channel: (ChannelId, &str),
                cx: &mut Context<'_>,
            ) -> Option<Form> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.end_subscription(session, channel, cx),)+
                }
            }

            /// [`Dialect::begin_subscription`]
            pub fn begin_subscription(
                &mut self,
                kind: DialectKind,
                session: Session,
                name: &str,
            ) -> Option<(Form, u64)> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.begin_subscription(session, name),)+
                }
            }

            /// [`Dialect::emulation`]
            pub fn emulation(&self, kind: DialectKind, session: Session) -> Option<&str> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.emulation(session),)+
                }
            }

            /// [`Dialect::say_close`]
            pub fn say_close(
                &mut self,
                kind: DialectKind,
                session: Session,
                close: (CloseCode, &str),
                cx: &mut Context<'_>,
            ) {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.say_close(session, close, cx),)+
                }
            }

            /// [`Dialect::each_subscription`]
            pub fn each_subscription(
                &self,
                kind: DialectKind,
                session: Session,
                visit: &mut dyn FnMut(ChannelId),
            ) {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.each_subscription(session, visit),)+
                }
            }

            /// [`Dialect::is_receiver`]
            pub fn is_receiver(
                &self,
                kind: DialectKind,
                session: Session,
                identity: Option<&Identity>,
                receivers: &Receivers,
            ) -> bool {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.is_receiver(session, identity, receivers),)+
                }
            }

            /// [`Dialect::client`]
            pub fn client(&self, kind: DialectKind, session: Session) -> Option<u64> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.client(session),)+
                }
            }

            /// [`Dialect::is_told_of_members`]
            pub fn is_told_of_members(
                &self,
                kind: DialectKind,
                session: Session,
                channel: ChannelId,
            ) -> bool {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.is_told_of_members(session, channel),)+
                }
            }

            /// [`Dialect::is_told_of_user`]
            pub fn is_told_of_user(
                &self,
                kind: DialectKind,
                session: Session,
                channel: ChannelId,
                change: (&str, u64),
            ) -> bool {
                match kind {
                    $($(#[$meta])* DialectKind::$Name =>
                        self.$module.is_told_of_user(session, channel, change),)+
                }
            }

            /// [`Dialect::joins_as`]
            pub fn joins_as(
                &self,
                kind: DialectKind,
                session: Session,
            ) -> Option<(UserName, Option<Arc<MemberInfo>>)> {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.joins_as(session),)+
                }
            }

            /// [`Dialect::close`]
            pub fn close(&mut self, kind: DialectKind, session: Session) {
                match kind {
                    $($(#[$meta])* DialectKind::$Name => self.$module.close(session),)+
                }
            }

            /// [`Dialect::shrink`] of all.
            pub fn shrink(&mut self) -> usize {
                let mut bytes = 0;
                $($(#[$meta])* { bytes += self.$module.shrink(); })+
                bytes
            }

            /// Bytes of all sessions' tables.
            pub fn memory_bytes(&self) -> usize {
                let mut bytes = 0;
                $($(#[$meta])* { bytes += self.$module.memory_bytes(); })+
                bytes
            }
        }

        impl DialectKind {
            /// [`Dialect::HOLDS_POSITIONS`]
            pub fn holds_positions(self) -> bool {
                match self {
                    $($(#[$meta])* DialectKind::$Name =>
                        <crate::$module::$Name as Dialect>::HOLDS_POSITIONS,)+
                }
            }

            /// [`Dialect::ANSWERS_WITH_RECOVERED`]
            pub fn answers_with_recovered(self) -> bool {
                match self {
                    $($(#[$meta])* DialectKind::$Name =>
                        <crate::$module::$Name as Dialect>::ANSWERS_WITH_RECOVERED,)+
                }
            }
        }

        /// Whether a publication can be written for the subscribers of one form.
        #[inline]
        pub fn carries(publication: &Publication, form: Form) -> bool {
            $(
                $(#[$meta])*
                {
                    const FIRST: usize = first_form(DialectKind::$Name);
                    const END: usize = FIRST + FORMS_OF[DialectKind::$Name as usize];
                    if (FIRST..END).contains(&usize::from(form.0)) {
                        let at = form.0 - Form::of(DialectKind::$Name, 0).0;
                        return <crate::$module::$Name as Dialect>::carries(at, publication);
                    }
                }
            )+
            true
        }

        /// Encodes a publication for the subscribers of one form: one unfragmented text or binary
        /// message. `ids.topic` and `ids.publication` are used by WAMP only, `channel` by Centrifugo and Pusher. At most 8 bytes are
        /// written for each byte published (a short float of CBOR as JSON), plus 100.
        ///
        /// # Panics
        /// When there is no such form.
        pub fn encode(
            publication: &Publication,
            form: Form,
            ids: EventIds,
            channel: &str,
        ) -> Frozen {
            encode_at(publication, form, ids, channel, 0)
        }

        /// The same where the epoch is told in which `ids.offset` counts.
        ///
        /// # Panics
        /// When there is no such form.
        pub fn encode_at(
            publication: &Publication,
            form: Form,
            ids: EventIds,
            channel: &str,
            epoch: u64,
        ) -> Frozen {
            $(
                $(#[$meta])*
                {
                    const FIRST: usize = first_form(DialectKind::$Name);
                    const END: usize = FIRST + FORMS_OF[DialectKind::$Name as usize];
                    if (FIRST..END).contains(&usize::from(form.0)) {
                        let at = form.0 - Form::of(DialectKind::$Name, 0).0;
                        return <crate::$module::$Name as Dialect>::encode_at(
                            at, publication, ids, channel, epoch,
                        );
                    }
                }
            )+
            unreachable!("{form:?} is no dialect's")
        }

        /// The same of a channel that keeps history.
        ///
        /// # Panics
        /// When there is no such form.
        pub fn encode_kept(
            publication: &Publication,
            form: Form,
            ids: EventIds,
            channel: &str,
            epoch: u64,
        ) -> Frozen {
            $(
                $(#[$meta])*
                if let Some(at) = form.place_in(DialectKind::$Name) {
                    return <crate::$module::$Name as Dialect>::encode_kept(
                        at, publication, ids, channel, epoch,
                    );
                }
            )+
            unreachable!("{form:?} is no dialect's")
        }

        /// A publication that its channel retains: [`Dialect::encode_retained`].
        ///
        /// # Panics
        /// When there is no such form.
        pub fn encode_retained(
            publication: &Publication,
            form: Form,
            ids: EventIds,
            channel: &str,
            epoch: u64,
        ) -> Frozen {
            $(
                $(#[$meta])*
                if let Some(at) = form.place_in(DialectKind::$Name) {
                    return <crate::$module::$Name as Dialect>::encode_retained(
                        at, publication, ids, channel, epoch,
                    );
                }
            )+
            unreachable!("{form:?} is no dialect's")
        }

        /// A publication of before, as a part of an answer: [`Dialect::encode_recovered`].
        ///
        /// # Panics
        /// When there is no such form.
        pub fn encode_recovered(publication: &Publication, form: Form, ids: EventIds) -> Frozen {
            $(
                $(#[$meta])*
                if let Some(at) = form.place_in(DialectKind::$Name) {
                    return <crate::$module::$Name as Dialect>::encode_recovered(at, publication, ids);
                }
            )+
            unreachable!("{form:?} is no dialect's")
        }

        /// Whether publications of before are a part of the answer, for subscribers of one form.
        pub fn answers_with_recovered(form: Form) -> bool {
            DialectKind::ALL
                .iter()
                .any(|&kind| kind.answers_with_recovered() && form.place_in(kind).is_some())
        }

        /// The same for the subscribers to a pattern that matches `channel`: `ids.topic` is the
        /// pattern's number.
        ///
        /// # Panics
        /// When there is no such form.
        pub fn encode_matched(
            publication: &Publication,
            form: Form,
            ids: EventIds,
            channel: &str,
        ) -> Frozen {
            $(
                $(#[$meta])*
                {
                    const FIRST: usize = first_form(DialectKind::$Name);
                    const END: usize = FIRST + FORMS_OF[DialectKind::$Name as usize];
                    if (FIRST..END).contains(&usize::from(form.0)) {
                        let at = form.0 - Form::of(DialectKind::$Name, 0).0;
                        return <crate::$module::$Name as Dialect>::encode_matched(
                            at, publication, ids, channel,
                        );
                    }
                }
            )+
            unreachable!("{form:?} is no dialect's")
        }
    };
}

// In the order in which they are asked for a connection: a path of one's own before subprotocols
// that may come on any path.
dialects! {
    raw::Raw,
    echo::Echo,
    wamp::Wamp,
    soap::Soap,
    centrifugo::Centrifugo,
    pusher::Pusher,
    sse::Sse,
    #[cfg(feature = "toy")]
    toy::Toy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_belongs_to_one_dialect() {
        let mut next = 0;
        for &kind in DialectKind::ALL {
            for at in 0..FORMS_OF[kind as usize] {
                assert_eq!(Form::of(kind, at), Form(next), "{}", kind.name());
                next += 1;
            }
        }
        assert_eq!(usize::from(next), FORMS);
        assert_ne!(Form::RAW, Form::WAMP_JSON);
    }
}
