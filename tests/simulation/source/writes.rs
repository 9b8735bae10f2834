//! The origin's side of a write: what becomes of it, and when.
//!
//! A write that is rejected is never committed. One that is answered with success was committed
//! before. With any other answer, or none, it was committed before, or will be within the grace
//! period, or never.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{GROUP, Source, key_of};
use crate::history::{History, TEAM, resource_of};
use crate::names::authority_of;
use crate::support::origin::{OriginError, Response, answer, full};

/// What becomes of a write.
enum Fate {
    Rejected(u16),
    Committed,
    Unknown(Ending, Commit),
}

/// How a write of unknown outcome ends.
#[derive(Clone, Copy)]
enum Ending {
    Status(u16),
    Error,
    Panic,
}

/// When a write of unknown outcome is committed.
#[derive(Clone, Copy)]
enum Commit {
    Before,
    /// This long after it ended.
    Later(Duration),
    Never,
}

/// Brings the replicas up to date with a write when it ends, however it ends, and makes its late
/// commits.
struct Ends {
    history: Arc<History>,
    write: usize,
    commit: Commit,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.history.ends(self.write);
        if let (Commit::Later(delay), Ok(runtime)) = (self.commit, Handle::try_current()) {
            let (history, write) = (self.history.clone(), self.write);
            runtime.spawn(async move {
                sleep(delay).await;
                history.commit(write);
                history.ends(write);
            });
        }
    }
}

impl Source {
    pub(super) async fn write(self, request: &Request<()>) -> Result<Response, OriginError> {
        let resource = resource_of(&key_of(request));
        let fate = self.fate(&resource);
        if let Fate::Rejected(status) = fate {
            self.luck.pause(40).await;
            return Ok(answer(status, &[], "refused"));
        }
        let (ending, commit) = match fate {
            Fate::Unknown(ending, commit) => (Some(ending), commit),
            _ => (None, Commit::Before),
        };
        let write = self.history.writes(&resource);
        let history = self.history.clone();
        let ends = Ends {
            history,
            write,
            commit,
        };
        self.luck.pause(20).await;
        let version = match commit {
            Commit::Before => self.history.commit(write),
            _ => 0,
        };
        self.luck.pause(20).await;
        drop(ends);
        let mut response = match ending {
            None => self.written(request, &resource, version),
            Some(Ending::Status(status)) => answer(status, &[], "failed"),
            Some(Ending::Error) => return Err(OriginError("lost")),
            Some(Ending::Panic) => resume_unwind(Box::new("a write that panics")),
        };
        let headers = response.headers_mut();
        headers.insert("x-write", write.into());
        if resource == TEAM {
            let group = GROUP.parse().expect("a field value");
            headers.insert("cache-group-invalidation", group);
        }
        Ok(response)
    }

    /// The answer to a write that was committed: the written version, or no content.
    fn written(&self, request: &Request<()>, resource: &str, version: u64) -> Response {
        if !self.plan.write_through || resource != "/plain" {
            return answer(204, &[], "").map(|_| full(""));
        }
        // It names the path in normal form, whatever form the request has.
        let key = authority_of(request) + resource;
        let call = self.history.calls(self.instance, &key, None, false);
        let mut response = self.representation(&key, version, call, "");
        let location = resource.parse().expect("a field value");
        response.headers_mut().insert("content-location", location);
        response
    }

    fn fate(&self, resource: &str) -> Fate {
        if self.luck.chance(self.plan.rejects) {
            return Fate::Rejected(self.luck.pick(&[400, 401, 404, 409, 501, 505]));
        }
        let unknown = match (self.plan.is_unsure, self.plan.is_stormy) {
            (true, _) => 50,
            (false, true) => 20,
            (false, false) => 0,
        };
        if !self.luck.chance(unknown) {
            return Fate::Committed;
        }
        let status = Ending::Status(self.luck.pick(&[408, 500, 502, 503, 504]));
        // Without an answer, the groups of a write are unknown.
        let ending = match self.luck.below(4) {
            0 if resource != TEAM => Ending::Error,
            1 if resource != TEAM => Ending::Panic,
            _ => status,
        };
        let commit = match self.luck.below(3) {
            1 if self.plan.is_unsure => {
                let longest = self.plan.grace - 2;
                let delay = self.luck.pick(&[0, 5, 50, longest]).min(longest);
                Commit::Later(Duration::from_millis(delay))
            }
            2 if self.plan.is_unsure => Commit::Never,
            _ => Commit::Before,
        };
        Fate::Unknown(ending, commit)
    }
}
