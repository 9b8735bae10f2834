//! What busy clients of other resources, groups and variants do to a page: nothing.

use std::time::Duration;

use http::{Method, Request};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::Layer;

use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, settle};
use crate::support::{get, in_memory, is_stored, request, send, with};

type Fields = &'static [(&'static str, &'static str)];

/// Any write has success at once; a page takes a second.
fn writable(write_fields: Fields, page_fields: Fields) -> Origin {
    Origin::new(move |request: Request<()>| async move {
        if request.method() != Method::GET {
            return Ok(answer(204, write_fields, ""));
        }
        sleep(SECOND).await;
        let fields = [&[("cache-control", "max-age=60")], page_fields].concat();
        Ok(answer(200, &fields, "page"))
    })
}

/// Writes to other resources while a page is fetched: as many in its time as a site has at 5,000
/// writes a second.
#[tokio::test(start_paused = true)]
async fn writes_to_other_resources_keep_no_page_from_being_stored() {
    let service = in_memory().layer(writable(&[], &[]));
    for number in 0..4 {
        let page: &str = &format!("/page/{number}");
        let fill = tokio::spawn({
            let (service, page) = (service.clone(), get(page));
            async move { send(&service, page).await }
        });
        settle().await;
        for write in 0..5000 {
            let path = format!("/cart/{number}/{write}");
            send(&service, request(Method::POST, &path)).await;
        }
        fill.await.expect("an answer");
        settle().await;
        assert!(is_stored(&service, get(page)).await, "{page}");
    }
}

/// The number of requests for a page of 1 s, one each 10 ms.
const REQUESTS: usize = 90;

/// The calls for these requests while each comes after a write that invalidates a group.
async fn calls_beside_group_invalidations(page_groups: Fields) -> usize {
    let origin = writable(&[("cache-group-invalidation", "\"cart\"")], page_groups);
    let service = in_memory().layer(origin.clone());
    let mut readers = JoinSet::new();
    for number in 0..REQUESTS {
        sleep(Duration::from_millis(10)).await;
        send(&service, request(Method::POST, &format!("/cart/{number}"))).await;
        let service = service.clone();
        readers.spawn(async move { send(&service, get("/hot")).await });
    }
    for answer in readers.join_all().await {
        assert_eq!(answer.status, 200);
    }
    // One of the calls for each request is its write.
    origin.calls() - REQUESTS
}

#[tokio::test(start_paused = true)]
async fn groups_of_others_end_no_sharing() {
    assert_eq!(
        calls_beside_group_invalidations(&[]).await,
        1,
        "in no group"
    );
    let other = calls_beside_group_invalidations(&[("cache-groups", "\"page\"")]).await;
    assert_eq!(other, 1, "in another group");
    // The first call is too old for those who came after a write; they share the second one.
    let own = calls_beside_group_invalidations(&[("cache-groups", "\"cart\"")]).await;
    assert_eq!(own, 2, "in the group");
}

/// Requests with other selecting fields, each asked for twice.
#[tokio::test(start_paused = true)]
async fn a_flood_of_variants_removes_none_that_is_in_use() {
    let fields = [("cache-control", "max-age=3600"), ("vary", "user-agent")];
    let service = in_memory().layer(Origin::at_once(move |_| answer(200, &fields, "page")));
    let in_use = || with(get("/a"), "user-agent", "honest");
    send(&service, in_use()).await;
    settle().await;
    for number in 0..300 {
        let other = || with(get("/a"), "user-agent", &format!("odd {number}"));
        for _ in 0..2 {
            send(&service, other()).await;
            settle().await;
        }
        let answer = send(&service, in_use()).await;
        assert!(
            answer.is_hit(),
            "after {number} others: {}",
            answer.cache_status()
        );
    }
}
