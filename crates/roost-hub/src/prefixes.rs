//! Beginnings of names that set some names apart from the others.

use std::sync::Arc;

/// Beginnings of names, of which none begins with another: a name has one of them at most. None, by
/// default. Cloned as a pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// In order.
    sorted: Arc<[(Box<str>, u16)]>,
}

impl Prefixes {
    /// These, each with a number of its own.
    ///
    /// # Panics
    /// In debug builds, if one is empty or begins with another.
    pub fn new(all: impl IntoIterator<Item = (Box<str>, u16)>) -> Prefixes {
        let mut sorted: Vec<_> = all.into_iter().collect();
        sorted.sort_unstable();
        debug_assert!(
            sorted.iter().all(|(prefix, _)| !prefix.is_empty())
                && sorted
                    .windows(2)
                    .all(|two| !two[1].0.starts_with(&*two[0].0)),
            "none begins with another"
        );
        Prefixes {
            sorted: sorted.into(),
        }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The one that a name begins with, and its number. Takes a logarithm of their number.
    #[inline]
    pub fn of(&self, name: &str) -> Option<(&str, u16)> {
        if self.is_empty() {
            return None;
        }
        self.find(name)
    }

    fn find(&self, name: &str) -> Option<(&str, u16)> {
        // What stands between a prefix of the name and the name begins with that prefix as well, so
        // the last one that is not above the name is it, or there is none.
        let end = self.sorted.partition_point(|(prefix, _)| **prefix <= *name);
        let (prefix, number) = self.sorted[..end].last()?;
        name.starts_with(&**prefix).then_some((prefix, *number))
    }

    /// A name without it.
    pub fn strip<'a>(&self, name: &'a str) -> &'a str {
        self.of(name)
            .map_or(name, |(prefix, _)| &name[prefix.len()..])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(|(prefix, _)| &**prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::Prefixes;

    #[test]
    fn a_name_has_the_prefix_that_it_begins_with() {
        let all = ["b.", "a.", "a:.", "com.acme.", "é."];
        let prefixes = Prefixes::new(all.into_iter().map(Box::from).zip(1..));
        for (name, number, rest) in [
            ("a.x", Some(2), "x"),
            ("a.", Some(2), ""),
            ("a", None, "a"),
            ("a:x.y", None, "a:x.y"),
            ("a:.x", Some(3), "x"),
            ("b.a.x", Some(1), "a.x"),
            ("com.acme", None, "com.acme"),
            ("com.acme.x", Some(4), "x"),
            ("com.acmes.x", None, "com.acmes.x"),
            ("com.b.x", None, "com.b.x"),
            ("é.x", Some(5), "x"),
            ("ê.x", None, "ê.x"),
            ("", None, ""),
        ] {
            let found = prefixes.of(name).map(|(_, number)| number);
            assert_eq!((found, prefixes.strip(name)), (number, rest), "{name}");
        }
        assert_eq!(Prefixes::default().of("a.x"), None);
    }
}
