//! The table of operations, and the bounds that each keeps.

use http::Method;

use super::{Cost, Instance, Measured};
use crate::support::{get, put, request, with};

/// Commands that were sent, round trips, and round trips before the origin is called.
type Bounds = (usize, u64, u64);

#[tokio::test]
async fn each_operation_keeps_its_bounds() {
    let measured = Measured::start().await;
    let mut rows: Vec<(Cost, Bounds)> = Vec::new();
    // The first time, so that the server knows all scripts.
    for _ in 0..2 {
        rows.clear();
        for part in 0..3 {
            measured.server.command(&["FLUSHALL"]).await;
            match part {
                0 => reads(&measured, &mut rows).await,
                1 => fills(&measured, &mut rows).await,
                _ => writes(&measured, &mut rows).await,
            }
        }
    }
    println!(
        "| operation | commands | in scripts | round trips | before the origin | bytes sent | received |"
    );
    for (cost, _) in &rows {
        println!("{cost}");
    }
    for (cost, (commands, round_trips, before_call)) in rows {
        let before = cost.before_call.unwrap_or(0);
        let is_kept =
            cost.commands <= commands && cost.round_trips <= round_trips && before <= before_call;
        assert!(is_kept, "{cost:?}");
    }
}

async fn reads(measured: &Measured, rows: &mut Vec<(Cost, Bounds)>) {
    let one = Instance::on(measured).await;
    one.fill(get("/plain")).await;
    one.fill(get("/varies")).await;
    one.fill(get("/member")).await;
    let hit = async |what, request: http::Request<()>| {
        let cost = measured.cost(what, async || {
            assert!(one.send(request.clone()).await.is_hit(), "{what}");
        });
        cost.await
    };
    rows.push((hit("hit", get("/plain")).await, (1, 1, 0)));
    rows.push((
        hit("304", with(get("/plain"), "if-none-match", "\"1\"")).await,
        (1, 1, 0),
    ));
    rows.push((
        hit("HEAD", request(Method::HEAD, "/plain")).await,
        (1, 1, 0),
    ));
    rows.push((
        hit("range", with(get("/plain"), "range", "bytes=0-9")).await,
        (1, 1, 0),
    ));
    let other = Instance::on(measured).await;
    let first = measured.cost("hit with Vary, first of an instance", async || {
        assert!(other.send(get("/varies")).await.is_hit());
    });
    rows.push((first.await, (2, 2, 0)));
    rows.push((hit("hit with Vary", get("/varies")).await, (1, 1, 0)));
    rows.push((
        hit("hit of a member of groups", get("/member")).await,
        (2, 2, 0),
    ));
}

async fn fills(measured: &Measured, rows: &mut Vec<(Cost, Bounds)>) {
    let one = Instance::on(measured).await;
    one.warm_up().await;
    one.fill(with(get("/varies"), "accept-encoding", "br"))
        .await;
    let mut number = 0;
    let mut path = |kind: &str| {
        number += 1;
        format!("/{kind}/{number}")
    };
    let miss = measured.cost("miss and store", async || {
        one.fill(get(&path("plain"))).await;
    });
    rows.push((miss.await, (3, 3, 2)));
    let mut encoding = 0;
    let variant = measured.cost("miss and store of another variant", async || {
        encoding += 1;
        let encoding = format!("x-{encoding}");
        one.fill(with(get("/varies"), "accept-encoding", &encoding))
            .await;
    });
    rows.push((variant.await, (2, 2, 1)));
    let varies = measured.cost(
        "miss and store, the first of a key that varies",
        async || {
            one.fill(get(&path("varies"))).await;
        },
    );
    rows.push((varies.await, (3, 3, 2)));
    let member = measured.cost("miss and store of a member of 2 groups", async || {
        one.fill(get(&path("member"))).await;
    });
    rows.push((member.await, (3, 3, 2)));
    let uncacheable = measured.cost("miss that is not stored", async || {
        one.send(get(&path("uncacheable"))).await;
    });
    rows.push((uncacheable.await, (2, 2, 2)));
    let again = measured.cost("miss that is not stored, again", async || {
        one.send(get("/uncacheable/1")).await;
    });
    one.send(get("/uncacheable/1")).await;
    rows.push((again.await, (1, 1, 1)));
}

async fn writes(measured: &Measured, rows: &mut Vec<(Cost, Bounds)>) {
    let one = Instance::on(measured).await;
    let through = Instance::writing_through(measured).await;
    one.warm_up().await;
    let write = async |what, instance: &Instance, method: Method, path: &'static str| {
        let cost = measured.cost(what, async || {
            instance.send(request(method.clone(), path)).await;
        });
        cost.await
    };
    one.fill(get("/a")).await;
    rows.push((
        write("PUT that invalidates", &one, Method::PUT, "/a").await,
        (1, 1, 0),
    ));
    one.fill(get("/a")).await;
    rows.push((write("DELETE", &one, Method::DELETE, "/a").await, (1, 1, 0)));
    one.fill(get("/a")).await;
    rows.push((
        write(
            "POST that invalidates 2 resources",
            &one,
            Method::POST,
            "/a",
        )
        .await,
        (3, 3, 1),
    ));
    one.fill(get("/member")).await;
    let group = measured.cost("invalidation of a group", async || {
        let invalidated = one.handle.invalidate_group("test.example", "a").await;
        invalidated.expect("it is acknowledged");
    });
    rows.push((group.await, (1, 1, 0)));
    one.fill(get("/member")).await;
    let expired = measured.cost("expiration of a group", async || {
        let expired = one.handle.expire_group("test.example", "a").await;
        expired.expect("it is acknowledged");
    });
    rows.push((expired.await, (1, 1, 0)));
    one.fill(get("/a")).await;
    let expired = measured.cost("expiration of a resource", async || {
        one.handle.expire("/a").await.expect("it is acknowledged");
    });
    rows.push((expired.await, (1, 1, 0)));
    one.fill(get("/a")).await;
    rows.push((
        write("PUT by write-through", &through, Method::PUT, "/a").await,
        (2, 2, 1),
    ));
    let put_first = measured.cost("PUT by write-through, nothing stored", async || {
        through.send(put("/never-seen")).await;
    });
    rows.push((put_first.await, (3, 3, 2)));
    through.send(request(Method::POST, "/a")).await;
    one.fill(get("/a")).await;
    rows.push((
        write("POST by write-through", &through, Method::POST, "/a").await,
        (3, 3, 1),
    ));
}
