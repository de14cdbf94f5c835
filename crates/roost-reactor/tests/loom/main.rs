//! Every interleaving of the bell's wake protocol, by loom, on the very source the reactor uses.

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}
#[path = "../../src/bell.rs"]
mod bell;

use bell::Bell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// One receiver that runs until it has all the mail, `senders` that each send once. The receiver
/// may sleep only as a wake-up counter says; a lost wake is a deadlock, which loom reports.
fn all_mail_arrives(senders: u8) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let bell = Arc::new(Bell::<1>::new());
        let mail = Arc::new(AtomicUsize::new(0));
        let wakes = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..senders)
            .map(|id| {
                let (bell, mail, wakes) = (bell.clone(), mail.clone(), wakes.clone());
                thread::spawn(move || {
                    mail.fetch_add(1, Ordering::Relaxed);
                    if bell.ring(id) {
                        wakes.fetch_add(1, Ordering::Release);
                    }
                })
            })
            .collect();

        let mut woken = 0;
        let mut seen = 0;
        while seen < usize::from(senders) {
            if bell.lie_down() {
                // Asleep: only a wake brings us on. One may be left from a sender that saw us lie
                // down when we then did not sleep: like an eventfd, it ends the next sleep early.
                woken += 1;
                while wakes.load(Ordering::Acquire) < woken {
                    thread::yield_now();
                }
            }
            bell.get_up();
            if let Some(words) = bell.take() {
                let rung: u32 = words.iter().map(|word| word.count_ones()).sum();
                seen += rung as usize;
                assert!(
                    mail.load(Ordering::Relaxed) >= seen,
                    "a bell rang before its mail was there"
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
    all_mail_arrives(1);
}

#[test]
fn no_wake_is_lost_with_two_senders() {
    all_mail_arrives(2);
}
