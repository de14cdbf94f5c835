//! One question to a server.

use super::target::Target;
use super::verdict::Outcome;

/// One question to a server.
pub struct Case {
    /// Name, as `group.subject.detail`.
    pub id: &'static str,
    /// What it asks, as a statement that holds for a good server.
    pub title: &'static str,
    /// The document and section that say so; `RFC` is left out.
    pub rfc: &'static str,
    pub(super) run: fn(&Target) -> Outcome,
}

pub(super) const fn case(
    id: &'static str,
    title: &'static str,
    rfc: &'static str,
    run: fn(&Target) -> Outcome,
) -> Case {
    Case {
        id,
        title,
        rfc,
        run,
    }
}
