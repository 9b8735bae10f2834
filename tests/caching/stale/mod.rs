//! RFC 9111 §4.2.4 and RFC 5861: a stale response is served where that is allowed, to the letter,
//! and refreshed once.

mod errors;
mod expired;
mod refreshes;
mod windows;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use tokio::time::sleep;

use crate::support::origin::{Origin, OriginError, answer};
use crate::support::time::{SLOW, settle};

/// How an origin is doing.
#[derive(Clone)]
enum Health {
    Well,
    Status(u16),
    Dead,
}

/// An origin whose answers count up, with this `Cache-Control`, and whose health can be changed.
#[derive(Clone)]
struct Patient {
    origin: Origin,
    health: Arc<std::sync::Mutex<Health>>,
}

impl Patient {
    fn new(cache_control: &'static str) -> Self {
        let health = Arc::new(std::sync::Mutex::new(Health::Well));
        let count = Arc::new(AtomicUsize::new(0));
        let current = health.clone();
        let origin = Origin::new(move |request| {
            let call = count.fetch_add(1, Ordering::SeqCst) + 1;
            let health = current.lock().expect("a health").clone();
            async move {
                sleep(SLOW).await;
                let text = format!("call {call}");
                match health {
                    _ if request.method() == Method::PUT => Ok(answer(204, &[], "")),
                    Health::Well => Ok(answer(200, &[("cache-control", cache_control)], text)),
                    Health::Status(status) => Ok(answer(status, &[], "an error")),
                    Health::Dead => Err(OriginError("nobody there")),
                }
            }
        });
        Self { origin, health }
    }

    fn set_health(&self, health: Health) {
        *self.health.lock().expect("a health") = health;
    }

    fn calls(&self) -> usize {
        self.origin.calls()
    }
}

/// Lets what goes on in the background come to its end.
async fn refreshed() {
    sleep(SLOW * 2).await;
    settle().await;
}
