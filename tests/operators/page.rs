//! The page of a program under load, in a real browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::chromium::Chromium;
use crate::example::Example;
use crate::http_client::{get, make_product};
use crate::programs::{TOKEN, TokenFile};

/// Clients that read products, and what they count: a response that the database was not asked for
/// is a hit.
#[derive(Default)]
struct Load {
    requests: AtomicUsize,
    hits: AtomicUsize,
    is_over: AtomicBool,
}

/// Reads products, some of them seldom enough to be misses, until it is over.
fn read(load: &Arc<Load>, server: &Example, paths: &[String]) -> JoinHandle<()> {
    let (load, base, paths) = (load.clone(), server.base().to_owned(), paths.to_vec());
    tokio::spawn(async move {
        for number in 0_usize.. {
            if load.is_over.load(Ordering::Relaxed) {
                return;
            }
            let path = match number % 7 {
                0 => format!("{}?{number}", paths[number % paths.len()]),
                _ => paths[number % paths.len()].clone(),
            };
            let answer = get(&base, &path).await;
            let status = answer.header("cache-status");
            let is_hit = status.contains("; hit") || status.contains("; collapsed");
            load.requests.fetch_add(1, Ordering::Relaxed);
            load.hits.fetch_add(usize::from(is_hit), Ordering::Relaxed);
            sleep(Duration::from_millis(10)).await;
        }
    })
}

/// Writes a picture into the folder that `PICTURES` names, for people to look at.
async fn take_picture(browser: &mut Chromium, name: &str) {
    let picture = browser.picture().await;
    assert!(picture.len() > 10_000, "{name} shows something");
    if let Some(folder) = std::env::var_os("PICTURES") {
        let file = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(file, picture).expect("a file");
    }
}

async fn explain(browser: &mut Chromium, uri: &str) -> String {
    empty(browser, "explained").await;
    browser.type_into("uri", uri).await;
    press_enter(browser, "explained").await
}

async fn invalidate(browser: &mut Chromium, path: &str) -> String {
    empty(browser, "invalidated").await;
    browser.type_into("selectors", path).await;
    browser.value("document.getElementById('do').focus()").await;
    press_enter(browser, "invalidated").await
}

async fn empty(browser: &mut Chromium, id: &str) {
    let script = format!("document.getElementById('{id}').replaceChildren()");
    browser.value(&script).await;
}

/// Presses Enter, and returns the text that an empty element then gets.
async fn press_enter(browser: &mut Chromium, id: &str) -> String {
    browser.press("Enter").await;
    let script = format!("document.getElementById('{id}').textContent !== ''");
    browser.until(&script).await;
    browser.text(id).await
}

async fn is_hit(server: &Example, path: &str) -> bool {
    let answer = get(server.base(), path).await;
    answer.header("cache-status").contains("; hit")
}

