//! Failing and hostile origins and clients.

mod errors;
mod failing;
mod hostile;
mod uploads;
