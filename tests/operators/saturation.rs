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
        ("origin_calls_total{,status_class=\"2xx\"}", answered),
        ("origin_calls_total{,status_class=\"5xx\"}", 0.0),
        ("origin_calls_total{,status_class=\"error\"}", 0.0),
        ("origin_calls_total{,status_class=\"canceled\"}", 0.0),
        ("wait_duration_seconds_count{,on=\"readiness\"}", 7.0),
        ("origin_requests_waiting", 0.0),
    ] {
        assert_eq!(series(&proxy, name).await, expected, "{name}");
    }
    let waited = series(&proxy, "wait_duration_seconds_sum{,on=\"readiness\"}").await;
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

/// Whether a target could be scraped.
fn target(values: &str) -> String {
    format!("      - series: 'up{{instance=\"i\"}}'\n        values: '{values}'\n")
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
            input("origin_calls_total", &class, &values)
        });
        calls.concat()
    };
    let broken = ",status_class=\"broken_upload\"";
    let broken = input("origin_calls_total", broken, "0+600x200");
    let cases = [
        ("ResponseCacheHitRatioLow", hits(50), true),
        ("ResponseCacheHitRatioLow", hits(70), false),
        // What is refused was not looked up in vain.
        (
            "ResponseCacheHitRatioLow",
            hits(70) + &input("requests_total", ",result=\"overload\"", "0+600x200"),
            false,
        ),
        ("ResponseCacheMemoryHigh", size(84) + &evicted(1), true),
        ("ResponseCacheMemoryHigh", size(96), false),
        ("ResponseCacheMemoryHigh", size(70) + &evicted(1), false),
        ("ResponseCacheEvictionsHigh", evicted(61), true),
        ("ResponseCacheEvictionsHigh", evicted(59), false),
        ("ResponseCacheOriginFailing", calls("error", 8), true),
        ("ResponseCacheOriginFailing", calls("5xx", 8), true),
        ("ResponseCacheOriginFailing", calls("4xx", 8), false),
        (
            "ResponseCacheOriginServersDown",
            input("origin_servers_down", "", "1x200"),
            true,
        ),
        (
            "ResponseCacheOriginServersDown",
            input("origin_servers_down", "", idle) + &input("origin_servers", "", "3x200"),
            false,
        ),
        // It ends; and one is no cache.
        (
            "ResponseCacheUnreachable",
            target("1x8 0x200") + &input("build_info", "", "1x8"),
            true,
        ),
        (
            "ResponseCacheUnreachable",
            target("1x200") + &input("build_info", "", "1x200"),
            false,
        ),
        ("ResponseCacheUnreachable", target("0x200"), false),
        (
            "ResponseCacheOriginFailing",
            calls("4xx", 8) + &input("origin_bodies_failed_total", "", "0+8x200"),
            true,
        ),
        (
            "ResponseCacheOriginFailing",
            calls("4xx", 8) + &input("origin_bodies_failed_total", "", "0+6x200"),
            false,
        ),
        ("ResponseCacheOriginFailing", calls("error", 6), false),
        ("ResponseCacheOriginFailing", calls("canceled", 60), false),
        ("ResponseCacheOriginSilent", calls("canceled", 22), true),
        ("ResponseCacheOriginSilent", calls("canceled", 18), false),
        ("ResponseCacheOriginSilent", calls("error", 60), false),
        (
            "ResponseCacheOriginSilent",
            calls("broken_upload", 600),
            false,
        ),
        (
            "ResponseCacheOriginFailing",
            calls("broken_upload", 600),
            false,
        ),
        // A client that breaks off uploads hides neither.
        (
            "ResponseCacheOriginSilent",
            calls("canceled", 22) + &broken,
            true,
        ),
        (
            "ResponseCacheOriginFailing",
            calls("error", 8) + &broken,
            true,
        ),
        (
            "ResponseCacheOriginSilent",
            input("origin_silent_seconds", "", "31x200"),
            true,
        ),
        (
            "ResponseCacheOriginSilent",
            input("origin_silent_seconds", "", "29x200"),
            false,
        ),
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
            input("limits_reached_total", ",limit=\"requests\"", "0+3x200"),
            true,
        ),
        (
            "ResponseCacheOverload",
            input("limits_reached_total", ",limit=\"requests\"", "7x200"),
            false,
        ),
        (
            "ResponseCacheLogLinesDropped",
            input("limits_reached_total", ",limit=\"log_lines\"", "0+30x200"),
            true,
        ),
        (
            "ResponseCacheLogLinesDropped",
            input(
                "limits_reached_total",
                ",limit=\"log_lines\"",
                "0x20 900x180",
            ),
            false,
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

/// Limits that clients meet, each with an alert of its own.
#[test]
fn alerts_fire_for_the_limits_that_clients_meet() {
    let reached = |limit: &str, values: &str| {
        let label = format!(",limit=\"{limit}\"");
        input("limits_reached_total", &label, values)
    };
    let waiting = |values: &str| input("connections_waiting", "", values);
    let exhausted = "ResponseCacheConnectionsExhausted";
    let cases = [
        (exhausted, waiting("1x200"), true),
        // Half of the time, others find room.
        (exhausted, waiting(&"0 1 ".repeat(100)), true),
        (exhausted, waiting("0x200"), false),
        (exhausted, reached("connections", "0+60x200"), false),
        (
            "ResponseCacheTunnelsExhausted",
            reached("tunnels", "0+3x200"),
            true,
        ),
        (
            "ResponseCacheTunnelsExhausted",
            reached("tunnels", "0x140 1x60"),
            false,
        ),
        (
            "ResponseCacheTunnelsExhausted",
            reached("tunnels_per_client", "0+60x200"),
            false,
        ),
        (
            "ResponseCacheClientLimited",
            reached("connections_per_client", "0+60x200"),
            true,
        ),
        (
            "ResponseCacheClientLimited",
            reached("tunnels_per_client", "0+60x200"),
            true,
        ),
        // One client has not caused it.
        (
            "ResponseCacheClientLimited",
            reached("connections_ended", "0+60x200"),
            false,
        ),
        (
            "ResponseCacheClientLimited",
            reached("connections_per_client", "0x140 20x60"),
            false,
        ),
        (
            "ResponseCacheClientLimited",
            reached("connections", "0+60x200") + &reached("tunnels", "0+60x200"),
            false,
        ),
    ];
    check_alerts(&cases, "", "");
    // At one moment: each has waited for a short time.
    let shortly = waiting("0x20 1 0x180");
    check_alerts(&[(exhausted, shortly, false)], "", "[40m:15s]");
}

/// An expired credential, and a limit of the origin's. Responses to clients that look for what is not
/// there neither hide one nor look like one.
#[test]
fn alerts_tell_an_origin_that_rejects_from_one_that_finds_nothing() {
    // How many calls each step: answered, not found, without credentials, too many, canceled.
    let calls = |[answered, lost, denied, limited, left]: [u32; 5]| {
        let rejected = lost + denied + limited;
        let ends = [("2xx", answered), ("4xx", rejected), ("canceled", left)];
        let ends = ends.map(|(class, each)| {
            let class = format!(",status_class=\"{class}\"");
            input("origin_calls_total", &class, &format!("0+{each}x200"))
        });
        let reasons = [("credentials", denied), ("rate", limited)].map(|(reason, each)| {
            let reason = format!(",reason=\"{reason}\"");
            input("origin_rejections_total", &reason, &format!("0+{each}x200"))
        });
        [ends.concat(), reasons.concat()].concat()
    };
    let all = |calls: String, requests: u32| {
        let each = format!("0+{requests}x200");
        calls + &input("requests_total", ",result=\"miss\"", &each)
    };
    let (rejects, limits, finds_nothing) = (
        "ResponseCacheOriginRejecting",
        "ResponseCacheOriginLimitsRate",
        "ResponseCacheOriginFindsNothing",
    );
    let cases = [
        (rejects, all(calls([5, 0, 95, 0, 0]), 100), true),
        (rejects, all(calls([5, 900, 95, 0, 0]), 1000), true),
        (rejects, all(calls([5, 0, 95, 0, 900]), 1000), true),
        (rejects, all(calls([50, 0, 50, 0, 0]), 100), false),
        (rejects, all(calls([5, 900, 5, 0, 0]), 1000), false),
        (rejects, all(calls([0, 1000, 0, 0, 0]), 1000), false),
        (rejects, all(calls([5, 0, 0, 95, 0]), 100), false),
        (limits, all(calls([40, 0, 0, 60, 0]), 100), true),
        (limits, all(calls([40, 900, 0, 60, 0]), 1000), true),
        (limits, all(calls([60, 0, 0, 40, 0]), 100), false),
        (limits, all(calls([5, 0, 95, 0, 0]), 100), false),
        (limits, all(calls([0, 1000, 0, 0, 0]), 1000), false),
        (finds_nothing, all(calls([5, 95, 0, 0, 0]), 100), true),
        (finds_nothing, all(calls([20, 80, 0, 0, 0]), 100), false),
        (finds_nothing, all(calls([5, 0, 95, 0, 0]), 100), false),
        (finds_nothing, all(calls([5, 0, 0, 95, 0]), 100), false),
        // Others are answered from the store.
        (finds_nothing, all(calls([5, 95, 0, 0, 0]), 300), false),
    ];
    check_alerts(&cases, "", "");
}

/// A program that is gone is said to be for as long as it is.
#[test]
fn the_alert_for_a_program_that_cannot_be_scraped_does_not_end_by_itself() {
    let gone = target("1x2 0x400") + &input("build_info", "", "1x2");
    let back = target("1x2 0x250 1x150") + &input("build_info", "", "1x2 _x250 1x150");
    let never = target("0x400");
    let alert = "ResponseCacheUnreachable";
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");
    let mut tests = format!("rule_files: [{rules}]\nevaluation_interval: 5m\ntests:\n");
    for (series, fires) in [(gone, true), (back, false), (never, false)] {
        let samples = match fires {
            true => "[{labels: '{}', value: 1}]",
            false => "[]",
        };
        tests += &format!(
            "  - interval: 4m\n    input_series:\n{}    promql_expr_test:\n      - expr: \
             count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})\n        \
             eval_time: 26h\n        exp_samples: {samples}\n",
            series
        );
    }
    check_rules(&tests);
}

/// Behind a few URLs, an origin that fails late is called once in twenty or forty seconds, whatever
/// clients ask for: stale responses answer all of them.
#[test]
fn an_alert_fires_for_an_origin_that_fails_late_behind_a_few_urls() {
    let calls = |class: &str, each: &str| {
        let labels = format!(",status_class=\"{class}\"");
        input("origin_calls_total", &labels, each)
    };
    let alert = "ResponseCacheOriginFailing";
    // Each step is a scrape: 15 seconds, or a minute.
    let cases = [
        (alert, calls("5xx", "0+1x200"), true),
        (alert, calls("error", "0+1x200"), true),
        (
            alert,
            calls("2xx", "0+1x200") + &input("origin_bodies_failed_total", "", "0+1x200"),
            true,
        ),
        (alert, calls("4xx", "0+1x200"), false),
        (alert, calls("5xx", "0x20 1+1x6 7x180"), false),
        // One of a few pages fails.
        (
            alert,
            calls("5xx", "0+2x200") + &calls("2xx", "0+3x200"),
            true,
        ),
        // A restart, behind pages that are called once in minutes.
        (
            alert,
            calls("5xx", "0x20 12x180") + &calls("2xx", "0x25 1x5 2x5 3x180"),
            false,
        ),
    ];
    check_alerts(&cases, "", "[40m:15s]");
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
            "origin_calls_total",
            failed_call,
        ),
        (
            "ResponseCacheOriginSilent",
            "origin_calls_total",
            ",status_class=\"canceled\"",
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
    // Two slow calls in a row, and then a response.
    let slow = input("origin_silent_seconds", "", "0x20 59 0x180");
    cases.push(("ResponseCacheOriginSilent", slow, false));
    // At any time, not only in the end.
    check_alerts(&cases, &requests, "[40m:15s]");
}

/// Lets Prometheus' own tool decide whether alerts fire after 40 minutes, or `within` them.
fn check_alerts(cases: &[(&str, String, bool)], others: &str, within: &str) {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");
    // What is asked for at the end alone takes a quarter of the time so.
    let evaluated = if within.is_empty() { "1m" } else { "15s" };
    let mut tests = format!("rule_files: [{rules}]\nevaluation_interval: {evaluated}\ntests:\n");
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
    check_rules(&tests);
}

/// Runs tests of rules by Prometheus' own tool.
fn check_rules(tests: &str) {
    let file = std::env::temp_dir().join(format!("alerts-{}.yml", uuid::Uuid::new_v4()));
    std::fs::write(&file, tests).expect("a file");
    let name = file.to_str().expect("UTF-8");
    let said = promtool(&["test", "rules", name], "");
    let _ = std::fs::remove_file(&file);
    assert!(said.contains("SUCCESS"), "{said}\n{tests}");
}
