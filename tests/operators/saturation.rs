//! What operators see of a proxy that has no place for more requests.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::board::promtool;
use crate::example::Example;
use crate::http_client::{get, make_product};

/// The value of a series of the proxy; 0 if there is none yet.
async fn series(proxy: &Example, name: &str) -> f64 {
    let metrics = get(proxy.admin(), "/metrics").await.text;
    let line = metrics.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let wanted = format!("response_cache_{name}");
        let is_it = series
            .replace("cache=\"tower-response-cache\"", "")
            .replace("{}", "")
            == wanted;
        is_it.then(|| value.parse().expect("a number"))
    });
    line.unwrap_or(0.0)
}

/// A proxy with one place in front of a slow origin, and eight requests for it at once.
#[tokio::test]
async fn operators_see_who_waits_for_a_place_for_how_long_and_who_was_refused() {
    let products = Example::start("products", &["--database-delay", "500ms"]).await;
    let path = make_product(&products, "Lamp").await;
    let limits = ["--concurrency", "1", "--queue-timeout", "1500ms"];
    let upstream = ["--upstream", products.base(), "--admin", "127.0.0.1:0"];
    let proxy = Example::start("proxy", &[&upstream[..], &limits].concat()).await;
    assert_eq!(series(&proxy, "origin_requests_max").await, 1.0);

    let requests: Vec<_> = (0..8)
        .map(|number| {
            let (base, path) = (proxy.base().to_owned(), format!("{path}?{number}"));
            tokio::spawn(async move { get(&base, &path).await.status })
        })
        .collect();
    while series(&proxy, "origin_requests_waiting").await < 2.0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(series(&proxy, "origin_requests_in_flight").await, 1.0);
    let (mut answered, mut refused) = (0.0, 0.0);
    for request in requests {
        match request.await.expect("an answer") {
            200 => answered += 1.0,
            503 => refused += 1.0,
            status => panic!("{status}"),
        }
    }
    assert!(answered >= 1.0 && refused >= 1.0, "{answered}, {refused}");
    for (name, expected) in [
        ("origin_refused_total", refused),
        ("requests_total{,result=\"overload\"}", refused),
        ("requests_total{,result=\"miss\"}", answered),
        ("origin_calls_total", answered + refused),
        ("origin_wait_duration_seconds_count", 7.0),
        ("origin_requests_waiting", 0.0),
    ] {
        assert_eq!(series(&proxy, name).await, expected, "{name}");
    }
    let waited = series(&proxy, "origin_wait_duration_seconds_sum").await;
    assert!(waited >= refused * 1.5, "{waited} s");
    let stats: Value =
        serde_json::from_str(&get(proxy.admin(), "/stats").await.text).expect("JSON");
    assert_eq!(stats["origin"]["refused"], refused);
}

/// A series over ten minutes, for Prometheus' own tests of rules.
fn input(name: &str, labels: &str, values: &str) -> String {
    let labels = format!("cache=\"c\",instance=\"i\"{labels}");
    format!("      - series: 'response_cache_{name}{{{labels}}}'\n        values: '{values}'\n")
}

