//! How long one client's connection may go on, and without progress.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::activity::{Activity, Progress};
use crate::when_woken::when_woken;

/// How long a connection that is to end for others may take to send what HTTP/2 still has of its
/// responses. Nothing tells whether it has anything; clients that read have it at once.
pub const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The times that a connection has.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimeouts {
    /// For the next request.
    pub client: Duration,
    /// For taking a part of a response.
    pub idle: Duration,
}

/// When a connection ends, other than by its client.
pub struct Lifetime {
    pub began: std::time::Instant,
    pub activity: Activity,
    pub timeouts: ConnectionTimeouts,
    pub endings: Endings,
}

/// What ends connections after their requests.
#[derive(Clone)]
pub struct Endings {
    /// New connections are served with other options. Those without a request yet get to have one:
    /// it may be on its way.
    pub replaced: watch::Receiver<bool>,
    /// The server stops.
    pub stopped: watch::Receiver<bool>,
}

impl Endings {
    /// Waits until the server stops.
    pub async fn stopped(&mut self) {
        wait_for(&mut self.stopped).await;
    }

    async fn wait(&mut self, activity: &Activity) {
        let replaced = async {
            wait_for(&mut self.replaced).await;
            activity.first_request().await;
        };
        tokio::select! {
            () = replaced => {}
            () = wait_for(&mut self.stopped) => {}
        }
    }
}

/// Waits until it is set. What sets it is gone when it will set it no more: that is the end, too.
async fn wait_for(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ends| *ends).await;
}

/// What happens to a connection while its client and the service do nothing.
enum Event {
    /// It is to end after its requests.
    Ending,
    /// It is to end for others, unless it has a request.
    EndingForOthers,
    /// It is one of too many slow readers.
    CutOff,
    /// It is time to look at its progress.
    Time,
}

/// Runs a connection to its end, `None` if it was given up. `shut_down` tells
/// it to end after its requests.
pub async fn run<C: Future>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    lifetime: Lifetime,
) -> Option<C::Output> {
    let Lifetime {
        began,
        activity,
        timeouts,
        mut endings,
    } = lifetime;
    let mut connection = pin!(connection);
    // hyper has no timeout for the first bytes, by which it recognizes the protocol, nor for an
    // HTTP/2 connection without requests.
    let mut idle_at = Instant::from_std(began) + timeouts.client;
    let mut stalled_at = Instant::now() + timeouts.idle;
    let mut is_shut_down = false;
    // Whether it ends as soon as it is seen without a request: its client may not say that it leaves.
    let mut ends_when_idle = false;
    loop {
        let look_at = match ends_when_idle {
            true => idle_at.min(Instant::now() + END_TIMEOUT),
            false => idle_at,
        };
        let event = {
            let event = pin!(async {
                tokio::select! {
                    biased;
                    () = endings.wait(&activity), if !is_shut_down => Event::Ending,
                    () = activity.ended_for_others() => Event::EndingForOthers,
                    () = activity.until_cut_off() => Event::CutOff,
                    () = sleep_until(look_at.min(stalled_at)) => Event::Time,
                }
            });
            tokio::select! {
                // A request that has come is read before its connection ends.
                biased;
                output = connection.as_mut() => return Some(output),
                event = when_woken(event) => event,
            }
        };
        match event {
            Event::CutOff => return None,
            Event::Ending => {
                is_shut_down = true;
                shut_down(connection.as_mut());
            }
            Event::EndingForOthers => {
                is_shut_down = true;
                shut_down(connection.as_mut());
                let time = match activity.has_request() {
                    true => END_TIMEOUT,
                    false => Duration::ZERO,
                };
                // A request that has come by now is answered.
                if let Ok(output) = timeout(time, connection.as_mut()).await {
                    return Some(output);
                }
                if activity.is_idle() {
                    return None;
                }
                ends_when_idle = true;
            }
            Event::Time if ends_when_idle && activity.is_idle() => return None,
            Event::Time => {
                let now = Instant::now();
                if now >= idle_at && !activity.has_request() {
                    return None;
                }
                match activity.look() {
                    Progress::Some => {
                        idle_at = now + timeouts.client;
                        stalled_at = now + timeouts.idle;
                    }
                    Progress::Idle if now >= idle_at && is_shut_down => return None,
                    Progress::Idle if now >= idle_at => {
                        is_shut_down = true;
                        shut_down(connection.as_mut());
                        idle_at = now + timeouts.client;
                    }
                    Progress::Stalled if now >= stalled_at => return None,
                    Progress::Idle => stalled_at = now + timeouts.idle,
                    Progress::Stalled => idle_at = now + timeouts.client,
                }
            }
        }
    }
}
