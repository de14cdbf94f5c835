//! Channels whose subscribers are told of users, and answered as told.

use super::*;

/// Where users count once, each is told once, however many connections it has, and what is told follows what
/// was answered.
#[test]
fn users_are_told_once_and_behind_what_was_answered() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let by_user = PresenceLimits {
            by_user: true,
            ..limits(1_000, Some(NOTIFY))
        };
        let mut world = World::new(3, by_user, u64::MAX);
        world.join(0, (0, 0), TELLS, "watcher");
        world.deliver_all(&mut random);
        for _ in 0..400 {
            let place = (random.below(3) as u8, 1 + random.below(8) as u32);
            let user = ["", "a", "b", "c", "d"][random.below(5) as usize];
            match random.below(7) {
                0 | 1 => world.join(0, place, TELLS, user),
                2 => world.leave(0, place),
                3 => world.end(place),
                4 => {
                    for _ in 0..random.below(6) {
                        world.step(&mut random);
                    }
                }
                5 => world.ask_as_told(random.below(9) as u32),
                _ => world.pass(1 + random.below(8) as u32),
            }
        }
        for _ in 0..30 {
            world.deliver_all(&mut random);
            world.pass(5);
        }
        world.check(1_000);
        let there = world.there.values().map(|client| client.user.clone());
        let there: BTreeSet<String> = there.filter(|user| !user.is_empty()).collect();
        let told = &world.told[&(0, NAMES[0].to_owned())];
        assert!(world.answers.len() > 10, "it was asked often");
        for (answer, &before) in world.answers.iter().zip(&world.told_before) {
            let listed = answer.view.members.iter();
            let listed = listed.map(|member| member.user.to_string());
            let mut users: BTreeSet<String> = listed.filter(|user| !user.is_empty()).collect();
            // By its number each change is known to be in the answer, or behind it.
            let number = |(_, change): &(u32, Arc<PresenceChange>)| change.number;
            let is_in = |one| number(one) <= answer.view.told;
            assert!(told[..before].iter().all(is_in) && !told[before..].iter().any(is_in));
            for (_, change) in &told[before..] {
                assert!(change.joined.len() + change.left.len() <= 1, "one by one");
                match change.user() {
                    Some((member, true)) => {
                        let is_new = users.insert(member.user.to_string());
                        assert!(is_new, "{member:?} comes twice behind {answer:?}");
                    }
                    Some((member, false)) => {
                        assert!(users.remove(member.user.as_str()), "{member:?} goes twice");
                    }
                    None => {}
                }
            }
            assert_eq!(users, there);
        }
    }
}

/// A client is answered with all that came before it, as far as half of what may be told at a time goes: the
/// others are told of those at once, each once, and of itself where it may stay.
#[test]
fn one_that_joins_is_answered_with_those_that_came_before_it() {
    for (seed, reactors) in (0..20).zip([1, 3].into_iter().cycle()) {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let by_user = PresenceLimits {
            by_user: true,
            ..limits(1_000, Some(NOTIFY))
        };
        let mut world = World::new(reactors, by_user, u64::MAX);
        let users = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let answered = |world: &mut World, slot: u32, random: &mut Random| {
            world.ask_as_told(slot);
            world.deliver_all(random);
            let answer = world.answers.last().expect("it is answered");
            let listed = answer.view.members.iter();
            let mut listed: Vec<_> = listed.map(|member| member.user.to_string()).collect();
            listed.sort();
            listed
        };
        let early = NOTIFY.changes_max as usize / 2;
        for (slot, user) in (1..).zip(users) {
            world.join(0, (0, slot), TELLS, user);
            let listed = answered(&mut world, slot, &mut random);
            assert_eq!(listed, users[..early.min(slot as usize)], "{user}");
        }
        world.pass(NOTIFY.every * 3);
        world.deliver_all(&mut random);
        world.join(0, (0, 20), TELLS, "y");
        assert_eq!(
            answered(&mut world, 20, &mut random).len(),
            USERS_MAX as usize
        );
        // One that may not stay is not told, and leaves untold.
        world.join(0, (0, 21), TELLS, "z");
        assert_eq!(
            answered(&mut world, 21, &mut random).len(),
            USERS_MAX as usize
        );
        world.leave(0, (0, 21));
        world.deliver_all(&mut random);
        world.pass(NOTIFY.every * 3);
        let told = &world.told[&(0, NAMES[0].to_owned())];
        let joined = told.iter().flat_map(|(_, change)| &change.joined);
        let mut joined: Vec<_> = joined.map(|member| member.user.as_str()).collect();
        joined.sort_unstable();
        assert_eq!(joined, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "y"]);
        // Within each time no more were told than may be; on other reactors they arrive later.
        for (now, _) in told.iter().filter(|_| reactors == 1) {
            let times = *now..now + NOTIFY.every;
            let count = told.iter().filter(|(at, _)| times.contains(at)).count();
            assert!(
                count <= NOTIFY.changes_max as usize,
                "{count} from {now} on"
            );
        }
    }
}

/// What the first connection of a user has said of it holds until the last has left.
#[test]
fn a_user_is_what_its_first_connection_has_said() {
    let by_user = PresenceLimits {
        by_user: true,
        ..limits(1_000, Some(NOTIFY))
    };
    let mut world = World::new(1, by_user, u64::MAX);
    // Places that are multiples of three say something.
    world.join(0, (0, 3), TELLS, "a");
    world.join(0, (0, 4), TELLS, "a");
    world.pass(10);
    world.leave(0, (0, 3));
    world.pass(100);
    world.join(0, (0, 5), TELLS, "a");
    let view = world.hubs[0].presence(NAMES[0], false, world.now);
    assert_eq!(view.members.len(), 2);
    assert!(view.members.iter().all(|member| member.info.is_some()));
    world.leave(0, (0, 4));
    world.leave(0, (0, 5));
    world.pass(100);
    world.join(0, (0, 4), TELLS, "a");
    let view = world.hubs[0].presence(NAMES[0], false, world.now);
    assert!(view.members[0].info.is_none(), "it has left meanwhile");
}
