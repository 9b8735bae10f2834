//! RFC 9875: cache groups.

use crate::table::{Requirement, may, must, must_not, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "2",
        "Cache-Groups is a List of Strings",
        tested(&["semantics::groups::a_field_is_a_list_of_strings_or_is_ignored"]),
    ),
    must(
        "2",
        "responses are in one group if both are of one origin and the names are equal, case and all",
        tested(&["groups::a_group_is_its_origin_s_and_its_name_s"]),
    ),
    must(
        "2",
        "32 groups of 32 characters are supported at least",
        tested(&[
            "semantics::groups::section_2_limits",
            "groups::many_and_long_groups_are_kept_track_of_or_not_stored",
        ]),
    ),
    must(
        "2.1",
        "an invalidated group takes all its members along, but not those of their other groups",
        tested(&[
            "groups::groups_named_by_the_answer_to_an_unsafe_request_are_invalidated",
            "redis::backend::groups::a_groups_members_vanish_at_every_instance_and_no_others",
            "wire::writes::groups",
        ]),
    ),
    may(
        "2.1",
        "a group is invalidated by other means",
        tested(&["groups::a_handle_invalidates_a_group_by_authority_and_name"]),
    ),
    must(
        "3",
        "Cache-Group-Invalidation is a List of Strings, and ignored where it is none",
        tested(&[
            "semantics::groups::a_field_is_a_list_of_strings_or_is_ignored",
            "wire::writes::groups",
        ]),
    ),
    must(
        "3",
        "it is ignored in answers to safe methods",
        tested(&[
            "groups::groups_named_by_the_answer_to_an_unsafe_request_are_invalidated",
            "wire::writes::groups",
        ]),
    ),
    must_not(
        "3",
        "members of other origins are invalidated",
        tested(&["groups::a_group_is_its_origin_s_and_its_name_s"]),
    ),
    must(
        "3",
        "32 groups are supported at least",
        tested(&[
            "semantics::groups::section_2_limits",
            "groups::a_write_that_names_too_many_groups_clears_everything",
        ]),
    ),
    must_not(
        "3",
        "a member that was being fetched meanwhile is served as if it had come later",
        tested(&[
            "groups::a_member_that_is_being_fetched_is_neither_stored_nor_shared",
            "groups::no_member_older_than_an_invalidation_in_any_order_in_memory",
            "redis::backend::groups::a_fill_that_began_before_an_invalidation_of_any_group_stores_no_member",
        ]),
    ),
    must(
        "4",
        "who writes names of groups from what users say escapes them: names are compared whole, as they are",
        tested(&["semantics::groups::a_field_is_a_list_of_strings_or_is_ignored"]),
    ),
];
