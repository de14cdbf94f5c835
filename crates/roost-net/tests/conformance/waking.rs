//! Wakes from other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use roost_net::{CloseMode, Driver, Event};

use crate::backend::{Backend, Options};
use crate::stream::{Stream, seed};
use crate::world::{CLIENT, SERVER, World};

pub(crate) fn a_wake_before_wait_is_not_lost<B: Backend>() {
    let mut world = World::<B>::new();
    for round in 1..=5 {
        let waker = world.hosts[CLIENT].driver.waker();
        waker.wake();
        world.until("Woken", |w| w.hosts[CLIENT].woken >= round);
    }
    world.finish();
}

pub(crate) fn wakes_coalesce<B: Backend>() {
    let mut world = World::<B>::new();
    let waker = world.hosts[CLIENT].driver.waker();
    for _ in 0..1_000 {
        waker.clone().wake();
    }
    world.until("Woken", |w| w.hosts[CLIENT].woken > 0);
    world.iterate_times(10);
    let woken = world.hosts[CLIENT].woken;
    assert!(woken <= 3, "{woken} events of 1,000 wakes");
    // A waker may outlive its driver.
    world.finish();
    waker.wake();
}

pub(crate) fn a_wake_ends_an_endless_wait<B: Backend>() {
    let mut driver = B::new(seed()).driver(&Options::default());
    let waker = driver.waker();
    let start = Instant::now();
    let sleeper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        waker.wake();
    });
    // Endless enough, and a lost wake does not stop the suite.
    until_woken(&mut driver, Duration::from_secs(60));
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(100),
        "woken without cause after {waited:?}"
    );
    assert!(waited < Duration::from_secs(30), "not woken but timed out");
    sleeper.join().expect("it only wakes");
}

pub(crate) fn a_storm_of_wakes<B: Backend>() {
    const THREADS: u64 = 4;
    const WAKES: u64 = 25_000;
    let mut driver = B::new(seed()).driver(&Options::default());
    let posted = Arc::new(AtomicU64::new(0));
    let storm: Vec<_> = (0..THREADS)
        .map(|_| {
            let (posted, waker) = (posted.clone(), driver.waker());
            thread::spawn(move || {
                for _ in 0..WAKES {
                    posted.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                }
            })
        })
        .collect();
    // The count is looked at after Woken and at no other time, as a mailbox is: were the wake
    // lost that follows the last post, this would time out.
    let mut seen = 0;
    while seen < THREADS * WAKES {
        let start = Instant::now();
        until_woken(&mut driver, Duration::from_secs(60));
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "a wake is lost at {seen}"
        );
        seen = posted.load(Ordering::Relaxed);
    }
    for thread in storm {
        thread.join().expect("it only wakes");
    }
}

pub(crate) fn now_never_goes_back<B: Backend>() {
    let mut world = World::<B>::new();
    let mut now = world.hosts[CLIENT].driver.now();
    let first = now;
    for _ in 0..50 {
        world.iterate();
        let later = world.hosts[CLIENT].driver.now();
        assert!(later >= now, "{now} and then {later}");
        now = later;
    }
    assert!(
        now - first > 100_000,
        "fifty idle iterations took {} ns",
        now - first
    );
    world.finish();
}

pub(crate) fn nothing_to_do_is_slept_through<B: Backend>() {
    let mut world = World::<B>::new();
    let addr = world.listen(SERVER);
    // Connections that wait, each for something else, and cost nothing meanwhile.
    let pairs: Vec<_> = (0..5).map(|_| world.pair(addr)).collect();
    let [_quiet, half_closed, paused, stuck, deaf] = pairs[..] else {
        unreachable!("five")
    };
    world.shutdown_write(half_closed.0);
    world.until("FIN", |w| w.conn(half_closed.1).read_closed);
    world.pause(paused.1);
    world.send_copy(paused.0, b"unread");
    world.shutdown_write(paused.0);
    world.pause(stuck.0);
    world.flood(stuck.1, Stream::new(1));
    world.flood(deaf.1, Stream::new(2));
    world.pause(deaf.0);
    world.close(deaf.1, CloseMode::Graceful);
    world.hosts[SERVER].driver.set_accepting(false);
    let waiting = world.connect(CLIENT, addr);
    world.until("room in the backlog", |w| w.conn(waiting).connected);
    world.iterate_times(50);

    let driver = &mut world.hosts[SERVER].driver;
    let start = Instant::now();
    let mut waits = 0;
    while start.elapsed() < Duration::from_millis(400) {
        driver.wait(Some(Duration::from_millis(100))).expect("wait");
        while driver.next_event().is_some() {}
        waits += 1;
    }
    assert!(
        waits <= 12,
        "{waits} waits of 100 ms in {:?}",
        start.elapsed()
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "a wait outlasts its timeout"
    );
    world.finish();
}

pub(crate) fn leftovers_end_a_wait<B: Backend>() {
    const LEN: usize = 50_000;
    let options = Options {
        read_buffer_bytes: 1_024,
        ..Options::default()
    };
    let mut world = World::<B>::with(&options, 2);
    let addr = world.listen(SERVER);
    let pairs: Vec<_> = (0..3).map(|_| world.pair(addr)).collect();
    for &(_, server) in &pairs {
        world.pause(server);
    }
    world.iterate_times(3);
    for &(client, _) in &pairs {
        world.send_copy(client, &[1; LEN]);
    }
    world.iterate_times(20);
    for &(_, server) in &pairs {
        world.resume(server);
    }
    // One event an iteration: what is left needs no news from the kernel to end the next wait.
    let driver = &mut world.hosts[SERVER].driver;
    let start = Instant::now();
    let mut received = 0;
    while received < 3 * LEN {
        driver.wait(Some(Duration::from_secs(20))).expect("wait");
        if let Some(Event::Bytes(_, bytes)) = driver.next_event() {
            received += bytes.len();
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "slept over bytes left from before"
        );
    }
    world.finish();
}

fn until_woken<D: Driver>(driver: &mut D, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        driver.wait(Some(left)).expect("wait");
        let mut woken = false;
        while let Some(event) = driver.next_event() {
            woken |= matches!(event, Event::Woken);
        }
        if woken || left.is_zero() {
            return;
        }
    }
}
