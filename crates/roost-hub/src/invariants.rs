//! What holds between the two sides of a hub, where a channel's subscribers and its home are on one
//! reactor.

use crate::histories::Histories;
use crate::history::Payload;
use crate::home::Home;
use crate::home_channel::Interest;
use crate::ids::ReactorId;
use crate::local::Local;
use crate::local_channel::LocalChannel;
use crate::names::Named;
use crate::patterns::is_pattern;

/// Panics where a side contradicts itself or the other. Looks at everything.
pub(crate) fn check(me: ReactorId, local: &Local, home: &Home) {
    local.check_invariants();
    home.check_invariants();
    let is_channel = |record: &&LocalChannel| !record.is_pattern();
    for record in local.channels().filter(is_channel) {
        if record.home() != me {
            continue;
        }
        let index = record.home_index().expect("the home here answers at once");
        assert_eq!(record.unacked(), 0, "the home here answers at once");
        let channel = home.get(index).expect("it lives while it is wanted");
        assert_eq!(channel.name(), record.name());
    }
    for (index, channel) in home.channels() {
        if is_pattern(channel.name()) {
            continue; // its offset and encodings are not kept here
        }
        let from_here = |interest: &Interest<_>| interest.reactor == me;
        for interest in channel.audience().iter().filter(from_here) {
            let record = local.get(interest.local.channel);
            let record = record.expect("interest from here is of a channel here");
            assert_eq!(record.as_ref(interest.local.channel), interest.local);
            assert_eq!(
                (record.name(), record.home_index()),
                (channel.name(), Some(index))
            );
            // Not of one namespace while those are numbered anew, or when another reactor was first.
            assert_eq!(
                record.offset(),
                channel.offset(),
                "what is delivered here is known here"
            );
            assert_eq!(record.announced(), interest.encodings);
        }
    }
}

/// Panics where a channel and its history do not belong together.
pub(crate) fn check_histories<P: Payload, F: Clone>(home: &Home, histories: &Histories<P, F>) {
    histories.check_invariants();
    let kept = home.channels().filter_map(|(index, channel)| {
        let history = channel.history()?;
        assert_eq!(histories.home_of(history), index, "a channel's own history");
        Some(history)
    });
    assert_eq!(
        kept.count(),
        histories.channels(),
        "no history is left over"
    );
}
