//! RFC 9530: digests of the content of a message, and of a representation.

use crate::table::{Requirement, may, must, must_not, not_done, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "2",
        "Content-Digest is of the content of the message that has it: a part or a 304 has none of the whole",
        tested(&["fields::content::a_part_has_no_digest_of_the_whole_content"]),
    ),
    must(
        "2",
        "a whole that is put together of parts has none of a part",
        tested(&["fields::content::a_whole_made_of_parts_has_no_digest_of_one"]),
    ),
    must_not(
        "2",
        "a digest of a 304 replaces that of the stored content",
        tested(&[
            "fields::content::digests_of_a_304_never_replace_those_of_the_stored_content",
            "semantics::stored::updated_headers::section_3_2_which_fields_are_updated",
        ]),
    ),
    must(
        "3",
        "Repr-Digest is of the whole representation, whatever part of it a message carries",
        tested(&[
            "fields::content::a_part_has_no_digest_of_the_whole_content",
            "fields::content::a_whole_made_of_parts_has_no_digest_of_one",
        ]),
    ),
    may(
        "6.3",
        "an intermediary checks a digest",
        not_done("Digests are for the ends: a cache in between passes them with the content."),
    ),
];
