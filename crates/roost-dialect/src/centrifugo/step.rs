//! What a line of a client leads to.

use std::borrow::Cow;

use crate::dialect::Command;

/// What a line leads to.
pub(super) enum Step<'a> {
    /// It has its answer, or needs none.
    Done,
    Command(Command<'a>),
    /// The same, and the line is drawn again behind it.
    Redraw(Command<'a>),
    /// The line is read again when the client's token, or that it has none, is known to be good.
    CheckToken(Option<Cow<'a, str>>),
    /// The same when the token is known to allow a subscription to the channel, or not to.
    CheckSubscription(Cow<'a, str>, Cow<'a, str>),
}
