//! Which listeners of a configuration go on from one that runs.

use crate::table::Listener;

/// Of one listener of the next configuration: what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is new.
    New,
    /// It goes on at its address, as the running one at this place.
    Kept(usize),
    /// It has the name of the running one at this place, and another address.
    Moved(usize),
}

impl Origin {
    /// The place of the running one.
    pub fn before(self) -> Option<usize> {
        match self {
            Origin::New => None,
            Origin::Kept(at) | Origin::Moved(at) => Some(at),
        }
    }

    /// The place of the running one whose socket it goes on with.
    pub fn kept(self) -> Option<usize> {
        match self {
            Origin::Kept(at) => Some(at),
            Origin::New | Origin::Moved(_) => None,
        }
    }
}

/// What each listener of `next` was. A socket is known by its address, so that a listener may be given
/// another name; of several with port 0 the order decides.
pub fn origins(running: &[Listener], next: &[Listener]) -> Vec<Origin> {
    let mut is_taken = vec![false; running.len()];
    let mut take = |is_same: &dyn Fn(&Listener) -> bool| {
        let mut places = 0..running.len();
        let found = places.find(|&at| !is_taken[at] && is_same(&running[at]));
        found.inspect(|&at| is_taken[at] = true)
    };
    let kept: Vec<Option<usize>> = next
        .iter()
        .map(|one| take(&|old| old.address == one.address))
        .collect();
    let origin = |(one, kept): (&Listener, Option<usize>)| match kept {
        Some(at) => Origin::Kept(at),
        None => take(&|old| !old.name.is_empty() && old.name == one.name)
            .map_or(Origin::New, Origin::Moved),
    };
    next.iter().zip(kept).map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener((name, address): (&str, &str)) -> Listener {
        Listener {
            name: name.to_owned(),
            address: address.parse().map_or_else(
                |_| crate::ListenAddress::Unix(address.into()),
                crate::ListenAddress::Tcp,
            ),
            ..Listener::default()
        }
    }

    #[test]
    fn a_listener_goes_on_by_its_address_and_moves_by_its_name() {
        let of = |before: &[(&str, &str)], after: &[(&str, &str)]| {
            let list = |all: &[(&str, &str)]| all.iter().copied().map(listener).collect::<Vec<_>>();
            origins(&list(before), &list(after))
        };
        use Origin::{Kept, Moved, New};
        let (a, b) = ("10.0.0.1:1", "10.0.0.1:2");
        assert_eq!(of(&[("x", a)], &[("x", a)]), [Kept(0)]);
        assert_eq!(of(&[("x", a)], &[("y", a)]), [Kept(0)]);
        assert_eq!(of(&[("x", a)], &[("x", b)]), [Moved(0)]);
        assert_eq!(of(&[("", a)], &[("", b)]), [New]);
        // They exchange their names, or their addresses: both sockets stay.
        let both = [("x", a), ("y", b)];
        assert_eq!(of(&both, &[("y", a), ("x", b)]), [Kept(0), Kept(1)]);
        assert_eq!(of(&both, &[("x", b), ("y", "/s")]), [Kept(1), New]);
        assert_eq!(of(&both, &[("z", b), ("x", "/s")]), [Kept(1), Moved(0)]);
        let free = ("", "10.0.0.1:0");
        assert_eq!(of(&[free, free], &[free]), [Kept(0)]);
        assert_eq!(of(&[free], &[free, free]), [Kept(0), New]);
    }
}
