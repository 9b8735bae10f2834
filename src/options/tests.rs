//! What configuration says, and what it may not.

use std::time::Duration;

use crate::key::QueryRules;
use crate::{Rules, Ttl};

/// Rules from configuration say the same, and bad ones are errors that name what is wrong.
#[test]
fn rules_are_read_from_configuration() {
    let read = |json: &str| serde_json::from_str::<Rules>(json);
    let all = read(
        r#"{"ttl": "1m 30s", "max_ttl": "1h", "stale_while_revalidate": "10s",
            "stale_if_error": "0s", "query": {"ignoring": ["utm_*"], "sorted": true},
            "ignore_request_cookies": ["_ga"], "groups": ["api"], "bypass": false}"#,
    );
    let expected = Rules::new()
        .ttl(Duration::from_secs(90))
        .max_ttl(Duration::from_secs(3600))
        .stale_while_revalidate(Duration::from_secs(10))
        .stale_if_error(Duration::ZERO)
        .query(QueryRules::all().ignoring(["utm_*"]).sorted())
        .ignore_request_cookies(["_ga"])
        .group("api");
    assert_eq!(all.expect("rules"), expected);
    assert_eq!(read("{}").expect("rules"), Rules::new());
    let endless = read(r#"{"ttl": "until-invalidated"}"#).expect("rules");
    assert_eq!(endless, Rules::new().ttl(Ttl::UntilInvalidated));
    for (json, error) in [
        (r#"{"tll": "60s"}"#, "unknown field `tll`"),
        (r#"{"ttl": "soon"}"#, "invalid duration \"soon\""),
        (r#"{"ttl": 60}"#, "expected a string"),
        (r#"{"ttl": "99999999999999999999s"}"#, "invalid duration"),
        (r#"{"query": {"sort": true}}"#, "unknown field `sort`"),
        (r#"{"bypass": "yes"}"#, "expected a boolean"),
    ] {
        let message = read(json).expect_err(json).to_string();
        assert!(message.contains(error), "{json}: {message}");
    }
}
