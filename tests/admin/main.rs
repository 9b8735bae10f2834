//! The service for operators: what it shows, what it does, and what strangers cannot do with it.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod explaining;
mod invalidating;
mod reading;
mod strangers;
