//! `Cache-Control` of requests and responses (RFC 9111 §5.2), `Pragma` (§5.4), and targeted fields
//! (RFC 9213).
//!
//! The directives are read here; their effect is decided in `storing`, `reuse` and
//! `freshness`. Names are compared without case, several lines form one list, an argument may be a
//! token or a quoted string (§5.2), and an unknown directive is ignored (§5.2.3). Of a directive
//! that is given twice the more restrictive one counts. A lifetime that cannot be read is zero
//! (§4.2.1). A response tells whether all of its directives could be read.
//!
//! Start with [`ResponseDirectives`] and [`RequestDirectives`].

mod delta_seconds;
mod readable;
mod request;
mod response;
mod targeted;
#[cfg(test)]
mod tests;

pub use delta_seconds::delta_seconds;
pub use request::{IgnoredDirectives, RequestDirective, RequestDirectives};
pub use response::{ResponseDirectives, withheld_fields};
pub use targeted::TargetedFields;