#[tokio::test]
async fn the_page_shows_a_loaded_program_explains_and_invalidates() {
    let token = TokenFile::new(TOKEN);
    let arguments = ["--admin", "127.0.0.1:0", "--admin-token-file", token.path()];
    let server = Example::start("products", &arguments).await;
    let mut paths = Vec::new();
    for number in 0..5 {
        paths.push(make_product(&server, &format!("Lamp {number}")).await);
    }
    let mut browser = Chromium::start().await;
    browser.look(1280, 900, false).await;
    browser.open(server.admin()).await;
    browser
        .until("document.getElementById('state').textContent === 'well'")
        .await;
    assert_eq!(
        browser.text("ratio-all").await,
        "–",
        "there were writes only"
    );

    let load = Arc::new(Load::default());
    let readers: Vec<_> = (0..4).map(|_| read(&load, &server, &paths)).collect();
    // Figures move, and a line is drawn.
    browser
        .until("document.getElementById('line').getAttribute('d').split('L').length > 8")
        .await;
    let total = browser.text("total").await;
    browser
        .until(&format!(
            "document.getElementById('total').textContent !== '{total}'"
        ))
        .await;
    browser
        .until("parseFloat(document.getElementById('rate').textContent) > 10")
        .await;
    for (name, width, is_dark) in [
        ("wide-light", 1280, false),
        ("wide-dark", 1280, true),
        ("narrow-light", 390, false),
        ("narrow-dark", 390, true),
    ] {
        browser.look(width, 900, is_dark).await;
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(
            browser.value(fits).await,
            true,
            "{name}: nothing is cut off"
        );
        take_picture(&mut browser, name).await;
    }
    browser.look(1280, 900, false).await;
    load.is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("no panic");
    }
    // The ratio on the page is the one that clients have counted.
    let (requests, hits) = (&load.requests, &load.hits);
    let (requests, hits) = (
        requests.load(Ordering::Relaxed),
        hits.load(Ordering::Relaxed),
    );
    let ratio = format!("{:.1} %", hits as f64 / requests as f64 * 100.0);
    browser
        .until(&format!(
            "document.getElementById('ratio-all').textContent === '{ratio}'"
        ))
        .await;

    // What is refused for overload was not looked up in vain, and counts neither way.
    let refused = "ratio({requests: {hit: 1, miss: 1, overload: 2, outside: 3}}, null)";
    assert_eq!(browser.value(refused).await, 0.5);

    let explained = explain(&mut browser, &format!("{}{}", server.base(), paths[0])).await;
    assert!(
        explained.starts_with("Hit") && explained.contains("by layer ttl"),
        "{explained}"
    );
    let explained = explain(&mut browser, "/products/another?query").await;
    assert!(explained.contains("Miss: uri-miss"), "{explained}");
    assert!(
        explained.contains("No response is stored under the key"),
        "{explained}"
    );
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);

    // Without the token, and with a wrong one, nothing happens.
    let refused = invalidate(&mut browser, &paths[0]).await;
    assert!(refused.contains("enter the token"), "{refused}");
    browser.type_into("token", "wrong-token-wrong-token").await;
    browser.press("Enter").await;
    let refused = invalidate(&mut browser, &paths[0]).await;
    assert!(refused.contains("the token is wrong"), "{refused}");
    assert!(is_hit(&server, &paths[0]).await);
    let unauthorized = |complaint: &&String| complaint.contains("401");
    assert_eq!(
        browser.complaints.iter().filter(unauthorized).count(),
        browser.complaints.len()
    );
    browser.complaints.clear();

    browser.type_into("token", TOKEN).await;
    browser.press("Enter").await;
    let done = invalidate(&mut browser, &paths[0]).await;
    assert!(done.starts_with("1 resource removed"), "{done}");
    assert!(!is_hit(&server, &paths[0]).await);
    assert!(is_hit(&server, &paths[1]).await);
    assert!(!done.contains("wildcard"), "{done}");
    // What may have been meant instead is said where it is done.
    let done = invalidate(&mut browser, "/products/*").await;
    assert!(done.starts_with("1 resource removed"), "{done}");
    assert!(done.contains("* is no wildcard"), "{done}");
    assert!(is_hit(&server, &paths[1]).await);
    take_picture(&mut browser, "forms").await;
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);

    let own = server.admin().strip_prefix("http://").expect("a base");
    assert!(browser.hosts.len() > 10);
    assert!(
        browser.hosts.iter().all(|host| host == own),
        "{:?}",
        browser.hosts
    );

    server.signal("KILL").await;
    browser
        .until("document.getElementById('state').textContent.startsWith('no answer since')")
        .await;
    take_picture(&mut browser, "no-answer").await;
}

