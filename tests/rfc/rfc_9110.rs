//! RFC 9110 as far as it concerns a cache: validators, methods, conditions, ranges.

use crate::table::{Requirement, may, must, must_not, not_done, not_ours, should, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "4.2.3",
        "URIs that differ in letter case of the host, default port, empty path or unreserved \
         percent-encoding alone are one resource",
        tested(&[
            "key::authority::one_valid_authority_or_none",
            "key::normal_path::every_spelling_of_a_path_has_one_normal_form",
            "writes::a_write_means_a_path_in_every_spelling",
        ]),
    ),
    must(
        "5.2",
        "lines of one field are one list, in their order",
        tested(&["semantics::fields::syntax::section_5_6_1_lists"]),
    ),
    must(
        "5.6.7",
        "all three forms of dates are read, and two-digit years beyond 50 years are in the past",
        tested(&["semantics::fields::date::section_5_6_7_three_forms_in_any_letter_case"]),
    ),
    should(
        "5.6.7",
        "any other form is no date, and what it would say unknown",
        tested(&[
            "semantics::fields::date::section_5_6_7_any_other_form_is_no_date",
            "fields::lifetimes::a_date_of_another_form_is_none",
        ]),
    ),
    must(
        "6.6.1",
        "a response without Date that is stored gets the time of its receipt",
        tested(&["bodies::a_missing_date_is_stamped_on_receipt"]),
    ),
    must(
        "7.2",
        "the host that a request is for is one, however it is spelled",
        tested(&[
            "key::canonical::every_spelling_of_a_target_has_one_canonical_form",
            "caching::one_meaning::every_spelling_of_a_target_reaches_the_service_as_one",
            "proxy::one_meaning::every_spelling_of_a_host_is_one_key_and_the_origin_sees_one",
        ]),
    ),
    must(
        "7.6.1",
        "Connection and what it names is not passed on by an intermediary",
        tested(&[
            "bodies::fields_of_one_connection_are_not_replayed",
            "key::canonical::fields_of_the_connection_are_gone_and_cookies_are_one_line",
            "proxy::one_meaning::a_variant_is_stored_for_the_fields_that_the_origin_saw",
            "proxy::same_key::requests_with_one_key_are_one_request_for_the_upstream",
        ]),
    ),
    must(
        "7.6.3",
        "a proxy adds itself to Via",
        tested(&["proxy::forwarding::fields_of_the_connection_stay_behind"]),
    ),
    may(
        "7.8",
        "Upgrade is ignored",
        tested(&["proxy::one_meaning::an_ignored_upgrade_is_no_other_request"]),
    ),
    must(
        "8.8.2.2",
        "Last-Modified is a strong validator only if it is a minute older than Date",
        tested(&["semantics::ranges::tests::section_13_1_5_if_range"]),
    ),
    must(
        "8.8.3",
        "an entity tag is an opaque quoted string, weak with W/ in that case",
        tested(&["semantics::validation::tests::rfc_9110_section_8_8_3_entity_tags"]),
    ),
    must(
        "8.8.3.2",
        "strong comparison takes two strong tags, weak comparison any",
        tested(&["semantics::validation::tests::rfc_9110_section_8_8_3_2_comparison"]),
    ),
    must_not(
        "9.2.1",
        "safe methods, TRACE and OPTIONS among them, are taken for a request to change something",
        tested(&["writes::unsafe_and_unknown_methods_invalidate_and_safe_ones_do_not"]),
    ),
    must(
        "9.3.1",
        "content of a GET has no meaning that a cache may rely on",
        tested(&["tower_contract::content_of_a_get_on_a_cached_path_is_never_taken_for_a_request"]),
    ),
    must_not(
        "9.3.2",
        "a HEAD is answered with content",
        tested(&[
            "bodies::head_of_a_hit_has_the_length_of_the_get",
            "wire::storing::hits",
        ]),
    ),
    may(
        "9.3.2",
        "an answer to HEAD serves later HEADs",
        not_done("It is used to update what is stored for GET, and is not stored itself."),
    ),
    must_not(
        "9.3.3",
        "a POST's answer serves GET without explicit freshness and its own URI as Content-Location",
        tested(&[
            "posts::an_answer_to_post_that_says_so_serves_later_gets",
            "posts::no_other_answer_to_post_is_stored",
        ]),
    ),
    must(
        "9.3.3",
        "a POST is written through",
        tested(&["tower_contract::three_identical_writes_reach_the_handler_three_times"]),
    ),
    must_not(
        "9.3.4",
        "answers to PUT are stored as answers to GET, unless configured",
        tested(&["writes::write_through_stores_an_answer_that_is_the_representation"]),
    ),
    must_not(
        "9.3.5",
        "answers to DELETE are stored",
        tested(&["semantics::storing::tests::only_answers_to_get_are_stored"]),
    ),
    must(
        "10.1.1",
        "100-continue is a hop's business: a hit is a final answer",
        tested(&[
            "tower_contract::a_hit_is_not_held_up_by_an_expectation",
            "wire::connections::expect_100_continue_on_a_hit",
        ]),
    ),
    must(
        "12.5.3",
        "x-gzip is gzip, and a coding with weight 0 is not the same as one without",
        tested(&["semantics::vary::normalize::section_12_5_3_accept_encoding"]),
    ),
    may(
        "12.5.4",
        "the language with the largest weight is preferred; the order of equal ones says nothing reliable",
        tested(&[
            "semantics::vary::preference::section_12_5_4_the_language_with_the_largest_weight",
        ]),
    ),
    must_not(
        "13.1.1",
        "If-Match is evaluated by a cache",
        tested(&["wire::conditions::a_clients_conditions"]),
    ),
    must(
        "13.1.2",
        "If-None-Match is compared weakly, and a star matches whatever there is",
        tested(&[
            "semantics::validation::tests::section_4_3_2_conditions_of_a_client",
            "wire::conditions::a_clients_conditions",
        ]),
    ),
    must(
        "13.1.3",
        "If-Modified-Since is ignored beside If-None-Match, if it is no date, and for other methods than GET and HEAD",
        tested(&[
            "semantics::validation::tests::section_4_3_2_conditions_of_a_client",
            "wire::conditions::a_clients_conditions",
        ]),
    ),
    must_not(
        "13.1.4",
        "If-Unmodified-Since is evaluated by a cache",
        tested(&["wire::conditions::a_clients_conditions"]),
    ),
    must(
        "13.1.5",
        "If-Range is compared strongly, and Range ignored where it does not match",
        tested(&[
            "semantics::ranges::tests::section_13_1_5_if_range",
            "parts::if_range_is_compared_strongly_with_the_parts",
            "wire::parts::parts_of_the_whole",
        ]),
    ),
    must(
        "13.2.1",
        "conditions are for what would be a success, and come after all other checks",
        tested(&[
            "semantics::validation::tests::section_4_3_2_conditions_of_a_client",
            "semantics::validation::tests::section_4_3_1_conditions_sent_to_the_origin",
            "fields::lifetimes::a_stored_error_is_never_confirmed_by_a_304",
        ]),
    ),
    must(
        "13.2.2",
        "conditions come in their order, before ranges",
        tested(&[
            "ranges::conditions_go_before_ranges",
            "wire::parts::parts_of_the_whole",
        ]),
    ),
    must(
        "14.1.1",
        "a range set that is not valid is ignored",
        tested(&["semantics::ranges::tests::section_14_1_2_byte_ranges"]),
    ),
    must(
        "14.1.2",
        "positions beyond the end are the end, suffixes longer than the whole the whole, numbers do not overflow",
        tested(&[
            "semantics::ranges::tests::section_14_1_2_byte_ranges",
            "wire::parts::parts_of_the_whole",
        ]),
    ),
    may(
        "14.2",
        "Range is ignored",
        tested(&["semantics::ranges::tests::section_17_15_sets_are_bounded"]),
    ),
    must(
        "14.2",
        "Range counts for GET alone, and for unknown units not at all",
        tested(&["wire::parts::parts_of_the_whole"]),
    ),
    may(
        "14.3",
        "Accept-Ranges tells that ranges are understood",
        not_done(
            "What is sent is what the origin says of itself: clients learn it from the first 206.",
        ),
    ),
    must_not(
        "14.4",
        "a part whose Content-Range is invalid or not understood is recombined with others",
        tested(&[
            "semantics::ranges::tests::section_14_4_content_range_of_a_206_is_read",
            "parts::an_answer_that_is_no_single_part_is_not_stored",
            "parts::an_answer_other_than_the_missing_part_is_not_taken_for_it",
        ]),
    ),
    must(
        "14.6",
        "several parts are multipart/byteranges, each with a Content-Range of its own",
        tested(&["ranges::several_parts_are_multipart"]),
    ),
    may(
        "15.1",
        "200, 203, 204, 300, 301, 308, 404, 405, 410, 414 and 501 have a heuristic lifetime",
        tested(&[
            "fields::lifetimes::heuristics_are_for_their_statuses_and_for_public_responses",
            "semantics::freshness::tests::section_4_2_1_lifetime",
        ]),
    ),
    must_not(
        "15.2",
        "interim responses are stored",
        not_ours("A tower service answers once: interim responses never come this way."),
    ),
    must(
        "15.3.7",
        "a 206 has the fields that a 200 would have had",
        tested(&[
            "ranges::parts_are_answered_from_the_whole",
            "parts::a_part_answers_ranges_within_it",
        ]),
    ),
    must(
        "15.3.7.1",
        "a single part has a Content-Range",
        tested(&["wire::parts::parts_of_the_whole"]),
    ),
    must_not(
        "15.3.7.2",
        "several parts have a Content-Range in the head",
        tested(&["ranges::several_parts_are_multipart"]),
    ),
    may(
        "15.3.7.3",
        "parts with the same strong validator are combined by a client, as a cache is one",
        tested(&["parts::parts_are_completed_and_put_together"]),
    ),
    must(
        "15.4.5",
        "a 304 has Content-Location, Date, ETag, Vary, Cache-Control and Expires of the 200",
        tested(&[
            "validation::a_clients_conditions_are_answered_from_the_stored_response",
            "wire::conditions::a_clients_conditions",
        ]),
    ),
    should(
        "15.4.5",
        "a 304 has no other fields of the representation, unless these guide cache updates",
        tested(&["wire::conditions::a_clients_conditions"]),
    ),
    must(
        "15.4.5",
        "a 304 ends behind its head",
        tested(&["wire::conditions::a_clients_conditions"]),
    ),
    must(
        "15.5.2",
        "a 401 is about the credentials of its request: a stored one answers none that has its own",
        tested(&[
            "fields::lifetimes::a_stored_refusal_is_not_for_requests_with_credentials",
            "fields::lifetimes::a_refusal_in_flight_is_not_shared_with_requests_with_credentials",
            "credentials::a_stored_refusal_is_not_for_clients_with_listed_credentials",
            "semantics::reuse::credentials::section_15_5_2_a_refusal_is_for_the_credentials_it_was_made_for",
        ]),
    ),
    must_not(
        "15.5.17",
        "a 416 has the fields of the representation, or those by which that may be stored",
        tested(&[
            "fields::content::a_416_has_no_field_of_the_representation",
            "semantics::ranges::representation::section_15_5_17_a_416_is_not_the_representation",
        ]),
    ),
    should(
        "15.5.17",
        "a 416 to a byte range tells the length in Content-Range",
        tested(&[
            "ranges::parts_are_answered_from_the_whole",
            "wire::parts::parts_of_the_whole",
        ]),
    ),
    must(
        "17.5",
        "fields of any length cost time in proportion to their length at most",
        tested(&[
            "fields::preference::a_long_list_costs_little",
            "semantics::vary::normalize::a_long_value_is_compared_as_it_is",
            "semantics::fields::syntax::unclosed_quotes_take_linear_time",
        ]),
    ),
    should(
        "17.15",
        "sets of many or overlapping ranges are ignored",
        tested(&["semantics::ranges::tests::section_17_15_sets_are_bounded"]),
    ),
];
