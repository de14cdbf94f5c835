//! What the events of a command are known by: the command's number, and what else its answer depends on.

/// What the answer to a subscribe depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// It is to fail if something was missed.
    pub(super) rejects_unrecovered: bool,
    /// In how many seconds what allows it expires.
    pub(super) expires_in_s: Option<u32>,
}

/// Of a subscription that the server makes; with its place among those that a `connect` waits for, or another
/// number by which it is known until it is in force.
pub(super) fn of_served(place: Option<u32>) -> u64 {
    u64::from(u32::MAX) | place.map_or(0, |place| u64::from(place.min(SECONDS_MAX)) + 1) << 33
}

/// What [`of_served`] was made of; `None` for a command's token.
pub(super) fn served(token: u64) -> Option<Option<u32>> {
    (number(token) == u32::MAX).then(|| asked(token).expires_in_s)
}

/// Of a command.
pub(super) fn of(id: u32, asked: Asked) -> u64 {
    let Asked {
        rejects_unrecovered,
        expires_in_s,
    } = asked;
    let expiry = expires_in_s.map_or(0, |seconds| u64::from(seconds.min(SECONDS_MAX)) + 1);
    u64::from(id) | u64::from(rejects_unrecovered) << 32 | expiry << 33
}

/// The command's number.
#[expect(clippy::cast_possible_truncation, reason = "the rest is no part of it")]
pub(super) fn number(token: u64) -> u32 {
    token as u32
}

/// What else it depends on.
pub(super) fn asked(token: u64) -> Asked {
    let expiry = token >> 33;
    Asked {
        rejects_unrecovered: token >> 32 & 1 == 1,
        expires_in_s: expiry
            .checked_sub(1)
            .and_then(|seconds| u32::try_from(seconds).ok()),
    }
}

/// 68 years.
const SECONDS_MAX: u32 = (1 << 31) - 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made() {
        for expires_in_s in [None, Some(0), Some(1), Some(SECONDS_MAX)] {
            for rejects_unrecovered in [false, true] {
                let all = Asked {
                    rejects_unrecovered,
                    expires_in_s,
                };
                let token = of(u32::MAX, all);
                assert_eq!((number(token), asked(token)), (u32::MAX, all));
            }
        }
        for place in [None, Some(0), Some(SECONDS_MAX)] {
            assert_eq!(served(of_served(place)), Some(place));
        }
        assert_eq!(served(7), None);
        assert_eq!(of(7, Asked::default()), 7);
        let far = Asked {
            expires_in_s: Some(u32::MAX),
            ..Asked::default()
        };
        assert_eq!(asked(of(7, far)).expires_in_s, Some(SECONDS_MAX));
    }
}
