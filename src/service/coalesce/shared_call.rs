//! A call that its client polls until others follow it; then it goes on in a task of its own.
//!
//! As long as the call is its client's alone it costs no task, and the inner service finds that
//! client's context around it (task-locals, spans). A call that others wait for must not depend on
//! one client's polling. A call that ends when it is polled for the first time, as those of services
//! in memory do, is not shared at all. Start at [`answer`].
//!
//! ```text
//! WithClient <-> Polled           the client polls, from the second time on
//!     |            |
//!     v            v              a follower comes, or the client leaves
//!     InTask ----> Done | Panicked | Over
//!        `-------> WithClient     the task was cut short
//! ```

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tracing::Span;

use crate::backend::Backend;
use crate::flight::{CallDriver, Leader};

use crate::state::LayerState;
use crate::state::shared_head::SharedHead;
use crate::timeout::with_timeout;

/// Polls a call until it has a result. Its leader moves it into a task when followers come.
///
/// Cancelling this leaves the call to the followers, if there are any.
pub(crate) fn answer<F, B>(
    layer: LayerState<B>,
    lead: &Arc<Leader<B::Fence, SharedHead>>,
    future: F,
) -> impl Future<Output = F::Output> + use<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    let lead = Arc::downgrade(lead);
    let mut new = Some((layer, Box::pin(future)));
    let mut shared: Option<SharedCall<F, B>> = None;
    poll_fn(move |cx| {
        if let Some(shared) = &shared {
            return shared.call.poll(cx);
        }
        let Some((_, future)) = &mut new else {
            unreachable!("a call is new, or shared");
        };
        // A follower that comes meanwhile waits until the call can be moved.
        let polled = future.as_mut().poll(cx);
        if polled.is_pending()
            && let Some((layer, future)) = new.take()
        {
            let client = cx.waker().clone();
            shared = Some(SharedCall::new(layer, &lead, future, client));
        }
        polled
    })
}

/// The client's end of a call. Dropped, it leaves the call to the followers, or drops it if there
/// are none.
struct SharedCall<F: Future<Output: Send> + Send + 'static, B: Backend> {
    call: Arc<CallState<F, B>>,
}

/// The call, shared by its client, its leader and its task.
struct CallState<F: Future, B: Backend> {
    layer: LayerState<B>,
    /// The leader, which the call owns, and hands over to the body of its response.
    lead: Weak<Leader<B::Fence, SharedHead>>,
    runtime: Option<Handle>,
    /// The span of the client whose call it is: a follower may move it into a task.
    span: Span,
    client: ClientLink,
    state: Mutex<State<F>>,
}

/// Whether the client of a call has left. One task can wait for that.
#[derive(Default)]
struct ClientLink(Mutex<Link>);

#[derive(Default)]
struct Link {
    has_left: bool,
    task: Option<Waker>,
}

impl ClientLink {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_left(&self) -> bool {
        self.link().has_left
    }

    fn leave(&self) {
        let mut link = self.link();
        link.has_left = true;
        let task = link.task.take();
        drop(link);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut link = self.link();
        if link.has_left {
            return Poll::Ready(());
        }
        let replaced = link.task.replace(cx.waker().clone());
        drop(link);
        // Wakers run foreign code when they are dropped: never under the lock.
        drop(replaced);
        Poll::Pending
    }
}

/// Where the future of the call is.
enum State<F: Future> {
    /// It is not being polled. The client waits with this waker, unless a task has polled it.
    WithClient(Pin<Box<F>>, Option<Waker>),
    /// The client is polling it; or its poll panicked.
    Polled {
        is_followed: bool,
    },
    /// It is in a task. The client waits with this waker.
    InTask(Option<Waker>),
    Done(F::Output),
    Panicked(Box<dyn Any + Send>),
    Over,
}

impl<F, B> SharedCall<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    /// A call that its client has polled, and polls on, and that the leader can move into a task
    /// when followers come.
    fn new(
        layer: LayerState<B>,
        lead: &Weak<Leader<B::Fence, SharedHead>>,
        future: Pin<Box<F>>,
        client: Waker,
    ) -> Self {
        let call = Arc::new(CallState {
            layer,
            lead: lead.clone(),
            runtime: Handle::try_current().ok(),
            span: Span::current(),
            client: ClientLink::default(),
            state: Mutex::new(State::WithClient(future, Some(client))),
        });
        let weak = Arc::downgrade(&call);
        if lead.upgrade().is_some_and(|lead| lead.set_driver(weak)) {
            call.clone().detach();
        }
        Self { call }
    }
}

