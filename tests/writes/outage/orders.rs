//! Orders of events: a request is answered by a call that began after the request did.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};

use http::{Method, Request};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{Cache, CacheLayer, ResponseBody};

use super::dead;
use crate::support::dying::Dying;
use crate::support::origin::{Origin, OriginBody, OriginError, answer, cacheable};
use crate::support::schedule::{Actor, every_order_within, pause, random_orders};
use crate::support::time::in_virtual_time;
use crate::support::yielding::yielding;
use crate::support::{collect, get, put, send};

/// An origin whose one resource has a version, a dead backend before it, and what clients were
/// promised.
#[derive(Clone)]
struct World<B: Backend> {
    layer: CacheLayer<B>,
    service: Cache<Origin, B>,
    version: Arc<AtomicU64>,
    promised: Rc<Cell<u64>>,
}

impl<B: Backend> World<B> {
    fn new(backend: B) -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let layer = CacheLayer::new(backend);
        Self {
            service: layer.layer(sampling(version.clone())),
            layer,
            version,
            promised: Rc::default(),
        }
    }

    fn reader(&self, times: usize) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            for _ in 0..times {
                let promised = world.promised.get();
                let response = world.service.clone().oneshot(get("/a")).await;
                let body = collect(response.expect("an answer")).await.body;
                let seen: u64 = body.parse().expect("a version");
                assert!(seen >= promised, "read {seen}, {promised} was promised");
            }
        })
    }

    /// A write through this instance.
    fn writer(&self) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            let response = world.service.clone().oneshot(put("/a")).await;
            let head = response.expect("an answer");
            let version = head.headers()["x-version"].to_str().expect("a version");
            world.promise(version.parse().expect("a version"));
        })
    }

    /// Writes through another one.
    fn remote_writer(&self, times: usize) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            for _ in 0..times {
                pause().await;
                world.promise(world.version.fetch_add(1, Ordering::SeqCst) + 1);
            }
        })
    }

    fn promise(&self, version: u64) {
        self.promised.set(self.promised.get().max(version));
    }
}

/// Samples the version when it is called, and answers later.
fn sampling(version: Arc<AtomicU64>) -> Origin {
    Origin::new(move |request: Request<()>| {
        let now = match *request.method() == Method::GET {
            true => version.load(Ordering::SeqCst),
            false => version.fetch_add(1, Ordering::SeqCst) + 1,
        };
        async move {
            pause().await;
            let lines = [
                ("cache-control", "max-age=3600"),
                ("x-version", &now.to_string()),
            ];
            Ok(answer(200, &lines, now.to_string()))
        }
    })
}

/// A request after a yielded write, here or elsewhere, is not answered by a call that began before.
#[test]
fn no_request_is_answered_by_a_call_that_began_before_it() {
    let shared = Rc::new(Cell::new(0));
    let orders = every_order_within(1, || {
        let world = World::new(dead().0);
        vec![
            counted(&world, &shared, 1),
            world.reader(1),
            world.reader(1),
            world.remote_writer(1),
        ]
    });
    assert!(shared.get() > 1000, "they do share");
    println!("{orders} orders");
    assert!(orders > 1000);
}

/// Not even while the inner service is still on its way to return the future.
#[tokio::test(start_paused = true)]
async fn a_call_begins_before_the_inner_service_is_called() {
    type Came = Result<http::Response<ResponseBody<OriginBody>>, OriginError>;
    type Slot<T> = Arc<std::sync::Mutex<Option<T>>>;
    let service: Slot<Cache<Origin, Dying<MemoryBackend>>> = Arc::default();
    let late: Slot<Pin<Box<dyn Future<Output = Came> + Send>>> = Arc::default();
    let (inside, slot, calls) = (service.clone(), late.clone(), AtomicUsize::new(0));
    let origin = Origin::new(move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call == 1 {
            let service = inside.lock().expect("no panic").take();
            let service = service.expect("it is called once");
            let mut asked = Box::pin(service.oneshot(get("/a")));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(asked.as_mut().poll(&mut cx).is_pending());
            *slot.lock().expect("no panic") = Some(asked);
        }
        std::future::ready(Ok(cacheable(format!("call {call}"))))
    });
    let cache = in_virtual_time(dead().0).layer(origin);
    *service.lock().expect("no panic") = Some(cache.clone());
    assert_eq!(send(&cache, get("/a")).await.body, "call 1");
    let late = late.lock().expect("no panic").take().expect("it came");
    let late = collect(late.await.expect("an answer")).await;
    assert_eq!(late.body, "call 2");
}

/// In random orders, with writes through this instance, on a backend that waits.
#[test]
fn writes_and_readers_in_random_orders() {
    let shared = Rc::new(Cell::new(0));
    random_orders(1_500, || {
        let world = World::new(yielding(dead().0));
        vec![
            counted(&world, &shared, 3),
            world.reader(3),
            world.reader(3),
            world.writer(),
            world.remote_writer(3),
        ]
    });
    println!("{} shared", shared.get());
    assert!(shared.get() > 1000, "they do share");
}

/// A reader, after whom it is counted how many have shared.
fn counted<B: Backend>(world: &World<B>, shared: &Rc<Cell<u64>>, times: usize) -> Actor {
    let (layer, shared) = (world.layer.clone(), shared.clone());
    let reader = world.reader(times);
    Box::pin(async move {
        reader.await;
        shared.set(shared.get() + layer.handle().stats().collapsed);
    })
}

/// In random orders, while the backend comes back.
#[test]
fn a_backend_that_comes_back_in_random_orders() {
    random_orders(1_500, || {
        let (backend, switch) = dead();
        let world = World::new(yielding(backend));
        let comes_back: Actor = Box::pin(async move {
            for _ in 0..5 {
                pause().await;
            }
            switch.revive();
        });
        vec![
            comes_back,
            world.reader(3),
            world.reader(3),
            world.reader(3),
            world.writer(),
            world.writer(),
        ]
    });
}
