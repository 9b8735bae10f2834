//! RFC 9112: the target and the framing of requests, as far as a cache and the proxy decide by
//! them.

use crate::table::{Requirement, must, must_not, should, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "3.2",
        "a request with an invalid Host, or with several, is answered with 400",
        tested(&[
            "tower_contract::a_write_with_an_invalid_host_is_refused",
            "tower_contract::reads_with_an_invalid_host_bypass_the_cache",
            "key::authority::one_valid_authority_or_none",
            "canonical::only_requests_with_a_valid_target_host_and_length_are_forwarded",
        ]),
    ),
    must(
        "3.2",
        "an HTTP/1.1 request without Host is answered with 400, one of HTTP/1.0 needs none",
        tested(&[
            "canonical::a_request_without_host_is_canonical_in_http_1_0_alone",
            "one_meaning::a_request_without_host_is_for_the_host_that_its_upstream_is_told",
        ]),
    ),
    must(
        "3.2.1",
        "an origin server gets the target as path and query, and the host in Host",
        tested(&[
            "caching::one_meaning::every_spelling_of_a_target_reaches_the_service_as_one",
            "caching::same_key::requests_with_one_key_are_one_request_for_the_service",
        ]),
    ),
    must(
        "3.2.2",
        "the host of an absolute-form target counts, and Host is ignored",
        tested(&[
            "key::authority::one_valid_authority_or_none",
            "caching::one_meaning::a_write_reaches_the_service_in_the_form_of_its_resource",
            "writes::where_hosts_are_sites_a_write_means_its_host_in_every_spelling",
        ]),
    ),
    must(
        "3.2.2",
        "a proxy replaces Host by the host of an absolute-form target",
        tested(&[
            "proxy::one_meaning::every_spelling_of_a_host_is_one_key_and_the_origin_sees_one",
        ]),
    ),
    must(
        "3.2.3",
        "the authority form is for CONNECT alone",
        tested(&["hosts::a_target_without_a_path_is_refused_unless_it_is_for_connect"]),
    ),
    should(
        "6.3",
        "a request with Transfer-Encoding and Content-Length is treated as an error",
        tested(&["canonical::only_requests_with_a_valid_target_host_and_length_are_forwarded"]),
    ),
    must_not(
        "6.3",
        "a length is inferred where a request has neither field: it has no content",
        tested(&["canonical::content_is_told_by_a_field_in_every_version"]),
    ),
];
