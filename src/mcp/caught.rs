//! A future whose panic is an error and no more: what answers a client must not end without a word.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use thiserror::Error;

/// Our own code panicked; the panic hook has said where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a bug of the server made it panic")]
pub struct Panicked;

impl From<Panicked> for std::io::Error {
    fn from(panicked: Panicked) -> Self {
        Self::other(panicked)
    }
}

/// Runs `future`, once and to its end, or to its panic.
///
/// # Errors
/// [`Panicked`], when it did.
pub async fn caught<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_a_value_is_a_value() {
        assert_eq!(caught(pin!(async { 7 })).await, Ok(7));
        let panics = async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "on purpose");
        };
        assert_eq!(caught(pin!(panics)).await, Err(Panicked));
    }
}
