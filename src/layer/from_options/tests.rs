use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

#[cfg(feature = "compress")]
use crate::Coding;
use crate::backend::MemoryBackend;
use crate::key::{Authority, QueryRules, Sites};
use crate::{CacheLayer, CacheOptions, RequestDirective, Rules, Ttl};

type Layer = CacheLayer<MemoryBackend>;

/// The options that are functions, clocks or sources of random numbers.
const HOOKS: [&str; 17] = [
    "also_invalidate",
    "classify_writes",
    "client_by",
    "clock",
    "empty_request_body",
    "groups_by",
    "key",
    "key_by",
    "on_rewritten_target",
    "origin_monitor",
    "private_by",
    "random",
    "read_only_posts",
    "request_body",
    "skip",
    "store_if",
    "ttl_by",
];

fn layer() -> Layer {
    CacheLayer::new(MemoryBackend::default())
}

fn from_json(options: Value) -> Result<Layer, String> {
    let options = serde_json::from_value::<CacheOptions>(options);
    let options = options.map_err(|error| error.to_string())?;
    CacheLayer::from_options(MemoryBackend::default(), &options).map_err(|error| error.to_string())
}

fn described(layer: &Layer) -> Vec<String> {
    layer.config().described()
}

/// One row for each option: its name, a value in configuration, and what that sets.
#[rustfmt::skip]
fn rows() -> Vec<(&'static str, Value, Layer)> {
    const SECONDS: Duration = Duration::from_secs(7);
    let rules = Rules::new().ttl(SECONDS).query(QueryRules::only(["q"]));
    let layer = layer();
    macro_rules! row {
        ($name:ident, $value:expr, $set:expr) => {
            (stringify!($name), json!($value), layer.clone().$name($set))
        };
    }
    vec![
        row!(ttl, "until-invalidated", Ttl::UntilInvalidated),
        row!(negative_ttl, "7s", SECONDS),
        row!(max_ttl, "7s", SECONDS),
        row!(ttl_jitter, 0.5, 0.5),
        row!(targeted_cache_control, ["x-cache-control"], ["x-cache-control"]),
        row!(ignore_request_directives, ["only-if-cached"], [RequestDirective::OnlyIfCached]),
        row!(ignore_client_freshness, true, true),
        row!(max_body, "7MiB", 7 << 20),
        row!(max_head, "7 KiB", 7 << 10),
        row!(max_buffered_bytes, 7, 7),
        row!(credential_fields, ["x-session"], ["x-session"]),
        row!(max_lingering_bytes, "7KB", 7_000),
        row!(store_set_cookie, true, true),
        row!(max_private_entries, 7, 7),
        row!(store_parts, false, false),
        row!(generate_etags, true, true),
        row!(group_fields, ["cache-tag"], ["cache-tag"]),
        row!(keep_group_fields, true, true),
        row!(group_prefixes, ["/img/"], ["/img/"]),
        row!(authority, "WWW.example:8080", Authority::fixed("www.example:8080")),
        row!(sites, "by-authority", Sites::ByAuthority),
        row!(key_covers_credentials, true, true),
        row!(query, json!({"ignoring": ["utm_*"], "sorted": true}),
             QueryRules::all().ignoring(["utm_*"]).sorted()),
        row!(ignore_request_cookies, ["_ga"], ["_ga"]),
        row!(scope, "shop", "shop"),
        row!(bypass_fields, ["x-other"], ["x-other"]),
        row!(cache_queries, "7KiB", 7 << 10),
        row!(write_through, true, true),
        row!(store_posts, false, false),
        row!(invalidate_on_unknown, false, false),
        row!(write_grace_window, "7s", SECONDS),
        row!(detached_write_timeout, "7s", SECONDS),
        row!(max_detached_writes, 7, 7),
        row!(max_refreshes, 7, 7),
        row!(coalesce_takeover_timeout, "7s", SECONDS),
        row!(coalesce_timeout, "7s", SECONDS),
        row!(fill_timeout, "7s", SECONDS),
        row!(slow_reader_timeout, "7s", SECONDS),
        row!(uncacheable_ttl, "7s", SECONDS),
        row!(max_parallel_retries, 7, 7),
        row!(max_waiting_fills, 7, 7),
        row!(stale_while_revalidate, "7s", SECONDS),
        row!(stale_if_error, "7s", SECONDS),
        row!(stale_if_unreachable, "7s", SECONDS),
        row!(stale_despite_s_maxage, true, true),
        row!(revalidation_window, "7s", SECONDS),
        row!(failure_backoff, "7s", SECONDS),
        row!(early_refresh, 2, 2.0),
        row!(cache_status, false, false),
        row!(cache_status_name, "edge", "edge"),
        row!(log_query, true, true),
        #[cfg(feature = "compress")]
        row!(compress, ["zstd", "brotli", "gzip"], [Coding::Zstd, Coding::Brotli, Coding::Gzip]),
        #[cfg(feature = "compress")]
        row!(min_compressed_body, "7KiB", 7 << 10),
        #[cfg(feature = "compress")]
        row!(max_compressed_body, "7MiB", 7 << 20),
        ("route", json!([{"ttl": "7s", "path": "/a/{b}", "query": {"only": ["q"]}}]),
         layer.clone().route("/a/{b}", rules)),
    ]
}

