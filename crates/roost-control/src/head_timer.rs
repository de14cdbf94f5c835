//! hyper's timer of request heads, kept by one timer of the connection.
//!
//! hyper asks for a new timer with each request, which is most often over long before its time: to set one in
//! the runtime and to take it back costs as much as to read the head. Here hyper's is a moment to compare
//! with, and the connection's own timer, set anew only when it is over, has hyper look.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::{Sleep as RuntimeSleep, sleep};

/// The head that a connection's client is to send. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct HeadTimer {
    /// When the last one is, or was, to be there.
    deadline: Arc<Mutex<Option<Instant>>>,
}

/// hyper's part: over with its moment, for the one who looks.
struct HeadSleep {
    deadline: Instant,
}

/// The runtime's part.
pub(crate) struct Alarm {
    timer: HeadTimer,
    sleep: Pin<Box<RuntimeSleep>>,
    /// Of a head.
    timeout: Duration,
}

impl HeadTimer {
    /// What has hyper look when a head is late, which may take so long.
    pub(crate) fn alarm(&self, timeout: Duration) -> Alarm {
        Alarm {
            timer: self.clone(),
            sleep: Box::pin(sleep(timeout)),
            timeout,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        Box::pin(HeadSleep { deadline })
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match Instant::now() >= self.deadline {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Alarm {
    /// Ready when a head may be late: hyper is to look, and this is to be called again.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        ready!(self.sleep.as_mut().poll(context));
        let now = Instant::now();
        // A head that is asked for from now on has its whole time.
        let next = match self.timer.deadline() {
            Some(deadline) if deadline > now => deadline,
            _ => now + self.timeout,
        };
        self.sleep.as_mut().reset(next.into());
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Polls what hyper keeps whenever the alarm has it look; after how long it was over.
    async fn over_after(alarm: &mut Alarm, sleep: &mut Pin<Box<dyn Sleep>>) -> Duration {
        let begin = Instant::now();
        poll_fn(|context| {
            loop {
                if sleep.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                ready!(alarm.poll(context));
            }
        })
        .await;
        begin.elapsed()
    }

    #[test]
    fn a_head_is_late_after_its_time_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let timeout = Duration::from_millis(60);
            let timer = HeadTimer::default();
            let mut alarm = timer.alarm(timeout);
            for _ in 0..3 {
                // The one before was taken back, and the alarm set for it is still to come.
                drop(timer.sleep(timeout));
                tokio::time::sleep(timeout / 2).await;
                let mut sleep = timer.sleep_until(Instant::now() + timeout);
                let after = over_after(&mut alarm, &mut sleep).await;
                assert!(after >= timeout, "{after:?}");
                assert!(after < timeout * 20, "{after:?}");
            }
        });
    }
}
