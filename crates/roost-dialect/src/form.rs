//! The number of a form.

/// A form in which publications are written for subscribers, of all dialects together. One image
/// in a form serves all its subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Form(pub u8);
