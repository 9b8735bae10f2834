//! The bytes of bodies in memory that the backend does not count, by what keeps them there.
//!
//! ```text
//! collected   on the way into the store                      share     max_buffered_bytes,
//! unread      not stored, and not read yet by slow clients   share     together
//! lingering   removed from the store, and still read         stored    max_lingering_bytes
//! copied      read from a backend outside of this process    stored    none
//! ```
//!
//! Collected bytes are released by `fill_timeout` at the latest, whatever clients do, and once half
//! of the limit is taken, by bodies that hardly move within a thirtieth of that. Those that
//! only slow clients keep are unread from then on. Bodies that merely pass take at most half of the
//! limit, and beyond half of it readers that stop are dropped: the other half is for fills.
//!
//! Knows numbers and bytes alone. Start at [`Budget`], then [`BudgetShare`].

mod accounts;
mod share;
mod stored;

pub(crate) use self::accounts::{Budget, BudgetLimits};
pub(crate) use self::share::BudgetShare;
pub(crate) use self::stored::count_stored;
