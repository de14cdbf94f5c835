//! What became of a case.

use crate::client::Failure;

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As the document wants it.
    Pass,
    /// A SHOULD or a recommendation was not kept; no MUST was broken.
    Loose(String),
    /// Not asked: the server, or what is known of it, lacks what the case needs.
    Skip(String),
    /// Wrong.
    Fail(String),
}

impl Verdict {
    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Loose(_) => "loose",
            Verdict::Skip(_) => "skip",
            Verdict::Fail(_) => "FAIL",
        }
    }

    /// Why it is not simply passed.
    pub fn reason(&self) -> &str {
        match self {
            Verdict::Pass => "",
            Verdict::Loose(reason) | Verdict::Skip(reason) | Verdict::Fail(reason) => reason,
        }
    }
}

/// A case's verdict; a failure counts as [`Verdict::Fail`].
pub(super) type Outcome = Result<Verdict, Failure>;
