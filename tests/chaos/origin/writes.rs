//! Writes: rejected, committed, or of unknown outcome, which means committed before the end, later
//! within the grace period, or never.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response as HttpResponse};
use tokio::time::sleep;

use super::policies::Policy;
use super::{Known, REPRESENTATION, WRITE, number_of};
use crate::database::{Identity, RESOURCES, TEAM, resource_of};
use crate::support::names::authority_of;
use crate::support::origin::{OriginError, Response, full};

/// Marks the resources whose state is unknown if a write is dropped before its end.
struct Doubt<'k> {
    known: &'k Known,
    resources: Vec<&'static str>,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        for resource in &self.resources {
            self.known.database.doubts(resource);
        }
    }
}

pub(super) async fn write(
    known: &Arc<Known>,
    request: &Request<()>,
) -> Result<Response, OriginError> {
    let resource = resource_of(request.uri().path());
    let call = known.database.calls(number_of(request.headers()));
    known.pauses().await;
    if known.luck.chance(15) {
        return Ok(rejected(known, call));
    }
    let write = known.database.writes();
    let unknown = known.luck.chance(8 + known.plan.failures);
    // Only its answer names its group, and other resources.
    let names_another = !unknown && resource == "/a" && known.luck.chance(20);
    let mut doubt = Doubt {
        known,
        resources: Vec::new(),
    };
    if names_another {
        doubt.resources.push("/b");
    }
    if resource == TEAM {
        doubt.resources.push(TEAM);
    }
    if !known.plan.invalidates_on_unknown {
        doubt.resources.extend(written(known, resource));
    }
    if unknown {
        return unsure(known, call, resource, write, doubt).await;
    }
    let status = match *request.method() {
        Method::DELETE => known.luck.pick(&[404, 410]),
        _ => known.luck.pick(&[200, 200, 200, 200, 203, 301]),
    };
    let version = commit(known, write, resource, status);
    if names_another {
        known.database.commit(write, "/b", 200);
    }
    known.pauses().await;
    if known.plan.has_silence && known.chance(4) {
        pending::<()>().await;
    }
    doubt.resources.clear();
    let mut response = committed(known, request, call, version, status);
    let headers = response.headers_mut();
    headers.insert(WRITE, write.into());
    if names_another {
        // It does not say that the content is another's.
        let name = match headers.contains_key(REPRESENTATION) {
            true => "location",
            false => known.luck.pick(&["location", "content-location"]),
        };
        headers.insert(name, "/b".parse().expect("a field value"));
    }
    put_group(&mut response, resource);
    Ok(response)
}

fn put_group(response: &mut Response, resource: &str) {
    if resource == TEAM {
        let group = "\"team\"".parse().expect("a field value");
        response
            .headers_mut()
            .insert("cache-group-invalidation", group);
    }
}

/// The resources that a write commits to without naming them.
fn written(known: &Known, resource: &'static str) -> Vec<&'static str> {
    match known.plan.has_list && resource == "/a" {
        true => vec![resource, "/list"],
        false => vec![resource],
    }
}

fn commit(known: &Known, write: usize, resource: &'static str, status: u16) -> u64 {
    for related in written(known, resource).into_iter().skip(1) {
        known.database.commit(write, related, 200);
    }
    let version = known.database.commit(write, resource, status);
    known.report.note(resource, || {
        format!("write {write} commits version {version} ({status})")
    });
    version
}

fn rejected(known: &Known, call: usize) -> Response {
    let mut statuses = vec![400, 401, 403, 404, 405, 409, 412, 416, 422, 429, 501, 505];
    if known.plan.rejects_by_503 {
        statuses.push(503);
    }
    let mut head = HttpResponse::new(());
    Policy::any(&known.luck).put_on(head.headers_mut());
    known.set_status(&mut head, call, known.luck.pick(&statuses));
    head.map(|()| full("rejected"))
}

/// The answer to a committed write: nothing, or the new representation.
fn committed(
    known: &Known,
    request: &Request<()>,
    call: usize,
    version: u64,
    status: u16,
) -> Response {
    let resource = resource_of(request.uri().path());
    let mut head = HttpResponse::new(());
    let is_written = status == 200 && resource != RESOURCES[4] && resource != TEAM;
    if !is_written || known.luck.chance(50) {
        let status = known.luck.pick(&[200, 201, 204, 204, 302, 303]);
        known.set_status(&mut head, call, status);
        return head.map(|()| full(""));
    }
    let identity = Identity {
        target: authority_of(request) + resource,
        resource,
        version,
        audience: None,
        selected_by: Vec::new(),
    };
    let representation = known.database.representation(identity, &known.luck);
    Policy::of_write(&known.luck).put_on(head.headers_mut());
    known.put_validators(head.headers_mut(), &representation);
    known.set_status(&mut head, call, known.luck.pick(&[200, 200, 201]));
    let headers = head.headers_mut();
    headers.insert("content-location", resource.parse().expect("a field value"));
    headers.insert(REPRESENTATION, representation.id.into());
    known.with_body(head, representation.content.clone())
}

/// A write of unknown outcome.
async fn unsure(
    known: &Arc<Known>,
    call: usize,
    resource: &'static str,
    write: usize,
    mut doubt: Doubt<'_>,
) -> Result<Response, OriginError> {
    let fate = known.luck.below(3);
    if fate == 0 {
        commit(known, write, resource, 200);
    }
    known.pauses().await;
    if fate == 1 {
        // It begins with the end of this call, whatever that is.
        let longest = known.plan.grace - 2;
        let delay = known.luck.pick(&[0, 5, 50, longest]).min(longest);
        let known = known.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(delay)).await;
            commit(&known, write, resource, 200);
        });
    }
    let ending = known.luck.below(4);
    if ending < 2 && resource != TEAM {
        if known.plan.invalidates_on_unknown {
            doubt.resources.clear();
        }
        known.database.fails();
        if ending == 0 {
            return Err(OriginError("lost"));
        }
        resume_unwind(Box::new("a write that panics"));
    }
    let mut statuses = vec![408, 500, 502, 504];
    if !known.plan.rejects_by_503 {
        statuses.push(503);
    }
    let mut head = HttpResponse::new(());
    known.set_status(&mut head, call, known.luck.pick(&statuses));
    let mut response = head.map(|()| full("failed"));
    if known.plan.invalidates_on_unknown {
        doubt.resources.clear();
        // The calls of a group's members go on beside such a write; only their stores are refused.
        if resource != TEAM {
            response.headers_mut().insert(WRITE, write.into());
        }
    }
    put_group(&mut response, resource);
    Ok(response)
}
