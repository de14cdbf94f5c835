//! Which subscribers a publication is for, when its publisher names them: WAMP, "Subscriber
//! Black- and Whitelisting".

use crate::serial::push_number;

/// Lists of sessions, by number, authentication id and role. Bounded by who makes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receivers {
    exclude: Names,
    /// What is `None` restricts nothing; an empty list lets no one in.
    eligible: Eligible,
    /// Those alone that have asked to be told of members.
    told_of_members: bool,
    /// The user that the members are about, if it is one.
    about: Option<Box<str>>,
    /// The number of that change.
    number: u64,
}

/// Each sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    sessions: Box<[u64]>,
    authids: Box<[Box<str>]>,
    authroles: Box<[Box<str>]>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Eligible {
    sessions: Option<Box<[u64]>>,
    authids: Option<Box<[Box<str>]>>,
    authroles: Option<Box<[Box<str>]>>,
}

/// A subscriber as the lists know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver<'a> {
    /// The session's number.
    pub session: u64,
    /// Its authentication id; `None`: the number in decimal digits.
    pub authid: Option<&'a str>,
    /// Its role.
    pub authrole: &'a str,
}

impl Receivers {
    /// Those that have asked to be told who comes and who leaves, where it is one user, which one.
    pub fn told_of_members(about: Option<Box<str>>, number: u64) -> Receivers {
        Receivers {
            told_of_members: true,
            about,
            number,
            ..Receivers::default()
        }
    }

    /// The one user that has come or gone, where subscribers are told of users, and which of the channel's
    /// changes it is.
    pub fn about(&self) -> Option<(&str, u64)> {
        Some((self.about.as_deref()?, self.number))
    }

    /// Whether the session of this number is left out.
    pub fn excludes_session(&self, session: u64) -> bool {
        self.exclude.sessions.binary_search(&session).is_ok()
    }

    /// Whether they are those: which subscribers that are, their sessions say.
    pub fn are_those_told(&self) -> bool {
        self.told_of_members
    }

    /// Leaves these out.
    #[must_use]
    pub fn excluding(
        self,
        sessions: &[u64],
        authids: &[impl AsRef<str>],
        authroles: &[impl AsRef<str>],
    ) -> Receivers {
        let exclude = Names {
            sessions: sorted(sessions),
            authids: sorted_texts(authids),
            authroles: sorted_texts(authroles),
        };
        Receivers { exclude, ..self }
    }

    /// Lets in who is in all the lists that are given.
    #[must_use]
    pub fn only(
        self,
        sessions: Option<&[u64]>,
        authids: Option<&[impl AsRef<str>]>,
        authroles: Option<&[impl AsRef<str>]>,
    ) -> Receivers {
        let eligible = Eligible {
            sessions: sessions.map(sorted),
            authids: authids.map(sorted_texts),
            authroles: authroles.map(sorted_texts),
        };
        Receivers { eligible, ..self }
    }

    /// Whether a subscriber is to get the publication. One that is no session (`None`) is on no
    /// list.
    pub fn admits(&self, receiver: Option<Receiver<'_>>) -> bool {
        let Receivers {
            exclude,
            eligible,
            told_of_members: _, // asked for before
            about: _,
            number: _,
        } = self;
        let Some(Receiver {
            session,
            authid,
            authrole,
        }) = receiver
        else {
            return *eligible == Eligible::default();
        };
        let mut digits = Vec::new();
        let authid = authid.unwrap_or_else(|| {
            if !exclude.authids.is_empty() || eligible.authids.is_some() {
                push_number(&mut digits, session);
            }
            str::from_utf8(&digits).expect("digits are ASCII")
        });
        let is_excluded = exclude.sessions.binary_search(&session).is_ok()
            || has(&exclude.authids, authid)
            || has(&exclude.authroles, authrole);
        let sessions = eligible.sessions.as_ref();
        !is_excluded
            && sessions.is_none_or(|list| list.binary_search(&session).is_ok())
            && eligible
                .authids
                .as_ref()
                .is_none_or(|list| has(list, authid))
            && eligible
                .authroles
                .as_ref()
                .is_none_or(|list| has(list, authrole))
    }

    /// Bytes of memory, nearly.
    pub fn bytes(&self) -> usize {
        let Receivers {
            exclude,
            eligible,
            told_of_members: _,
            about,
            number: _,
        } = self;
        let numbers = exclude.sessions.len() + eligible.sessions.as_ref().map_or(0, |it| it.len());
        let texts = [
            Some(&exclude.authids),
            Some(&exclude.authroles),
            eligible.authids.as_ref(),
            eligible.authroles.as_ref(),
        ];
        let texts = texts.into_iter().flatten().flatten();
        let texts: usize = texts.map(|text| size_of::<Box<str>>() + text.len()).sum();
        let about = about.as_ref().map_or(0, |user| user.len());
        size_of::<Receivers>() + numbers * size_of::<u64>() + texts + about
    }
}

fn sorted(numbers: &[u64]) -> Box<[u64]> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.into()
}

fn sorted_texts(texts: &[impl AsRef<str>]) -> Box<[Box<str>]> {
    let mut texts: Vec<Box<str>> = texts.iter().map(|text| text.as_ref().into()).collect();
    texts.sort_unstable();
    texts.into()
}

fn has(list: &[Box<str>], text: &str) -> bool {
    list.binary_search_by(|other| (**other).cmp(text)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &[&str] = &[];

    fn anonymous(session: u64) -> Option<Receiver<'static>> {
        Some(Receiver {
            session,
            authid: None,
            authrole: "anonymous",
        })
    }

    fn alice(session: u64) -> Option<Receiver<'static>> {
        Some(Receiver {
            session,
            authid: Some("alice"),
            authrole: "staff",
        })
    }

    #[test]
    fn no_list_restricts_nothing() {
        let all = Receivers::default();
        assert!(all.admits(None) && all.admits(anonymous(1)) && all.admits(alice(2)));
    }

    #[test]
    fn who_is_excluded_gets_nothing() {
        let some = Receivers::default().excluding(&[7, 3, 5], &["9", "alice"], NONE);
        for session in [3, 5, 7, 9] {
            assert!(!some.admits(anonymous(session)), "{session}");
        }
        assert!(some.admits(anonymous(4)) && some.admits(None));
        assert!(!some.admits(alice(1)));
        let staff = Receivers::default().excluding(&[], NONE, &["staff"]);
        assert!(!staff.admits(alice(1)) && staff.admits(anonymous(1)));
    }

    #[test]
    fn who_is_eligible_is_on_all_lists() {
        let some = Receivers::default().only(Some(&[5, 1]), None::<&[&str]>, None::<&[&str]>);
        assert!(some.admits(anonymous(1)) && some.admits(alice(5)));
        assert!(!some.admits(anonymous(2)) && !some.admits(None));
        let both = Receivers::default().only(Some(&[5, 1]), Some(&["alice"]), Some(&["staff"]));
        assert!(both.admits(alice(5)) && !both.admits(anonymous(5)) && !both.admits(alice(6)));
        let none = Receivers::default().only(Some(&[]), None::<&[&str]>, None::<&[&str]>);
        assert!(!none.admits(anonymous(1)) && !none.admits(None));
        let digits = Receivers::default().only(None, Some(&["12"]), None::<&[&str]>);
        assert!(digits.admits(anonymous(12)) && !digits.admits(anonymous(1)));
        // What excludes is the stronger.
        let both = both.excluding(&[5], NONE, NONE);
        assert!(!both.admits(alice(5)) && both.admits(alice(1)));
    }
}
