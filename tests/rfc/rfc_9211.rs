//! RFC 9211: Cache-Status.

use crate::table::{Requirement, may, must, must_not, not_done, should, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "2",
        "it is a List of Strings or Tokens with parameters",
        tested(&[
            "semantics::cache_status::names_are_tokens_or_strings",
            "semantics::cache_status::section_2_members",
        ]),
    ),
    should(
        "2",
        "each cache appends its own member, behind those before it",
        tested(&[
            "bodies::an_upstreams_cache_status_is_kept_and_appended_to",
            "wire::storing::hits",
        ]),
    ),
    must_not(
        "2",
        "members of others are removed",
        tested(&["bodies::an_upstreams_cache_status_is_kept_and_appended_to"]),
    ),
    may(
        "2",
        "it is left out",
        tested(&["sharing::the_caches_name_can_be_chosen_or_left_out"]),
    ),
    must(
        "2.1",
        "hit: the request was satisfied without going forward",
        tested(&[
            "wire::storing::hits",
            "whole::the_second_request_is_a_hit_while_the_store_is_under_way",
            "whole::a_body_of_known_length_is_whole_with_its_last_byte",
        ]),
    ),
    must_not(
        "2.2",
        "hit and fwd in one member",
        tested(&["semantics::cache_status::section_2_members"]),
    ),
    should(
        "2.2",
        "fwd has the most specific reason that is known",
        tested(&[
            "semantics::reason::rfc_9211_section_2_2_forward_reasons_are_registered",
            "sharing::bypassed_requests_say_why",
            "wire::directives::a_requests",
            "wire::parts::an_origins_parts",
        ]),
    ),
    must(
        "2.3",
        "fwd-status: the status of the next hop, where it is another",
        tested(&[
            "wire::conditions::validation",
            "wire::conditions::a_clients_conditions",
        ]),
    ),
    must(
        "2.4",
        "ttl: what is left of the lifetime, negative when stale",
        tested(&[
            "sharing::age_and_ttl_add_up_to_the_lifetime",
            "fields::lifetimes::the_longest_durations_neither_overflow_nor_turn_negative",
            "wire::directives::stale_responses",
        ]),
    ),
    must(
        "2.5",
        "stored: whether the response was stored",
        tested(&[
            "wire::storing::hits",
            "wire::storing::fields_for_one_client_alone",
            "claims::a_fill_that_a_write_overtook_does_not_say_stored",
            "claims::a_body_that_breaks_off_before_the_head_is_sent_is_not_said_to_be_stored",
        ]),
    ),
    must(
        "2.6",
        "collapsed: whether it was shared with another request",
        tested(&[
            "stampede::a_thousand_misses_are_one_call",
            "whole::requests_that_joined_before_the_end_are_collapsed",
            "parts::the_whole_is_completed_by_the_missing_part",
        ]),
    ),
    may(
        "2.7",
        "key: a representation of the key",
        not_done("Keys would tell others what one asked for (RFC 9211 §6)."),
    ),
    may(
        "2.8",
        "detail: what is not told otherwise",
        tested(&[
            "wire::storing::fields_for_one_client_alone",
            "wire::directives::a_requests",
        ]),
    ),
];
