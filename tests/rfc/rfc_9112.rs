//! RFC 9112 and RFC 9113 as far as they concern which resource a request is for.

use crate::table::{Requirement, must, must_not, not_ours, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "3.2",
        "a request with more than one Host, or an invalid one, is answered 400",
        tested(&[
            "tower_contract::a_write_with_an_invalid_host_is_refused",
            "tower_contract::reads_with_an_invalid_host_bypass_the_cache",
            "key::authority::one_valid_authority_or_none",
        ]),
    ),
    must(
        "3.2",
        "an HTTP/1.1 request without Host is answered 400",
        not_ours("A server does that. A request inside of a process needs no host."),
    ),
    must(
        "3.2.2",
        "the authority of an absolute-form target replaces Host",
        tested(&[
            "key::authority::one_valid_authority_or_none",
            "writes::where_hosts_are_sites_a_write_means_its_host_in_every_spelling",
        ]),
    ),
    must_not(
        "3.2.3",
        "a target in authority form is used with another method than CONNECT",
        tested(&["tower_contract::a_target_without_a_path_is_refused_unless_it_is_for_connect"]),
    ),
];

pub const RFC_9113: &[Requirement] = &[must(
    "8.3.1",
    "a request whose Host contradicts :authority is malformed",
    tested(&[
        "key::authority::in_http_2_a_host_agrees_with_the_authority_or_is_invalid",
        "tower_contract::a_write_with_an_invalid_host_is_refused",
    ]),
)];