#[tokio::test]
async fn a_backend_that_is_away_is_shown_in_red() {
    // Nothing listens there.
    let redis = ["--backend", "redis", "--redis-url", "redis://127.0.0.1:1/"];
    let arguments = [&redis[..], &["--admin", "127.0.0.1:0"]].concat();
    let server = Example::start("products", &arguments).await;
    let mut browser = Chromium::start().await;
    browser.look(1280, 900, false).await;
    browser.open(server.admin()).await;
    let path = make_product(&server, "Lamp").await;
    for _ in 0..50 {
        assert_eq!(get(server.base(), &path).await.status, 200);
    }
    browser
        .until("document.getElementById('state').className === 'bad'")
        .await;
    browser
        .until("document.getElementById('state').textContent.includes('circuit breaker')")
        .await;
    browser
        .until("document.querySelectorAll('#backend dd.bad').length >= 2")
        .await;
    let explained = explain(&mut browser, &path).await;
    assert!(explained.contains("Miss: backend-failed"), "{explained}");
    take_picture(&mut browser, "backend-away").await;
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[tokio::test]
async fn the_page_asks_for_the_token_where_reading_needs_it() {
    let token = TokenFile::new(TOKEN);
    let arguments = ["--admin", "0.0.0.0:0", "--admin-token-file", token.path()];
    let server = Example::start("products", &arguments).await;
    let port = server
        .admin()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let mut browser = Chromium::start().await;
    browser.open(&format!("http://127.0.0.1:{port}")).await;
    browser
        .until("document.getElementById('state').textContent === 'needs the token'")
        .await;
    assert_eq!(browser.text("total").await, "–");
    browser.look(1280, 900, false).await;
    take_picture(&mut browser, "needs-token").await;
    for (text, state) in [("wrong-token-wrong-token", "wrong token"), (TOKEN, "well")] {
        browser.type_into("token", text).await;
        browser.press("Enter").await;
        browser
            .until(&format!(
                "document.getElementById('state').textContent === '{state}'"
            ))
            .await;
    }
    assert_eq!(browser.text("total").await, "0");
}

#[tokio::test]
async fn an_origin_that_fails_is_shown_in_red() {
    // Nothing listens there.
    let flags = ["--upstream", "http://127.0.0.1:1", "--admin", "127.0.0.1:0"];
    let server = Example::start("proxy", &flags).await;
    let mut browser = Chromium::start().await;
    browser.open(server.admin()).await;
    browser
        .until("document.getElementById('state').textContent === 'well'")
        .await;
    let load = Arc::new(Load::default());
    let readers: Vec<_> = (0..4)
        .map(|_| read(&load, &server, &["/a".to_owned()]))
        .collect();
    browser
        .until("document.getElementById('state').textContent === '100.0 % of the calls to the origin fail; 1 of 1 servers of the origin are down'")
        .await;
    browser
        .until("document.getElementById('failed').className === 'bad'")
        .await;
    load.is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("no panic");
    }
}

/// Figures that are cut off are no answer, and the page goes on asking.
#[tokio::test]
async fn an_answer_that_is_cut_off_does_not_stop_the_page() {
    let server = Example::start("products", &["--admin", "127.0.0.1:0"]).await;
    let mut browser = Chromium::start().await;
    browser.open(server.admin()).await;
    let well = "document.getElementById('state').textContent === 'well'";
    browser.until(well).await;
    for cut in ["'{\"requests\":'", "'{}'", "'[]'"] {
        let halve = format!(
            "window.whole = window.whole || window.fetch; \
             window.fetch = async () => new Response({cut}, {{ status: 200 }}); 1"
        );
        browser.value(&halve).await;
        browser
            .until("document.getElementById('state').className === 'bad'")
            .await;
        browser.value("window.fetch = window.whole; 1").await;
        browser.until(well).await;
    }
}

