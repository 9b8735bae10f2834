//! What a lookup found is neither confirmed nor shared once it was invalidated, at any instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::redis::RedisFence;
use tower_response_cache::backend::{
    Backend, Group, InvalidationTarget, JoinDecision, Lookup, PutOutcome, RedisBackend,
};
use tower_response_cache::{Cache, CacheHandle, CacheLayer, ResponseBody};

use crate::backend::{begin, evict, instance, options};
use crate::support::gate::{Gate, Gated};
use crate::support::origin::{Origin, OriginBody, OriginError, answer};
use crate::support::redis::{RedisServer, Tap, until};
use crate::support::sample::{Sample, at};
use crate::support::{Answer, collect, get, request, send, with};

const STAMP: (&str, &str) = ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT");

/// A page in a group with a new version after each write, and the same validator. A POST writes to
/// it by its group.
fn page() -> Origin {
    let version = Arc::new(AtomicUsize::new(1));
    Origin::at_once(move |request: &Request<()>| {
        let fresh = ("cache-control", "max-age=3600");
        let lines = [fresh, STAMP, ("cache-groups", "\"pages\"")];
        match *request.method() {
            Method::GET if request.headers().contains_key("if-modified-since") => {
                answer(304, &lines, "")
            }
            Method::GET => {
                let text = format!("v{}", version.load(Ordering::SeqCst));
                answer(200, &lines, text)
            }
            Method::POST => {
                version.fetch_add(1, Ordering::SeqCst);
                answer(204, &[("cache-group-invalidation", "\"pages\"")], "")
            }
            _ => {
                version.fetch_add(1, Ordering::SeqCst);
                answer(204, &[], "")
            }
        }
    })
}

/// An instance whose reads can be made to wait at a gate.
struct Instance {
    gate: Gate,
    gated: Cache<Gated<Origin>, RedisBackend>,
    open: Cache<Origin, RedisBackend>,
    handle: CacheHandle<RedisBackend>,
}

type Waiting = JoinHandle<Result<Response<ResponseBody<OriginBody>>, OriginError>>;

impl Instance {
    fn new(backend: RedisBackend, origin: &Origin) -> Self {
        let (layer, gate) = (CacheLayer::new(backend), Gate::default());
        Self {
            gated: layer.layer(Gated {
                inner: origin.clone(),
                gate: gate.clone(),
            }),
            open: layer.layer(origin.clone()),
            handle: layer.handle(),
            gate,
        }
    }

    async fn store(&self) {
        assert_eq!(send(&self.open, get("/a")).await.body, "v1");
        let stored = async || self.handle.stats().stores > 0;
        until("it is stored", stored).await;
    }

    /// A request that wants the stored response validated, and waits for that.
    async fn validate(&self) -> Waiting {
        self.gate.close();
        let request = with(get("/a"), "cache-control", "no-cache");
        let waiting = tokio::spawn(self.gated.clone().oneshot(request));
        let is_waiting = async || self.handle.stats().in_flight.fills == 1;
        until("it waits at the gate", is_waiting).await;
        waiting
    }

    /// A request that joins the waiting one, which goes on in a task because of that.
    async fn join(&self) -> Waiting {
        let waiting = tokio::spawn(self.gated.clone().oneshot(get("/a")));
        let has_joined = async || self.handle.stats().in_flight.tasks > 0;
        until("it has joined", has_joined).await;
        waiting
    }

    async fn finish(&self, waiting: Waiting) -> Answer {
        self.gate.open();
        let response = waiting.await.expect("no panic");
        collect(response.expect("an answer")).await
    }
}

/// Promise: no stale read after a write, at the instance of the write or at another one.
#[tokio::test]
async fn a_request_after_a_write_gets_nothing_that_a_waiting_validation_had_found() {
    let server = RedisServer::start().await;
    for (method, is_remote) in [
        (Method::PUT, false),
        (Method::PUT, true),
        (Method::POST, true),
    ] {
        let origin = page();
        let one = Instance::new(instance(&server), &origin);
        let other = Instance::new(instance(&server), &origin);
        one.store().await;
        let validating = one.validate().await;
        let writer = if is_remote { &other } else { &one };
        send(&writer.open, request(method.clone(), "/a")).await;
        let joined = one.join().await;
        let joined = one.finish(joined).await;
        assert_eq!(joined.body, "v2", "{method}, remote: {is_remote}");
        one.finish(validating).await;
        assert_eq!(send(&other.open, get("/a")).await.body, "v2");
        other.handle.clear().await.expect("it is cleared");
    }
}

/// A member of a group that is stored.
async fn member(backend: &RedisBackend) -> (Sample, InvalidationTarget) {
    let member = Sample::in_groups(backend, "/a", "\"a\"", "old").await;
    member.store(backend).await;
    let group = member.response.groups()[0];
    (member, InvalidationTarget::Group(group))
}

/// Asserts that what a lookup found before an invalidation had ended can neither be stored again
/// nor shared with a request that came after it.
async fn assert_dead(
    backend: &RedisBackend,
    member: &Sample,
    found: Lookup<RedisFence>,
    case: &str,
) {
    let Lookup::Found(response, fence) = found else {
        return;
    };
    if !backend.is_still_valid(&member.key, &response, &fence) {
        return;
    }
    let own = member.fence(backend).await;
    let shares = match backend.join_decision(member.key.resource(), &fence, &own) {
        JoinDecision::Join => true,
        JoinDecision::CheckGroups => backend.has_current_groups(response.groups(), &fence, &own),
        JoinDecision::Refuse => false,
    };
    assert!(!shares, "{case}: it is shared");
    let put = member.put(backend, &fence).await;
    assert_eq!(put, PutOutcome::Superseded, "{case}: it is stored");
    assert_eq!(member.body(backend).await, None, "{case}");
}

#[tokio::test]
async fn a_lookup_between_the_steps_of_an_invalidation_brings_no_member_back() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let one = instance(&server);
    let other = options(&tap.url(), "test").max_connections(1).build();
    let (member, group) = member(&one).await;
    assert!(member.body(&other).await.is_some());
    // The first one loads the script.
    let another = InvalidationTarget::Group(Group::from_digest(7));
    other
        .invalidate(&another)
        .await
        .expect("it is acknowledged");
    server.command(&["CONFIG", "RESETSTAT"]).await;
    tap.hold_replies();
    let mut invalidation = Box::pin(other.invalidate(&group));
    assert!(!begin(&mut invalidation).await);
    let has_begun = async || server.calls("evalsha").await == 1;
    until("it has begun", has_begun).await;
    let found = one.get(&member.key, at(0)).await.expect("a lookup");
    tap.pass();
    invalidation.await.expect("it is acknowledged");
    assert_dead(&one, &member, found, "between the steps").await;
}

/// The token of all groups may be lost: the lookup then creates one, in a step of its own.
#[tokio::test]
async fn an_invalidation_between_the_steps_of_a_lookup_counts() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let one = options(&tap.url(), "test").max_connections(1).build();
    let other = instance(&server);
    for step in 0..16 {
        let (member, group) = member(&other).await;
        assert!(member.body(&one).await.is_some());
        evict(&server, "q").await;
        tap.delay(Duration::from_millis(10));
        let lookup = one.clone();
        let key = member.key;
        let lookup = tokio::spawn(async move { lookup.get(&key, at(0)).await });
        sleep(Duration::from_millis(20) * step).await;
        other.invalidate(&group).await.expect("it is acknowledged");
        let found = lookup.await.expect("no panic").expect("a lookup");
        tap.pass();
        assert_dead(&one, &member, found, &format!("step {step}")).await;
    }
}
