//! How long one client's connection may go on, and without progress.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::activity::{Activity, Progress};
use crate::head_timer::HeadTimer;
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
    /// Looked at for the heads of HTTP/1.1.
    pub head: HeadTimer,
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

/// What becomes of a connection.
enum Next {
    GoesOn,
    /// It ends after its requests.
    ShutsDown,
    IsGivenUp,
}

/// Runs a connection to its end, `None` if it was given up. `shut_down` tells
/// it to end after its requests.
pub async fn run<C: Future>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    lifetime: Lifetime,
) -> Option<C::Output> {
    let mut connection = pin!(connection);
    let mut run = Run::new(lifetime);
    loop {
        let event = {
            let event = pin!(run.event());
            tokio::select! {
                // A request that has come is read before its connection ends.
                biased;
                output = connection.as_mut() => return Some(output),
                event = when_woken(event) => event,
            }
        };
        let next = match event {
            Event::CutOff => Next::IsGivenUp,
            Event::Ending => run.shut_down(),
            Event::EndingForOthers => {
                shut_down(connection.as_mut());
                // A request that has come by now is answered.
                if let Ok(output) = timeout(run.time_to_end(), connection.as_mut()).await {
                    return Some(output);
                }
                run.end_when_idle()
            }
            Event::Time => run.look(Instant::now()),
        };
        match next {
            Next::GoesOn => {}
            Next::ShutsDown => shut_down(connection.as_mut()),
            Next::IsGivenUp => return None,
        }
    }
}

/// The times of a connection that runs.
struct Run {
    lifetime: Lifetime,
    /// When it has had no request for too long. hyper has no timeout for the first bytes, by which
    /// it recognizes the protocol, nor for an HTTP/2 connection without requests.
    idle_at: Instant,
    stalled_at: Instant,
    is_shut_down: bool,
    /// Whether it ends as soon as it is seen without a request: its client may not say that it leaves.
    ends_when_idle: bool,
}

impl Run {
    fn new(lifetime: Lifetime) -> Self {
        Self {
            idle_at: Instant::from_std(lifetime.began) + lifetime.timeouts.client,
            stalled_at: Instant::now() + lifetime.timeouts.idle,
            is_shut_down: false,
            ends_when_idle: false,
            lifetime,
        }
    }

    /// Waits for what happens next.
    async fn event(&mut self) -> Event {
        let look_at = self.look_at();
        let Lifetime {
            activity, endings, ..
        } = &mut self.lifetime;
        tokio::select! {
            biased;
            () = endings.wait(activity), if !self.is_shut_down => Event::Ending,
            () = activity.ended_for_others() => Event::EndingForOthers,
            () = activity.until_cut_off() => Event::CutOff,
            () = sleep_until(look_at) => Event::Time,
        }
    }

    /// When to look next. A head that is awaited only from later on has its deadline after that.
    fn look_at(&self) -> Instant {
        let head = self.lifetime.head.deadline().map(Instant::from_std);
        let end = self.ends_when_idle.then(|| Instant::now() + END_TIMEOUT);
        let others = [head, end].into_iter().flatten();
        others.fold(self.idle_at.min(self.stalled_at), Instant::min)
    }

    fn shut_down(&mut self) -> Next {
        self.is_shut_down = true;
        Next::ShutsDown
    }

    /// The time for what is under way when the connection is to end for others.
    fn time_to_end(&self) -> Duration {
        match self.lifetime.activity.has_request() {
            true => END_TIMEOUT,
            false => Duration::ZERO,
        }
    }

    /// It was shut down for others, and has had its time.
    fn end_when_idle(&mut self) -> Next {
        (self.is_shut_down, self.ends_when_idle) = (true, true);
        match self.lifetime.activity.is_idle() {
            true => Next::IsGivenUp,
            false => Next::GoesOn,
        }
    }

    /// Looks at the progress.
    fn look(&mut self, now: Instant) -> Next {
        let Lifetime {
            activity, timeouts, ..
        } = &self.lifetime;
        self.lifetime.head.look(now.into_std());
        let is_idle_for_long = now >= self.idle_at;
        if self.ends_when_idle && activity.is_idle() {
            return Next::IsGivenUp;
        }
        if is_idle_for_long && !activity.has_request() {
            return Next::IsGivenUp;
        }
        match activity.look() {
            Progress::Some => {
                self.idle_at = now + timeouts.client;
                self.stalled_at = now + timeouts.idle;
            }
            Progress::Idle if is_idle_for_long && self.is_shut_down => return Next::IsGivenUp,
            Progress::Idle if is_idle_for_long => {
                self.idle_at = now + timeouts.client;
                return self.shut_down();
            }
            Progress::Stalled if now >= self.stalled_at => return Next::IsGivenUp,
            Progress::Idle => self.stalled_at = now + timeouts.idle,
            Progress::Stalled => self.idle_at = now + timeouts.client,
        }
        Next::GoesOn
    }
}
