//! Every interleaving of the wake protocol, by loom, on the very source the reactor uses.

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}
#[path = "../../src/channels/wake.rs"]
mod wake;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use wake::WakeFlag;

/// What a reactor sleeps on: wakes are kept until it reads them, and coalesce.
#[derive(Default)]
struct Eventfd {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Eventfd {
    fn write(&self) {
        *self.woken.lock().expect("no thread panics") = true;
        self.changed.notify_one();
    }

    fn read(&self) {
        let mut woken = self.woken.lock().expect("no thread panics");
        while !*woken {
            woken = self.changed.wait(woken).expect("no thread panics");
        }
        *woken = false;
    }
}

/// One receiver that runs until it has all messages, `senders` that each send once. The receiver
/// sleeps on what stands for the eventfd; a lost wake is a deadlock, which loom reports.
fn all_messages_arrive(senders: u8) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let wake_flag = Arc::new(WakeFlag::<1>::new());
        let messages = Arc::new(AtomicUsize::new(0));
        let waker = Arc::new(Eventfd::default());
        let threads: Vec<_> = (0..senders)
            .map(|id| {
                let (wake_flag, messages, waker) =
                    (wake_flag.clone(), messages.clone(), waker.clone());
                thread::spawn(move || {
                    messages.fetch_add(1, Ordering::Relaxed);
                    if wake_flag.notify(id) {
                        waker.write();
                    }
                })
            })
            .collect();

        let mut seen = 0;
        while seen < usize::from(senders) {
            if wake_flag.try_park() {
                waker.read();
            }
            wake_flag.unpark();
            if let Some(words) = wake_flag.take() {
                let pending: u32 = words.iter().map(|word| word.count_ones()).sum();
                seen += pending as usize;
                assert!(
                    messages.load(Ordering::Relaxed) >= seen,
                    "a notification came before its message"
                );
            }
        }
        for thread in threads {
            thread.join().expect("a sender does not panic");
        }
    });
}

#[test]
fn no_wake_is_lost_with_one_sender() {
    all_messages_arrive(1);
}

#[test]
fn no_wake_is_lost_with_two_senders() {
    all_messages_arrive(2);
}
