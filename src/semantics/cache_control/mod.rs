//! `Cache-Control` of requests and responses (RFC 9111 §5.2), and `Pragma` (§5.4).
//!
//! Names are compared without case, several lines are one list, both forms of an argument are read (§5.2), an unknown
//! directive is ignored (§5.2.3). Where a directive stands twice the more restrictive one counts; a lifetime that cannot
//! be read is taken for zero (§4.2.1).

mod delta_seconds;
mod request;
mod response;
mod targeted;
#[cfg(test)]
mod tests;

pub use delta_seconds::delta_seconds;
pub use request::{IgnoredDirectives, RequestDirective, RequestDirectives};
pub use response::{ResponseDirectives, withheld_fields};
pub use targeted::TargetedFields;
