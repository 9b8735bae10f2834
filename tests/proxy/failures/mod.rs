//! Failing and hostile origins and clients.

mod broken_uploads;
mod errors;
mod failing;
mod hostile;
mod uploads;
