//! The end of the first of two futures.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// What the one that ends first comes to; the other is dropped. Of two that have both ended, `one`.
pub(crate) async fn first_of<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => other.as_mut().poll(context),
    })
    .await
}