/// The alerts are silent while all is well, and each fires for what it is about.
#[test]
fn alerts_fire_for_what_they_are_about() {
    let idle = "0x200";
    let requests = input("requests_total", ",result=\"miss\"", "0+60x200");
    let breaker = |breaker: &str, values: &str| {
        let labels = format!(",tier=\"far\",breaker=\"{breaker}\",state=\"closed\"");
        input("backend_breaker_state", &labels, values)
    };
    let operations = |result: &str, each: u32| {
        let labels = format!(",tier=\"far\",op=\"get\",result=\"{result}\"");
        input(
            "backend_operations_total",
            &labels,
            &format!("0+{each}x200"),
        )
    };
    // Few of the operations of each case.
    let usual = operations("ok", 600) + &operations("error", 6);
    let failed = input(
        "invalidations_total",
        ",target=\"resource\",mode=\"remove\",result=\"failed\"",
        "0+1x200",
    );
    let size = |bytes: u32| {
        let tier = ",tier=\"memory\"";
        let sizes = [("size_bytes", bytes), ("capacity_bytes", 100)];
        sizes
            .map(|(name, bytes)| input(name, tier, &format!("{bytes}x200")))
            .concat()
    };
    let evicted = |each: u32| {
        let evicted = format!("0+{each}x200");
        let labels = ",tier=\"memory\",cause=\"size\"";
        let stored = input("stores_total", ",by=\"fill\"", "0+120x200");
        input("evictions_total", labels, &evicted) + &stored
    };
    let hits = |each: u32| {
        input(
            "requests_total",
            ",result=\"hit\"",
            &format!("0+{each}x200"),
        )
    };
    let calls = |class: &str, each: u32| {
        let calls = [("2xx", 60), (class, each)].map(|(class, each)| {
            let class = format!(",status_class=\"{class}\"");
            let values = format!("0+{each}x200");
            input("fetch_calls_total", &class, &values)
        });
        calls.concat()
    };
    let cases = [
        ("ResponseCacheHitRatioLow", hits(50), true),
        ("ResponseCacheHitRatioLow", hits(70), false),
        ("ResponseCacheMemoryHigh", size(84) + &evicted(1), true),
        ("ResponseCacheMemoryHigh", size(96), false),
        ("ResponseCacheMemoryHigh", size(70) + &evicted(1), false),
        ("ResponseCacheEvictionsHigh", evicted(61), true),
        ("ResponseCacheEvictionsHigh", evicted(59), false),
        ("ResponseCacheOriginFailing", calls("error", 8), true),
        ("ResponseCacheOriginFailing", calls("5xx", 8), true),
        ("ResponseCacheOriginFailing", calls("4xx", 8), false),
        ("ResponseCacheOriginFailing", calls("error", 6), false),
        (
            "ResponseCacheOriginSaturated",
            input("origin_requests_waiting", "", "3x200"),
            true,
        ),
        (
            "ResponseCacheOriginSaturated",
            input("fills_waiting", "", "3x200"),
            true,
        ),
        (
            "ResponseCacheOriginSaturated",
            input("origin_requests_waiting", "", idle),
            false,
        ),
        (
            "ResponseCacheOverload",
            input("origin_refused_total", "", "0+3x200"),
            true,
        ),
        (
            "ResponseCacheOverload",
            input("requests_total", ",result=\"overload\"", "0+3x200"),
            true,
        ),
        (
            "ResponseCacheOverload",
            input("origin_refused_total", "", "7x200"),
            false,
        ),
        (
            "ResponseCacheBackendUnhealthy",
            breaker("lookups", idle),
            true,
        ),
        (
            "ResponseCacheBackendUnhealthy",
            breaker("lookups", "1x200"),
            false,
        ),
        (
            "ResponseCacheBackendUnhealthy",
            breaker("invalidations", idle),
            false,
        ),
        (
            "ResponseCacheBackendUnhealthy",
            operations("refused", 70),
            true,
        ),
        (
            "ResponseCacheBackendUnhealthy",
            operations("timeout", 70),
            true,
        ),
        (
            "ResponseCacheBackendUnhealthy",
            operations("rejected", 70),
            true,
        ),
        (
            "ResponseCacheBackendUnhealthy",
            operations("refused", 50),
            false,
        ),
        (
            "ResponseCacheInvalidationsFailing",
            breaker("invalidations", idle),
            true,
        ),
        (
            "ResponseCacheInvalidationsFailing",
            breaker("invalidations", "1x200"),
            false,
        ),
        (
            "ResponseCacheInvalidationsFailing",
            breaker("lookups", idle),
            false,
        ),
        (
            "ResponseCacheInvalidationsUndelivered",
            input("undelivered_invalidations", "", "2x200"),
            true,
        ),
        (
            "ResponseCacheInvalidationsUndelivered",
            input("undelivered_invalidations", "", idle),
            false,
        ),
    ];
    check_alerts(&cases, &[requests, usual, failed].concat(), "");
}

/// A single failure, or a few calls of which most fail, is no reason to wake anybody.
#[test]
fn alerts_are_silent_for_a_failure_among_a_few_calls() {
    let failed_call = ",status_class=\"error\"";
    let failed_operation = ",tier=\"far\",op=\"get\",result=\"timeout\"";
    let overload = ",result=\"overload\"";
    let one = |name: &str, labels: &str| input(name, labels, "0x20 1x180");
    let few = |name: &str, labels: &str| input(name, labels, "0x20 1+1x3 5x180");
    let many = |name: &str, labels: &str| input(name, labels, "0+10x200");
    // The other requests, of which there are few, too.
    let requests = input("requests_total", ",result=\"miss\"", "0x10 1+1x5 6x180");
    let mut cases = Vec::new();
    for (alert, name, labels) in [
        (
            "ResponseCacheOriginFailing",
            "fetch_calls_total",
            failed_call,
        ),
        ("ResponseCacheOverload", "origin_refused_total", ""),
        ("ResponseCacheOverload", "requests_total", overload),
        (
            "ResponseCacheBackendUnhealthy",
            "backend_operations_total",
            failed_operation,
        ),
    ] {
        cases.push((alert, one(name, labels), false));
        cases.push((alert, few(name, labels), false));
        cases.push((alert, many(name, labels), true));
    }
    // At any time, not only in the end.
    check_alerts(&cases, &requests, "[40m:15s]");
}

/// Lets Prometheus' own tool decide whether alerts fire after 40 minutes, or `within` them.
fn check_alerts(cases: &[(&str, String, bool)], others: &str, within: &str) {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");
    let mut tests = format!("rule_files: [{rules}]\nevaluation_interval: 15s\ntests:\n");
    // Scraped as the documentation says, and as seldom as Prometheus does by itself.
    for interval in ["15s", "1m"] {
        for (alert, series, fires) in cases {
            tests += &format!("  - interval: {interval}\n    input_series:\n{series}{others}");
            // How often it fires, whatever its annotations say.
            let samples = match fires {
                true => "[{labels: '{}', value: 1}]",
                false => "[]",
            };
            let firing = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
            let counted = match within {
                "" => format!("count({firing})"),
                within => format!("count(count_over_time({firing}{within}))"),
            };
            tests += &format!(
                "    promql_expr_test:\n      - expr: {counted}\n        eval_time: 40m\n        \
                 exp_samples: {samples}\n"
            );
        }
    }
    let file = std::env::temp_dir().join(format!("alerts-{}.yml", uuid::Uuid::new_v4()));
    std::fs::write(&file, &tests).expect("a file");
    let name = file.to_str().expect("UTF-8");
    let said = promtool(&["test", "rules", name], "");
    let _ = std::fs::remove_file(&file);
    assert!(said.contains("SUCCESS"), "{said}\n{tests}");
}