/// The state and what is red are decided by what was counted in the last seconds, not only by what
/// is the case at the moment of asking. Each row is a change of the figures, made at each look.
#[tokio::test]
async fn what_goes_wrong_between_two_looks_is_shown_in_red() {
    let server = Example::start("products", &["--admin", "127.0.0.1:0"]).await;
    let mut browser = Chromium::start().await;
    browser.open(server.admin()).await;
    // Ten looks a second instead of one.
    let hurry = "window.slowly = window.setTimeout; \
                 window.setTimeout = (run, time) => slowly(run, time === 1000 ? 100 : time); 1";
    browser.value(hurry).await;
    // What the program answers, as if it had an origin with a queue and a backend elsewhere.
    let feign = |change: &str| {
        format!(
            "window.whole = window.whole || window.fetch; window.polls = 0; window.n = window.n || 0; \
             window.fetch = async (...of) => {{ \
               const all = await (await window.whole(...of)).json(), n = ++window.n; window.polls += 1; \
               all.health = {{ breaker: 'closed', invalidation_breaker: 'closed', undelivered: 0, \
                 to_be_cleared: false, failures: n, timeouts: n, refused: 7, rejected: n, opened: 7, \
                 invalidation_breaker_opened: 7, replayed: n, reconnects: 7 }}; \
               all.origin = {{ in_flight: 1, max_in_flight: 1, waiting: 0, refused: 7, repeated: n }}; \
               all.requests.overload = 7; \
               all.backend_operations = [{{ op: 'get', result: 'ok', count: 100 * n }}, \
                 {{ op: 'get', result: 'timeout', count: n }}]; \
               {change}; \
               return new Response(JSON.stringify(all), {{ status: 200 }}); }}; 1"
        )
    };
    let well = "document.getElementById('state').textContent === 'well' && \
                document.querySelector('main .bad') === null";
    for (change, told) in [
        ("all.health.refused += n", "is it full?"),
        ("all.requests.overload += n", "requests refused"),
        ("all.origin.refused += n", "too many wait for the origin"),
        (
            "all.requests.overload += n; all.origin.limits = { uploads: n }",
            "requests with content refused",
        ),
        (
            "all.origin.limits = { requests: n }",
            "take too much memory",
        ),
        ("all.in_flight.waiting_fills = 3", "3 requests wait"),
        ("all.origin.waiting = 3", "3 requests wait"),
        (
            "all.backend_operations[1].count *= 50",
            "of the backend\\'s operations fail",
        ),
        (
            "all.origin_calls.error = n",
            "100.0 % of the calls to the origin fail",
        ),
        (
            "all.origin_bodies_failed = n; all.origin_calls[\'2xx\'] = n",
            "100.0 % of the calls to the origin fail",
        ),
        (
            "all.origin_calls.canceled = n",
            "100.0 % of the calls to the origin are given up",
        ),
        ("all.origin_silent_seconds = 31", "the origin hangs"),
        // Whatever is not found meanwhile, and whoever breaks off uploads.
        (
            "all.origin_calls['4xx'] = 200 * n; all.origin_calls['2xx'] = n; \
             all.origin_rejections.credentials = 99 * n",
            "the origin rejects 99.0 % of the calls",
        ),
        (
            "all.origin_calls['4xx'] = 200 * n; all.origin_calls['2xx'] = 40 * n; \
             all.origin_rejections.rate = 60 * n",
            "the origin limits the rate of 60.0 % of the calls",
        ),
        (
            "all.origin_calls.broken_upload = 99 * n; all.origin_calls.error = n",
            "100.0 % of the calls to the origin fail",
        ),
        (
            "all.origin.servers = 3; all.origin.servers_down = 1",
            "1 of 3 servers of the origin are down",
        ),
        (
            "all.origin.limits = { connections_waiting: 1 }",
            "new connections wait",
        ),
    ] {
        // What has been counted before the page was opened is no news.
        browser.value(&feign("")).await;
        browser.until("window.polls > 2").await;
        browser.value("samples = []; window.polls = 0").await;
        browser.until("window.polls > 3").await;
        assert_eq!(browser.value(well).await, true, "before {change}");
        browser.value(&feign(change)).await;
        let told = format!(
            "document.getElementById('state').className === 'bad' && \
             document.getElementById('state').textContent.includes('{told}') && \
             document.querySelector('main .bad') !== null"
        );
        browser.until(&told).await;
        // It stays so for as long as it grows.
        browser.until("window.polls > 4").await;
        assert_eq!(browser.value(&told).await, true, "{change}");
    }
    // None of these is the origin's fault, nor that of a credential.
    for change in [
        "all.origin_calls.broken_upload = 99 * n; all.origin_calls['2xx'] = n",
        "all.origin_calls['4xx'] = 200 * n; all.origin_calls['2xx'] = n",
        "Object.assign(all.origin, { servers: 3, servers_down: 0, servers_unknown: 1 })",
    ] {
        browser.value(&feign(change)).await;
        browser.value("samples = []; window.polls = 0").await;
        browser.until("window.polls > 3").await;
        assert_eq!(browser.value(well).await, true, "{change}");
    }
}