impl<F, B> Drop for SharedCall<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    fn drop(&mut self) {
        self.call.client.leave();
        let lead = self.call.lead.upgrade();
        if lead.is_some_and(|lead| lead.has_followers()) {
            self.call.clone().detach();
        }
        let mut state = self.call.state();
        if !matches!(*state, State::InTask(_)) {
            let dropped = std::mem::replace(&mut *state, State::Over);
            drop(state);
            drop(dropped);
        }
    }
}

impl<F, B> CallState<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    /// The state, whatever happened to the thread that locked it last.
    fn state(&self) -> MutexGuard<'_, State<F>> {
        // The call is polled outside of the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut state = self.state();
        let next = match *state {
            State::InTask(_) => State::InTask(Some(cx.waker().clone())),
            _ => State::Polled { is_followed: false },
        };
        let before = std::mem::replace(&mut *state, next);
        drop(state);
        let mut future = match before {
            State::WithClient(future, _) => future,
            State::InTask(_) => return Poll::Pending,
            State::Done(output) => return Poll::Ready(output),
            State::Panicked(panic) => resume_unwind(panic),
            State::Polled { .. } | State::Over => unreachable!("there is one answer"),
        };
        let output = future.as_mut().poll(cx);
        if output.is_pending() {
            self.keep(future, cx);
        }
        output
    }

    /// Keeps the future after a poll without a result. A follower may have come meanwhile.
    fn keep(self: &Arc<Self>, future: Pin<Box<F>>, cx: &mut Context<'_>) {
        let mut state = self.state();
        match (&*state, &self.runtime) {
            (State::Polled { is_followed: true }, Some(runtime)) => {
                *state = State::InTask(Some(cx.waker().clone()));
                drop(state);
                self.clone().spawn(runtime, future);
            }
            _ => *state = State::WithClient(future, Some(cx.waker().clone())),
        }
    }

    /// Moves the call into a background task.
    fn spawn(self: Arc<Self>, runtime: &Handle, future: Pin<Box<F>>) {
        let (layer, span) = (self.layer.clone(), self.span.clone());
        let task = Task {
            call: self,
            future: Some(future),
        };
        span.in_scope(|| layer.shared.background.spawn(runtime, task.run()));
    }

    /// Resolves when the client has left, and the followers have left too or waited for the longest
    /// time of a fill.
    async fn abandoned(&self) {
        poll_fn(|cx| self.client.poll_left(cx)).await;
        if let Some(lead) = self.lead.upgrade() {
            let fill_timeout = self.layer.config.coalesce.fill_timeout;
            with_timeout(fill_timeout, lead.wait_until_abandoned()).await;
        }
    }

    /// Ends the task: wakes the client, or drops a result that no client waits for.
    fn finish(&self, end: State<F>) {
        let mut state = self.state();
        let before = std::mem::replace(&mut *state, end);
        let unclaimed = if self.client.has_left() {
            Some(std::mem::replace(&mut *state, State::Over))
        } else {
            None
        };
        drop(state);
        drop(unclaimed);
        if let State::InTask(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<F, B> CallDriver for CallState<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    /// Moves the call into a task, because a follower has come or its client has left.
    ///
    /// Outside of a runtime the call stays with its client.
    fn detach(self: Arc<Self>) {
        let Some(runtime) = self.runtime.clone() else {
            return;
        };
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Over) {
            State::WithClient(future, waker) => {
                *state = State::InTask(waker);
                drop(state);
                self.spawn(&runtime, future);
            }
            State::Polled { .. } => *state = State::Polled { is_followed: true },
            other => *state = other,
        }
    }
}

/// A call in its task. Cut short, by the end of the runtime or of the cache, the task gives the
/// call back to its client.
struct Task<F: Future<Output: Send> + Send + 'static, B: Backend> {
    call: Arc<CallState<F, B>>,
    future: Option<Pin<Box<F>>>,
}

impl<F, B> Task<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    /// Polls the call until it has a result, has panicked, or is abandoned.
    async fn run(mut self) {
        let call = self.call.clone();
        let mut given_up = pin!(call.abandoned());
        let end = poll_fn(|cx| {
            let Some(future) = &mut self.future else {
                unreachable!("it ends once");
            };
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(Poll::Ready(output)) => Poll::Ready(State::Done(output)),
                Ok(Poll::Pending) => given_up.as_mut().poll(cx).map(|()| State::Over),
                Err(panic) => Poll::Ready(State::Panicked(panic)),
            }
        })
        .await;
        let future = self.future.take();
        self.call.finish(end);
        drop(future);
    }
}

impl<F, B> Drop for Task<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.call.finish(State::WithClient(future, None));
        }
    }
}
