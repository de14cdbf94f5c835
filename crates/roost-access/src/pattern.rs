//! Names and patterns of names, as WAMP has them: exact, by prefix, or with components that are left
//! open.

/// How a pattern's text is compared with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matching {
    /// It is the name.
    Exact,
    /// The name begins with it, in bytes: the end of a component is no border.
    Prefix,
    /// Both have as many components between dots; one that is empty in the pattern stands for any.
    Wildcard,
}

/// A pattern that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    matching: Matching,
    text: Box<str>,
}

/// A name or a pattern that is asked about. A pattern stands for all the names that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternRef<'a> {
    /// How it is compared.
    pub matching: Matching,
    /// A name, a beginning, or components.
    pub text: &'a str,
}

impl Pattern {
    /// A pattern of this text.
    pub fn new(matching: Matching, text: impl Into<Box<str>>) -> Pattern {
        Pattern {
            matching,
            text: text.into(),
        }
    }

    /// The same, borrowed.
    pub fn borrowed(&self) -> PatternRef<'_> {
        PatternRef {
            matching: self.matching,
            text: &self.text,
        }
    }
}

impl<'a> PatternRef<'a> {
    /// One name.
    pub fn name(text: &'a str) -> PatternRef<'a> {
        PatternRef {
            matching: Matching::Exact,
            text,
        }
    }

    /// What all the names begin with that it matches, if there may be more than one.
    pub fn open_start(self) -> Option<&'a str> {
        match self.matching {
            Matching::Prefix => Some(self.text),
            Matching::Wildcard if is_open(self.text) => Some(fixed_start(self.text)),
            Matching::Exact | Matching::Wildcard => None,
        }
    }

    /// Whether it matches a name.
    pub fn matches(self, name: &str) -> bool {
        self.contains(PatternRef::name(name))
    }

    /// Whether it matches every name that `other` matches.
    pub fn contains(self, other: PatternRef<'_>) -> bool {
        match (self.matching, other.matching) {
            (Matching::Exact, Matching::Exact) => self.text == other.text,
            // Without an open component it is a name.
            (Matching::Exact, Matching::Wildcard) => {
                self.text == other.text && !is_open(other.text)
            }
            (Matching::Prefix, Matching::Exact | Matching::Prefix) => {
                other.text.starts_with(self.text)
            }
            (Matching::Prefix, Matching::Wildcard) => {
                fixed_start(other.text).starts_with(self.text)
            }
            // A component that is empty in `other` is any there, and only an open one covers it; or it
            // is an empty component of a name, and again only an open one does.
            (Matching::Wildcard, Matching::Exact | Matching::Wildcard) => {
                components_cover(self.text, other.text)
            }
            // A prefix matches names of any length and of any number of components.
            (Matching::Exact | Matching::Wildcard, Matching::Prefix) => false,
        }
    }
}

/// Whether a wildcard pattern has an open component.
fn is_open(pattern: &str) -> bool {
    pattern.split('.').any(str::is_empty)
}

/// What all names have in common at their start that a wildcard pattern matches.
fn fixed_start(pattern: &str) -> &str {
    let mut end = 0;
    for component in pattern.split('.') {
        if component.is_empty() {
            return &pattern[..end];
        }
        end = (end + component.len() + 1).min(pattern.len()); // with the dot, if one follows
    }
    pattern
}

/// Whether each component of a wildcard pattern is open or that of `other`.
fn components_cover(pattern: &str, other: &str) -> bool {
    let (mut own, mut others) = (pattern.split('.'), other.split('.'));
    loop {
        match (own.next(), others.next()) {
            (None, None) => return true,
            (Some(component), Some(other)) if component.is_empty() || component == other => {}
            _ => return false,
        }
    }
}
