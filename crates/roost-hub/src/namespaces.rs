//! The numbers of namespaces, which records keep instead of names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use crate::ids::NamespaceId;

/// The place among these names of the one that a channel belongs to: the first that ends in `*` and with
/// which, up to there, the channel's name begins; or what stands before the first colon of that. Names
/// that end in `*` come before the others.
pub fn place_of<'a>(names: impl IntoIterator<Item = &'a str>, channel: &str) -> Option<usize> {
    let named = channel.split_once(':').map(|(name, _)| name);
    for (at, name) in names.into_iter().enumerate() {
        match (name.strip_suffix('*'), named) {
            (Some(start), _) if channel.starts_with(start) => return Some(at),
            (Some(_), _) => {}
            (None, None) => return None,
            (None, Some(named)) if name == named => return Some(at),
            (None, Some(_)) => {}
        }
    }
    None
}

/// What the channels of a namespace of that name begin with.
pub fn beginning_of(name: &str) -> Cow<'_, str> {
    match name.strip_suffix('*') {
        Some(start) => Cow::Borrowed(start),
        None => Cow::Owned(format!("{name}:")),
    }
}

/// Which number each namespace has, as long as the process lives.
///
/// A number stands in records of channels and in output that waits, on all reactors, and nobody
/// counts where. So it is never another name's: a name that is no longer listed keeps its number,
/// retired, and has it again when it is listed again. All names that were ever listed are at most
/// [`NAMESPACES_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceNumbers {
    /// By number, from 1 on.
    names: Vec<Numbered>,
}

/// A name that has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Numbered {
    name: String,
    is_listed: bool,
}

/// Names there can be in one life of the process; 0 is no name's number.
pub const NAMESPACES_MAX: usize = u16::MAX as usize;

/// More names than there are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespacesFull {
    /// Names that are no longer listed and keep their numbers.
    pub retired: usize,
}

impl NamespaceNumbers {
    /// The numbers once these names are listed: those that have a number keep it, the others get
    /// the next that are free, in their order. A name twice is a name once.
    pub fn reload<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<NamespaceNumbers, NamespacesFull> {
        let mut next = self.clone();
        for one in &mut next.names {
            one.is_listed = false;
        }
        let known = self.names.iter().zip(0..);
        let mut places: HashMap<&str, usize> =
            known.map(|(one, at)| (one.name.as_str(), at)).collect();
        for name in names {
            let at = *places.entry(name).or_insert(next.names.len());
            match next.names.get_mut(at) {
                Some(one) => one.is_listed = true,
                None => next.names.push(Numbered {
                    name: name.to_owned(),
                    is_listed: true,
                }),
            }
        }
        if next.names.len() > NAMESPACES_MAX {
            let retired = next.names.iter().filter(|one| !one.is_listed).count();
            return Err(NamespacesFull { retired });
        }
        Ok(next)
    }

    /// The number of a listed name.
    pub fn number(&self, name: &str) -> Option<NamespaceId> {
        let mut all = self.iter();
        let found = all.find(|(_, other, is_listed)| *other == name && *is_listed)?;
        Some(found.0)
    }

    /// All numbers but 0, ascending and without a gap, with their names and whether they are
    /// listed.
    pub fn iter(&self) -> impl Iterator<Item = (NamespaceId, &str, bool)> {
        let numbered = (1..=u16::MAX).map(NamespaceId).zip(&self.names);
        numbered.map(|(number, one)| (number, one.name.as_str(), one.is_listed))
    }
}

impl fmt::Display for NamespacesFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there can be {NAMESPACES_MAX} namespaces until the next start, {} that are no longer \
             listed among them",
            self.retired
        )
    }
}

impl Error for NamespacesFull {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_belongs_to_the_first_name_that_is_its() {
        let names = [
            "shop:cache-*",
            "private-cache-*",
            "private-*",
            "shop",
            "chat",
        ];
        for (channel, expected) in [
            ("private-cache-a", Some("private-cache-*")),
            ("private-a", Some("private-*")),
            ("private-a:b", Some("private-*")),
            ("private-", Some("private-*")),
            ("private", None),
            ("shop:a", Some("shop")),
            ("shop:cache-a", Some("shop:cache-*")),
            ("shop:private-a", Some("shop")),
            ("chat:private-a", Some("chat")),
            ("shop", None),
            ("lobby", None),
            ("lobby:a", None),
        ] {
            let found = place_of(names, channel).map(|at| names[at]);
            assert_eq!(found, expected, "{channel}");
            if let Some(name) = found {
                assert!(channel.starts_with(&*beginning_of(name)), "{channel}");
            }
        }
    }
}