#[test]
fn every_option_that_is_data_is_set_by_its_name_as_by_its_method() {
    let default = described(&layer());
    assert_eq!(
        described(&from_json(json!({})).expect("no option")),
        default
    );
    for (name, value, set) in rows() {
        let read = from_json(json!({ name: value })).expect(name);
        assert_eq!(described(&read), described(&set), "{name}");
        assert_ne!(
            described(&read),
            default,
            "{name}: the row sets the default"
        );
    }
}

/// The list of the public API is compared with the code by CI.
#[test]
fn every_option_of_the_layer_is_data_with_a_name_or_a_hook() {
    let api = include_str!("../../../docs/public-api.txt");
    let method = |line: &'static str| {
        let (name, rest) = line
            .strip_prefix("pub fn tower_response_cache::CacheLayer<B>::")?
            .split_once('(')?;
        let name = name.split('<').next()?;
        let is_option = rest.starts_with("self, ") && !name.starts_with("try_");
        // The list is that of all features.
        let is_built = cfg!(feature = "compress") || !name.contains("compress");
        (is_option && is_built).then_some(name)
    };
    let options: BTreeSet<&str> = api.lines().filter_map(method).collect();
    let unknown = from_json(json!({"?": 1})).expect_err("no such option");
    let names: BTreeSet<&str> = unknown.split('`').skip(3).step_by(2).collect();
    let hooks = BTreeSet::from(HOOKS);
    let expected: BTreeSet<&str> = names.union(&hooks).copied().collect();
    assert_eq!(options, expected);
    let rows: BTreeSet<&str> = rows().iter().map(|(name, ..)| *name).collect();
    assert_eq!(rows, names);
}

#[test]
fn an_option_that_cannot_be_read_is_an_error_that_names_it_or_its_value() {
    for (options, expected) in [
        (json!({"tll": "60s"}), "unknown field `tll`"),
        (json!({"ttl": "soon"}), "invalid duration \"soon\""),
        (json!({"max_ttl": 60}), "expected a string"),
        (json!({"max_body": "64MoB"}), "invalid size \"64MoB\""),
        (
            json!({"max_body": -1}),
            "a size in bytes, such as 65536 or \"64KiB\"",
        ),
        (
            json!({"max_head": "99EiB"}),
            "invalid size \"99EiB\": too large",
        ),
        (
            json!({"ttl_jitter": 7}),
            "ttl_jitter must be between 0 and 1, not 7",
        ),
        (
            json!({"early_refresh": -1}),
            "early_refresh must be 0 or a positive finite number",
        ),
        (
            json!({"ignore_request_directives": ["no-cash"]}),
            "unknown variant `no-cash`",
        ),
        (json!({"sites": "two"}), "unknown variant `two`"),
        (
            json!({"authority": "user@host"}),
            "invalid authority \"user@host\"",
        ),
        (json!({"authority": "a b"}), "invalid authority \"a b\""),
        (
            json!({"bypass_fields": ["x y"]}),
            "bypass_fields must be given field names",
        ),
        (
            json!({"group_prefixes": ["img"]}),
            "paths that begin with `/`, not \"img\"",
        ),
        (
            json!({"cache_status_name": ""}),
            "cache_status_name must be visible ASCII",
        ),
        (json!({"route": [{"ttl": "1s"}]}), "missing field `path`"),
        (
            json!({"route": [{"path": "/", "tll": "1s"}]}),
            "unknown field `tll`",
        ),
        (
            json!({"route": [{"path": "a"}]}),
            "paths that begin with `/`, not \"a\"",
        ),
        (json!({"route": {"/a": {}}}), "expected a sequence"),
    ] {
        let message = from_json(options.clone()).err().unwrap_or_default();
        assert!(message.contains(expected), "{options}: {message}");
    }
}
