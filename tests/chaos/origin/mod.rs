//! The origin: slow, sometimes failing, sometimes lying, over the database.
//!
//! Reads are in [`reads`], what an answer says of storing and sharing in [`policies`], lies in
//! [`lies`], bodies in [`bodies`], writes in [`writes`], and waiting for readiness in
//! [`readiness`].

mod bodies;
mod lies;
pub mod policies;
mod readiness;
mod reads;
mod writes;

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use tokio::time::{Instant, sleep};

pub use self::readiness::Busy;
pub use self::reads::id_of;

use crate::database::{Database, resource_of};
use crate::plan::Plan;
use crate::report::Report;
use crate::support::luck::Luck;
use crate::support::names::authority_of;
use crate::support::origin::{Origin, OriginError, Response};

/// What an answer of the origin carries about itself.
pub const CALL: &str = "x-call";
pub const REPRESENTATION: &str = "x-representation";
/// The number of a request.
pub const REQUEST: &str = "x-request";
/// The number of a write that was not rejected.
pub const WRITE: &str = "x-write";
/// Marks an answer against the rules.
pub const LIE: &str = "x-lie";

/// What all parties of a world know of.
pub struct Known {
    pub plan: Plan,
    pub database: Database,
    pub report: Report,
    pub luck: Arc<Luck>,
    /// Calls and bodies of the origin that are not over.
    pub open: Arc<AtomicUsize>,
    /// Whether the origin does right and at once from now on.
    pub is_calm: std::sync::atomic::AtomicBool,
}

impl Known {
    /// Whether something happens that does so this often in a hundred while the origin misbehaves.
    fn chance(&self, percent: u64) -> bool {
        percent > 0 && !self.is_calm.load(Ordering::Relaxed) && self.luck.chance(percent)
    }

    async fn pauses(&self) {
        if !self.is_calm.load(Ordering::Relaxed) {
            self.luck.pause(self.plan.slow).await;
        }
    }
}

/// Counts a call or a body as long as it lives.
pub struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All lines of a field in one, as they are compared.
pub fn field(headers: &HeaderMap, name: &str) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

/// The authority, the path as it was sent, and the query.
pub fn target_of(request: &Request<()>) -> String {
    let target = request.uri().path_and_query();
    let authority = authority_of(request);
    authority + target.map_or("/", |target| target.as_str())
}

/// The number that a client gave its request.
pub fn number_of(headers: &HeaderMap) -> u64 {
    field(headers, REQUEST).parse().unwrap_or(u64::MAX)
}

/// The methods that the origin takes for writes.
pub fn is_write(method: &Method) -> bool {
    let safe = ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"];
    !safe.contains(&method.as_str())
}

pub fn origin(known: Arc<Known>) -> Busy {
    let serving = known.clone();
    let origin = Origin::new(move |request| {
        let known = serving.clone();
        let open = Open::new(&known.open);
        async move {
            let _open = open;
            let answer = match is_write(request.method()) {
                true => writes::write(&known, &request).await,
                false => reads::read(&known, &request).await,
            };
            let resource = resource_of(request.uri().path());
            known.report.note(resource, || {
                format!(
                    "origin {} #{}: {}",
                    request.method(),
                    number_of(request.headers()),
                    described(&answer)
                )
            });
            answer
        }
    });
    Busy::new(origin, known)
}

/// An answer in few words.
fn described(answer: &Result<Response, OriginError>) -> String {
    let head = match answer {
        Err(error) => return format!("error: {error}"),
        Ok(response) => response,
    };
    let mut text = head.status().as_u16().to_string();
    for (name, value) in head.headers() {
        text += &format!(" {name}: {:.60}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

impl Known {
    /// What may happen to any call before its answer.
    async fn misfortune(&self) -> Result<(), OriginError> {
        if self.chance(self.plan.failures) {
            match self.luck.below(4) {
                0 => {
                    self.database.fails();
                    return Err(OriginError("nobody there"));
                }
                1 => {
                    self.database.fails();
                    resume_unwind(Box::new("a call that panics"));
                }
                2 => {
                    let length = Duration::from_millis(self.luck.below(3_000));
                    self.database.bursts_until(Instant::now() + length);
                }
                _ => sleep(Duration::from_secs(15)).await,
            }
        }
        if self.plan.has_silence && self.chance(4) {
            pending::<()>().await;
        }
        Ok(())
    }
}
