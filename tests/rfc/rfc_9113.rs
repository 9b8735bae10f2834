//! RFC 9113: what HTTP/2 spells differently, and a cache must understand alike.

use crate::table::{Requirement, must, must_not, should, tested};

pub const TABLE: &[Requirement] = &[
    must_not(
        "8.2.2",
        "fields of a connection are passed on, TE: trailers aside",
        tested(&[
            "key::canonical::fields_of_the_connection_are_gone_and_cookies_are_one_line",
            "proxy::http2::by_prior_knowledge",
        ]),
    ),
    must(
        "8.2.3",
        "the lines of Cookie are joined by a semicolon and a space before anything else reads them",
        tested(&[
            "vary::normalize::cookies_in_several_lines_are_one_sequence_and_no_list",
            "vary::tests::a_cookie_selects_the_same_variant_over_every_version",
            "caching::one_meaning::cookies_select_by_their_sequence_and_reach_the_service_as_one_line",
            "ignored_cookies::requests_that_differ_in_ignored_cookies_have_one_key_and_one_form",
            "proxy::one_meaning::cookies_select_by_their_sequence_and_not_by_their_lines",
        ]),
    ),
    must(
        "8.3.1",
        "an intermediary that forwards over HTTP/1.1 makes Host of :authority",
        tested(&["canonical::every_spelling_of_a_target_has_one_canonical_form"]),
    ),
    should(
        "8.3.1",
        "a request whose Host differs from :authority is malformed",
        tested(&[
            "key::authority::in_http_2_a_host_agrees_with_the_authority_or_is_invalid",
            "tower_contract::a_write_with_an_invalid_host_is_refused",
        ]),
    ),
];
