//! Attempts at several addresses ("happy eyeballs", RFC 8305 §5).

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::proxy::upstream::addresses::AvoidedAddresses;

/// The time that an attempt has before the next address is tried beside it (RFC 8305 §8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first address that accepts: tries the next one when an attempt fails, and beside
/// it when it takes long. Returns the last error if no address accepts, and `None` without any.
///
/// An address that made the next one necessary is avoided from then on, until it accepts.
pub(super) async fn connect_to_first<F, T, E>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
    avoided: &AvoidedAddresses,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut addresses = addresses.into_iter();
    let mut attempts: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut last_error = None;
    let mut delay = pin!(sleep(Duration::ZERO));
    poll_fn(|cx| {
        loop {
            let mut number = 0;
            while let Some((address, attempt)) = attempts.get_mut(number) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(connection)) => {
                        avoided.forgive(*address);
                        return Poll::Ready(Some(Ok(connection)));
                    }
                    Poll::Ready(Err(error)) => {
                        last_error = Some(error);
                        avoided.avoid(*address);
                        attempts.remove(number);
                        delay.as_mut().reset(Instant::now());
                    }
                    Poll::Pending => number += 1,
                }
            }
            if addresses.as_slice().is_empty() {
                return match attempts.is_empty() {
                    true => Poll::Ready(last_error.take().map(Err)),
                    false => Poll::Pending,
                };
            }
            ready!(delay.as_mut().poll(cx));
            for (address, _) in &attempts {
                avoided.avoid(*address);
            }
            if let Some(address) = addresses.next() {
                attempts.push((address, Box::pin(connect(address))));
                delay.as_mut().reset(Instant::now() + ATTEMPT_DELAY);
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Copy)]
    enum Behavior {
        Refuses,
        Hangs,
        Accepts(u64),
    }

    /// Which address is connected to, after which time, and which ones were tried.
    async fn connect(behaviors: &[Behavior]) -> (Option<Result<usize, ()>>, u128, Vec<usize>) {
        let addresses = (0..behaviors.len()).map(|port| ([127, 0, 0, 1], port as u16).into());
        let tried = Mutex::new(Vec::new());
        let start = Instant::now();
        let attempt = |address: SocketAddr| {
            let number = usize::from(address.port());
            tried.lock().expect("no panic").push(number);
            let behavior = behaviors[number];
            async move {
                match behavior {
                    Behavior::Refuses => Err(()),
                    Behavior::Hangs => pending().await,
                    Behavior::Accepts(delay) => {
                        sleep(Duration::from_millis(delay)).await;
                        Ok(number)
                    }
                }
            }
        };
        let avoided = AvoidedAddresses::default();
        let connected = connect_to_first(addresses.collect(), attempt, &avoided).await;
        let tried = tried.lock().expect("no panic").clone();
        (connected, start.elapsed().as_millis(), tried)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_that_accepts_is_taken() {
        use Behavior::{Accepts, Hangs, Refuses};
        for (behaviors, expected, time, tried) in [
            (&[][..], None, 0, 0),
            (&[Accepts(10), Accepts(1)], Some(Ok(0)), 10, 1),
            (&[Refuses, Refuses, Accepts(1)], Some(Ok(2)), 1, 3),
            (&[Refuses, Refuses], Some(Err(())), 0, 2),
            (&[Hangs, Accepts(1)], Some(Ok(1)), 251, 2),
            (&[Hangs, Hangs, Accepts(1)], Some(Ok(2)), 501, 3),
            (&[Hangs, Refuses, Accepts(1)], Some(Ok(2)), 251, 3),
            // A slow one may still win.
            (&[Accepts(300), Hangs], Some(Ok(0)), 300, 2),
        ] {
            let (connected, took, asked) = connect(behaviors).await;
            assert_eq!(connected, expected);
            assert_eq!((took, asked.len()), (time, tried));
        }
    }
}