/// The line and the rates are by the time of the program, not by how often the page looks: a browser
/// that lets a tab in the background look once in a while does not make it faster.
#[tokio::test]
async fn the_page_shows_time_and_not_looks() {
    let server = Example::start("products", &["--admin", "127.0.0.1:0"]).await;
    let mut browser = Chromium::start().await;
    browser.open(server.admin()).await;
    let well = "document.getElementById('state').textContent === 'well'";
    browser.until(well).await;
    // Each look is `step` seconds after the last, in which 20 requests a second were hits.
    let feign = |step: &str| {
        format!(
            "window.slowly = window.slowly || window.setTimeout; \
             window.setTimeout = (run, time) => slowly(run, time === 1000 ? 50 : time); \
             window.whole = window.whole || window.fetch; window.polls = 0; window.at = window.at || 1000; \
             window.fetch = async (...of) => {{ \
               const all = await (await window.whole(...of)).json(); \
               window.at += {step}; window.polls += 1; \
               all.uptime_seconds = window.at; all.requests.hit = 20 * window.at; \
               return new Response(JSON.stringify(all), {{ status: 200 }}); }}; 1"
        )
    };
    let points =
        "document.getElementById('line').getAttribute('d').split(/[ML]/).slice(1).map(parseFloat)";
    let restart = "samples = []; history = []; last = null; clock.uptime = window.at || 0; 1";
    for (step, is_line, window) in [
        ("0.5", true, "last 10 seconds"),
        ("2", true, "last 10 seconds"),
        ("30", false, "last 30 seconds"),
    ] {
        browser.value(&feign(step)).await;
        browser.until("window.polls > 2").await;
        browser.value(restart).await;
        browser.value("window.polls = 0").await;
        browser.until("window.polls > 8").await;
        assert_eq!(browser.text("rate").await, "20", "{step}");
        assert_eq!(browser.text("window").await, window);
        // The points are as far from each other as the looks; a gap is a gap.
        let distance = format!(
            "(() => {{ const at = {points}; return Math.abs(at[4] - at[3] - {step}) < 0.2 && \
             document.getElementById('line').getAttribute('d').includes('L') === {is_line}; }})()"
        );
        let line = browser
            .value("document.getElementById('line').getAttribute('d')")
            .await;
        assert_eq!(browser.value(&distance).await, true, "{step}: {line}");
    }
    // A program that has restarted begins anew, and the line goes on.
    browser.value("window.at = 0; window.polls = 0").await;
    browser.until("window.polls > 4").await;
    assert_eq!(browser.text("rate").await, "20");
    assert_eq!(browser.value(well).await, true);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// Without a backend nothing can be away, and nothing is stored.
#[tokio::test]
async fn a_program_without_a_backend_says_so() {
    let flags = ["--backend", "none", "--admin", "127.0.0.1:0"];
    let server = Example::start("products", &flags).await;
    let path = make_product(&server, "Lamp").await;
    get(server.base(), &path).await;
    let mut browser = Chromium::start().await;
    browser.look(1280, 900, false).await;
    browser.open(server.admin()).await;
    browser
        .until("document.getElementById('state').textContent === 'well'")
        .await;
    assert_eq!(
        browser.text("backend").await,
        "statenone: nothing is cached"
    );
    let store = browser.text("entries").await;
    assert_eq!(store, "no backend: every request goes to the origin");
    assert_eq!(browser.text("used").await, "–");
    take_picture(&mut browser, "no-backend").await;
}
