//! Content codings (RFC 9110 §8.4, §12.5.3): the one that a request gets, and the head of a coded
//! response.
//!
//! ```text
//! request   accepted      the codings that it accepts, and how much
//!           entity_tags   the tags of coded responses in its conditions
//! response  eligibility   may it be coded?
//!           coded_head    its head, once it is
//! ```
//!
//! How content is coded, and where it is kept, is the business of the service.

mod accepted;
mod coded_head;
mod coding;
mod eligibility;
mod entity_tags;

pub use accepted::AcceptedCodings;
pub use coded_head::{add_vary, make_coded};
pub use coding::Coding;
pub use eligibility::{CodingLimits, decide_coding, forbids_transformation};
pub use entity_tags::{CodedTags, Form, coded_tag};
