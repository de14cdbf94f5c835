//! Wildcard patterns: components between dots, of which an empty one matches any.
//!
//! A pattern's *form* is its number of components and which of them are empty. A name is looked up
//! once for each form of as many components that some pattern has: those components are left out of
//! the name, and what remains is a pattern's text or it is not. So a look-up takes as many steps as
//! there are such forms, [`FORMS_MAX`] at most, however many patterns there are.

use std::collections::BTreeMap;

use crate::item::RegisterError;

/// The forms of the patterns that are registered, with the number of patterns of each.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    /// By number of components, and then by empty components: the first component is the highest
    /// bit, so that of two forms the one that is literal longer, from the left, comes first.
    forms: BTreeMap<(u32, u32), u32>,
}

/// A pattern's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    components: u32,
    empty: u32,
}

impl Form {
    /// The form of a pattern, if it is not too complex.
    pub(crate) fn of(pattern: &str) -> Result<Form, RegisterError> {
        let (mut components, mut empty) = (0, 0u32);
        for component in pattern.split('.') {
            if components == COMPONENTS_MAX {
                return Err(RegisterError::TooComplex);
            }
            if component.is_empty() {
                empty |= bit(components);
            }
            components += 1;
        }
        if empty.count_ones() > EMPTY_MAX {
            return Err(RegisterError::TooComplex);
        }
        Ok(Form { components, empty })
    }
}

impl Forms {
    /// One more pattern of a form.
    pub(crate) fn add(&mut self, form: Form) -> Result<(), RegisterError> {
        let key = (form.components, form.empty);
        if !self.forms.contains_key(&key) && self.of(form.components).count() >= FORMS_MAX {
            return Err(RegisterError::NoRoom);
        }
        *self.forms.entry(key).or_default() += 1;
        Ok(())
    }

    /// One less.
    pub(crate) fn remove(&mut self, form: Form) {
        let key = (form.components, form.empty);
        let Some(count) = self.forms.get_mut(&key) else {
            debug_assert!(false, "what is removed was added");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.forms.remove(&key);
        }
    }

    /// Asks `find` for the texts of patterns that match a name, the best first, until there is an
    /// answer.
    pub(crate) fn find<T>(&self, name: &str, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        // An empty component of a name is none that a wildcard stands for.
        if self.forms.is_empty() || name.split('.').any(str::is_empty) {
            return None;
        }
        let count = name.split('.').take(COMPONENTS_MAX as usize + 1).count();
        let components = u32::try_from(count).unwrap_or(u32::MAX);
        let mut pattern = String::new();
        for (&(_, empty), _) in self.of(components) {
            pattern.clear();
            for (at, component) in (0..).zip(name.split('.')) {
                if at > 0 {
                    pattern.push('.');
                }
                if empty & bit(at) == 0 {
                    pattern.push_str(component);
                }
            }
            if let Some(found) = find(&pattern) {
                return Some(found);
            }
        }
        None
    }

    fn of(&self, components: u32) -> impl Iterator<Item = (&(u32, u32), &u32)> {
        self.forms.range((components, 0)..=(components, u32::MAX))
    }
}

/// The bit of a component.
fn bit(component: u32) -> u32 {
    1 << (COMPONENTS_MAX - 1 - component)
}

/// Components of a wildcard pattern: a bit each.
const COMPONENTS_MAX: u32 = 32;
/// Empty ones among them.
const EMPTY_MAX: u32 = 8;
/// Forms of the same number of components: so many look-ups a call may take.
const FORMS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_bounds() {
        let form = |pattern: &str| Form::of(pattern).map(|form| form.components);
        assert_eq!(form("a"), Ok(1));
        assert_eq!(form(""), Ok(1));
        assert_eq!(form("a..b."), Ok(4));
        assert_eq!(form(&["a"; 32].join(".")), Ok(32));
        assert_eq!(form(&["a"; 33].join(".")), Err(RegisterError::TooComplex));
        assert_eq!(form(&[""; 8].join(".")), Ok(8));
        assert_eq!(form(&[""; 9].join(".")), Err(RegisterError::TooComplex));
    }

    #[test]
    fn forms_of_one_length_are_few() {
        let mut forms = Forms::default();
        let mut added = Vec::new();
        for empty in 0..200u32 {
            let component = |at: u32| if empty & (1 << at) == 0 { "a" } else { "" };
            let pattern = (0..8).map(component).collect::<Vec<_>>().join(".");
            let form = Form::of(&pattern).expect("8 empty components at most");
            let expected = if added.len() < FORMS_MAX {
                Ok(())
            } else {
                Err(RegisterError::NoRoom)
            };
            assert_eq!(forms.add(form), expected, "{pattern}");
            if expected.is_ok() {
                added.push(form);
            }
        }
        assert_eq!(
            forms.add(added[0]),
            Ok(()),
            "a form that is there costs nothing"
        );
        assert_eq!(forms.add(Form::of("a..b").expect("simple")), Ok(()));
        forms.remove(added[0]);
        for form in added {
            forms.remove(form);
        }
        assert_eq!(forms.forms.len(), 1);
    }
}
