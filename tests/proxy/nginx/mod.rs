//! Between a real nginx and real clients: nginx as the upstream, and as a proxy before ours.

mod clients;
pub mod files;
mod hops;
mod keys;
mod names;
mod server;

pub use server::Nginx;
